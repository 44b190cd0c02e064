"""Findings of `marlx doctor`, and helpers that several of its checks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.run_data import RunData
from marlx.statistics import Array


class Finding(NamedTuple):
    """A likely problem of a run.

    Attributes:
      title: the problem in a few words.
      seen: the numbers that show it.
      look_at: settings that may cause it, each with the change to try.
    """

    title: str
    seen: str
    look_at: tuple[str, ...]


Check = Callable[[RunData], Finding | None]
"""A check: None where nothing is wrong, or where data are missing."""


def finding_if(wrong: Any, title: str, seen: str, look_at: tuple[str, ...]) -> Finding | None:
    """Returns the finding if `wrong`, else None."""
    return Finding(title, seen, look_at) if bool(wrong) else None


def of_seeds(seeds: Array) -> str:
    """`2 of 4 seeds`."""
    return f"{int(seeds.sum())} of {len(seeds)} seeds" if len(seeds) > 1 else "1 seed"


def solved(run: RunData) -> bool:
    """Whether the mean return is within 5% of the optimum."""
    optimum = run.spec.optimum if run.spec is not None else run.result.get("optimum")
    returns = run.metrics.get("return")
    if optimum is None or returns is None or np.isnan(returns[-1]).all():
        return False
    return bool(np.nanmean(returns[-1]) >= optimum - 0.05 * abs(optimum))
