"""Runs read back from their folders: settings, metrics, results and environment."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.config.layers import Layer, merge
from marlx.config.tree import as_stored, flatten
from marlx.config.yaml_text import parse
from marlx.files import (
    ANY_NUMBER,
    LARGEST_ARRAYS,
    LARGEST_JSON,
    CannotRead,
    Kind,
    check_regular,
    checked,
    is_number,
    parse_json,
    read_text,
)
from marlx.registry import make_env, settings_of
from marlx.runs.facts import read_facts
from marlx.runs.result import read_result
from marlx.settings import LARGEST_SEED, MOST_SEEDS
from marlx.statistics import Array
from marlx.text import printable, shortened

if TYPE_CHECKING:  # JAX takes a second to import, and most readers need no environment
    from marlx.types import EnvSpec

LARGEST_STEPS = 2**53
"""Environment steps are below this: whole numbers that a float64 holds exactly."""
VALUE = Kind("a number or null", lambda value: value is None or ANY_NUMBER.holds(value))
"""Schema of a metric of a seed; NaN is one, as other programs write it."""
MOST_NUMBERS = 100_000_000
"""Most numbers in the metrics of a run, over evaluations, seeds and names."""


@dataclasses.dataclass(frozen=True, eq=False)
class RunData:
    """A run, finished or not.

    All text in it is made `printable`, since the files may be somebody else's.

    `spec` and `non_finite_arrays` are read from the run folder when they are first used.

    Attributes:
      name: the folder's name, for display.
      path: the folder; None if the run was read from another kind of file.
      algorithm: its name.
      environment: its id.
      settings: by dotted name, e.g. `learner.lr`; empty if they are not known.
      seeds: names of the seeds.
      steps: f64 [K], environment steps per seed at each of K evaluations.
      metrics: f64 [K, seeds] by name; NaN where there was no number.
      final: f64 [seeds], final returns: of the last evaluation, which has the most episodes.
      result: content of `result.json`; empty if the run did not finish.
      facts: content of `environment.json`.
    """

    name: str
    path: Path | None
    algorithm: str
    environment: str
    settings: Mapping[str, Any]
    seeds: tuple[str, ...]
    steps: Array
    metrics: Mapping[str, Array]
    final: Array
    result: Mapping[str, Any]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("name", "algorithm", "environment", "seeds", "settings", "metrics", "facts"):
            object.__setattr__(self, name, _safe(getattr(self, name)))

    @property
    def finished(self) -> bool:
        """Whether there is a final result."""
        return bool(self.result)

    def number(self, name: str) -> float | None:
        """A setting as a number; None if it is not set or not a number."""
        value: Any = self.settings.get(name)
        return float(value) if isinstance(value, bool) or is_number(value) else None

    @property
    def judged(self) -> str:
        """The actions of `return`: `drawn` or `greedy`; empty if that is not known."""
        named = self.result.get("judged")
        if named or not self.settings:
            return str(named or "")
        how = as_stored(self.settings)["eval"]
        if how in ("drawn", "greedy"):
            return str(how)
        return "drawn" if "greedy_return" in self.metrics else "greedy"

    @property
    def total_steps(self) -> float:
        """Setting `total_steps`; without it, the steps per seed at the last evaluation."""
        return self.number("total_steps") or float(self.steps[-1])

    @property
    def largest_return(self) -> float:
        """Largest absolute return of evaluations and of training; 0 if there is none."""
        seen = [self.metrics[name] for name in ("return", "train_return") if name in self.metrics]
        return max((float(np.nanmax(np.abs(x), initial=0.0)) for x in seen), default=0.0)

    def late(self, name: str) -> Array | None:
        """Second half of a metric, f64 [L, seeds], without evaluations where it is NaN throughout.

        None if there are fewer than four evaluations with a number.
        """
        series = self.metrics.get(name)
        if series is None:
            return None
        series = series[~np.isnan(series).all(1)]
        return series[len(series) // 2 :] if len(series) >= 4 else None

    @functools.cached_property
    def spec(self) -> EnvSpec | None:
        """Spec of the environment; None if it cannot be made, e.g. if its package is missing."""
        if self.path is None:
            return None
        try:
            settings = _read_settings(self.path).get("env") or {}
            known = settings_of(make_env(self.environment))
            env = make_env(self.environment, **merge(known, [Layer("config.yaml", settings)]))
            return env.spec(env.default_params)
        except Exception:  # third-party environments may raise anything
            return None

    @functools.cached_property
    def non_finite_arrays(self) -> tuple[str, ...]:
        """Names of the policy's arrays that contain NaN or infinity."""
        from safetensors import safe_open

        if self.path is None:
            return ()
        path = self.path / "policy" / "arrays.safetensors"
        try:
            check_regular(path, LARGEST_ARRAYS)
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}
        except Exception:  # no policy, or a dtype that NumPy lacks, a header that lies, ...
            return ()
        floats = {name: x for name, x in arrays.items() if np.issubdtype(x.dtype, np.floating)}
        return tuple(
            printable(name) for name, array in floats.items() if not np.isfinite(array).all()
        )


