"""Reference results, and the test whether a run that is made again agrees with one.

A reference is the result of some seeds of one algorithm in one environment, with all settings,
versions and the device. References are the configurations of the study `learning`, whose files are
in `benchmarks/results/` and are shipped as `marlx.reference`. A field that did not exist when a
result was made is null.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marlx.analysis.result_rows import DIGITS, SEED_SETTINGS, Row, Study, read_study
from marlx.config.layers import Experiment, Layer, build, merge, schema
from marlx.config.tree import as_stored, flatten
from marlx.statistics import bootstrap_interval, mean
from marlx.text import unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

STUDY = "learning"
"""The study whose configurations are the references."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A stored result.

    Attributes:
      id: the argument of `marlx reproduce`.
      algorithm: its name.
      environment: its id.
      command: the `marlx train` command that made it, with the presets of that time.
      date: of the run, ISO.
      versions: of Python and packages.
      device: `platform`, `kind` and `count`.
      config_hash: hash of `settings`.
      settings: every setting but the seeds, in the layout of a YAML file.
      seeds: the seeds that were run.
      judged: the actions of the returns, `drawn` from the policy or `greedy`.
      mean: team return over seeds and episodes.
      interval: its 95% bootstrap interval over seeds and episodes.
      per_seed: [seeds], mean return of each seed.
      episodes_per_seed: number of episodes behind each of these.
      random_return: mean return of the uniform random policy.
      optimum: the best possible return, where it is known.
      steps: [evaluations], environment steps per seed.
      curve: [evaluations][seeds], returns during training.
      train_curve: [evaluations - 1][seeds], returns of training episodes; None where none ended.
      returns: [seeds][episodes], returns after training.
      seconds: wall time by phase, of all seeds together.
      extra: further results over all seeds, e.g. the return of greedy actions.
      measured: [seeds], further results of each seed.
    """

    id: str
    algorithm: str
    environment: str
    command: str | None
    date: str
    versions: dict[str, str]
    device: dict[str, Any]
    config_hash: str
    settings: dict[str, Any]
    seeds: list[int]
    judged: str
    mean: float
    interval: tuple[float, float]
    per_seed: list[float]
    episodes_per_seed: int | None
    random_return: float
    optimum: float | None
    steps: list[int]
    curve: list[list[float]]
    train_curve: list[list[float | None]] | None = None
    returns: list[list[float]] | None = None
    seconds: dict[str, float] | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    measured: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def wall_seconds(self) -> float | None:
        """Wall time, compilation included; None if it was not stored."""
        return None if self.seconds is None else sum(self.seconds.values())

    @property
    def total_steps(self) -> int:
        """Environment steps per seed."""
        return self.steps[-1]


def reference_id(algorithm: str, environment: str) -> str:
    """Returns the id of a result with the shipped preset."""
    return f"{algorithm}-{environment.replace('/', '-')}"


def reference_ids() -> list[str]:
    """Returns the id of every reference result, sorted."""
    return sorted(record["id"] for record in _stored().settings.values())


def references() -> dict[str, Reference]:
    """Returns every stored result by its id, sorted by id."""
    stored = _stored()
    rows: dict[str, list[Row]] = {digest: [] for digest in stored.settings}
    for row in stored.rows:
        rows[row["config_hash"]].append(row)
    found = [_reference(record, rows[digest]) for digest, record in stored.settings.items()]
    return {result.id: result for result in sorted(found, key=lambda result: result.id)}


def reference(name: str) -> Reference:
    """Returns the stored result of this id.

    Raises:
      ValueError: there is none.
    """
    stored = _stored()
    for digest, record in stored.settings.items():
        if record["id"] == name:
            return _reference(record, stored.rows_of(digest))
    raise unknown("result", name, reference_ids(), listed_by="marlx reproduce --list")


def _stored() -> Study:
    """Returns the study's reference results: those with an id, without those beside them."""
    whole = read_study(_folder(), STUDY)
    settings = {digest: one for digest, one in whole.settings.items() if one["id"] is not None}
    return Study([row for row in whole.rows if row["config_hash"] in settings], settings)


def _folder() -> Traversable:
    return importlib.resources.files("marlx.reference")


