"""Runs in marl-eval's raw data format: its tools can read ours, and we can read others'.

The format (Gorsane et al. 2022, "Towards a Standardised Performance Evaluation Protocol for
Cooperative MARL", and the README of id-marl-eval)::

    {environment: {task: {algorithm: {run: {
        "step_0": {"step_count": 0, "elapsed_time": 0.0, "return": [0.1]},
        ...
        "absolute_metrics": {"return": [0.9]}}}}}}

Each seed is a run. A list holds a value per evaluation episode, or their mean alone, as ours do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from marlx.analysis.comparison import UNFINISHED, Comparison
from marlx.analysis.run_data import RunData
from marlx.statistics import Array


def to_marl_eval(comparison: Comparison) -> dict[str, Any]:
    """The records of every seed; commas, at which marl-eval's tools split names, become semicolons.

    What did not finish has its last return as its absolute one, and says so in its name.
    """
    content: dict[str, Any] = {}
    for sample in comparison.samples.values():
        world = re.split(r"[/-]", sample.task)[0]
        tasks = content.setdefault(world, {}).setdefault(sample.task, {})
        seeds = tasks.setdefault(sample.method.replace(",", ";"), {})
        for run, kept in zip(sample.runs, sample.kept, strict=True):
            for place in kept:
                seeds[f"seed_{run.seeds[place]}"] = _seed_record(run, place)
    return content


def _seed_record(run: RunData, place: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    seconds = run.metrics.get("seconds")
    for k, step in enumerate(run.steps):
        value = float(run.metrics["return"][k, place])
        if not np.isfinite(value):
            continue
        record[f"step_{len(record)}"] = {
            "step_count": int(step),
            **({"elapsed_time": float(seconds[k, place])} if seconds is not None else {}),
            "return": [value],
        }
    # marl-eval's check wants the same names in all of them
    time = {} if seconds is None else {"elapsed_time": float(seconds[-1, place])}
    record["absolute_metrics"] = {**time, "return": [float(run.final[place])]}
    return record


def read_marl_eval(path: str | Path) -> list[RunData]:
    """The runs in a file of marl-eval's format: one for each task and algorithm.

    Metrics become means over episodes. Where seeds were evaluated at different steps, each such
    group is a run of its own.

    Raises:
      ValueError: the file cannot be read or is not of that format, in one line.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON; give run folders or a file for marl-eval") from None
    runs: list[RunData] = []
    for world, tasks in _records(content, path, "the file"):
        for task, algorithms in _records(tasks, path, world):
            name = task if re.match(rf"{re.escape(world)}[/-]", task) else f"{world}/{task}"
            for algorithm, seeds in _records(algorithms, path, f"{world}, {task}"):
                alike: dict[bytes, list[tuple[str, Any]]] = {}
                for seed, record in _records(seeds, path, f"{world}, {task}, {algorithm}"):
                    read = _read_seed(record, f"{path}: {world}, {task}, {algorithm}, {seed}")
                    alike.setdefault(read[0].tobytes(), []).append((seed, read))
                for group in alike.values():
                    runs.append(_run(Path(path).name, name, algorithm, group))
    if not runs:
        raise ValueError(f"{path} holds no run")
    return runs


def _records(content: Any, path: str | Path, where: str) -> list[tuple[str, Any]]:
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} is not in marl-eval's format: {where} must hold records by name, as in "
            "{environment: {task: {algorithm: {run: {step_0: ...}}}}}"
        )
    return list(content.items())


def _read_seed(record: Any, where: str) -> tuple[Array, dict[str, Array], float | None]:
    """Steps [K], metrics [K] and the absolute return."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} holds no steps")
    steps, absolute = [], None
    for name, values in record.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"{where}, {name} holds no metrics")
        plain = {key.lower(): _mean(value) for key, value in values.items()}
        if "absolute" in name.lower():
            absolute = plain.get("return", plain.get("mean_episode_return"))
        elif "step_count" not in plain:
            raise ValueError(f"{where}, {name} has no step_count")
        else:
            steps.append(plain)
    steps.sort(key=lambda plain: plain["step_count"])
    names = dict.fromkeys(key for plain in steps for key in plain)
    columns = {key: np.array([plain.get(key, np.nan) for plain in steps]) for key in names}
    # what Mava and others call it
    renamed = {
        "elapsed_time": "seconds",
        "mean_episode_return": "return",
        "episode_return": "return",
    }
    columns = {renamed.get(key, key): values for key, values in columns.items()}
    if "return" not in columns:
        raise ValueError(f"{where} has no return")
    return columns.pop("step_count"), columns, absolute


def _mean(value: Any) -> float:
    try:
        return float(np.mean(np.asarray(value, float)))
    except (TypeError, ValueError):
        return float("nan")


def _run(source: str, task: str, algorithm: str, group: list[tuple[str, Any]]) -> RunData:
    names = dict.fromkeys(key for _, (_, columns, _) in group for key in columns)
    missing = np.full(len(group[0][1][0]), np.nan)
    metrics = {
        key: np.stack([columns.get(key, missing) for _, (_, columns, _) in group], -1)
        for key in names
    }
    final = [
        columns["return"][-1] if absolute is None else absolute
        for _, (_, columns, absolute) in group
    ]
    finished = all(absolute is not None for _, (_, _, absolute) in group)
    finished &= not algorithm.endswith(UNFINISHED)
    return RunData(
        name=f"{source}: {algorithm} on {task}",
        path=None,
        algorithm=algorithm.removesuffix(UNFINISHED),
        environment=task,
        settings={},
        seeds=tuple(seed.removeprefix("seed_") for seed, _ in group),
        steps=group[0][1][0],
        metrics=metrics,
        final=np.array(final, float),
        result={"steps": float(group[0][1][0][-1])} if finished else {},
        facts={},
    )
