"""Figures: the learning curve of a run, and comparisons of several runs."""

from __future__ import annotations

import csv
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


SAFE_COLORS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#785ef0", "#5a5a64"
)  # fmt: skip
"""Colours that colour-blind people tell apart (Okabe & Ito 2008, and two more)."""
COLUMN, TEXT = 3.35, 6.9
"""Widths of a column and of the text in papers of two columns, in inches."""


class Look(NamedTuple):
    """How a figure of learning curves looks.

    Attributes:
      width: in inches; None for one that suits a screen.
      size: of the tick labels in points, from which other sizes follow; None for matplotlib's own
        settings, e.g. those of a style file.
      safe: `SAFE_COLORS`, and a line style of its own for each method.
    """

    width: float | None = None
    size: float | None = 9.0
    safe: bool = False


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


def style(labels: Sequence[str], label: str, safe: bool = False) -> dict[str, Any]:
    """Returns colour and line style of a method, the same in every figure of a report.

    Args:
      labels: of all methods.
      label: of this one.
      safe: see `Look`.
    """
    place = list(labels).index(label)
    if safe:
        color = SAFE_COLORS[place % len(SAFE_COLORS)]
        return {"color": color, "linestyle": DASHES[place % len(DASHES)]}
    dashes = DASHES[place // len(COLORS) % len(DASHES)]
    return {"color": COLORS[place % len(COLORS)], "linestyle": dashes}


def panels(
    contents: Sequence[Panel],
    labels: Sequence[str],
    *,
    x_label: str,
    y_label: str,
    x_in_steps: bool = False,
    look: Look | None = None,
) -> Figure:
    """Returns a figure with the given panels and a common legend.

    Args:
      contents: the panels.
      labels: all methods; their order gives the colours.
      x_label: label of each x axis.
      y_label: label of the first y axis in each row.
      x_in_steps: label ticks as `20k` instead of 20,000.
      look: sizes and colours; that of a screen if None.
    """
    look = look or Look()
    across = min(len(contents), 1 if look.width == COLUMN else 3)
    down = math.ceil(len(contents) / across)
    shown = [label for label in labels if any(label == x.label for p in contents for x in p.lines)]
    ncols = min(max(len(shown), 1), 4 if across > 1 else 3)
    if look.width is None:
        wide = {1: 7.2, 2: 9.6, 3: 12.0}[across]
        drawn = figure(wide, 3.5 * down + 0.28 * math.ceil(len(shown) / 3) + 0.3, pad=PAD)
    else:
        ncols = min(ncols, 2 if look.width == COLUMN else 4)
        high = 0.68 * look.width / across
        rows = math.ceil(len(shown) / ncols)
        drawn = figure(look.width, max(high, 1.9) * down + 0.2 * rows, pad=PAD / 2)
    for place, panel in enumerate(contents):
        axes: Any = drawn.add_subplot(down, across, place + 1)
        _draw(axes, panel, labels, look)
        axes.set_xlabel(plain_label(x_label), fontsize=look.size)
        if place % across == 0:
            axes.set_ylabel(plain_label(y_label), fontsize=look.size)
        if x_in_steps:
            axes.xaxis.set_major_formatter(_tick)
    handles = [_handle(label, style(labels, label, look.safe)) for label in shown]
    drawn.legend(
        handles=handles,
        loc="outside lower center",
        ncols=ncols,
        frameon=False,
        labelcolor=INK,
        fontsize=look.size,
        handlelength=3.2 if look.safe else None,  # a whole period of every line style
    )
    return drawn


def _draw(axes: Any, panel: Panel, labels: Sequence[str], look: Look) -> None:
    """Draws one panel."""
    small = look.width is not None
    for line in panel.lines:
        own = style(labels, line.label, look.safe)
        axes.fill_between(line.x, line.low, line.high, color=own["color"], alpha=0.16, lw=0)
        marker = "o" if len(line.x) < 3 else None
        width = None if look.size is None else 1.4 if small else 2.0
        axes.plot(line.x, line.middle, lw=width, marker=marker, **own)
    for name, level in panel.levels.items():
        _level(axes, name, level, 8 if look.size is None else look.size - 1)
    _plain(axes, look.size)
    size = None if look.size is None else look.size + (0.5 if small else 1.5)
    axes.set_title(plain_label(panel.title), fontsize=size)
    if small:
        axes.locator_params(axis="x", nbins=4)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.1 * (high - low))  # room for the name of a level at the top
    if panel.lines:
        ends = [x for line in panel.lines for x in (line.x.min(), line.x.max())]
        axes.set_xlim(min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1)


def lines_csv(contents: Sequence[Panel], names: Sequence[str]) -> str:
    """Returns the numbers of a figure as CSV: a row for each point of each line.

    Args:
      contents: the panels.
      names: of the columns x, middle, low and high.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "method", *names])
    for panel in contents:
        for line in panel.lines:
            rows = zip(line.x, line.middle, line.low, line.high, strict=True)
            for row in rows:
                numbers = [repr(float(number)) for number in row]
                writer.writerow([_cell(panel.title), _cell(line.label), *numbers])
    return out.getvalue()


def _cell(text: str) -> str:
    """Returns text that a spreadsheet does not take for a formula."""
    shown = printable(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


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
        _plain(axes, 9.0)
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
    import matplotlib

    kind = Path(path).suffix.lstrip(".") or "png"
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
    # whole fonts, which journals ask for; and no dates, so that the same figure is the same file
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "marlx"}):
        drawn.savefig(path, format=kind, dpi=160, metadata=metadata)


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


def _level(axes: Any, name: str, level: float, size: float) -> None:
    """Draws a dotted horizontal line with its name at the right."""
    axes.axhline(level, color=QUIET, ls=":", lw=1.2)
    axes.annotate(
        f"{name} {level:.3g}",
        (1, level),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 2),
        textcoords="offset points",
        ha="right",
        fontsize=size,
        color=QUIET,
    )


def _plain(axes: Any, size: float | None) -> None:
    """Removes the frame of the axes, and sets text and grid to `INK` and `QUIET`."""
    axes.grid(color=QUIET, alpha=0.22, lw=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)
    axes.tick_params(color=QUIET, labelcolor=INK)
    if size is not None:
        axes.tick_params(labelsize=size)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
