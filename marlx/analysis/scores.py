"""Statistics of a comparison: curves, scores over tasks, profiles, pairs, sample efficiency.

Computes from a `Comparison` the data for the figures and tables of `marlx.analysis.report`.
Definitions follow Agarwal et al. 2021 (`marlx.statistics`).
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
from marlx.text import shortened

STATISTICS: dict[str, Callable[[Scores], Array]] = {
    "iqm": aggregate_iqm,
    "mean": aggregate_mean,
    "median": aggregate_median,
}
"""Statistics over seeds for curves, by option value."""
AGGREGATES: dict[str, Callable[[Scores], Array]] = {
    "IQM": aggregate_iqm,
    "Median": aggregate_median,
    "Mean": aggregate_mean,
    "Optimality gap": optimality_gap,
}
"""Statistics over tasks, by title."""
CURVE_RESAMPLES = 1000
"""Bootstrap resamples for the band of a curve."""


class Estimate(NamedTuple):
    """A point estimate with its 95% interval."""

    value: float
    low: float
    high: float


def estimate(statistic: Callable[..., Array], *samples: Scores) -> Estimate:
    """Returns a statistic of scores with its stratified bootstrap interval over seeds."""
    low, high = stratified_interval(statistic, *samples)
    return Estimate(float(statistic(*samples)), float(low), float(high))


def curve_panels(
    comparison: Comparison,
    metric: str = "return",
    x: str = "steps",
    statistic: str = "iqm",
    bounds: Mapping[str, Bounds] | None = None,
) -> list[Panel]:
    """Returns a panel per task with a line per method.

    Args:
      comparison: the runs, from `compare`.
      metric: name in `metrics.jsonl`.
      x: `steps`, or a metric that increases during a run.
      statistic: over seeds, from `STATISTICS`.
      bounds: by task; known random returns and optima are drawn as levels, for `return` only.

    Raises:
      ValueError: no run has the metric or `x`, or `x` decreases in a run.
    """
    out = []
    for task in comparison.tasks:
        lines = []
        for method in comparison.methods:
            sample = comparison.samples.get((task, method))
            drawn = curves(sample, metric, x) if sample else None
            if drawn is not None:
                lines.append(_line(method, drawn.x, [drawn.y], STATISTICS[statistic]))
        known_levels = levels(bounds[task]) if bounds and metric == "return" else {}
        out.append(Panel(task, lines, known_levels))
    if not any(panel.lines for panel in out):
        raise _nothing_to_draw(comparison, metric, x)
    return out


def levels(bounds: Bounds) -> dict[str, float]:
    """Returns the random policy's return and the optimum, those of the two that are bounds."""
    low, _, high = bounds.source.partition(" to ")
    pairs = {
        "random": (low, "random policy", bounds.low),
        "optimum": (high, "optimum", bounds.high),
    }
    return {name: value for name, (has, wanted, value) in pairs.items() if has == wanted}


def shared_tasks(comparison: Comparison) -> tuple[str, ...]:
    """Returns the tasks that every method was run on."""
    return tuple(
        task
        for task in comparison.tasks
        if all((task, method) in comparison.samples for method in comparison.methods)
    )


def scores_of(
    comparison: Comparison, bounds: Mapping[str, Bounds], method: str, tasks: Sequence[str]
) -> list[Array]:
    """Returns the normalised final returns f64 [seeds] of a method on each of the tasks."""
    return [
        normalise(comparison.samples[task, method].final, bounds[task].low, bounds[task].high)
        for task in tasks
    ]


def aggregates(
    comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]
) -> dict[str, list[Dot]]:
    """Returns each of `AGGREGATES` over `tasks`, for every method."""
    out: dict[str, list[Dot]] = {name: [] for name in AGGREGATES}
    for method in comparison.methods:
        scores = scores_of(comparison, bounds, method, tasks)
        for name, statistic in AGGREGATES.items():
            out[name].append(Dot(method, *estimate(statistic, scores)))
    return out