class EmptyRun(ValueError):
    """Raised for a run that has not been evaluated yet."""


def read_run(path: str | Path) -> RunData:
    """Returns the run in a folder, finished or not.

    Raises:
      ValueError: it is not a run folder, or one of its files cannot be read.
      EmptyRun: the run has not been evaluated yet.
    """
    folder = Path(path)
    config = folder / "config.yaml"
    settings = flatten(_read_settings(folder))
    names = [settings.get(key) for key in ("algorithm", "environment")]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{config} names no algorithm and environment")
    first, count = settings.get("seed", 0), settings.get("seeds", 1)
    whole = type(first) is int and type(count) is int
    if not whole or not 0 <= first <= LARGEST_SEED or not 1 <= count <= MOST_SEEDS:
        raise ValueError(
            f"seed and seeds in {config} must be whole numbers, seed from 0 to {LARGEST_SEED} and "
            f"seeds from 1 to {MOST_SEEDS}"
        )
    steps, metrics = _read_metrics(folder / "metrics.jsonl", count)
    result, facts = read_result(folder), read_facts(folder)
    final = metrics["return"][-1]
    per_seed = (result.get("return") or {}).get("per_seed")
    if isinstance(per_seed, list) and len(per_seed) == count:
        final = np.array(per_seed, float)
    return RunData(
        name=folder.resolve().name,
        path=folder,
        algorithm=str(names[0]),
        environment=str(names[1]),
        settings=settings,
        seeds=tuple(str(first + i) for i in range(count)),
        steps=steps,
        metrics=metrics,
        final=final,
        result=result,
        facts=facts,
    )


def _read_settings(folder: Path) -> dict[str, Any]:
    """Nested settings in `config.yaml`."""
    config = folder / "config.yaml"
    try:
        text = read_text(config)
    except CannotRead as error:
        if not error.missing:
            raise
        raise ValueError(f"{folder} is not a run folder: it has no config.yaml") from None
    return parse(text, str(config))


def _read_metrics(path: Path, seeds: int) -> tuple[Array, dict[str, Array]]:
    """Steps [K] and metrics [K, seeds]. Of several lines with the same steps the last counts."""
    try:
        lines = read_text(path, LARGEST_JSON).split("\n")
    except CannotRead as error:
        if not error.missing:
            raise
        raise EmptyRun(f"{path.parent} has no evaluation yet: no metrics.jsonl") from None
    records: dict[float, dict[str, Any]] = {}
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is not None:
            _check_values(record, seeds, f"{path}, line {number}")
            records[float(record["steps"])] = record
        elif number < len(lines):  # the last line may be cut off
            raise ValueError(f"{path}, line {number} is not a line of metrics")
    if not any("return" in record for record in records.values()):
        raise EmptyRun(f"{path.parent} has no evaluation yet: no return in metrics.jsonl")
    steps = sorted(records)
    names = dict.fromkeys(name for step in steps for name in records[step])
    if len(steps) * seeds * len(names) > MOST_NUMBERS:
        raise ValueError(
            f"{path} has {len(names)} metrics of {seeds} seeds at {len(steps)} evaluations; at "
            f"most {MOST_NUMBERS:,} numbers are read"
        )
    metrics = {
        name: np.stack([_per_seed(records[step].get(name), seeds) for step in steps])
        for name in names
        if name not in ("steps", "phases")
    }
    return np.array(steps), metrics


def _record(line: str) -> dict[str, Any] | None:
    """A line of metrics; None if it is not one."""
    try:
        record = parse_json(line, "the line")
    except ValueError:
        return None
    steps: Any = record.get("steps") if isinstance(record, dict) else None
    return record if is_number(steps) and 0 <= steps < LARGEST_STEPS else None


def _check_values(record: Mapping[str, Any], seeds: int, source: str) -> None:
    """Raises ValueError for a metric that is neither a number nor a list of one for each seed."""
    for name, value in record.items():
        if name == "phases":
            continue
        if isinstance(value, list) and len(value) != seeds:
            raise ValueError(
                f"{shortened(name)} in {source} has {len(value)} values; it must have {seeds}, one "
                "for each seed"
            )
        checked(value, [VALUE] if isinstance(value, list) else VALUE, source, name)


def _safe(content: Any) -> Any:
    """`content` with all text `printable`."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, Mapping):
        return {printable(name): _safe(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(_safe, content))
    return content


def _per_seed(value: Any, seeds: int) -> Array:
    """Values f64 [seeds]; a single number is repeated, and null is NaN."""
    values = value if isinstance(value, list) else [value] * seeds
    return np.array([x if is_number(x) else np.nan for x in values], float)
