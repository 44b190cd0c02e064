"""Statistics of returns: few runs, many episodes, honest intervals.

Everything takes returns f64 [runs, episodes], or [runs], and is plain NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Statistic = Callable[[np.ndarray[Any, Any]], float]


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


def rate_by(
    feature: ArrayLike, happened: ArrayLike
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Each value of a feature, how often something happened there, and how often it was seen.

    Args:
      feature: [...], of each step: a cell's number, a distance.
      happened: bool [...], whether it did, in that step.
    """
    values, place = np.unique(np.asarray(feature).ravel(), return_inverse=True)
    seen = np.bincount(place, minlength=len(values))
    rate = np.bincount(place, np.asarray(happened, float).ravel(), len(values)) / seen
    return values, rate, seen
