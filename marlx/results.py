"""Runs read back and put side by side: what plots and reports are made of.

Runs come from run folders and from files in marl-eval's format (`marlx.marl_eval`). A **task** is
an environment with those of its settings in which the given runs differ, a **method** an algorithm
likewise. The seeds of all runs with the same task and method are one sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marlx.config import parse
from marlx.statistics import Array

POINTS = 101
"""Points of a curve over runs that were evaluated at different steps."""
UNFINISHED = " (unfinished)"
"""Ends the names of methods whose runs have no final result."""
UNCOMPARED = ("algorithm", "environment", "seed", "seeds", "evals", "eval_episodes")
"""Settings in which runs of one method may differ."""


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


class Sample(NamedTuple):
    """The seeds of a method on a task.

    Attributes:
      task, method: their labels.
      runs: in the order given.
      kept: of each run, the places of the seeds that count; a seed that two runs share counts once.
    """

    task: str
    method: str
    runs: tuple[RunData, ...]
    kept: tuple[tuple[int, ...], ...]

    @property
    def final(self) -> Array:
        """f64 [seeds], returns at the end."""
        pairs = zip(self.runs, self.kept, strict=True)
        return np.concatenate([run.final[list(kept)] for run, kept in pairs])


class Curves(NamedTuple):
    """A metric of several seeds against something that grows along a run.

    Attributes:
      x: f64 [K].
      y: f64 [K, seeds].
    """

    x: Array
    y: Array


class Comparison(NamedTuple):
    """Runs side by side.

    Attributes:
      runs: all, in the order given.
      samples: by (task, method).
      tasks, methods: labels, in the order of their first run.
      differing: the settings in which any runs differ.
      notes: what a reader should know of how the runs were put together.
    """

    runs: tuple[RunData, ...]
    samples: dict[tuple[str, str], Sample]
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    differing: tuple[str, ...]
    notes: tuple[str, ...]


class Bounds(NamedTuple):
    """What scores 0 and what scores 1 on a task, and where the two are from."""

    low: float
    high: float
    source: str


def read_all(paths: Iterable[str | Path]) -> tuple[list[RunData], list[str]]:
    """The runs that `paths` hold, and a line for each that was begun and holds no number yet.

    Paths are run folders, folders of run folders, and files for marl-eval.

    Raises:
      ValueError: a path holds no run, or one that cannot be read, in one line.
    """
    from marlx.marl_eval import read_marl_eval

    runs: list[RunData] = []
    empty: list[str] = []
    seen: set[Path] = set()
    for path in map(Path, paths):
        if path.is_file():
            runs += read_marl_eval(path) if path.resolve() not in seen else []
            seen.add(path.resolve())
            continue
        folders = [path] if (path / "config.yaml").is_file() else _folders_in(path)
        if not folders:
            raise ValueError(
                f"{path} holds no run; give run folders, a folder of them, or marl-eval JSON"
            )
        for folder in folders:
            if folder.resolve() in seen:  # given twice, it counts once
                continue
            seen.add(folder.resolve())
            try:
                runs.append(read_run(folder))
            except EmptyRun as error:
                empty.append(f"left out: {error}")
    if not runs:
        raise ValueError(empty[0].removeprefix("left out: "))
    return runs, empty


class EmptyRun(ValueError):
    """A run that has not been evaluated yet."""


def _folders_in(path: Path) -> list[Path]:
    return sorted(
        {file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/config.yaml")}
    )


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
    settings = flat(parse(text, str(folder / "config.yaml")))
    names = [settings.get(key) for key in ("algorithm", "environment")]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{folder / 'config.yaml'} names no algorithm and environment")
    first, count = settings.get("seed", 0), settings.get("seeds", 1)
    if type(first) is not int or type(count) is not int or count < 1:
        raise ValueError(f"{folder / 'config.yaml'} has no whole seed and seeds")
    steps, metrics = _read_metrics(folder / "metrics.jsonl", count)
    result, facts = (_read_json(folder / f"{name}.json") for name in ("result", "environment"))
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


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _read_json(path: Path) -> dict[str, Any]:
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


def compare(runs: Sequence[RunData], notes: Sequence[str] = ()) -> Comparison:
    """`runs` grouped by task and method (see the module's text), with `notes` on them."""
    notes = list(notes)
    tasks = []
    for run in runs:
        alike = [other for other in runs if other.environment == run.environment]
        keys = [key for key in _differing(alike) if key.startswith("env.")]
        tasks.append(_label(run.environment, run, keys))
    # one set of settings names an algorithm's methods on all tasks
    telling: dict[str, dict[str, None]] = {}
    for place in dict.fromkeys(
        (run.algorithm, task) for run, task in zip(runs, tasks, strict=True)
    ):
        alike = [r for r, task in zip(runs, tasks, strict=True) if (r.algorithm, task) == place]
        keys = [key for key in _differing(alike) if not key.startswith("env.")]
        telling.setdefault(place[0], {}).update(dict.fromkeys(keys))
    methods = [
        _label(run.algorithm, run, telling[run.algorithm]) + UNFINISHED * (not run.finished)
        for run in runs
    ]
    places = list(zip(tasks, methods, strict=True))
    samples = {
        place: _sample(
            *place, [r for r, at in zip(runs, places, strict=True) if at == place], notes
        )
        for place in dict.fromkeys(places)
    }
    return Comparison(
        tuple(runs),
        samples,
        tuple(dict.fromkeys(tasks)),
        tuple(dict.fromkeys(methods)),
        tuple(_differing(runs, but=("algorithm", "environment"))),
        tuple(notes),
    )


def only_finished(comparison: Comparison) -> Comparison:
    """Without methods that have no final result, unless none has one."""
    samples = {
        place: sample
        for place, sample in comparison.samples.items()
        if not sample.method.endswith(UNFINISHED)
    }
    if not samples:
        return comparison
    return comparison._replace(
        samples=samples,
        tasks=tuple(dict.fromkeys(task for task, _ in samples)),
        methods=tuple(dict.fromkeys(method for _, method in samples)),
    )


def _differing(runs: Sequence[RunData], but: Sequence[str] = UNCOMPARED) -> list[str]:
    """The settings that are not the same in all runs whose settings are known."""
    known = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in known for key in settings)
    return [
        key
        for key in keys
        if key not in but and len({repr(settings.get(key)) for settings in known}) > 1
    ]


