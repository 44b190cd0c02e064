"""Statistics of returns and scores, in plain NumPy.

The first part is for returns [runs, episodes] of one method on one task. The second part compares
scores of several runs on several tasks. It follows Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", and gives the numbers of their library rliable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]
Statistic = Callable[[Array], float]
Scores = Sequence[ArrayLike]
"""One array f64 [..., runs] per task."""

CHUNK = 250
"""Number of resamples computed at once; limits the memory for long curves."""


def mean(returns: ArrayLike) -> float:
    """Returns the mean over all runs and episodes."""
    return float(np.mean(np.asarray(returns, float)))


def iqm(returns: ArrayLike) -> float:
    """Returns the interquartile mean: the mean of the middle half of all runs and episodes.

    A quarter of the values, rounded down, is cut at either end, as in rliable's `aggregate_iqm`.
    NaN without values. Source: Agarwal et al. 2021, section 4.3.
    """
    values = np.sort(np.asarray(returns, float), axis=None)
    if not values.size:
        return float("nan")
    cut = values.size // 4
    return float(values[cut : values.size - cut].mean())


def bootstrap_interval(
    returns: ArrayLike,
    statistic: Statistic = mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the lower and upper end of the percentile bootstrap interval of `statistic`.

    Runs are resampled with replacement, then the episodes within each resampled run. With several
    runs the interval is for new runs; with a single run, for new episodes of the same policy. With
    fewer than about five runs its coverage is below `level`.

    Args:
      returns: [runs, episodes], or [runs] with one number each.
      statistic: function of an array [runs, episodes].
      level: nominal coverage, between 0 and 1.
      resamples: number of bootstrap resamples.
      seed: seed of the resampling; the same seed gives the same interval.

    Raises:
      ValueError: `returns` is empty or has another shape, or `level` is out of range.
    """
    values = np.asarray(returns, float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size:
        raise ValueError(f"returns have shape {values.shape}; expected [runs, episodes], not empty")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    runs, episodes = values.shape
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        run = rng.integers(runs, size=(runs, 1))
        episode = rng.integers(episodes, size=(runs, episodes))
        drawn[i] = statistic(values[run, episode])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# Several runs on several tasks
#
# Scores are a list with an array f64 [..., runs] per task. Tasks may have different numbers of
# runs. Statistics reduce runs and tasks and keep the leading axes, which are resamples or points of
# a curve. rliable has matrices [runs, tasks] instead: pass the transpose.


def normalise(returns: ArrayLike, low: float, high: float) -> Array:
    """Returns scores: 0 for a return of `low` (e.g. of a random policy), 1 for `high`.

    Raises:
      ValueError: `high` is not above `low`.
    """
    if not low < high:
        raise ValueError(f"scores run from {low} to {high}; the second must be larger")
    scores: Array = (np.asarray(returns, float) - low) / (high - low)
    return scores


def aggregate_mean(scores: Scores) -> Array:
    """Returns the mean over tasks of each task's mean over runs, [...]."""
    return np.asarray(np.mean(_task_means(scores), axis=0))


def aggregate_median(scores: Scores) -> Array:
    """Returns the median over tasks of each task's mean over runs, [...]."""
    return np.asarray(np.median(_task_means(scores), axis=0))


def aggregate_iqm(scores: Scores) -> Array:
    """Returns the mean of the middle half of all runs of all tasks, [...]; see `iqm`."""
    values = np.sort(_pooled(scores), -1)
    count = values.shape[-1]
    return np.asarray(values[..., count // 4 : count - count // 4].mean(-1))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """Returns the mean distance of runs below `target`, [...]; 0 for runs above it.

    Lower is better. Source: Agarwal et al. 2021, section 4.3.
    """
    gap: Array = target - np.minimum(_pooled(scores), target).mean(-1)
    return gap


def performance_profile(scores: Scores, thresholds: ArrayLike) -> Array:
    """Returns the share of runs of all tasks that score above each threshold, [..., thresholds].

    Source: Agarwal et al. 2021, section 4.2 (score distributions).
    """
    above = _pooled(scores)[..., None, :] > np.asarray(thresholds, float)[:, None]
    share: Array = above.mean(-1)
    return share


def probability_of_improvement(scores: Scores, others: Scores) -> Array:
    """Returns the probability that a run scores above one of `others`, averaged over tasks, [...].

    For each task it is the Mann-Whitney U statistic divided by the number of pairs; ties count
    half. Source: Agarwal et al. 2021, section 4.3.

    Args:
      scores: [..., runs] per task.
      others: [..., other runs] for the same tasks.
    """
    wins = []
    for task, other in zip(scores, others, strict=True):
        a, b = np.asarray(task, float)[..., :, None], np.asarray(other, float)[..., None, :]
        wins.append(((a > b) + 0.5 * (a == b)).mean((-2, -1)))
    return np.asarray(np.mean(wins, axis=0))


def stratified_interval(
    statistic: Callable[..., Array],
    *samples: Scores,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Returns lower and upper ends [...] of a stratified bootstrap interval over runs.

    The runs of each task are resampled with replacement, each run with all its points,
    independently of other tasks and samples. So the interval is for new seeds on the same tasks.
    Source: Agarwal et al. 2021, section 4.1.

    Args:
      statistic: function of the samples, each with an additional leading axis of resamples; it
        returns [resamples, ...].
      *samples: scores [..., runs] per task.
      level: nominal coverage, between 0 and 1.
      resamples: number of bootstrap resamples.
      seed: seed of the resampling; the same seed gives the same interval.

    Raises:
      ValueError: `level` is out of range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    drawn = []
    for done in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - done)
        drawn.append(statistic(*[_resampled(scores, count, rng) for scores in samples]))
    low, high = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def first_reached(x: ArrayLike, y: ArrayLike, threshold: float) -> float | None:
    """Returns the smallest x at which a piecewise linear curve is at `threshold` or above it.

    None if there is none.

    Args:
      x: [K], increasing.
      y: [K].
      threshold: value of y.
    """
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    reached = np.flatnonzero(ys >= threshold)
    if not reached.size:
        return None
    i = int(reached[0])
    if i == 0:
        return float(xs[0])
    part = (threshold - ys[i - 1]) / (ys[i] - ys[i - 1])
    return float(xs[i - 1] + part * (xs[i] - xs[i - 1]))


def area_under_curve(x: ArrayLike, y: ArrayLike) -> float:
    """Returns the mean height of a curve over its x: its area by trapezoids, over its width.

    Of returns by steps it is the return of the whole training, not only of its end.

    Args:
      x: [points], increasing, at least two.
      y: [points]; one that is not finite is left out, with its x.
    """
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    xs, ys = xs[np.isfinite(ys)], ys[np.isfinite(ys)]
    if len(xs) < 2:
        return float("nan")
    return float(((ys[1:] + ys[:-1]) / 2 * np.diff(xs)).sum() / (xs[-1] - xs[0]))


def rate_by(
    feature: ArrayLike, happened: ArrayLike
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns the rate of an event for each value of a feature.

    Args:
      feature: [...], a value per step, e.g. the index of a cell.
      happened: bool [...], whether the event happened in the step.

    Returns:
      Values of the feature in increasing order, rate of the event, and number of steps, [values].
    """
    values, place = np.unique(np.asarray(feature).ravel(), return_inverse=True)
    seen = np.bincount(place, minlength=len(values))
    rate = np.bincount(place, np.asarray(happened, float).ravel(), len(values)) / seen
    return values, rate, seen


def _task_means(scores: Scores) -> Array:
    """Mean over the runs of each task, [tasks, ...]."""
    return np.stack([np.asarray(task, float).mean(-1) for task in scores])


def _pooled(scores: Scores) -> Array:
    """The runs of all tasks along one axis, [..., runs]."""
    return np.concatenate([np.asarray(task, float) for task in scores], -1)


def _resampled(scores: Scores, count: int, rng: np.random.Generator) -> list[Array]:
    """Bootstrap resamples of the runs of each task, [count, ..., runs]."""
    out = []
    for task in scores:
        values = np.asarray(task, float)
        runs = values.shape[-1]
        drawn = values[..., rng.integers(runs, size=(count, runs))]  # [..., count, runs]
        out.append(np.moveaxis(drawn, -2, 0))
    return out
