"""`marlx protocol run`: every algorithm in every environment of a card, in one folder.

The folder has the card, `card.yaml`, and an ordinary run folder for each method, environment and
range of seeds, named so. The same command goes on with what is not finished; with more seeds or
steps it trains only what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marlx.cli.grid import SIGNALLED, train_one
from marlx.cli.options import positionals
from marlx.cli.protocol_table import TableOptions, print_table
from marlx.cli.shared import complain, quoted, use_compilation_cache
from marlx.cli.train import train_command
from marlx.cli.words import read_options
from marlx.settings import MOST_SEEDS, check_settings, setting

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card
    from marlx.config.layers import Experiment

CARD = "card.yaml"
"""In the folder: the card that its runs are under."""
LETTERS = {"k": 10**3, "M": 10**6}
_SEEDS = re.compile(r"seeds-(\d+)-(\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProtocolRunOptions:
    """Train algorithms in the environments of a card, several seeds at once, and print the table.

    Settings of the algorithm are options too, where the card leaves them free: --learner.NAME X,
    --num-envs N and --rollout-length N. The same command again goes on with what is not finished;
    with more seeds or steps it trains what is missing.
    """

    env: tuple[str, ...] = ()
    """Environments, some of the card's; all if none is given."""
    seeds: int | None = setting(None, at_least=1, at_most=MOST_SEEDS)
    """Seeds, from 0; the card's if not given. With fewer, results are partial."""
    steps: str | None = None
    """Environment steps per seed, e.g. 500k or 5M; the card's if not given. With fewer, results are
    partial; they can be made whole later."""
    out: str | None = None
    """Folder of all runs; runs/protocol-CARD if not given."""
    devices: str = "auto"
    """Devices that train, as in marlx train."""
    quiet: bool = False
    """Print the table alone."""
    dry_run: bool = False
    """Check everything and print the plan; train nothing and make no folder."""


class Part(NamedTuple):
    """A run folder that is needed: a method in an environment, with a range of seeds."""

    path: Path
    made: Experiment


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
    parts = [
        part
        for env_id in environments
        for name, one in zip(algorithms, read, strict=True)
        if one is not None
        for part in _parts(protocol, folder, name, env_id, options, one[1])
    ]
    if options.dry_run:
        for part in parts:
            _start(part, options, ["--dry-run"])
        return 0
    return functools.partial(_run, protocol, folder, parts, options, quoted_line(argv))


def folder_card(folder: Path) -> Card | None:
    """Returns the card that is left in a folder of runs; None if there is none.

    Raises:
      ValueError: it cannot be read.
    """
    from marlx.analysis.protocol_cards import card

    return card(folder / CARD) if (folder / CARD).is_file() else None


def steps_of(text: str) -> int:
    """Returns a number of steps: `5M`, `500k`, `1e6`, `2_000_000`.

    Raises:
      ValueError: it is none.
    """
    from marlx.config.coerce import coerce

    size = LETTERS.get(text[-1:], 1)
    try:
        number = coerce(text[: len(text) - (size > 1)], float) * size
        if number != int(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"--steps is {text}; write a number such as 5M, 500k or 2e6") from None
    return int(number)


def quoted_line(argv: Sequence[str]) -> str:
    """Returns the command line with these words after `marlx protocol run`."""
    return " ".join(["marlx protocol run", *map(quoted, argv)])


def _help() -> None:
    from marlx.cli.help import Section, help_text
    from marlx.config.tree import flatten, plain

    options = ProtocolRunOptions()
    usage = "marlx protocol run CARD ALGO[,ALGO...]"
    about = str(ProtocolRunOptions.__doc__)
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


