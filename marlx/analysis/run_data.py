"""Runs read back from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marlx.config.tree import flatten
from marlx.config.yaml_text import parse
from marlx.statistics import Array


class RunData(NamedTuple):
    """A run, as far as it got.

    Attributes:
      name: for people; the folder's name.
      path: of the folder; None where the run comes from another kind of file.
      algorithm: its name.
      environment: its id.
      settings: dotted name -> value, `learner.lr`; empty where they are not known.
      seeds: names of the seeds.
      steps: f64 [K], environment steps at each evaluation.
      metrics: each f64 [K, seeds]; nan is a number that does not exist.
      final: f64 [seeds], returns at the end: of the last evaluation, the largest of all.
      result: `result.json`, empty where the run did not finish.
      facts: `environment.json`.
    """

    name: str
    path: Path | None
    algorithm: str
    environment: str
    settings: dict[str, Any]
    seeds: tuple[str, ...]
    steps: Array
    metrics: dict[str, Array]
    final: Array
    result: dict[str, Any]
    facts: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether there is a final result."""
        return bool(self.result)


class EmptyRun(ValueError):
    """A run that has not been evaluated yet."""


def read_run(path: str | Path) -> RunData:
    """The run that a folder holds, finished or not.

    Raises:
      ValueError: there is none, or nothing was evaluated yet.
    """
    folder = Path(path)
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{path} is not the folder of a run: it has no config.yaml") from None
    settings = flatten(parse(text, str(folder / "config.yaml")))
    names = [settings.get(key) for key in ("algorithm", "environment")]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{folder / 'config.yaml'} names no algorithm and environment")
    first, count = settings.get("seed", 0), settings.get("seeds", 1)
    if type(first) is not int or type(count) is not int or count < 1:
        raise ValueError(f"{folder / 'config.yaml'} has no whole seed and seeds")
    steps, metrics = _read_metrics(folder / "metrics.jsonl", count)
    result, facts = (read_json(folder / f"{name}.json") for name in ("result", "environment"))
    final = metrics["return"][-1]
    per_seed = (result.get("return") or {}).get("per_seed")
    if isinstance(per_seed, list) and len(per_seed) == count:
        final = np.array(per_seed, float)
    return RunData(
        folder.resolve().name,
        folder,
        str(names[0]),
        str(names[1]),
        settings,
        tuple(str(first + i) for i in range(count)),
        steps,
        metrics,
        final,
        result,
        facts,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A record, empty where there is none: a run may have been stopped before it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_metrics(path: Path, seeds: int) -> tuple[Array, dict[str, Array]]:
    """Steps [K] and metrics [K, seeds]; of lines with the same steps the last one holds."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise EmptyRun(f"{path.parent} holds nothing yet: it has no metrics.jsonl") from None
    records: dict[float, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            records[float(record["steps"])] = record
        except (ValueError, TypeError, KeyError):
            if number < len(lines):  # the last line may have been cut off
                raise ValueError(f"{path}, line {number} is no record of metrics") from None
    if not any("return" in record for record in records.values()):
        raise EmptyRun(f"{path.parent} holds nothing yet: its metrics.jsonl has no return")
    steps = sorted(records)
    names = dict.fromkeys(name for step in steps for name in records[step])
    metrics = {}
    for name in names:
        if name in ("steps", "phases"):
            continue
        column = [_per_seed(records[step].get(name), seeds) for step in steps]
        metrics[name] = np.stack(column)
    return np.array(steps), metrics


def _per_seed(value: Any, seeds: int) -> Array:
    """A value per seed; one number is everybody's, and what is not a number is nan."""
    values = value if isinstance(value, list) else [value] * seeds
    if len(values) != seeds:
        values = [None] * seeds
    return np.array([x if isinstance(x, int | float) else np.nan for x in values], float)
