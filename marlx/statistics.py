"""Statistics of returns: few runs, many episodes, honest intervals. All of it is plain NumPy.

First what one policy or a few seeds of it return, [runs, episodes]; then, for comparisons, scores
of several runs on several tasks. The second part follows Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", and gives the numbers of its library rliable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]
Statistic = Callable[[Array], float]
Scores = Sequence[ArrayLike]
"""An array f64 [..., runs] per task."""

AT_ONCE = 250
"""Resamples computed together; bounds the memory of long curves."""


def mean(returns: ArrayLike) -> float:
    """The mean over everything."""
    return float(np.mean(np.asarray(returns, float)))


def iqm(returns: ArrayLike) -> float:
    """The interquartile mean: of the middle half, over runs and episodes together.

    Source: Agarwal et al. 2021, section 4.3; as rliable's `aggregate_iqm`, a quarter of the values
    (rounded down) is cut at either end.
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
    """The percentile bootstrap interval of `statistic`.

    Runs are drawn with replacement, and episodes within each run drawn: the interval speaks of new
    runs where there are several, and of new episodes of the same policy where there is one. With
    fewer than about five runs it is narrower than its `level` says.

    Args:
      returns: [runs, episodes], or [runs] with one number each.
      statistic: of an array like `returns`.
      level: between 0 and 1.
      resamples: how many times to draw.
      seed: of the draws; the same seed gives the same interval.

    Returns:
      The lower and the upper end.
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
# Scores are a list with an array f64 [..., runs] per task; tasks may differ in how many runs.
# Statistics reduce runs and tasks and keep the axes before them, so that resamples, or points of a
# curve, are computed at once. (rliable has matrices [runs, tasks]: pass its transpose.)


def normalise(returns: ArrayLike, low: float, high: float) -> Array:
    """Scores: 0 where a return is `low` (say, of a random policy), 1 where it is `high`.

    Raises:
      ValueError: `high` is not above `low`.
    """
    if not low < high:
        raise ValueError(f"scores run from {low} to {high}; the second must be larger")
    scores: Array = (np.asarray(returns, float) - low) / (high - low)
    return scores


def aggregate_mean(scores: Scores) -> Array:
    """The mean over tasks of each task's mean over runs, [...]."""
    return np.asarray(np.mean(_task_means(scores), axis=0))


def aggregate_median(scores: Scores) -> Array:
    """The median over tasks of each task's mean over runs, [...]."""
    return np.asarray(np.median(_task_means(scores), axis=0))


def aggregate_iqm(scores: Scores) -> Array:
    """The mean of the middle half of all runs of all tasks together, [...]; see `iqm`."""
    values = np.sort(_pooled(scores), -1)
    count = values.shape[-1]
    return np.asarray(values[..., count // 4 : count - count // 4].mean(-1))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """How far runs stay below `target` on average, where more than `target` counts as it, [...].

    0 is best. Source: Agarwal et al. 2021, section 4.3.
    """
    gap: Array = target - np.minimum(_pooled(scores), target).mean(-1)
    return gap


def performance_profile(scores: Scores, thresholds: ArrayLike) -> Array:
    """The share of runs, of all tasks together, that score above each threshold, [..., thresholds].

    Source: Agarwal et al. 2021, section 4.2 (score distributions).
    """
    above = _pooled(scores)[..., None, :] > np.asarray(thresholds, float)[:, None]
    share: Array = above.mean(-1)
    return share


def probability_of_improvement(scores: Scores, others: Scores) -> Array:
    """How often a run scores higher than one of the others, averaged over tasks, [...].

    For each task this is the Mann-Whitney U statistic over the number of pairs; ties are half.
    Source: Agarwal et al. 2021, section 4.3.

    Args:
      scores: [..., runs] per task.
      others: [..., their runs] for the same tasks.
    """
    wins = []
    for one, other in zip(scores, others, strict=True):
        a, b = np.asarray(one, float)[..., :, None], np.asarray(other, float)[..., None, :]
        wins.append(((a > b) + 0.5 * (a == b)).mean((-2, -1)))
    return np.asarray(np.mean(wins, axis=0))


def stratified_interval(
    statistic: Callable[..., Array],
    *samples: Scores,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """The percentile interval of `statistic(*samples)` by the stratified bootstrap over runs.

    Every task keeps its number of runs: its runs are drawn with replacement, a run with all its
    points at once, independently of the other tasks and samples. So the interval speaks of new
    seeds on the same tasks. Source: Agarwal et al. 2021, section 4.1.

    Args:
      statistic: of scores with an axis of resamples first; returns [resamples, ...].
      *samples: scores [..., runs] per task.
      level: between 0 and 1.
      resamples: how many times to draw.
      seed: of the draws; the same seed gives the same interval.

    Returns:
      The lower and the upper end, [...] each.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    drawn = []
    for done in range(0, resamples, AT_ONCE):
        count = min(AT_ONCE, resamples - done)
        drawn.append(statistic(*[_resampled(scores, count, rng) for scores in samples]))
    low, high = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def first_reached(x: ArrayLike, y: ArrayLike, threshold: float) -> float | None:
    """Where the line through the points (x, y) first comes to `threshold`; None if it never does.

    Args:
      x: [K], increasing.
      y: [K].
      threshold: the height.
    """
    along, height = np.asarray(x, float), np.asarray(y, float)
    reached = np.flatnonzero(height >= threshold)
    if not reached.size:
        return None
    i = int(reached[0])
    if i == 0:
        return float(along[0])
    part = (threshold - height[i - 1]) / (height[i] - height[i - 1])
    return float(along[i - 1] + part * (along[i] - along[i - 1]))


def _task_means(scores: Scores) -> Array:
    """[tasks, ...]."""
    return np.stack([np.asarray(task, float).mean(-1) for task in scores])


def _pooled(scores: Scores) -> Array:
    """[..., all runs of all tasks]."""
    return np.concatenate([np.asarray(task, float) for task in scores], -1)


def _resampled(scores: Scores, count: int, rng: np.random.Generator) -> list[Array]:
    """Scores [count, ..., runs], the runs of each task drawn anew."""
    out = []
    for task in scores:
        values = np.asarray(task, float)
        runs = values.shape[-1]
        drawn = values[..., rng.integers(runs, size=(count, runs))]  # [..., count, runs]
        out.append(np.moveaxis(drawn, -2, 0))
    return out
