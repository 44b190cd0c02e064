"""Rows of stored results, made of a training or of plain measurements."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.analysis.result_rows import (
    COLUMNS,
    DIGITS,
    RUN,
    SETTINGS,
    Row,
    config_hash,
    configuration,
    device_text,
    finite,
)
from marlx.config.tree import flatten
from marlx.statistics import bootstrap_interval, mean

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress, Result


def about(*packages: str) -> dict[str, Any]:
    """Returns the `date`, `commit`, `versions` and `device` of a result that is made now.

    Args:
      *packages: whose versions are kept too, where they are installed.
    """
    import jax

    versions = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    first = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "versions": versions,
        "device": {
            "platform": first.platform,
            "kind": first.device_kind,
            "count": jax.device_count(),
        },
    }


def _commit() -> str | None:
    """Returns the commit of this file's repository, `-dirty` if changed; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def training_rows(
    made: Experiment,
    result: Result,
    *,
    study: str,
    comparison: str,
    arm: str,
    about: Mapping[str, Any],
    command: str | None = None,
    result_id: str | None = None,
    measured: Sequence[Mapping[str, Any]] = (),
    extra: Mapping[str, Any] | None = None,
    keep_returns: bool = True,
    **columns: Any,
) -> tuple[list[Row], dict[str, Any]]:
    """Returns the rows of a training, one per seed, and its settings record, for `add_rows`.

    Args:
      made: the experiment.
      result: of its training.
      study: name of the study.
      comparison: the part of the study whose arms are compared with each other.
      arm: label of this configuration in the comparison.
      about: `date`, `commit`, `versions` and `device`.
      command: the command line that makes it again.
      result_id: the argument of `marlx reproduce`.
      measured: [seeds], further results of each seed.
      extra: further results of all seeds together.
      keep_returns: whether the rows have the return of every episode.
      **columns: of all rows, e.g. `control_of`.
    """
    settings = configuration(made.settings())
    shared = {
        "study": study,
        "comparison": comparison,
        "arm": arm,
        "env": made.environment,
        "algorithm": made.algorithm,
        "config_hash": config_hash(settings),
        "changes_from_preset": changes_from_preset(made),
        "commit": about["commit"],
        "date": about["date"],
        "device": device_text(about["device"]),
        **columns,
    }
    seeds = list(range(made.train.seed, made.train.seed + made.train.seeds))
    rows = []
    for i, seed in enumerate(seeds):
        row = dict.fromkeys(COLUMNS) | shared | {"seed": seed} | _of_seed(result, i)
        row["measured"] = _beside(result, i) | (dict(measured[i]) if measured else {})
        rows.append(finite(row if keep_returns else row | {"returns": None}))
    run = {
        "seeds": seeds,
        "command": command,
        **{name: about[name] for name in ("date", "commit", "versions", "device")},
        **_of_all_seeds(result),
        "extra": _beside_all(result) | dict(extra or {}),
    }
    return rows, _settings_record(made, result_id, settings, run)


def _settings_record(
    made: Experiment, result_id: str | None, settings: dict[str, Any], run: dict[str, Any]
) -> dict[str, Any]:
    """Returns the settings record of a configuration with one run."""
    env = made.prepared()
    return {
        "config_hash": config_hash(settings),
        "id": result_id,
        "algorithm": made.algorithm,
        "env": made.environment,
        "optimum": env.spec(env.default_params).optimum,
        "settings": settings,
        "runs": [finite(run)],
    }


def _of_seed(result: Result, i: int) -> dict[str, Any]:
    """Returns the columns of the seed with index `i` of a training."""

    def curve(name: str, history: Sequence[Progress]) -> list[float | None]:
        values = [p.metrics.get(name) for p in history]
        return [None if x is None else round(float(x[i]), DIGITS) for x in values]

    calls = curve("centralised_calls", result.history)
    return {
        "steps": [p.steps for p in result.history],
        "curve": curve("return", result.history),
        "train_curve": curve("train_return", result.history[1:]),
        "judged": result.judged,
        "final": round(float(result.returns[i].mean()), DIGITS),
        "returns": result.returns[i].round(DIGITS).tolist(),
        "calls": None if all(at is None for at in calls) else calls,
    }


def _beside(result: Result, i: int) -> dict[str, float]:
    """Returns what else the last evaluation of a seed measured, e.g. `greedy_return`."""
    others = {name: values for name, values in result.evaluated.items() if name != "return"}
    return {name: round(float(values[i].mean()), DIGITS) for name, values in others.items()}


def _beside_all(result: Result) -> dict[str, Any]:
    """Returns the same over all seeds, with 95% bootstrap intervals."""
    found: dict[str, Any] = {}
    for name, values in result.evaluated.items():
        if name != "return":
            found |= {name: mean(values), f"{name}_interval": list(bootstrap_interval(values))}
    return found


def _of_all_seeds(result: Result) -> dict[str, Any]:
    """Returns the summary of a training over all its seeds."""
    return {
        "judged": result.judged,
        "mean": mean(result.returns),
        "interval": list(bootstrap_interval(result.returns)),
        "episodes_per_seed": result.returns.shape[1],
        "random_return": float(result.random_returns.mean()),
        "seconds": {phase: round(value, 1) for phase, value in result.phases.items()},
    }


def measured_rows(
    settings: Mapping[str, Any],
    measured: Sequence[Mapping[str, Any]],
    *,
    study: str,
    comparison: str,
    arm: str,
    about: Mapping[str, Any],
    env: str | None = None,
    algorithm: str | None = None,
    seeds: Sequence[int | None] = (None,),
    extra: Mapping[str, Any] | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Returns the rows of a measurement that is no training, and its settings record.

    Args:
      settings: all that defines the measurement; a key `seeds` or `seed` is left out.
      measured: the results of each of `seeds`.
      study: name of the study.
      comparison: the part of the study whose arms are compared with each other.
      arm: label in the comparison.
      about: `date`, `commit`, `versions` and `device`.
      env: environment id, if there is one.
      algorithm: its name, if there is one.
      seeds: one per row, None where the measurement has no seed.
      extra: further results of all seeds together.
    """
    settings = finite(configuration(settings))
    digest = config_hash(settings)
    shared = {
        "study": study,
        "comparison": comparison,
        "arm": arm,
        "env": env,
        "algorithm": algorithm,
        "config_hash": digest,
        "commit": about["commit"],
        "date": about["date"],
        "device": device_text(about["device"]),
    }
    rows = [
        dict.fromkeys(COLUMNS) | shared | {"seed": seed, "measured": finite(values)}
        for seed, values in zip(seeds, measured, strict=True)
    ]
    run = dict.fromkeys(RUN) | dict(about) | {"seeds": list(seeds), "extra": finite(extra or {})}
    record = dict.fromkeys(SETTINGS) | {"config_hash": digest, "env": env}
    return rows, record | {"algorithm": algorithm, "settings": settings, "runs": [run]}


def changes_from_preset(made: Experiment) -> dict[str, Any]:
    """Returns the settings, by dotted name, that the preset does not have or has otherwise."""
    from marlx.config.layers import experiment

    preset = flatten(experiment(made.algorithm, made.environment).settings())
    settings = flatten(configuration(made.settings()))
    return {k: v for k, v in settings.items() if k not in preset or preset[k] != v}
