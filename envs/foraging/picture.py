"""Pictures of foraging boards."""

from __future__ import annotations

import numpy as np

from marlx.envs import raster
from marlx.envs.foraging.settings import ForagingSettings
from marlx.envs.foraging.state import ForagingState

CELL, EDGE = 48, 16
"""Pixels of a cell and of the border around the board."""


def mark_foods(
    env: ForagingSettings, picture: np.ndarray, state: ForagingState, goals: np.ndarray
) -> np.ndarray:
    """Returns `draw`'s picture with a ring in each agent's colour around the food that it is for.

    Args:
      env: the environment.
      picture: uint8 [height, width, 3], of `state`.
      state: of one episode.
      goals: [N], of each agent which one of the foods in its sight; a number beyond is none.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    agents, foods = np.asarray(state.agent_pos), np.asarray(state.food_pos)
    there = np.asarray(state.food_level) > 0
    for i, goal in enumerate(goals):
        seen = foods[there & (np.abs(foods - agents[i]).max(1) <= env.view)]
        if goal < len(seen):
            row, col = seen[goal]
            x, y, half = EDGE + (col + 0.5) * CELL, EDGE + (row + 0.5) * CELL, 23 - 3 * (i % 3)
            colour = raster.TEAM[i % len(raster.TEAM)]
            pen.ellipse((x - half, y - half, x + half, y + half), outline=colour, width=3)
    return np.asarray(image)


def draw(env: ForagingSettings, state: ForagingState, horizon: int) -> np.ndarray:
    """Returns uint8 [height, width, 3]: foods as apples, agents as lettered tiles, with levels."""
    cell, edge, foot = CELL, EDGE, 28
    rows, cols = env.size
    canvas = raster.Canvas(cols * cell + 2 * edge, rows * cell + 2 * edge + foot)
    canvas.box(edge, edge, edge + cols * cell, edge + rows * cell, raster.WHITE)
    canvas.grid(edge, edge, rows, cols, cell)
    pos = [(int(row), int(col)) for row, col in state.agent_pos]
    for (row, col), level in zip(state.food_pos, state.food_level, strict=True):
        if level > 0:
            _draw_apple(canvas, edge + (col + 0.5) * cell, edge + (row + 0.5) * cell, int(level))
    for i, (row, col) in enumerate(pos):
        here = [j for j, other in enumerate(pos) if other == (row, col)]
        half, right, down = 17.0, 0, 0
        if len(here) > 1:  # a quarter of the cell each; opposite ones for two
            right, down = ((-11, -11), (11, 11), (11, -11), (-11, 11))[here.index(i) % 4]
            half = 10.0
        x, y = edge + (col + 0.5) * cell + right, edge + (row + 0.5) * cell + down
        _draw_agent(canvas, x, y, half, i, int(state.agent_level[i]))
    words = f"step {int(state.time)} of {horizon}"
    canvas.text(edge + cols * cell / 2, edge + rows * cell + foot / 2 + 6, words, 13)
    return canvas.pixels()


def _draw_apple(canvas: raster.Canvas, x: float, y: float, level: int) -> None:
    """Draws a food around (x, y)."""
    canvas.line(x, y - 10, x + 2, y - 19, fill=(110, 74, 42), width=2.5)
    canvas.polygon(x + 2, y - 14, x + 7, y - 20, x + 14, y - 19, x + 9, y - 13, fill=(86, 160, 70))
    for side in (-4, 4):
        canvas.disc(x + side, y + 2, 13, (206, 52, 48))
    canvas.text(x, y + 2, f"{level}", 17, (255, 255, 255))


def _draw_agent(canvas: raster.Canvas, x: float, y: float, half: float, i: int, level: int) -> None:
    """Draws agent `i` around (x, y), with its level, and its letter in the corner."""
    color = raster.TEAM[i % len(raster.TEAM)]
    dark = (color[0] * 3 // 5, color[1] * 3 // 5, color[2] * 3 // 5)
    canvas.box(x - half, y - half, x + half, y + half, color, dark, round=half / 2.5)
    canvas.text(x, y + half * 0.12, f"{level}", half * 1.05, (255, 255, 255))
    left, top, badge = x - half * 0.85, y - half * 0.85, 2.5 + half * 0.3
    canvas.disc(left, top, badge, (255, 255, 255), dark)
    canvas.text(left, top, chr(ord("A") + i % 26), badge * 1.45, dark)
