"""Reference results: how they are stored, and whether a run that is made again agrees with them.

A reference is a JSON of `benchmarks/reference/`, shipped as `marlx.reference`: what some seeds of
one algorithm reached in one environment, with all settings, versions and device. Its id is the name
of its file. What a result made before a field existed does not tell is null.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marlx.config.layers import Experiment, Layer, build, merge, schema
from marlx.config.tree import flatten
from marlx.statistics import bootstrap_interval, mean
from marlx.text import unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.loop.progress import Result

DIGITS = 4
"""Decimals that returns are stored with; intervals closer than that touch."""
SPREAD = ("seeds", "seed")
"""Settings that say which seeds are run, and not what is run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A stored result.

    Attributes:
      id: what `marlx reproduce` is given.
      algorithm, environment: what was trained where.
      command: what makes it again from the presets of then.
      date: ISO, of the run.
      versions: of Python and packages.
      device: `platform`, `kind` and `count`.
      config_hash: of `settings`, see `config_hash`.
      settings: every setting, in the layout of a YAML file.
      seeds: each run's.
      mean: greedy team return over seeds and episodes.
      interval: its 95% bootstrap interval over seeds and episodes.
      per_seed: [seeds], each seed's mean.
      episodes_per_seed: that the three above are of.
      random_return: mean of the uniform random policy.
      optimum: the best possible return, where it is known.
      steps: [evaluations], environment steps per seed.
      curve: [evaluations][seeds], greedy returns on the way.
      train_curve: [evaluations - 1][seeds], returns of exploring episodes; None where none ended.
      returns: [seeds][episodes], those that `mean` is of.
      seconds: wall time by phase, of all seeds together.
      extra: what else a benchmark stores, e.g. returns of drawn actions.
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

    @property
    def wall_seconds(self) -> float | None:
        """Compiling included; None if it was not stored."""
        return None if self.seconds is None else sum(self.seconds.values())

    @property
    def total_steps(self) -> int:
        """Environment steps per seed."""
        return self.steps[-1]


