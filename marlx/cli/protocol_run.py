"""`marlx protocol run`: every algorithm in every environment of a card, in one folder.

The folder has the card, `card.yaml`, and an ordinary run folder for each method, environment and
range of seeds, named so. The same command goes on with what is not finished; with more seeds or
steps it trains only what is missing.
"""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.cache import use_compilation_cache
from marlx.cli.grid import SIGNALLED, train_one
from marlx.cli.options import positionals
from marlx.cli.protocol_plan import Part, ProtocolRunOptions, notes, parts, words
from marlx.cli.protocol_table import TableOptions, print_table
from marlx.cli.shared import complain, quoted
from marlx.cli.train import train_command
from marlx.cli.words import read_options
from marlx.settings import check_settings

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card

CARD = "card.yaml"
"""In the folder: the card that its runs are under."""


def run_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx protocol run CARD ALGO[,ALGO...] [options]`: returns the training, or a code.

    Raises:
      ValueError: wrong input, before anything is trained.
    """
    names, rest = positionals(argv)
    if rest[:1] in (["-h"], ["--help"]) and len(names) < 2:
        _help()
        return 0
    if len(names) != 2:
        raise ValueError(
            "marlx protocol run takes a card and algorithms before its options, got "
            f"{' '.join(names) or 'neither'}; for example: marlx protocol run quick qmix"
        )
    from marlx.analysis.protocol_cards import card

    use_compilation_cache()
    protocol = card(names[0])
    algorithms = [name.strip() for name in names[1].split(",")]
    read = [_read(protocol, name, rest) for name in algorithms]
    if None in read:
        _help()
        return 0
    options = next(one[0] for one in read if one is not None)
    environments = _environments(protocol, options.env)
    if missing := protocol.missing():
        raise ValueError(f"card {protocol.name} needs {'; '.join(missing)}")
    folder = Path(options.out or f"runs/protocol-{protocol.name}")
    _check_folder(folder, protocol)
    needed = [
        part
        for env_id in environments
        for name, one in zip(algorithms, read, strict=True)
        if one is not None
        for part in parts(protocol, folder, name, env_id, options, one[1])
    ]
    for note in dict.fromkeys(note for part in needed for note in notes(part)):
        complain(note)
    if options.dry_run:
        for part in needed:
            _start(part, options, ["--dry-run"])
        return 0
    return functools.partial(_run, protocol, folder, needed, options, quoted_line(argv))


def folder_card(folder: Path) -> Card | None:
    """Returns the card that is left in a folder of runs; None if there is none.

    Raises:
      ValueError: it cannot be read.
    """
    from marlx.analysis.protocol_cards import card

    return card(folder / CARD) if (folder / CARD).is_file() else None


def quoted_line(argv: Sequence[str]) -> str:
    """Returns the command line with these words after `marlx protocol run`."""
    return " ".join(["marlx protocol run", *map(quoted, argv)])


def _help() -> None:
    from marlx.cli.help import Section, help_text
    from marlx.config.tree import flatten, plain

    options = ProtocolRunOptions()
    usage = "marlx protocol run CARD ALGO[,ALGO...]"
    about = inspect.cleandoc(ProtocolRunOptions.__doc__ or "")
    print(help_text(usage, about, [Section("", options)], flatten(plain(options))), end="")


def _read(
    protocol: Card, algorithm: str, argv: Sequence[str]
) -> tuple[ProtocolRunOptions, dict[str, Any]] | None:
    """Returns the options, and the settings of an algorithm among them; None for `--help`.

    Raises:
      ValueError: an option that there is not, or a value that is refused.
    """
    from marlx.analysis.protocol_cards import FREE
    from marlx.config.layers import schema
    from marlx.registry import settings_of

    for word in argv:
        if word.startswith("--env."):
            raise ValueError(f"{word}: card {protocol.name} fixes the settings of environments")
    whole = schema(algorithm, protocol.environments[0]) if not protocol.missing() else {}
    free = {name: whole[name] for name in FREE if name in whole}
    known = settings_of(ProtocolRunOptions)
    given = read_options(argv, {**known, **free})
    if given is None:
        return None
    options = ProtocolRunOptions(**{k: v for k, v in given.items() if k in known})
    try:
        check_settings(options)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    return options, {k: v for k, v in given.items() if k in free}


def _environments(protocol: Card, given: Sequence[str]) -> Sequence[str]:
    from marlx.text import unknown

    names = [name for text in given for name in text.split(",")]
    for name in names:
        if name not in protocol.environments:
            raise unknown("environment", name, protocol.environments, f"card {protocol.name}")
    return names or protocol.environments


def _check_folder(folder: Path, protocol: Card) -> None:
    """Checks that a folder is new, empty, or of this card.

    Raises:
      ValueError: it is something else.
    """
    there = folder_card(folder)
    if there is not None and (there.name, there.hash) != (protocol.name, protocol.hash):
        raise ValueError(
            f"{folder} has runs under card {there.name}, {there.hash}; this is {protocol.name}, "
            f"{protocol.hash}: give another --out"
        )
    if folder.exists() and there is None and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty and has no {CARD}; give another --out")


def _run(
    protocol: Card, folder: Path, needed: Sequence[Part], options: ProtocolRunOptions, line: str
) -> int:
    """Trains what is not finished, and prints the table; returns the exit code."""
    _leave_card(protocol, folder)
    codes = []
    for number, part in enumerate(needed, 1):
        name = f"{part.made.algorithm} on {part.made.environment}"
        if _finished(part):
            if not options.quiet:
                print(f"[{number}/{len(needed)}] {name}: finished before", flush=True)
            codes.append(0)
            continue
        if not options.quiet:
            print(f"[{number}/{len(needed)}] ", end="", flush=True)
        try:
            codes.append(train_one(part.path, name, functools.partial(_start, part, options)))
        except KeyboardInterrupt:  # before or after the training itself
            codes.append(128 + signal.SIGINT)
        if codes[-1] in SIGNALLED:
            complain(f"stopped; go on with the same command: {line}")
            return codes[-1]
    runs = [part.path for part in needed if (part.path / "metrics.jsonl").is_file()]
    print(f"\n{protocol.name}: {protocol.title}; runs in {folder}")
    print_table(protocol, runs, TableOptions())
    if any(codes):
        complain(f"{sum(map(bool, codes))} of {len(needed)} failed; to try them again: {line}")
    return 1 if any(codes) else 0


def _finished(part: Part) -> bool:
    """Whether the run in a folder has the steps that it is to have."""
    from marlx.runs.result import read_result

    return bool(read_result(part.path).get("steps", 0) >= part.made.train.total_steps)


def _start(
    part: Part, options: ProtocolRunOptions, more: Sequence[str] = ()
) -> int | Callable[[], int]:
    """Prepares a run, new or resumed; returns its training, or a code."""
    line = words(part, options, more)
    try:
        return train_command(line)
    finally:
        if line[0] == "--config":
            Path(line[1]).unlink(missing_ok=True)


def _leave_card(protocol: Card, folder: Path) -> None:
    """Writes the card into the folder of its runs.

    Raises:
      ValueError: the folder cannot be written to.
    """
    from marlx.config.yaml_text import dump
    from marlx.runs.files import replace_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / CARD, dump(protocol.plain()))
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