def _label(name: str, run: RunData, keys: Iterable[str]) -> str:
    """`qmix`, or `qmix lr=0.001 double=true`."""
    short = {key: key.removeprefix("learner.").removeprefix("env.") for key in keys}
    known = {short[key]: run.settings[key] for key in short if key in run.settings}
    parts = [f"{key}={written(value)}" for key, value in known.items()]
    return " ".join([name, *parts])


def written(value: Any) -> str:
    """A setting as a file or a command line would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "x".join(map(written, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _sample(task: str, method: str, runs: Sequence[RunData], notes: list[str]) -> Sample:
    seen: dict[str, str] = {}
    kept = []
    for run in sorted(runs, key=lambda run: -run.steps[-1]):  # of two, the longer one counts
        fresh = [i for i, seed in enumerate(run.seeds) if seed not in seen]
        again = [seed for seed in run.seeds if seed in seen]
        if again:
            notes.append(
                f"seed {', '.join(again)} of {run.name} is also in {seen[again[0]]}, with the same "
                "settings; it counts once"
            )
        seen.update({run.seeds[i]: run.name for i in fresh})
        kept.append((run, tuple(fresh)))
    kept = [(run, fresh) for run, fresh in kept if fresh]
    return Sample(task, method, tuple(run for run, _ in kept), tuple(fresh for _, fresh in kept))


def curves(sample: Sample, metric: str = "return", x: str = "steps") -> Curves | None:
    """A metric of the sample's seeds, on points that all of them reach; None if there are none.

    Seeds that were evaluated at the same points keep them; otherwise their curves are interpolated
    between the latest start and the earliest end.

    Args:
      sample: of the seeds.
      metric: its name in `metrics.jsonl`.
      x: `steps`, or a metric that grows along a run: `seconds`, a number of calls.

    Raises:
      ValueError: `x` falls somewhere along a run.
    """
    lines: list[tuple[Array, Array]] = []
    for run, kept in zip(sample.runs, sample.kept, strict=True):
        along = run.steps[:, None] if x == "steps" else run.metrics.get(x)
        if along is None or metric not in run.metrics:
            continue
        for seed in kept:
            at, height = along[:, min(seed, along.shape[1] - 1)], run.metrics[metric][:, seed]
            there = np.isfinite(at) & np.isfinite(height)
            at, height = at[there], height[there]
            if (np.diff(at) < 0).any():
                raise ValueError(
                    f"{x} falls along {run.name}; an x axis is what grows, as steps or seconds"
                )
            last = np.append(np.diff(at) > 0, True)  # of several at one point the last
            if at.size:
                lines.append((at[last], height[last]))
    if not lines:
        return None
    first = lines[0][0]
    if all(np.array_equal(at, first) for at, _ in lines):
        return Curves(first, np.stack([height for _, height in lines], -1))
    start, end = max(at[0] for at, _ in lines), min(at[-1] for at, _ in lines)
    if start > end:
        return None
    grid = np.linspace(start, end, POINTS)
    return Curves(grid, np.stack([np.interp(grid, *line) for line in lines], -1))


def task_bounds(
    comparison: Comparison, given: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, Bounds]:
    """What scores are normalised by on each task.

    The return of the random policy scores 0 and the optimum 1, where the runs know them; instead of
    one that is not known, the lowest or highest return that any of the runs showed.

    Args:
      comparison: of the runs.
      given: low and high by task or by environment, over what the runs know.

    Raises:
      ValueError: `given` names another task, or a low that is not below its high.
    """
    given = dict(given or {})
    bounds = {}
    for task in comparison.tasks:
        samples = [sample for (of, _), sample in comparison.samples.items() if of == task]
        runs = [run for sample in samples for run in sample.runs]
        pair = given.pop(task, None)
        if pair is not None:
            if not pair[0] < pair[1]:
                raise ValueError(f"the bounds of {task} are {pair[0]:g} and {pair[1]:g}; low first")
            bounds[task] = Bounds(*pair, "given")
            continue
        random = [run.result["random_return"] for run in runs if "random_return" in run.result]
        optima = [x for run in runs if (x := run.result.get("optimum")) is not None]
        shown = np.concatenate(
            [*(run.metrics["return"].ravel() for run in runs), *(r.final for r in runs)]
        )
        low = float(np.mean(random)) if random else float(np.nanmin(shown))
        high = float(optima[0]) if optima else float(np.nanmax(shown))
        source = f"{'random policy' if random else 'lowest seen'} to "
        source += "optimum" if optima else "highest seen"
        bounds[task] = Bounds(low, high, source) if low < high else Bounds(low, low + 1, "no range")
    if given:
        raise ValueError(
            f"bounds are given for {next(iter(given))}; the tasks are {', '.join(comparison.tasks)}"
        )
    return bounds
