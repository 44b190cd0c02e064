"""What is computed of several runs: curves with bands, scores over tasks, profiles, pairs.

Between `marlx.analysis.comparison` and the pictures and tables of `marlx.analysis.report`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from marlx.analysis.comparison import POINTS, Bounds, Comparison, Sample, curves
from marlx.analysis.plots import Dot, Line, Panel
from marlx.statistics import (
    Array,
    Scores,
    aggregate_iqm,
    aggregate_mean,
    aggregate_median,
    first_reached,
    normalise,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)

STATISTICS: dict[str, Callable[[Scores], Array]] = {
    "iqm": aggregate_iqm,
    "mean": aggregate_mean,
    "median": aggregate_median,
}
AGGREGATES: dict[str, Callable[[Scores], Array]] = {
    "IQM": aggregate_iqm,
    "Median": aggregate_median,
    "Mean": aggregate_mean,
    "Optimality gap": optimality_gap,
}
CURVE_RESAMPLES = 1000


class Estimate(NamedTuple):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


def estimate(statistic: Callable[..., Array], *samples: Scores) -> Estimate:
    """The statistic of runs, and the interval for new seeds."""
    low, high = stratified_interval(statistic, *samples)
    return Estimate(float(statistic(*samples)), float(low), float(high))


def curve_panels(
    comparison: Comparison,
    metric: str = "return",
    x: str = "steps",
    statistic: str = "iqm",
    bounds: Mapping[str, Bounds] | None = None,
) -> list[Panel]:
    """A panel per task with a line per method; `bounds` are drawn where they are no guesses.

    Raises:
      ValueError: no run has the metric, or `x` does not grow along a run.
    """
    out, known = [], set[str]()
    for task in comparison.tasks:
        lines = []
        for method in comparison.methods:
            sample = comparison.samples.get((task, method))
            drawn = curves(sample, metric, x) if sample else None
            if drawn is not None:
                lines.append(_line(method, drawn.x, [drawn.y], STATISTICS[statistic]))
        for run in comparison.runs:
            known |= run.metrics.keys()
        known_levels = levels(bounds[task]) if bounds and metric == "return" else {}
        out.append(Panel(task, lines, known_levels))
    if not any(panel.lines for panel in out):
        names = ", ".join(sorted(known - {"seconds"}))
        which = metric if metric not in known else x
        if metric in known and (x == "steps" or x in known):
            raise ValueError(f"no run has two evaluations with {metric} and {x} to draw")
        raise ValueError(f"no run has the metric {which}; there are {names}, and steps and seconds")
    return out


def levels(bounds: Bounds) -> dict[str, float]:
    """The random policy's return and the optimum, where the bounds are these."""
    low, _, high = bounds.source.partition(" to ")
    pairs = {
        "random": (low, "random policy", bounds.low),
        "optimum": (high, "optimum", bounds.high),
    }
    return {name: value for name, (has, wanted, value) in pairs.items() if has == wanted}


def _line(
    label: str, x: Array, scores: Sequence[Array], statistic: Callable[[Scores], Array]
) -> Line:
    """Scores [K, seeds] per task, reduced at each of the K points."""
    low, high = stratified_interval(statistic, scores, resamples=CURVE_RESAMPLES)
    return Line(label, x, statistic(scores), low, high)


def shared_tasks(comparison: Comparison) -> tuple[str, ...]:
    """The tasks that every method has run: what methods can be compared over."""
    return tuple(
        task
        for task in comparison.tasks
        if all((task, method) in comparison.samples for method in comparison.methods)
    )


def scores_of(
    comparison: Comparison, bounds: Mapping[str, Bounds], method: str, tasks: Sequence[str]
) -> list[Array]:
    """Normalised final returns f64 [seeds] of a method, per task."""
    return [
        normalise(comparison.samples[task, method].final, bounds[task].low, bounds[task].high)
        for task in tasks
    ]


