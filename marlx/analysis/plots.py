"""Figures: the learning curve of a run, and comparisons of several runs."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from marlx.statistics import Array, bootstrap_interval
from marlx.text import printable, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
"""Dots per inch of PNG files."""
PAD = 0.07
"""Inches around the axes of learning curves and comparisons."""
INK, QUIET = "#16181d", "#80868f"
"""Colours of text and of the background grid; `inline_svg` lets text take the page's colour."""


def figure(width: float, height: float, *, pad: float | None = None) -> Figure:
    """Returns an empty figure with a canvas to write image files, made without pyplot.

    So there is no global state and no window system.

    Args:
      width: in inches.
      height: in inches.
      pad: inches around each pair of axes; matplotlib's default if None.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=pad, w_pad=pad)
    new = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(new)
    return new


def plain_label(text: object) -> str:
    """Returns text for matplotlib, which would take what is between two `$` for a formula."""
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # legends leave out `_names`


def learning_curve(
    path: str | Path,
    steps: ArrayLike,
    returns: ArrayLike,
    *,
    title: str = "",
    random_return: float | None = None,
    optimum: float | None = None,
    judged: str = "greedy",
) -> None:
    """Writes a PNG of returns against environment steps: each seed, mean and 95% band.

    Args:
      path: the PNG file.
      steps: [K], environment steps per seed at each evaluation.
      returns: [K, seeds], mean team return of each evaluation.
      title: title of the figure.
      random_return: return of the uniform policy, drawn as a dashed line.
      optimum: best possible return if known, drawn as a dashed line.
      judged: the actions of the returns, `drawn` or `greedy`.
    """
    x, y = np.asarray(steps, float), np.asarray(returns, float)
    drawn = figure(7.2, 4.2, pad=PAD)
    axes: Any = drawn.add_subplot()
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
    axes.set_ylabel(f"team return per episode, {judged} actions")
    axes.set_title(plain_label(title), fontsize=11)
    axes.xaxis.set_major_formatter(_tick)
    axes.set_xlim(0 if len(x) < 2 else x.min(), max(x.max(), 1))
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # below the axes: inside, the optimum or a curve would run through it
    drawn.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    drawn.savefig(path, format="png")


def _tick(value: float, position: int | None = None) -> str:
    """Tick label in thousands or millions: `20k`, `1.125M`."""
    del position
    return short(value, digits=4)


# Comparisons

COLORS = ("#1f6fb4", "#d1603d", "#2e8540", "#7b5ea7", "#b8860b", "#c2478d", "#3a9a9a", "#7a7a7a")
"""Colours of methods, in their order."""
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Line styles; each round of `COLORS` takes the next one."""


class Line(NamedTuple):
    """A line with a band: x [K], and y [K] of the line and of the band's lower and upper end."""

    label: str
    x: Array
    middle: Array
    low: Array
    high: Array


class Panel(NamedTuple):
    """Lines in one pair of axes, and named horizontal levels."""

    title: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = MappingProxyType({})


class Dot(NamedTuple):
    """A point estimate with its interval."""

    label: str
    value: float
    low: float
    high: float


