"""Runs read back and put side by side: what plots and reports are made of.

Runs come from run folders and from files in marl-eval's format (`marlx.analysis.marl_eval`). A
**task** is an environment with those of its settings in which the given runs differ, a **method**
an algorithm likewise. The seeds of all runs with the same task and method are one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.run_data import RunData
from marlx.statistics import Array

POINTS = 101
"""Points of a curve over runs that were evaluated at different steps."""
UNFINISHED = " (unfinished)"
"""Ends the names of methods whose runs have no final result."""
UNCOMPARED = ("algorithm", "environment", "seed", "seeds", "evals", "eval_episodes")
"""Settings in which runs of one method may differ."""


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