def profiles(comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]) -> Panel:
    """Returns the performance profile of each method: share of runs above each score."""
    everything = {m: scores_of(comparison, bounds, m, tasks) for m in comparison.methods}
    values = np.concatenate([task for scores in everything.values() for task in scores])
    grid = np.linspace(min(0.0, values.min()), max(1.0, values.max()), POINTS)
    profile = functools.partial(performance_profile, thresholds=grid)
    lines = [_line(method, grid, scores, profile) for method, scores in everything.items()]
    return Panel("", lines)


def improvements(
    comparison: Comparison, bounds: Mapping[str, Bounds]
) -> dict[tuple[str, str], tuple[Estimate, int]]:
    """Returns the probability of improvement for each ordered pair of methods.

    Each comes with the number of tasks that both methods were run on; pairs without one are left
    out.
    """
    out = {}
    for i, method in enumerate(comparison.methods):
        for other in comparison.methods[i + 1 :]:
            tasks = [
                task
                for task in comparison.tasks
                if {(task, method), (task, other)} <= comparison.samples.keys()
            ]
            if not tasks:
                continue
            pair = [scores_of(comparison, bounds, name, tasks) for name in (method, other)]
            found = estimate(probability_of_improvement, *pair)
            out[method, other] = found, len(tasks)
            mirrored = Estimate(1 - found.value, 1 - found.high, 1 - found.low)
            out[other, method] = mirrored, len(tasks)
    return out


def efficiency_panel(
    comparison: Comparison, bounds: Mapping[str, Bounds], tasks: Sequence[str]
) -> Panel:
    """Returns the IQM of scores over tasks against the percentage of each task's steps."""
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
        shared = (grid >= start) & (grid <= end)
        if len(scores) == len(tasks) and shared.any():
            values = [task[shared] for task in scores]
            lines.append(_line(method, 100 * grid[shared], values, aggregate_iqm))
    return Panel("", lines)


class Efficiency(NamedTuple):
    """Sample efficiency of a method on a task."""

    half: float | None  # steps at which the IQM over seeds first reaches a score of 0.5
    most: float | None  # the same for 0.9; None if never
    area: Estimate  # mean score during training


def efficiency(sample: Sample, bounds: Bounds) -> Efficiency | None:
    """Returns the sample efficiency of a sample; None if it has no curve."""
    drawn = curves(sample)
    if drawn is None or len(drawn.x) < 2:
        return None
    scores = normalise(drawn.y, bounds.low, bounds.high)
    middle = aggregate_iqm([scores])
    half, most = (first_reached(drawn.x, middle, height) for height in (0.5, 0.9))
    widths = np.diff(drawn.x)
    areas = widths @ (scores[1:] + scores[:-1]) / 2 / widths.sum()
    return Efficiency(half, most, estimate(aggregate_mean, [areas]))


def _line(
    label: str, x: Array, scores: Sequence[Array], statistic: Callable[[Scores], Array]
) -> Line:
    """A statistic of scores [K, seeds] per task at each of K points, with its band."""
    low, high = stratified_interval(statistic, scores, resamples=CURVE_RESAMPLES)
    return Line(label, x, statistic(scores), low, high)


def _longest(comparison: Comparison, task: str) -> float:
    """Steps of the longest run on a task."""
    samples = [sample for (of, _), sample in comparison.samples.items() if of == task]
    return max(float(run.steps[-1]) for sample in samples for run in sample.runs)


def _nothing_to_draw(comparison: Comparison, metric: str, x: str) -> ValueError:
    """The error for a metric or x axis that no run has."""
    known = {name for run in comparison.runs for name in run.metrics}
    if metric in known and (x == "steps" or x in known):
        return ValueError(f"no run has {metric} and {x} at two evaluations")
    missing = metric if metric not in known else x
    names = ", ".join([*sorted(known - {"seconds"}), "steps", *sorted(known & {"seconds"})])
    return ValueError(f"no run has the metric {shortened(missing)}; known: {names}")
