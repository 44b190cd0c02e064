"""The contents of `metrics.jsonl` and `result.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.files import (
    LARGEST_JSON,
    NUMBER,
    NUMBER_OR_NONE,
    WHOLE,
    CannotRead,
    Each,
    Kind,
    Record,
    is_number,
    read_json,
)
from marlx.runs.files import finite

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress, Result
    from marlx.loop.settings import TrainConfig

INTERVAL = Kind(
    "a list of two numbers",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and all(end is None or is_number(end) for end in value)
    ),
)
_RETURN = Record(
    {"mean": NUMBER_OR_NONE, "interval_95": INTERVAL},
    {"iqm": NUMBER_OR_NONE, "per_seed": [NUMBER_OR_NONE]},
)
RESULT = Record(
    {},
    {
        "steps": WHOLE,
        "seeds": [WHOLE],
        "episodes_per_seed": WHOLE,
        "judged": Kind("drawn or greedy", lambda value: value in ("drawn", "greedy")),
        "return": _RETURN,
        "greedy_return": _RETURN,
        "drawn_return": _RETURN,
        "random_return": NUMBER_OR_NONE,
        "optimum": NUMBER_OR_NONE,
        "seconds": Each(NUMBER),
    },
)
"""Schema of `result.json`."""


def read_result(folder: Path) -> dict[str, Any]:
    """Returns the content of `result.json` in a run folder; empty if the run did not finish.

    Raises:
      ValueError: it cannot be read or has another form; the message names file and key.
    """
    try:
        return dict(read_json(folder / "result.json", RESULT, limit=LARGEST_JSON))
    except CannotRead as error:
        if error.missing:
            return {}
        raise


def metrics_line(progress: Progress) -> dict[str, Any]:
    """Returns the line of `metrics.jsonl` for a `Progress`; each metric has a value per seed."""
    metrics = {name: np.asarray(value).tolist() for name, value in progress.metrics.items()}
    phases = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
    return {
        "steps": progress.steps,
        "seconds": round(progress.seconds, 3),
        "phases": phases,
        **metrics,
    }


def metrics_text(history: Sequence[Progress]) -> str:
    """Returns the text of `metrics.jsonl`."""
    return "".join(json.dumps(finite(metrics_line(progress))) + "\n" for progress in history)


def summary(config: TrainConfig, result: Result, optimum: float | None) -> dict[str, Any]:
    """Returns the numbers of `result.json`.

    Args:
      config: of the run.
      result: of the run.
      optimum: best possible team return, if known.
    """
    from marlx.statistics import mean

    return {
        "steps": result.history[-1].steps,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "episodes_per_seed": result.returns.shape[1],
        "judged": result.judged,
        **{name: _summary_of(values) for name, values in result.evaluated.items()},
        "random_return": mean(result.random_returns),
        "optimum": optimum,
        "seconds": {name: round(seconds, 3) for name, seconds in result.phases.items()},
    }


def _summary_of(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Returns the numbers of a metric f64 [seeds, episodes] of the last evaluation."""
    from marlx.statistics import bootstrap_interval, iqm, mean

    return {
        "mean": mean(values),
        "interval_95": list(bootstrap_interval(values)),
        "iqm": iqm(values),
        "per_seed": values.mean(1).tolist(),
    }


def full_result(experiment: Experiment, result: Result, optimum: float | None) -> dict[str, Any]:
    """Returns the contents of `result.json`: the names of the run and its `summary`."""
    return {
        "algorithm": experiment.algorithm,
        "environment": experiment.environment,
        **summary(experiment.train, result, optimum),
    }
