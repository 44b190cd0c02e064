"""Functions that several commands use."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def use_compilation_cache() -> None:
    """Caches compiled programs between runs; a user's JAX variables take precedence."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache) / "marlx" / "xla"))


def complain(line: str) -> None:
    """Prints a line on stderr."""
    print(f"marlx: {line}", file=sys.stderr, flush=True)


def quoted(path: str | Path) -> str:
    """Returns a path as one word of a shell's command line."""
    return shlex.quote(str(path))


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