def _reference(record: Mapping[str, Any], rows: Sequence[Row]) -> Reference:
    """Returns the result that a settings record and its rows hold: that of the last training."""
    run = record["runs"][-1]
    by_seed = {row["seed"]: row for row in rows}
    rows = [by_seed[seed] for seed in run["seeds"]]

    def columns(name: str) -> list[Any] | None:
        return None if rows[0][name] is None else [row[name] for row in rows]

    def over_seeds(name: str) -> list[list[Any]] | None:
        each = columns(name)
        return None if each is None else [list(at) for at in zip(*each, strict=True)]

    low, high = run["interval"]
    return Reference(
        id=record["id"],
        algorithm=record["algorithm"],
        environment=record["env"],
        **{name: run[name] for name in ("command", "date", "versions", "device", "seeds", "mean")},
        **{name: run[name] for name in ("episodes_per_seed", "random_return", "seconds", "extra")},
        judged=run["judged"] or "greedy",
        config_hash=record["config_hash"],
        settings=record["settings"],
        interval=(low, high),
        per_seed=[row["final"] for row in rows],
        optimum=record["optimum"],
        steps=rows[0]["steps"],
        curve=over_seeds("curve") or [],
        train_curve=over_seeds("train_curve"),
        returns=columns("returns"),
        measured=[row["measured"] for row in rows],
    )


def stored_experiment(
    stored: Reference, *, seeds: int | None = None, total_steps: int | None = None
) -> Experiment:
    """Returns the experiment behind a reference, or its beginning with fewer seeds and steps.

    The distance between evaluations stays the same, so that a shorter run is the beginning of the
    whole one. Settings that did not exist when the reference was made have their defaults, but it
    is evaluated as it was.

    Raises:
      ValueError: more seeds or steps than are stored, or settings that marlx no longer has.
    """
    from marlx.loop.settings import with_total_steps

    if seeds is not None and not 1 <= seeds <= len(stored.seeds):
        raise ValueError(f"--seeds is {seeds}; it must be 1 to {len(stored.seeds)}")
    if total_steps is not None and not 1 <= total_steps <= stored.total_steps:
        raise ValueError(f"--total-steps is {total_steps}; it must be 1 to {stored.total_steps}")
    settings = as_stored(stored.settings)
    given = {k: v for k, v in settings.items() if k not in ("algorithm", "environment")}
    given |= {"seeds": seeds or len(stored.seeds), "seed": stored.seeds[0]}
    known = schema(stored.algorithm, stored.environment)
    layer = Layer(f"the stored settings of {stored.id}", given)
    made = build(stored.algorithm, stored.environment, merge(known, [layer]))
    if total_steps is None:
        return made
    train = with_total_steps(made.train, made.build()[2], total_steps)
    return made._replace(train=train)


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns one text per setting that differs from an earlier one, seeds left out."""
    old, new = flatten(then), flatten(now)
    return [
        f"{name} {_text(old, name)} (now {_text(new, name)})"
        for name in {**new, **old}
        if name not in SEED_SETTINGS
        and (name not in new or name not in old or old[name] != new[name])
    ]


class Agreement(NamedTuple):
    """The comparison of a run with a reference.

    Attributes:
      here: mean and interval of the run.
      there: mean and interval of the reference.
      steps: environment steps per seed of the run and of the reference.
      seeds: number of seeds of the run and of the reference.
      agree: whether the intervals overlap.
    """

    here: tuple[float, float, float]
    there: tuple[float, float, float]
    steps: tuple[int, int]
    seeds: tuple[int, int]
    agree: bool

    @property
    def partial(self) -> bool:
        """Whether fewer seeds or steps were run than are stored."""
        return self.seeds[0] < self.seeds[1] or self.steps[0] < self.steps[1]


def compare(stored: Reference, returns: np.ndarray[Any, Any], steps: int) -> Agreement:
    """Compares the 95% bootstrap interval of the mean return with the stored one.

    A shorter run is compared with the nearest evaluation of the stored curve, with an interval over
    seeds, because the episodes of evaluations during training are not stored.

    Args:
      stored: the reference.
      returns: f64 [seeds, episodes], returns at the end.
      steps: environment steps per seed until then.
    """
    here = (mean(returns), *bootstrap_interval(returns))
    there, at = (stored.mean, *stored.interval), stored.total_steps
    if steps < stored.total_steps:
        nearest = int(np.argmin(np.abs(np.array(stored.steps) - steps)))
        row = stored.curve[nearest]
        there, at = (mean(row), *bootstrap_interval(row)), stored.steps[nearest]
    # the stored curve is rounded, and the interval is a single number where all seeds agree
    gap = 10**-DIGITS * max(1.0, abs(there[0]))
    agree = here[1] <= there[2] + gap and there[1] <= here[2] + gap
    return Agreement(here, there, (steps, at), (len(returns), len(stored.seeds)), agree)


def _text(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "not there"