def aggregates(
    comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]
) -> dict[str, list[Dot]]:
    """Each aggregate of scores over `tasks`, for every method."""
    out: dict[str, list[Dot]] = {name: [] for name in AGGREGATES}
    for method in comparison.methods:
        scores = scores_of(comparison, bounds, method, tasks)
        for name, statistic in AGGREGATES.items():
            out[name].append(Dot(method, *estimate(statistic, scores)))
    return out


def profiles(comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]) -> Panel:
    """For each method the share of runs that score above a threshold."""
    everything = {m: scores_of(comparison, bounds, m, tasks) for m in comparison.methods}
    values = np.concatenate([task for scores in everything.values() for task in scores])
    grid = np.linspace(min(0.0, values.min()), max(1.0, values.max()), POINTS)
    profile = functools.partial(performance_profile, thresholds=grid)
    lines = [_line(method, grid, scores, profile) for method, scores in everything.items()]
    return Panel("", lines)


def improvements(
    comparison: Comparison, bounds: Mapping[str, Bounds]
) -> dict[tuple[str, str], tuple[Estimate, int]]:
    """For each pair of methods how likely the first beats the second, over the tasks of both."""
    out = {}
    for i, one in enumerate(comparison.methods):
        for other in comparison.methods[i + 1 :]:
            tasks = [
                task
                for task in comparison.tasks
                if {(task, one), (task, other)} <= comparison.samples.keys()
            ]
            if not tasks:
                continue
            pair = [scores_of(comparison, bounds, method, tasks) for method in (one, other)]
            found = estimate(probability_of_improvement, *pair)
            out[one, other] = found, len(tasks)
            mirrored = Estimate(1 - found.value, 1 - found.high, 1 - found.low)
            out[other, one] = mirrored, len(tasks)
    return out


def efficiency_panel(
    comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]
) -> Panel:
    """Score against the share of each task's steps, over tasks; IQM over all runs."""
    grid, lines = np.linspace(0, 1, POINTS), []
    for method in comparison.methods:
        scores, start, end = [], 0.0, 1.0
        for task in tasks:
            drawn = curves(comparison.samples[task, method])
            if drawn is None:
                continue
            share = drawn.x / _longest(comparison, task)
            start, end = max(start, share[0]), min(end, share[-1])
            heights = [np.interp(grid, share, y) for y in drawn.y.T]
            scores.append(normalise(np.stack(heights, -1), bounds[task].low, bounds[task].high))
        there = (grid >= start) & (grid <= end)
        if len(scores) == len(tasks) and there.any():
            line = _line(method, 100 * grid[there], [task[there] for task in scores], aggregate_iqm)
            lines.append(line)
    return Panel("", lines)


def _longest(comparison: Comparison, task: str) -> float:
    """Steps of the longest run on a task."""
    samples = [sample for (of, _), sample in comparison.samples.items() if of == task]
    return max(float(run.steps[-1]) for sample in samples for run in sample.runs)


class Efficiency(NamedTuple):
    """How fast a method learned a task.

    Attributes:
      half, most: steps at which the IQM of its seeds first scored 0.5 and 0.9; None if never.
      area: its score averaged over the steps it was trained for.
    """

    half: float | None
    most: float | None
    area: Estimate


def efficiency(sample: Sample, bounds: Bounds) -> Efficiency | None:
    """How fast a sample's seeds learned; None where there is no curve."""
    drawn = curves(sample)
    if drawn is None or len(drawn.x) < 2:
        return None
    scores = normalise(drawn.y, bounds.low, bounds.high)
    middle = aggregate_iqm([scores])
    half, most = (first_reached(drawn.x, middle, height) for height in (0.5, 0.9))
    widths = np.diff(drawn.x)
    areas = widths @ (scores[1:] + scores[:-1]) / 2 / widths.sum()
    return Efficiency(half, most, estimate(aggregate_mean, [areas]))
