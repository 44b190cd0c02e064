"""Functions that several commands use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.text import print_line
from marlx.xla.options import check_options

if TYPE_CHECKING:
    import numpy as np


def use_compilation_cache() -> None:
    """Caches compiled programs between runs; a user's JAX variables take precedence.

    Raises:
      ValueError: an option of JAX has a value that marlx cannot train with.
    """
    check_options()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache) / "marlx" / "xla"))


def complain(line: str) -> None:
    """Prints a line on stderr."""
    print_line(f"marlx: {line}")


def print_returns(
    returns: np.ndarray[Any, Any],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
    how: str = "greedy return",
) -> None:
    """Prints returns with their interval, beside those of a random policy and the optimum.

    Args:
      returns: f64 [seeds, episodes].
      random_returns: f64 [episodes].
      optimum: best possible team return, if known.
      how: label of `returns`.
    """
    from marlx.statistics import bootstrap_interval

    low, high = bootstrap_interval(returns)
    seeds, episodes = returns.shape
    over = f"{seeds} seeds x {episodes} episodes" if seeds > 1 else f"{episodes} episodes"
    known = "unknown" if optimum is None else f"{optimum:.3f}"
    print(f"  {how}   {returns.mean():.3f}   95% interval {low:.3f} to {high:.3f}, {over}")
    if seeds > 1:
        print(f"  by seed         {'  '.join(f'{value:.3f}' for value in returns.mean(1))}")
    print(f"  random policy   {random_returns.mean():.3f}")
    print(f"  optimum         {known}")
