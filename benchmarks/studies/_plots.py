"""Pictures of studies: curves of arms with intervals, saved small into `docs/images/`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from PIL import Image

from marlx import statistics
from marlx.analysis.result_rows import Row

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLORS = 64
"""Colours of a saved picture; few are enough for lines, and keep the files small."""


def panels(count: int, width: float, height: float = 3.8, **given: Any) -> tuple[Figure, Any]:
    """Returns a figure with panels side by side."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.subplots(1, count, **given)


def save(figure: Figure, name: str) -> Path:
    """Writes a figure to `docs/images/NAME.png`; returns its path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path = IMAGES / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.open(buffer).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    return path


def arms(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Returns rows by arm. The seeds of an arm are pooled, also over configurations.

    Raises:
      ValueError: rows of an arm have other steps than the first one, so that they have no mean.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        pool = found.setdefault(row["arm"], [])
        if pool and row["steps"] != pool[0]["steps"]:
            raise ValueError(f"{row['arm']} of {row['comparison']}: seeds with different steps")
        pool.append(row)
    return found


def draw_curves(axes: Any, by_arm: Mapping[str, Sequence[Row]], *, band: bool = True) -> None:
    """Draws the mean greedy return of each arm by steps, with its 95% interval over seeds."""
    axes.set_prop_cycle(color=colormaps["tab10" if len(by_arm) <= 10 else "tab20"].colors)
    for arm, rows in by_arm.items():
        steps, curve = rows[0]["steps"], np.array([row["curve"] for row in rows]).T
        (line,) = axes.plot(steps, curve.mean(1), label=arm, lw=2)
        if band:
            ends = np.array([statistics.bootstrap_interval(at, resamples=500) for at in curve])
            axes.fill_between(steps, *ends.T, alpha=0.15, lw=0, color=line.get_color())
    axes.set(xlabel="environment steps", ylabel="greedy team return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def legend(axes: Any) -> None:
    """Adds a small legend without a frame."""
    axes.legend(frameon=False, fontsize=8)
