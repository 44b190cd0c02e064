"""Pictures of particle environments."""

from __future__ import annotations

import numpy as np

from marlx.envs.mpe.core import Particles, ParticleState
from marlx.envs.raster import INK, LINES, TEAM, WHITE, Canvas, Color

SIDE, FOOT = 400, 30  # pixels
MARGIN = 1.12  # of the world that is shown at least, from the centre
LOOK_AHEAD = 0.5  # seconds
GROUPS: tuple[Color, ...] = ((196, 78, 82), (64, 132, 190), (88, 160, 104))
"""One colour for each group of a scenario with several; agents of a single group differ."""
MARKS: tuple[Color, ...] = ((226, 134, 130), (140, 196, 146), (132, 168, 222))
"""Landmarks that agents tell apart by colour: red, green, blue."""
KINDS: dict[str, Color] = {
    "landmark": (150, 150, 160),
    "obstacle": (176, 176, 184),
    "food": (232, 174, 72),
    "forest": (206, 230, 204),
}
GOAL: Color = (232, 174, 72)
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw(env: Particles, state: ParticleState, horizon: int) -> np.ndarray:
    """uint8 [SIDE + FOOT, SIDE, 3], one (unbatched) state."""
    spec = env.spec()
    pos, vel = np.asarray(state.agent_pos), np.asarray(state.agent_vel)
    marks, goal = np.asarray(state.landmark_pos), [int(k) for k in state.goal]
    reach = max(MARGIN, sum(env.WALLS[::2]) + 0.06 if env.WALLS else 0.0)
    sizes = [agent.size for agent in env.agents] + [mark.size for mark in env.landmarks]
    for size, place in zip(sizes, (*pos, *marks), strict=True):
        reach = max(reach, float(np.abs(place).max()) + size + 0.02)
    scale = SIDE / 2 / reach
    canvas = Canvas(SIDE, SIDE + FOOT)

    def at(place: np.ndarray) -> tuple[float, float]:
        return SIDE / 2 + float(place[0]) * scale, SIDE / 2 - float(place[1]) * scale

    left, top = at(np.array([-1.0, 1.0]))
    canvas.box(left, top, SIDE - left, SIDE - top, WHITE, LINES, round=4)
    if env.WALLS is not None:
        _draw_walls(canvas, env.WALLS, scale)
    for k in sorted(range(len(marks)), key=lambda k: -env.landmarks[k].size):  # forests lie below
        color = MARKS[k] if env.COLORED else KINDS[env.landmarks[k].kind]
        canvas.disc(*at(marks[k]), env.landmarks[k].size * scale, color, _darker(color))
    names = [name for name, _ in spec.groups]
    colors = [
        TEAM[i % len(TEAM)] if len(names) == 1 else GROUPS[names.index(agent.group) % len(GROUPS)]
        for i, agent in enumerate(env.agents)
    ]
    for number, (k, who) in enumerate(env.aims(goal)):
        radius = env.landmarks[k].size * scale + 5 + 4 * number
        _ring(canvas, *at(marks[k]), radius, GOAL if who is None else colors[who])
    for i, agent in enumerate(env.agents):
        x, y = at(pos[i])
        size = agent.size * scale
        canvas.disc(x, y, size, colors[i], _darker(colors[i]))
        ahead = at(pos[i] + vel[i] * LOOK_AHEAD)
        canvas.line(x, y, *ahead, fill=_darker(colors[i]), width=2)
        canvas.text(x, y, _letter(agent.name), max(8.0, min(size * 1.1, 15.0)), WHITE)
    for row, i in enumerate(env.speakers):
        x, y = at(pos[i])
        size = env.agents[i].size * scale
        said = np.asarray(state.comm[row])
        words = SYMBOLS[int(said.argmax())] if said.any() else "-"
        bx, by = min(max(x + size + 10, 12), SIDE - 12), min(max(y - size - 10, 12), SIDE - 12)
        canvas.box(bx - 10, by - 10, bx + 10, by + 10, WHITE, colors[i], round=6)
        canvas.text(bx, by, words, 13, INK)
    canvas.text(SIDE / 2, SIDE + FOOT / 2 - 2, f"step {int(state.time)} of {horizon}", 13)
    return canvas.pixels()


def _draw_walls(canvas: Canvas, walls: tuple[float, float, float], scale: float) -> None:
    """Four walls around the centre, which do not meet in the corners."""
    where, end, half = (scale * length for length in walls)
    centre = SIDE / 2
    for side in (-where, where):
        for x, y, wide, high in ((side, 0.0, half, end), (0.0, side, end, half)):
            box = (centre + x - wide, centre + y - high, centre + x + wide, centre + y + high)
            canvas.box(*box, (120, 120, 130))


def _ring(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """A circle that leaves what is inside visible."""
    turn = np.linspace(0, 2 * np.pi, 61)
    line = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], -1)
    canvas.line(*map(float, line.ravel()), fill=color, width=2.5)


def _letter(name: str) -> str:
    """What to write on an agent: its number, or the first letter of a name of its own."""
    kind, _, number = name.rpartition("_")
    return number if kind in ("agent", "adversary", "predator") else kind[0].upper()


def _darker(color: Color) -> Color:
    red, green, blue = (part * 7 // 10 for part in color)
    return red, green, blue
