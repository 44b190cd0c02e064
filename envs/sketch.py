"""Drawings of states as SVG text, for notebooks: no other library is loaded for them.

A state does not know its board, so a drawing ends at the last row and column that hold something.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

CELL = 34
"""Pixels of a cell."""
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#785ef0", "#8c7828")
"""Of agents, distinct for colour-blind people (Okabe & Ito 2008, and two more)."""
DARK_INK = ("#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colours on which dark text is easier to read."""


class Thing(NamedTuple):
    """Something in a cell.

    Attributes:
      row: int.
      col: int.
      text: on it.
      color: CSS colour.
      round: a disc; else a tile.
    """

    row: int
    col: int
    text: str
    color: str
    round: bool = True


def agents(pos: Any, texts: Sequence[object]) -> list[Thing]:
    """Returns the agents at `pos` int [N, 2] as tiles."""
    return [
        Thing(int(row), int(col), str(text), COLORS[i % len(COLORS)], False)
        for i, ((row, col), text) in enumerate(zip(np.asarray(pos), texts, strict=True))
    ]


def headings(directions: Any) -> list[str]:
    """Returns arrows for directions int [N]: 0 east, 1 south, 2 west, 3 north."""
    return ["\u2192\u2193\u2190\u2191"[int(d)] for d in directions]


def board(things: Iterable[Thing]) -> str:
    """Returns the SVG of a board; things without a cell (row -1) are left out."""
    shown = [thing for thing in things if thing.row >= 0]
    rows = 1 + max((thing.row for thing in shown), default=0)
    cols = 1 + max((thing.col for thing in shown), default=0)
    lines = [f"M0 {r * CELL}H{cols * CELL}" for r in range(rows + 1)]
    lines += [f"M{c * CELL} 0V{rows * CELL}" for c in range(cols + 1)]
    parts = [f'<path d="{"".join(lines)}" stroke="#8888" fill="none"/>', *map(_thing, shown)]
    return _svg(0, 0, cols * CELL, rows * CELL, parts, min(420, cols * CELL))


def plane(bodies: Iterable[tuple[float, float, str, str]]) -> str:
    """Returns the SVG of a plane around 0 with discs `(x, y, text, colour)`; y points up."""
    shown = list(bodies)
    reach = max([1.1, *(max(abs(x), abs(y)) + 0.1 for x, y, _, _ in shown)])
    parts = ['<rect x="-1" y="-1" width="2" height="2" fill="none" stroke="#8888"'
             ' stroke-width="0.01"/>']  # fmt: skip
    for x, y, text, color in shown:
        radius = 0.07 if text else 0.04
        parts.append(f'<circle cx="{x:.4g}" cy="{-y:.4g}" r="{radius}" fill="{color}"/>')
        parts.append(_text(x, -y, text, color, 0.09))
    return _svg(-reach, -reach, 2 * reach, 2 * reach, parts, 280)


def _svg(left: float, top: float, width: float, height: float, parts: list[str], wide: int) -> str:
    box = f"{left - 0.01 * width:.4g} {top - 0.01 * height:.4g} {1.02 * width:.4g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box} {1.02 * height:.4g}" '
        f'width="{wide}" style="font-family: sans-serif">{"".join(parts)}</svg>'
    )


def _thing(thing: Thing) -> str:
    x, y, half = (thing.col + 0.5) * CELL, (thing.row + 0.5) * CELL, 0.38 * CELL
    if thing.round:
        shape = f'<circle cx="{x}" cy="{y}" r="{0.9 * half:.4g}" fill="{thing.color}"/>'
    else:
        place = f'x="{x - half:.4g}" y="{y - half:.4g}" width="{2 * half:.4g}"'
        shape = f'<rect {place} height="{2 * half:.4g}" rx="6" fill="{thing.color}"/>'
    return shape + _text(x, y, thing.text, thing.color, 0.45 * CELL)


def _text(x: float, y: float, text: str, color: str, size: float) -> str:
    ink = "#14171b" if color in DARK_INK else "#fff"
    return (
        f'<text x="{x:.4g}" y="{y:.4g}" font-size="{size:.3g}" font-weight="bold" fill="{ink}" '
        f'text-anchor="middle" dominant-baseline="central">{html.escape(text)}</text>'
    )
