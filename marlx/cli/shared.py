"""Functions that several commands use."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.text import nearest, print_line, printable, shortened

if TYPE_CHECKING:
    import numpy as np

LONGEST_LINE = 1500
"""Most characters of an error message."""


def in_one_line(error: Exception) -> str:
    """Returns the message of an error in one line that is safe to print, not too long."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{shortened(error.filename, 300)}: {error.strerror or type(error).__name__}"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return shortened(" ".join(text.split()), LONGEST_LINE)


def complain(line: str) -> None:
    """Prints a line on stderr."""
    print_line(f"marlx: {printable(line)}")


def like_path(path: str) -> str:
    """Returns "; did you mean PATH?" with the folders beside `path` of nearly its name, or ""."""
    try:
        parent = Path(path).parent
        folders = [str(parent / child.name) for child in parent.iterdir() if child.is_dir()]
    except (OSError, ValueError):
        return ""
    near = nearest(str(Path(path)), folders, cutoff=0.8)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def quoted(path: str | Path) -> str:
    """Returns a path as one word of a shell's command line."""
    return shlex.quote(str(path))


def print_returns(
    evaluated: Mapping[str, np.ndarray[Any, Any]],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
    judged: str,
) -> None:
    """Prints returns with their interval, beside those of a random policy and the optimum.

    Args:
      evaluated: f64 [seeds, episodes] by name: `return`, and `greedy_return` or `drawn_return`
        where it was measured too; rates of wins or success are printed as well, others are not.
      random_returns: f64 [episodes].
      optimum: best possible team return, if known.
      judged: the actions of `return`.
    """
    from marlx.statistics import bootstrap_interval

    known = "unknown" if optimum is None else f"{optimum:.3f}"
    labels = {"return": f"{judged} return"}
    labels |= {f"{mode}_return": f"{mode} return" for mode in ("drawn", "greedy")}
    for name, label in labels.items():
        if name not in evaluated:
            continue
        returns = evaluated[name]
        low, high = bootstrap_interval(returns)
        seeds, episodes = returns.shape
        over = f"{seeds} seeds x {episodes} episodes" if seeds > 1 else f"{episodes} episodes"
        interval = f"95% interval {low:.3f} to {high:.3f}, {over}"
        print(f"  {label:<13}   {returns.mean():.3f}   {interval}")
        if seeds > 1:
            print(f"  by seed         {'  '.join(f'{value:.3f}' for value in returns.mean(1))}")
    for name in (name for name in ("win_rate", "success_rate") if name in evaluated):
        rates = [f"{evaluated[name].mean():.3f}"]
        for mode in ("drawn", "greedy"):
            if f"{mode}_{name}" in evaluated:
                rates.append(f"{evaluated[f'{mode}_{name}'].mean():.3f} with {mode} actions")
        print(f"  {name.replace('_', ' '):<13}   {', '.join(rates)}")
    print(f"  random policy   {random_returns.mean():.3f}")
    print(f"  optimum         {known}")
