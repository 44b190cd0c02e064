"""Records that a run writes: lines of `metrics.jsonl` and `result.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.config.layers import Experiment
from marlx.runs.files import finite

if TYPE_CHECKING:
    from marlx.loop.progress import Progress
    from marlx.loop.settings import TrainConfig
if TYPE_CHECKING:
    import numpy as np

    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress


def metrics_record(progress: Progress) -> dict[str, Any]:
    """The line of `metrics.jsonl` that a `Progress` becomes; each metric has a value per seed."""
    metrics = {name: np.asarray(value).tolist() for name, value in progress.metrics.items()}
    phases = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
    return {
        "steps": progress.steps,
        "seconds": round(progress.seconds, 3),
        "phases": phases,
        **metrics,
    }


def metrics_text(history: Sequence[Progress]) -> str:
    """What `metrics.jsonl` holds."""
    return "".join(json.dumps(finite(metrics_record(progress))) + "\n" for progress in history)


def result_record(
    config: TrainConfig,
    last: Progress,
    returns: np.ndarray[Any, Any],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
    phases: Mapping[str, float],
) -> dict[str, Any]:
    """What `result.json` says of returns f64 [seeds, episodes] and random ones f64 [episodes]."""
    from marlx.statistics import bootstrap_interval, iqm, mean

    low, high = bootstrap_interval(returns)
    return {
        "steps": last.steps,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "episodes_per_seed": returns.shape[1],
        "return": {
            "mean": mean(returns),
            "interval_95": [low, high],
            "iqm": iqm(returns),
            "per_seed": returns.mean(1).tolist(),
        },
        "random_return": mean(random_returns),
        "optimum": optimum,
        "seconds": {name: round(seconds, 3) for name, seconds in phases.items()},
    }


def full_result(
    experiment: Experiment,
    phases: Mapping[str, float],
    history: Sequence[Progress],
    returns: np.ndarray[Any, Any],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
) -> dict[str, Any]:
    """What `result.json` holds."""
    config, last = experiment.train, history[-1]
    return {
        "algorithm": experiment.algorithm,
        "environment": experiment.environment,
        **result_record(config, last, returns, random_returns, optimum, phases),
    }
