"""A run as its examination sees it: what was recorded, and what its environment and policy tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.analysis.run_data import read_run

if TYPE_CHECKING:
    from marlx.types import EnvSpec

Series = np.ndarray[Any, Any]
"""f64 [K, seeds], a metric at each of K evaluations; NaN where there was no number."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run folder says of a run.

    Attributes:
      settings: every setting by its dotted name, as on the command line without the dashes.
      steps: [K], environment steps per seed at each evaluation.
      metrics: by name.
      result: of `result.json`; empty while the run lasts.
      spec: of the environment; None where it cannot be made here.
      broken: names of the policy's arrays that hold numbers which do not exist.
    """

    settings: Mapping[str, Any]
    steps: Series
    metrics: Mapping[str, Series]
    result: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spec: EnvSpec | None = None
    broken: tuple[str, ...] = ()

    def number(self, name: str) -> float | None:
        """A setting, if there is one of that name and it is a number."""
        value = self.settings.get(name)
        return float(value) if isinstance(value, int | float) else None

    @property
    def total_steps(self) -> float:
        """What the run is to take; what it has taken if no setting says."""
        return self.number("total_steps") or float(self.steps[-1])

    @property
    def largest_return(self) -> float:
        """Of greedy and exploring episodes, in size; 0 if none was seen."""
        seen = [self.metrics[name] for name in ("return", "train_return") if name in self.metrics]
        return max((float(np.nanmax(np.abs(x), initial=0.0)) for x in seen), default=0.0)

    def late(self, name: str) -> Series | None:
        """The second half of a metric, without evaluations that have no number for any seed."""
        series = self.metrics.get(name)
        if series is None:
            return None
        series = series[~np.isnan(series).all(1)]
        return series[len(series) // 2 :] if len(series) >= 4 else None


def read_record(path: str | Path) -> Record:
    """The record of a run folder.

    Raises:
      ValueError: it is not one, or there is nothing in it yet.
    """
    run = read_run(path)
    folder = Path(path)
    return Record(run.settings, run.steps, run.metrics, run.result, _spec(folder), _broken(folder))


def _spec(folder: Path) -> EnvSpec | None:
    """The environment's facts; None if it comes from a package that is not here, say."""
    from marlx.runs.folder import load_experiment

    try:
        env = load_experiment(folder).env
        return env.spec(env.default_params)
    except Exception:  # whatever a third party's environment raises
        return None


def _broken(folder: Path) -> tuple[str, ...]:
    """Arrays of the policy that hold NaN or infinity."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "policy" / "arrays.safetensors", framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError):
        return ()
    floats = {name: x for name, x in arrays.items() if np.issubdtype(x.dtype, np.floating)}
    return tuple(name for name, array in floats.items() if not np.isfinite(array).all())
