"""The plan of `marlx protocol run`: run folders, settings, and words for `marlx train`."""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marlx.settings import MOST_SEEDS, setting

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card
    from marlx.config.layers import Experiment

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


def parts(
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


def notes(part: Part) -> Iterator[str]:
    """Yields a line about a step size that reaches 0 before the steps of the card."""
    end = getattr(part.made.learner, "lr_steps", 0)
    if 0 < end < 0.9 * part.made.train.total_steps:
        yield (
            f"{part.made.algorithm} on {part.made.environment}: learner.lr_steps is {end:,}, so it "
            f"learns nothing in the last {part.made.train.total_steps - end:,} steps; for all of "
            f"them: --learner.lr-steps {part.made.train.total_steps}"
        )


def words(part: Part, options: ProtocolRunOptions, more: Sequence[str]) -> list[str]:
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
