"""Learning curves as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from marlx.statistics import bootstrap_interval


def learning_curve(
    path: str | Path,
    steps: ArrayLike,
    returns: ArrayLike,
    *,
    title: str = "",
    random_return: float | None = None,
    optimum: float | None = None,
) -> None:
    """Draw greedy returns against environment steps: every seed, their mean and a 95% band.

    Args:
      path: of the PNG file to write.
      steps: [K], environment steps per seed at each evaluation.
      returns: [K, seeds], mean team return of each evaluation.
      title: above the picture.
      random_return: of the uniform policy, drawn as a dashed line.
      optimum: the best possible return where it is known, drawn as a dashed line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window system

    x, y = np.asarray(steps, float), np.asarray(returns, float)
    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    seeds = y.shape[1]
    if seeds > 1:
        band = np.array([bootstrap_interval(row, resamples=1000) for row in y])
        axes.fill_between(
            x, band[:, 0], band[:, 1], color="#1f6fb4", alpha=0.18, lw=0, label="95% interval"
        )
        axes.plot(x, y, color="#1f6fb4", lw=0.7, alpha=0.45)
    label = f"mean of {seeds} seeds" if seeds > 1 else "1 seed"
    marker = "o" if len(x) < 3 else None
    axes.plot(x, y.mean(1), color="#1f6fb4", lw=2.2, marker=marker, label=label)
    for value, name, color in (
        (optimum, "optimum", "#2e8540"),
        (random_return, "random policy", "#b0413e"),
    ):
        if value is not None:
            axes.axhline(value, color=color, ls="--", lw=1.3, label=f"{name} ({value:.3g})")
    axes.set_xlabel("environment steps per seed")
    axes.set_ylabel("greedy team return per episode")
    axes.set_title(title, fontsize=11)
    axes.xaxis.set_major_formatter(_steps)
    axes.set_xlim(0 if len(x) < 2 else x.min(), max(x.max(), 1))
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best")
    figure.savefig(path, format="png")


def _steps(value: float, position: int | None = None) -> str:
    """`20000` as `20k`, `1500000` as `1.5M`."""
    del position
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
