"""Pictures of DoorKey boards."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from marlx.envs import raster
from marlx.envs.doorkey.state import (
    DOOR,
    GOAL,
    KEY,
    LOCKED,
    OPEN,
    UNSEEN,
    WALL,
    DoorKeyState,
    Pose,
    objects_at,
    poses,
)
from marlx.envs.doorkey.views import local_view, view_cells

EDGE, FOOT = 12, 28
"""Pixels around the board, and below it for the text."""
GOLD = (214, 160, 20)


def draw(size: int, view_size: int, state: DoorKeyState, horizon: int) -> np.ndarray:
    """Returns uint8 [height, width, 3]: agents as arrowheads; cells that anyone sees are bright."""
    cell = 40 if size <= 10 else 26
    side = size * cell
    canvas = raster.Canvas(side + 2 * EDGE, side + 2 * EDGE + FOOT)
    agents = [Pose(*map(jnp.int32, pose)) for pose in poses(state)]
    kinds = np.asarray(objects_at(size, state, *np.indices((size, size)))[0])
    _draw_cells(canvas, cell, kinds == WALL, _seen_by_anyone(size, view_size, state, agents))
    for row, col in np.ndindex(size, size):
        x, y = EDGE + (col + 0.5) * cell, EDGE + (row + 0.5) * cell
        if kinds[row, col] == GOAL:
            r = cell * 0.4
            canvas.box(x - r, y - r, x + r, y + r, (96, 184, 110), (52, 128, 68), cell * 0.1)
        elif kinds[row, col] == DOOR:
            _draw_door(canvas, x, y, cell / 2, int(state.door))
        elif kinds[row, col] == KEY:
            _draw_key(canvas, x, y, cell / 2)
    _draw_agents(canvas, cell, agents, int(state.carrier))
    words = f"step {int(state.time)} of {horizon}, {('open', 'closed', 'locked')[state.door]}"
    canvas.text(EDGE + side / 2, EDGE + side + FOOT / 2 + 4, words, 12)
    return canvas.pixels()


def _seen_by_anyone(
    size: int, view_size: int, state: DoorKeyState, agents: list[Pose]
) -> np.ndarray:
    """Returns bool [size, size], the cells that at least one agent sees."""
    bright = np.zeros((size, size), bool)
    for i, agent in enumerate(agents):
        view = np.asarray(local_view(size, view_size, state, agents, i, agent))
        seen = view[..., 0] != UNSEEN
        row, col = (np.asarray(c)[seen] for c in view_cells(view_size, agent))
        inside = (row >= 0) & (row < size) & (col >= 0) & (col < size)
        bright[row[inside], col[inside]] = True
    return bright


def _draw_cells(canvas: raster.Canvas, cell: int, wall: np.ndarray, bright: np.ndarray) -> None:
    """Draws walls and floor, from bool [size, size] each."""
    for row, col in np.ndindex(*wall.shape):
        x, y = EDGE + col * cell, EDGE + row * cell
        if wall[row, col]:
            fill = (104, 110, 124) if bright[row, col] else (78, 83, 96)
        else:
            fill = (255, 252, 232) if bright[row, col] else (226, 226, 220)
        canvas.box(x, y, x + cell, y + cell, fill, (196, 196, 190), round=0.0)


def _draw_agents(canvas: raster.Canvas, cell: int, agents: list[Pose], carrier: int) -> None:
    """Draws agents side by side where they share a cell, and the key on the agent `carrier`."""
    cells = [(int(agent.row), int(agent.col)) for agent in agents]
    for i, (agent, (row, col)) in enumerate(zip(agents, cells, strict=True)):
        here = [j for j, other in enumerate(cells) if other == (row, col)]
        shift = (here.index(i) - (len(here) - 1) / 2) * cell * 0.3
        x, y = EDGE + (col + 0.5) * cell + shift, EDGE + (row + 0.5) * cell + shift
        half = cell * (0.4 if len(here) == 1 else 0.28)
        canvas.arrow(x, y, half, int(agent.dir), raster.TEAM[i % len(raster.TEAM)])
        if i == carrier:  # a badge in the corner behind the agent
            down, right = (int(a) for a in agent.ahead)
            x, y = x - half * (0.6 * right - 0.7 * down), y - half * (0.6 * down + 0.7 * right)
            canvas.disc(x, y, half * 0.68, raster.WHITE, GOLD)
            _draw_key(canvas, x, y, half * 0.56)


def _draw_key(canvas: raster.Canvas, x: float, y: float, half: float) -> None:
    """Draws a key around (x, y)."""
    canvas.line(x - half * 0.1, y, x + half * 0.75, y, fill=GOLD, width=half * 0.22)
    for at, long in ((0.45, 0.35), (0.68, 0.45)):
        tooth = x + half * at
        canvas.line(tooth, y, tooth, y + half * long, fill=GOLD, width=half * 0.18)
    canvas.disc(x - half * 0.35, y, half * 0.36, GOLD)
    canvas.disc(x - half * 0.35, y, half * 0.14, (255, 255, 255))


def _draw_door(canvas: raster.Canvas, x: float, y: float, half: float, door: int) -> None:
    """Draws a door around (x, y): a bar at the side when it is open, with a keyhole when locked."""
    gold, dark = (236, 190, 56), (150, 112, 10)
    if door == OPEN:
        canvas.box(x - half, y - half, x + half, y - half * 0.65, gold, dark)
        return
    canvas.box(x - half * 0.9, y - half * 0.9, x + half * 0.9, y + half * 0.9, gold, dark, 2)
    if door == LOCKED:
        canvas.disc(x, y - half * 0.15, half * 0.22, dark)
        canvas.line(x, y - half * 0.1, x, y + half * 0.45, fill=dark, width=half * 0.2)
    else:
        canvas.disc(x + half * 0.5, y, half * 0.15, dark)
