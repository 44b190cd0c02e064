"""Pictures of TrashGrid boards."""

from __future__ import annotations

import numpy as np

from marlx.envs import raster
from marlx.envs.trashgrid.state import (
    BIG,
    BIN_COLS,
    BIN_ROWS,
    ON_BOARD,
    TrashGridState,
    robots_of,
)


def draw(size: tuple[int, int], state: TrashGridState, horizon: int) -> np.ndarray:
    """Returns uint8 [height, width, 3]: agents as arrowheads, a dot for each piece they carry."""
    rows, cols = size
    num_agents, num_trash = state.agent_dir.size, state.holder.size
    cell, edge, foot = 40, 14, 28
    canvas = raster.Canvas(cols * cell + 2 * edge, rows * cell + 2 * edge + foot)
    right, bottom = edge + cols * cell, edge + rows * cell
    canvas.box(edge, edge, right, bottom, raster.WHITE)
    canvas.box(right - BIN_COLS * cell, bottom - BIN_ROWS * cell, right, bottom, (206, 222, 206))
    canvas.grid(edge, edge, rows, cols, cell)
    middle = right - BIN_COLS * cell / 2, bottom - BIN_ROWS * cell / 2
    canvas.text(*middle, "bin", cell * 0.8, (150, 178, 150))
    pos, kinds, holders = map(np.asarray, (state.trash_pos, state.trash_kind, state.holder))
    for (row, col), kind, holder in zip(pos, kinds, holders, strict=True):
        if holder == ON_BOARD:
            x, y = edge + (col + 0.5) * cell, edge + (row + 0.5) * cell
            _draw_trash(canvas, x, y, cell / 2, kind == BIG)
    for i, me in enumerate(robots_of(state)):
        x, y = edge + (int(me.col) + 0.5) * cell, edge + (int(me.row) + 0.5) * cell
        canvas.arrow(x, y, cell * 0.4, int(me.dir), raster.TEAM[i % len(raster.TEAM)])
        for k in range(int(me.load)):
            spot = x + (k - (int(me.load) - 1) / 2) * cell * 0.2
            canvas.disc(spot, y, cell * 0.08, raster.WHITE, raster.INK)
    put = int((np.asarray(state.holder) == num_agents).sum())
    words = f"step {int(state.time)} of {horizon}, {put} of {num_trash} delivered"
    canvas.text(edge + cols * cell / 2, bottom + foot / 2 + 5, words, 13)
    return canvas.pixels()


def _draw_trash(canvas: raster.Canvas, x: float, y: float, half: float, big: bool) -> None:
    """Draws a piece of trash around (x, y): a box if it is big, else a bag."""
    if big:
        r = half * 0.7
        canvas.box(x - r, y - r, x + r, y + r, (186, 140, 92), (120, 84, 46), half * 0.1)
        canvas.line(x - r, y, x + r, y, fill=(120, 84, 46), width=1.5)
        canvas.line(x, y - r, x, y + r, fill=(120, 84, 46), width=1.5)
        return
    r = half * 0.42
    canvas.polygon(x, y, x - r * 0.6, y - r * 1.5, x + r * 0.6, y - r * 1.5, fill=(92, 100, 112))
    canvas.disc(x, y + r * 0.2, r, (92, 100, 112), (54, 60, 70))
