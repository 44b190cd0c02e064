"""Conversion of runs to and from the raw data format of marl-eval.

The format (Gorsane et al. 2022, "Towards a Standardised Performance Evaluation Protocol for
Cooperative MARL", and the README of id-marl-eval)::

    {environment: {task: {algorithm: {run: {
        "step_0": {"step_count": 0, "elapsed_time": 0.0, "return": [0.1]},
        ...
        "absolute_metrics": {"return": [0.9]}}}}}}

A `run` is one seed. A list has a value per evaluation episode; ours has one value, their mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.comparison import UNFINISHED, Comparison
from marlx.analysis.run_data import LARGEST_STEPS, RunData
from marlx.files import LARGEST_JSON, is_number, parse_json, read_text
from marlx.statistics import Array


def to_marl_eval(comparison: Comparison) -> dict[str, Any]:
    """Returns the content of a marl-eval file.

    Commas in method names become semicolons, because marl-eval's tools split names at commas.
    Methods with unfinished runs are marked in their names; their absolute return is the last one.
    """
    content: dict[str, Any] = {}
    for sample in comparison.samples.values():
        family = re.split(r"[/-]", sample.task)[0]
        tasks = content.setdefault(family, {}).setdefault(sample.task, {})
        seeds = tasks.setdefault(sample.method.replace(",", ";"), {})
        for run, kept in zip(sample.runs, sample.kept, strict=True):
            for index in kept:
                seeds[f"seed_{run.seeds[index]}"] = _seed_record(run, index)
    return content


def _seed_record(run: RunData, index: int) -> dict[str, Any]:
    """The record of one seed."""
    record: dict[str, Any] = {}
    seconds = run.metrics.get("seconds")
    for k, step in enumerate(run.steps):
        value = float(run.metrics["return"][k, index])
        if not np.isfinite(value):
            continue
        record[f"step_{len(record)}"] = {
            "step_count": int(step),
            **({"elapsed_time": float(seconds[k, index])} if seconds is not None else {}),
            "return": [value],
        }
    # marl-eval requires the same names in all records
    time = {} if seconds is None else {"elapsed_time": float(seconds[-1, index])}
    record["absolute_metrics"] = {**time, "return": [float(run.final[index])]}
    return record


def read_marl_eval(path: str | Path) -> list[RunData]:
    """Returns the runs in a file of marl-eval's format: one for each task and algorithm.

    Metrics are means over episodes. Seeds that were evaluated at different steps become several
    runs.

    Raises:
      ValueError: the file cannot be read, or has another format.
    """
    text = read_text(path, LARGEST_JSON)
    try:
        content = parse_json(text, path)
    except ValueError as error:
        raise ValueError(f"{error}; give run folders or a marl-eval file") from None
    runs: list[RunData] = []
    for family, tasks in _records(content, path, "the file"):
        for task, algorithms in _records(tasks, path, family):
            name = task if re.match(rf"{re.escape(family)}[/-]", task) else f"{family}/{task}"
            for algorithm, seeds in _records(algorithms, path, f"{family}, {task}"):
                where = f"{family}, {task}, {algorithm}"
                by_steps: dict[bytes, list[tuple[str, _Seed]]] = {}
                for seed, record in _records(seeds, path, where):
                    read = _read_seed(record, f"{path}: {where}, {seed}")
                    by_steps.setdefault(read.steps.tobytes(), []).append((seed, read))
                for group in by_steps.values():
                    runs.append(_run(Path(path).name, name, algorithm, group))
    if not runs:
        raise ValueError(f"{path} has no run")
    return runs


class _Seed(NamedTuple):
    """Data of one seed."""

    steps: Array  # f64 [K]
    metrics: dict[str, Array]  # each f64 [K]
    absolute: float | None  # final return


def _records(content: Any, path: str | Path, where: str) -> list[tuple[str, Any]]:
    """Names and values of a JSON object."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} is not in marl-eval's format: {where} must be an object, as in "
            "{environment: {task: {algorithm: {run: {step_0: ...}}}}}"
        )
    return list(content.items())


def _read_seed(record: Any, where: str) -> _Seed:
    """Data of one seed."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} has no steps")
    steps, absolute = [], None
    for name, values in record.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}, {name} has no metrics")
        plain = {key.lower(): _mean(value) for key, value in values.items()}
        if "absolute" in name.lower():
            absolute = plain.get("return", plain.get("mean_episode_return"))
        elif "step_count" not in plain:
            raise ValueError(f"{where}, {name} has no step_count")
        elif not 0 <= plain["step_count"] < LARGEST_STEPS:
            raise ValueError(f"{where}, {name}: step_count is not a number of steps")
        else:
            steps.append(plain)
    steps.sort(key=lambda plain: plain["step_count"])
    names = dict.fromkeys(key for plain in steps for key in plain)
    columns = {key: np.array([plain.get(key, np.nan) for plain in steps]) for key in names}
    # names in files of Mava and others
    renamed = {
        "elapsed_time": "seconds",
        "mean_episode_return": "return",
        "episode_return": "return",
    }
    columns = {renamed.get(key, key): values for key, values in columns.items()}
    if "return" not in columns:
        raise ValueError(f"{where} has no return")
    return _Seed(columns.pop("step_count"), columns, absolute)


def _mean(value: Any) -> float:
    """The mean of a number or of a list of numbers; NaN of anything else, and of an empty list."""
    try:
        values = np.asarray(value, float)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
    mean = float(np.mean(values)) if values.size else float("nan")
    return mean if is_number(mean) else float("nan")


def _run(source: str, task: str, algorithm: str, group: list[tuple[str, _Seed]]) -> RunData:
    """The run of seeds with the same steps."""
    seeds = [seed for _, seed in group]
    steps = seeds[0].steps
    missing = np.full(len(steps), np.nan)
    metrics = {
        name: np.stack([seed.metrics.get(name, missing) for seed in seeds], -1)
        for name in dict.fromkeys(name for seed in seeds for name in seed.metrics)
    }
    final = [
        seed.metrics["return"][-1] if seed.absolute is None else seed.absolute for seed in seeds
    ]
    finished = all(seed.absolute is not None for seed in seeds)
    finished &= not algorithm.endswith(UNFINISHED)
    return RunData(
        name=f"{source}: {algorithm} on {task}",
        path=None,
        algorithm=algorithm.removesuffix(UNFINISHED),
        environment=task,
        settings={},
        seeds=tuple(name.removeprefix("seed_") for name, _ in group),
        steps=steps,
        metrics=metrics,
        final=np.array(final, float),
        result={"steps": float(steps[-1])} if finished else {},
        facts={},
    )