def style(labels: Sequence[str], label: str) -> dict[str, Any]:
    """Returns colour and line style of a method, the same in every figure of a report."""
    place = list(labels).index(label)
    dashes = DASHES[place // len(COLORS) % len(DASHES)]
    return {"color": COLORS[place % len(COLORS)], "linestyle": dashes}


def panels(
    contents: Sequence[Panel],
    labels: Sequence[str],
    *,
    x_label: str,
    y_label: str,
    x_in_steps: bool = False,
) -> Figure:
    """Returns a figure with the given panels and a common legend.

    Args:
      contents: the panels.
      labels: all methods; their order gives the colours.
      x_label: label of each x axis.
      y_label: label of the first y axis in each row.
      x_in_steps: label ticks as `20k` instead of 20,000.
    """
    across = min(len(contents), 3)
    down = math.ceil(len(contents) / across)
    shown = [label for label in labels if any(label == x.label for p in contents for x in p.lines)]
    wide = {1: 7.2, 2: 9.6, 3: 12.0}[across]
    drawn = figure(wide, 3.5 * down + 0.28 * math.ceil(len(shown) / 3) + 0.3, pad=PAD)
    for place, panel in enumerate(contents):
        axes: Any = drawn.add_subplot(down, across, place + 1)
        _draw(axes, panel, labels)
        axes.set_xlabel(plain_label(x_label))
        if place % across == 0:
            axes.set_ylabel(plain_label(y_label))
        if x_in_steps:
            axes.xaxis.set_major_formatter(_tick)
    handles = [_handle(label, style(labels, label)) for label in shown]
    drawn.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(max(len(shown), 1), 4 if across > 1 else 3),
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
    return drawn


def _draw(axes: Any, panel: Panel, labels: Sequence[str]) -> None:
    """Draws one panel."""
    for line in panel.lines:
        look = style(labels, line.label)
        axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.16, lw=0)
        marker = "o" if len(line.x) < 3 else None
        axes.plot(line.x, line.middle, lw=2.0, marker=marker, **look)
    for name, level in panel.levels.items():
        _level(axes, name, level)
    _plain(axes)
    axes.set_title(plain_label(panel.title), fontsize=10.5)
    if panel.lines:
        ends = [x for line in panel.lines for x in (line.x.min(), line.x.max())]
        axes.set_xlim(min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1)


def intervals(columns: Mapping[str, Sequence[Dot]], labels: Sequence[str]) -> Figure:
    """Returns a figure of estimates with intervals: a column per statistic, a row per method."""
    rows = len(next(iter(columns.values())))
    drawn = figure(min(2.0 + 2.6 * len(columns), 12.4), 0.85 + 0.34 * rows, pad=PAD)
    for place, (title, dots) in enumerate(columns.items()):
        axes: Any = drawn.add_subplot(1, len(columns), place + 1)
        for row, dot in enumerate(dots):
            color = style(labels, dot.label)["color"]
            axes.barh(row, dot.high - dot.low, 0.5, dot.low, color=color, alpha=0.35, lw=0)
            axes.plot([dot.value] * 2, [row - 0.25, row + 0.25], color=color, lw=2.4)
        _plain(axes)
        axes.set_title(plain_label(title), fontsize=10.5)
        names = [plain_label(dot.label) for dot in dots] if place == 0 else []
        axes.set_yticks(range(rows), names)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        axes.use_sticky_edges = False
        axes.margins(x=0.06)
        axes.set_ylim(rows - 0.4, -0.6)
    return drawn


def write_figure(path: str | Path, drawn: Figure) -> None:
    """Writes a figure as PNG, SVG or PDF, by the ending of `path`."""
    drawn.savefig(path, format=Path(path).suffix.lstrip(".") or "png", dpi=160)


def inline_svg(drawn: Figure, title: str, salt: str) -> str:
    """Returns a figure as SVG to embed in HTML; text stays text and takes the page's colour.

    Args:
      drawn: the figure.
      title: text alternative for screen readers.
      salt: unique for each figure of a page, because element ids are derived from it.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        out = io.StringIO()
        drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    # matplotlib gives groups the same ids in every figure
    text = re.sub(r"<g id=\"[^\"]*\">", "<g>", text)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg role="img" viewBox="\1">', text, count=1
    )
    text = text.replace(INK, "currentColor")
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    width = round(drawn.get_figwidth() * 82)
    return text.replace(
        '<svg role="img"',
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" style="width: {width}px" '
        f'aria-label="{html.escape(printable(title))}"',
        1,
    )


def _handle(name: str, look: Mapping[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], lw=2.4, label=plain_label(name), **look)


def _level(axes: Any, name: str, level: float) -> None:
    """Draws a dotted horizontal line with its name at the right."""
    axes.axhline(level, color=QUIET, ls=":", lw=1.2)
    axes.annotate(
        f"{name} {level:.3g}",
        (1, level),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 2),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=QUIET,
    )


def _plain(axes: Any) -> None:
    """Removes the frame of the axes, and sets text and grid to `INK` and `QUIET`."""
    axes.grid(color=QUIET, alpha=0.22, lw=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)
    axes.tick_params(color=QUIET, labelsize=9, labelcolor=INK)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
