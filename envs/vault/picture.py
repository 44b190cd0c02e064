"""Pictures of vaults."""

from __future__ import annotations

import numpy as np

from marlx.envs import raster
from marlx.envs.vault.state import VaultState

CELL, EDGE, FOOT = 40, 14, 28
"""Pixels of a cell, of the border, and below the lanes for the text."""
GOLD, GREY = (214, 160, 20), (206, 210, 216)


def draw(half: int, state: VaultState, horizon: int) -> np.ndarray:
    """Returns uint8 [height, width, 3]: a lane for each agent; ends that pay are golden.

    Before the vault is open these are the doors of the first lane, later the right levers.
    """
    count, cols = state.cell.size, 2 * half + 1
    canvas = raster.Canvas(cols * CELL + 2 * EDGE, count * CELL + 2 * EDGE + FOOT)
    right, bottom = EDGE + cols * CELL, EDGE + count * CELL
    canvas.box(EDGE, EDGE, right, bottom, raster.WHITE)
    inside = bool(state.inside)
    for i, (cell, sign) in enumerate(zip(state.cell.tolist(), state.sign.tolist(), strict=True)):
        top = EDGE + i * CELL
        names = ("w", "e") if inside else ("1", "2")
        for east, name in enumerate(names if inside or i == 0 else ()):
            left = EDGE + east * (cols - 1) * CELL
            pays = not inside or east == sign
            canvas.box(left, top, left + CELL, top + CELL, GOLD if pays else GREY)
            canvas.text(left + CELL / 2, top + CELL / 2, name, 15, raster.INK)
        x = EDGE + (int(cell) + 0.5) * CELL
        canvas.disc(x, top + CELL / 2, CELL * 0.3, raster.TEAM[i % len(raster.TEAM)], raster.INK)
        canvas.text(x, top + CELL / 2, str(i), 14, raster.WHITE)
    canvas.grid(EDGE, EDGE, count, cols, CELL)
    words = "levers" if inside else "doors: 1 small room, 2 vault"
    canvas.text(EDGE + cols * CELL / 2, bottom + FOOT / 2, words, 12)
    canvas.text(EDGE + cols * CELL / 2, bottom + FOOT, f"step {int(state.time)} of {horizon}", 12)
    return canvas.pixels()
