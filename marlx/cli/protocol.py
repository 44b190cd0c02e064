"""`marlx protocol`: cards that make numbers comparable, runs under them, tables, submissions."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marlx.cli.options import positionals
from marlx.cli.protocol_run import run_command
from marlx.cli.protocol_submit import submit_command
from marlx.cli.protocol_table import print_columns, table_command
from marlx.text import short, unknown

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card

PROTOCOL_USAGE = """\
usage: marlx protocol list
       marlx protocol show CARD
       marlx protocol run CARD ALGO[,ALGO...] [options]
       marlx protocol table CARD [RUN...] [options]
       marlx protocol submit RUN... [options]

A card says what results have in common that compare: environments, steps, seeds, evaluations, how
actions are chosen in them, and the unit. CARD is a name that `list` shows, or a YAML file.

  marlx protocol list               the cards
  marlx protocol show lbf-100       what a card asks for, and the published numbers beside it
  marlx protocol run quick qmix     every environment of a card; the same line again goes on
  marlx protocol run lbf-100 mappo --env Foraging-2s-10x10-3p-3f-v3 --seeds 3 --steps 5M
                                    less than the card asks for: shown as partial, not ranked
  marlx protocol table lbf-100      results so far, of runs that are given too
  marlx protocol submit runs/protocol-lbf-100
                                    check runs against their card, and print their rows

`marlx protocol run --help` and so on show the options.
"""


def protocol_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx protocol list|show|run|table|submit`.

    Raises:
      ValueError: wrong input, before anything is trained.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(PROTOCOL_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS, "marlx protocol")
    return COMMANDS[argv[0]](argv[1:])


def _list(argv: Sequence[str]) -> int:
    from marlx.analysis.protocol_cards import card, card_names

    if argv:
        raise ValueError(f"marlx protocol list takes nothing more, got {argv[0]!r}")
    rows = [("card", "steps", "seeds", "environments", "")]
    for protocol in map(card, card_names()):
        count = str(len(protocol.environments))
        needs = "".join(f"; needs {one}" for one in protocol.versions)
        title = protocol.title + needs
        rows.append((protocol.name, short(protocol.steps), str(protocol.seeds), count, title))
    print_columns(rows)
    return 0


def _show(argv: Sequence[str]) -> int:
    from marlx.analysis.protocol_cards import card
    from marlx.analysis.protocol_rows import published

    names, rest = positionals(argv)
    if len(names) != 1 or rest:
        raise ValueError("marlx protocol show takes one card; see marlx protocol list")
    protocol = card(names[0])
    print(f"{protocol.name}: {protocol.title}\n")
    if protocol.about:
        print(textwrap.fill(protocol.about, 88, initial_indent="  ", subsequent_indent="  "), "\n")
    print_columns(described(protocol))
    beside = published(protocol)
    for source in dict.fromkeys(record["source"] for record in beside):
        methods = dict.fromkeys(one["method"] for one in beside if one["source"] == source)
        print(textwrap.fill(f"{', '.join(methods)}: {source}", 88, initial_indent="  published: ",
                            subsequent_indent="    "))  # fmt: skip
    for line in protocol.missing():
        print(f"  not here: {line}")
    return 0


def described(protocol: Card) -> list[tuple[str, str]]:
    """Returns what a card asks for, as pairs of a name and a text."""
    actions = {
        "drawn": "drawn where a policy is trained, greedy for Q-learners",
        "greedy": "greedy",
    }
    units = {
        "sum": "returns of the agents added",
        "mean": "mean over agents",
        "team": "the environment's own",
    }
    algorithms = {"free": "free", "preset": "those of the presets"}
    pairs = [
        ("environments", "\n".join(protocol.environments)),
        ("their settings", _settings(protocol.env)),
        ("steps", f"{protocol.steps:,} per seed"),
        ("seeds", f"{protocol.seeds} or more"),
        ("evaluations", f"{protocol.evals}, of {protocol.eval_episodes} episodes"),
        ("actions", actions[protocol.judged]),
        ("compared", protocol.measure),
        ("unit", units[protocol.unit] if protocol.measure == "return" else "share of episodes"),
        ("algorithms' settings", algorithms[protocol.algorithm]),
        ("fixed settings", _settings(protocol.settings)),
        ("packages", ", ".join(f"{name} {version}" for name, version in protocol.versions.items())),
        ("hash", protocol.hash),
    ]
    return [
        (name if i == 0 else "", line)
        for name, text in pairs
        for i, line in enumerate(text.split("\n"))
        if line
    ]


def _settings(given: object) -> str:
    from marlx.config.tree import flatten

    assert isinstance(given, dict)
    return ", ".join(f"{name} {value}" for name, value in flatten(given).items())


COMMANDS: dict[str, Callable[[Sequence[str]], int | Callable[[], int]]] = {
    "list": _list,
    "show": _show,
    "run": run_command,
    "table": table_command,
    "submit": submit_command,
}
