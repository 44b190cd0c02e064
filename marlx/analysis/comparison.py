"""Grouping of runs by task and method, for plots and reports.

Runs come from run folders or from files in marl-eval's format (`marlx.analysis.marl_eval`). A
**task** is an environment together with those of its settings in which the given runs differ. A
**method** is an algorithm together with those of its settings in which runs on the same task
differ. The seeds of all runs with the same task and method form one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.run_data import RunData
from marlx.statistics import Array

POINTS = 101
"""Points of a curve that is interpolated over runs with different evaluation steps."""
UNFINISHED = " (unfinished)"
"""Suffix of methods whose runs did not finish."""
UNCOMPARED = (
    "algorithm", "environment", "seed", "seeds", "evals", "eval_episodes", "eval", "total_steps",
)  # fmt: skip
"""Settings that do not distinguish methods: a run that was made longer is of the same method.

Of `eval` only what it comes to counts: returns of drawn and of greedy actions are not pooled."""


class Sample(NamedTuple):
    """The seeds of a method on a task.

    Attributes:
      task: label of the task.
      method: label of the method.
      runs: the runs, longest first.
      kept: for each run, indices of its seeds in the sample; a seed in two runs counts once.
    """

    task: str
    method: str
    runs: tuple[RunData, ...]
    kept: tuple[tuple[int, ...], ...]

    @property
    def final(self) -> Array:
        """Final returns, f64 [seeds]."""
        pairs = zip(self.runs, self.kept, strict=True)
        return np.concatenate([run.final[list(kept)] for run, kept in pairs])


class Curves(NamedTuple):
    """A metric of several seeds against an increasing quantity, such as environment steps.

    Attributes:
      x: f64 [K].
      y: f64 [K, seeds].
    """

    x: Array
    y: Array


class Comparison(NamedTuple):
    """Runs grouped by task and method.

    Attributes:
      runs: all runs, in the order given.
      samples: by (task, method).
      tasks: labels, in the order of their first run.
      methods: labels, in the order of their first run.
      differing: names of settings in which any runs differ.
      notes: remarks for the reader, e.g. on runs that were left out.
    """

    runs: tuple[RunData, ...]
    samples: dict[tuple[str, str], Sample]
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    differing: tuple[str, ...]
    notes: tuple[str, ...]


class Bounds(NamedTuple):
    """Returns that scores of a task are normalised by."""

    low: float  # scores 0
    high: float  # scores 1
    source: str  # e.g. "random policy to optimum"


def compare(runs: Sequence[RunData], notes: Sequence[str] = ()) -> Comparison:
    """Returns `runs` grouped by task and method (see the module's docstring).

    Args:
      runs: runs from `read_run` or `read_all`.
      notes: remarks to pass on, as from `read_all`.
    """
    notes = list(notes)
    tasks = []
    for run in runs:
        alike = [other for other in runs if other.environment == run.environment]
        keys = [key for key in _differing(alike) if key.startswith("env.")]
        tasks.append(_label(run.environment, run, keys))
    # the same settings label an algorithm's methods on all tasks
    labelled: dict[str, dict[str, None]] = {}
    for pair in dict.fromkeys((run.algorithm, task) for run, task in zip(runs, tasks, strict=True)):
        alike = [r for r, task in zip(runs, tasks, strict=True) if (r.algorithm, task) == pair]
        keys = [key for key in _differing(alike) if not key.startswith("env.")]
        labelled.setdefault(pair[0], {}).update(dict.fromkeys(keys))
    mixed = {
        name for name in labelled if len({r.judged for r in runs if r.algorithm == name} - {""}) > 1
    }
    methods = [
        _label(run.algorithm, run, labelled[run.algorithm])
        + f" ({run.judged})" * (run.algorithm in mixed)
        + UNFINISHED * (not run.finished)
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


def judged_by(runs: Sequence[RunData]) -> str:
    """Returns `drawn`, `greedy`, or both: the actions of the runs' returns; "" if not known."""
    return " and ".join(sorted({run.judged for run in runs} - {""}))


def return_label(runs: Sequence[RunData]) -> str:
    """Returns `team return`, with the actions that it is of where all runs have the same."""
    judged = judged_by(runs)
    return f"team return, {judged} actions" if judged in ("drawn", "greedy") else "team return"


def only_finished(comparison: Comparison) -> Comparison:
    """Returns the comparison without unfinished methods; unchanged if all are unfinished."""
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
    """Names of settings that are not the same in all runs with known settings."""
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
    parts = [f"{key}={setting_text(value)}" for key, value in known.items()]
    return " ".join([name, *parts])


def setting_text(value: Any) -> str:
    """Returns a setting as it is written in a file or on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "x".join(map(setting_text, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _sample(task: str, method: str, runs: Sequence[RunData], notes: list[str]) -> Sample:
    """The sample of a task and method; appends a note for each run that repeats a seed."""
    seen: dict[str, str] = {}
    kept = []
    for run in sorted(
        runs, key=lambda run: -run.steps[-1]
    ):  # of a repeated seed the longest run counts
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
    ends = sorted({int(run.steps[-1]) for run, _ in kept})
    if len(ends) > 1 and not method.endswith(UNFINISHED):
        notes.append(
            f"runs of {method} on {task} end at {ends[0]:,} to {ends[-1]:,} steps: a curve ends "
            "with the shortest, final returns are each run's own"
        )
    return Sample(task, method, tuple(run for run, _ in kept), tuple(fresh for _, fresh in kept))


def curves(sample: Sample, metric: str = "return", x: str = "steps") -> Curves | None:
    """Returns curves of all seeds of a sample on common points; None if there are none.

    If all seeds were evaluated at the same points, those are used. Otherwise the curves are
    interpolated linearly from the latest start to the earliest end.

    Args:
      sample: runs of a method on a task.
      metric: name in `metrics.jsonl`.
      x: `steps`, or a metric that increases during a run, such as `seconds`.

    Raises:
      ValueError: `x` decreases at some point of a run.
    """
    lines: list[tuple[Array, Array]] = []
    for run, kept in zip(sample.runs, sample.kept, strict=True):
        points = run.steps[:, None] if x == "steps" else run.metrics.get(x)
        if points is None or metric not in run.metrics:
            continue
        for seed in kept:
            at, height = points[:, min(seed, points.shape[1] - 1)], run.metrics[metric][:, seed]
            known = np.isfinite(at) & np.isfinite(height)
            at, height = at[known], height[known]
            if (np.diff(at) < 0).any():
                raise ValueError(
                    f"{x} decreases in {run.name}; the x axis needs a metric that increases, such "
                    "as steps or seconds"
                )
            last = np.append(np.diff(at) > 0, True)  # of several values at a point the last counts
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
    """Returns the normalisation of each task's scores.

    The return of the random policy scores 0 and the optimum scores 1. If one of them is not known,
    the lowest or highest return of any run takes its place.

    Args:
      comparison: the runs, from `compare`.
      given: low and high by task; they take precedence.

    Raises:
      ValueError: `given` has a task that the runs do not have, or a low that is not below its high.
    """
    given = dict(given or {})
    bounds = {}
    for task in comparison.tasks:
        samples = [sample for (of, _), sample in comparison.samples.items() if of == task]
        runs = [run for sample in samples for run in sample.runs]
        pair = given.pop(task, None)
        if pair is not None:
            if not pair[0] < pair[1]:
                raise ValueError(
                    f"the bounds of {task} are {pair[0]:g} and {pair[1]:g}; the first must be lower"
                )
            bounds[task] = Bounds(*pair, "given")
            continue
        random = [x for run in runs if (x := run.result.get("random_return")) is not None]
        optima = [x for run in runs if (x := run.result.get("optimum")) is not None]
        shown = np.concatenate(
            [*(run.metrics["return"].ravel() for run in runs), *(r.final for r in runs)]
        )
        seen = shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.zeros(1)
        low = float(np.mean(random)) if random else float(seen.min())
        high = float(optima[0]) if optima else float(seen.max())
        source = f"{'random policy' if random else 'lowest seen'} to "
        source += "optimum" if optima else "highest seen"
        bounds[task] = Bounds(low, high, source) if low < high else Bounds(low, low + 1, "no range")
    if given:
        raise ValueError(
            f"bounds are given for {next(iter(given))}; the tasks are {', '.join(comparison.tasks)}"
        )
    return bounds