def config_hash(settings: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that tell settings apart, whichever seeds they are run with."""
    kept = {key: value for key, value in settings.items() if key not in SPREAD}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def reference_id(algorithm: str, environment: str) -> str:
    """The id of a result with the shipped preset."""
    return f"{algorithm}-{environment.replace('/', '-')}"


def reference_ids() -> list[str]:
    """Every stored id, in order."""
    names = [file.name for file in _folder().iterdir()]
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def reference(name: str) -> Reference:
    """The stored result of this id.

    Raises:
      ValueError: there is none.
    """
    if name not in reference_ids():
        raise unknown("result", name, reference_ids())
    return read(json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8")))


def _folder() -> Traversable:
    return importlib.resources.files("marlx.reference")


def read(record: Mapping[str, Any]) -> Reference:
    """A reference from its JSON.

    Raises:
      ValueError: fields are missing or unknown.
    """
    fields = {field.name: field for field in dataclasses.fields(Reference)}
    strange = sorted(set(record) - set(fields))
    missing = [
        name
        for name, field in fields.items()
        if name not in record
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if strange or missing:
        what = f"no {', '.join(missing)}" if missing else f"unknown {', '.join(strange)}"
        raise ValueError(f"a reference result has {what}")
    low, high = record["interval"]
    return Reference(**{**record, "interval": (low, high)})


def write(folder: Path, stored: Reference) -> Path:
    """Write `ID.json`, a field a line so that changes can be read; its path."""
    lines = [
        f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}"
        for name, value in dataclasses.asdict(stored).items()
    ]
    path = folder / f"{stored.id}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def record(
    name: str,
    made: Experiment,
    result: Result,
    *,
    command: str,
    about: Mapping[str, Any],
    **extra: Any,
) -> Reference:
    """A reference of what was just trained.

    Args:
      name: its id.
      made: what was trained.
      result: what came out.
      command: what makes it again.
      about: `date`, `versions` and `device`.
      **extra: what else to store.
    """
    settings, train = made.settings(), made.train
    env = made.prepared()
    low, high = bootstrap_interval(result.returns)
    return Reference(
        id=name,
        algorithm=made.algorithm,
        environment=made.environment,
        command=command,
        **about,
        config_hash=config_hash(settings),
        settings=settings,
        seeds=list(range(train.seed, train.seed + train.seeds)),
        mean=mean(result.returns),
        interval=(low, high),
        per_seed=result.returns.mean(-1).round(DIGITS).tolist(),
        episodes_per_seed=result.returns.shape[1],
        random_return=float(result.random_returns.mean()),
        optimum=env.spec(env.default_params).optimum,
        steps=[p.steps for p in result.history],
        curve=[p.metrics["return"].round(DIGITS).tolist() for p in result.history],
        train_curve=[
            [value if math.isfinite(value) else None for value in row.round(DIGITS).tolist()]
            for row in (p.metrics["train_return"] for p in result.history[1:])
        ],
        returns=result.returns.round(DIGITS).tolist(),
        seconds={phase: round(value, 1) for phase, value in result.phases.items()},
        extra=extra,
    )


def stored_experiment(
    stored: Reference, *, seeds: int | None = None, total_steps: int | None = None
) -> Experiment:
    """What a reference is a result of, or its beginning with fewer seeds and steps.

    Evaluations stay as far apart as they were, so that a shorter run is the beginning of the whole
    one. Settings that did not exist then have their defaults.

    Raises:
      ValueError: more seeds or steps than are stored, or settings that marlx no longer knows.
    """
    from marlx.loop.settings import with_total_steps

    if seeds is not None and not 1 <= seeds <= len(stored.seeds):
        raise ValueError(f"--seeds is {seeds}; it must be 1 to {len(stored.seeds)}")
    if total_steps is not None and not 1 <= total_steps <= stored.total_steps:
        raise ValueError(f"--total-steps is {total_steps}; it must be 1 to {stored.total_steps}")
    given = {k: v for k, v in stored.settings.items() if k not in ("algorithm", "environment")}
    given |= {"seeds": seeds or len(stored.seeds), "seed": stored.seeds[0]}
    known = schema(stored.algorithm, stored.environment)
    layer = Layer(f"the stored settings of {stored.id}", given)
    made = build(stored.algorithm, stored.environment, merge(known, [layer]))
    if total_steps is None:
        return made
    train = with_total_steps(made.train, made.build()[2], total_steps)
    return made._replace(train=train)


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How settings differ from earlier ones, one by one; which seeds are run is left out."""
    old, new = flatten(then), flatten(now)
    return [
        f"{name} {_text(old, name)} (now {_text(new, name)})"
        for name in {**new, **old}
        if name not in SPREAD and (name not in new or name not in old or old[name] != new[name])
    ]


class Agreement(NamedTuple):
    """How a run compares with a reference.

    Attributes:
      here: mean and interval of the run.
      there: the same of what is stored.
      steps: environment steps per seed that each is of.
      seeds: of each.
      agree: the intervals overlap.
    """

    here: tuple[float, float, float]
    there: tuple[float, float, float]
    steps: tuple[int, int]
    seeds: tuple[int, int]
    agree: bool

    @property
    def partial(self) -> bool:
        """Fewer seeds or steps were run than are stored."""
        return self.seeds[0] < self.seeds[1] or self.steps[0] < self.steps[1]


def compare(stored: Reference, returns: np.ndarray[Any, Any], steps: int) -> Agreement:
    """Whether the 95% bootstrap interval of the mean return overlaps the stored one.

    A run that ended early is held against the evaluation of the stored curve that is nearest to
    its end, with an interval over seeds: the episodes of evaluations on the way are not stored.

    Args:
      stored: the reference.
      returns: f64 [seeds, episodes], greedy returns at the end.
      steps: environment steps per seed until then.
    """
    here = (mean(returns), *bootstrap_interval(returns))
    there, at = (stored.mean, *stored.interval), stored.total_steps
    if steps < stored.total_steps:
        nearest = int(np.argmin(np.abs(np.array(stored.steps) - steps)))
        row = stored.curve[nearest]
        there, at = (mean(row), *bootstrap_interval(row)), stored.steps[nearest]
    # the stored curve is rounded, and where all seeds agree an interval is a single number
    gap = 10**-DIGITS * max(1.0, abs(there[0]))
    agree = here[1] <= there[2] + gap and there[1] <= here[2] + gap
    return Agreement(here, there, (steps, at), (len(returns), len(stored.seeds)), agree)


def _text(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "not there"