def _parts(
    protocol: Card,
    folder: Path,
    algorithm: str,
    env_id: str,
    options: ProtocolRunOptions,
    given: Mapping[str, Any],
) -> Iterator[Part]:
    """Yields the run folders that hold the seeds asked for: those that exist, then new ones."""
    from marlx.analysis.protocol_cards import experiment_under
    from marlx.analysis.result_rows import config_hash
    from marlx.config.tree import flatten

    steps = None if options.steps is None else steps_of(options.steps)
    name = f"{algorithm}-{env_id}".replace("/", "-")
    if given:
        name += f"-{config_hash(flatten(given))[:6]}"
    under = functools.partial(experiment_under, protocol, algorithm, env_id, given, steps=steps)
    wanted = set(range(options.seeds or protocol.seeds))
    for path in sorted(folder.glob(f"{name}-seeds-*")):
        found = _SEEDS.fullmatch(path.name.removeprefix(f"{name}-"))
        if found is None or not (path / "config.yaml").is_file():
            continue
        first, last = map(int, found.groups())
        if wanted & {*range(first, last + 1)}:
            wanted -= {*range(first, last + 1)}
            yield Part(path, under(seed=first, seeds=last + 1 - first))
    while wanted:
        first = last = min(wanted)
        while last + 1 in wanted:
            last += 1
        wanted -= {*range(first, last + 1)}
        made = under(seed=first, seeds=last + 1 - first)
        yield Part(folder / f"{name}-seeds-{first}-{last}", made)


def _words(part: Part, options: ProtocolRunOptions, more: Sequence[str]) -> list[str]:
    """Returns the words for `marlx train` that begin or continue a run.

    Raises:
      ValueError: the run in the folder has other settings.
    """
    from marlx.analysis.protocol_cards import FREE
    from marlx.runs.folder import load_experiment
    from marlx.text import shortened

    words = ["--devices", options.devices] if options.devices != "auto" else []
    words += [*(["--quiet"] if options.quiet else []), *more]
    made = part.made
    if (part.path / "config.yaml").is_file():
        there = load_experiment(part.path).settings()
        for name in FREE:
            if there[name] != made.settings()[name]:
                raise ValueError(
                    f"{part.path} was trained with other settings of {shortened(name)}, perhaps by "
                    "another version of marlx; give another --out"
                )
        steps = max(there["total_steps"], made.train.total_steps)
        if steps != there["total_steps"]:
            words += ["--total-steps", str(steps)]
        return ["--resume", str(part.path), *words]
    return ["--config", _settings_file(made), "--out", str(part.path), *words]


def _settings_file(made: Experiment) -> str:
    """Writes the settings of a run where `marlx train` reads them; returns the path."""
    from marlx.runs.folder import config_text

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False, encoding="utf-8") as file:
        file.write(config_text(made))
    return file.name


def _run(
    protocol: Card, folder: Path, parts: Sequence[Part], options: ProtocolRunOptions, line: str
) -> int:
    """Trains what is not finished, and prints the table; returns the exit code."""
    _leave_card(protocol, folder)
    codes = []
    for number, part in enumerate(parts, 1):
        name = f"{part.made.algorithm} on {part.made.environment}"
        if not options.quiet:
            print(f"[{number}/{len(parts)}] ", end="", flush=True)
        try:
            codes.append(train_one(part.path, name, functools.partial(_start, part, options)))
        except KeyboardInterrupt:  # before or after the training itself
            codes.append(128 + signal.SIGINT)
        if codes[-1] in SIGNALLED:
            complain(f"stopped; go on with the same command: {line}")
            return codes[-1]
    runs = [part.path for part in parts if (part.path / "metrics.jsonl").is_file()]
    print(f"\n{protocol.name}: {protocol.title}; runs in {folder}")
    print_table(protocol, runs, TableOptions())
    if any(codes):
        complain(f"{sum(map(bool, codes))} of {len(parts)} failed; to try them again: {line}")
    return 1 if any(codes) else 0


def _start(
    part: Part, options: ProtocolRunOptions, more: Sequence[str] = ()
) -> int | Callable[[], int]:
    """Prepares a run, new or resumed; returns its training, or a code."""
    words = _words(part, options, more)
    try:
        return train_command(words)
    finally:
        if words[0] == "--config":
            Path(words[1]).unlink(missing_ok=True)


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
