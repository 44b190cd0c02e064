"""Pictures of particle environments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.raster import INK, LINES, TEAM, WHITE, Canvas, Color

SIDE, FOOT = 400, 30  # pixels
MARGIN = 1.12  # the least distance from the centre that is shown
LOOK_AHEAD = 0.5  # seconds
GROUPS: tuple[Color, ...] = ((196, 78, 82), (64, 132, 190), (88, 160, 104))
"""One colour for each group of a scenario with several; agents of a single group differ."""
MARKS: tuple[Color, ...] = ((226, 134, 130), (140, 196, 146), (132, 168, 222))
"""Colours of landmarks whose colour agents see: red, green, blue."""
KINDS: dict[str, Color] = {
    "landmark": (150, 150, 160),
    "obstacle": (176, 176, 184),
    "food": (232, 174, 72),
    "forest": (206, 230, 204),
}
GOAL: Color = (232, 174, 72)
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Scene(NamedTuple):
    """Contents of a picture: bodies and their state in one step of one episode."""

    agents: tuple[Agent, ...]
    landmarks: tuple[Landmark, ...]
    groups: tuple[str, ...]  # names of the groups of agents
    agent_pos: np.ndarray  # f32 [N, 2]
    agent_vel: np.ndarray  # f32 [N, 2]
    landmark_pos: np.ndarray  # f32 [L, 2]
    messages: tuple[tuple[int, np.ndarray], ...]  # each speaker and its last message, f32 [C]
    goals: tuple[tuple[int, int | None], ...]  # each goal landmark and the agent it is for, if one
    colored: bool  # whether landmarks have colours that agents see
    walls: tuple[float, float, float] | None  # see `Particles.WALLS`
    step: int
    horizon: int


class Frame(NamedTuple):
    """Maps positions of the world to pixels."""

    scale: float  # pixels per unit of length

    def at(self, place: np.ndarray) -> tuple[float, float]:
        """Returns the pixel of a position [2]."""
        return SIDE / 2 + float(place[0]) * self.scale, SIDE / 2 - float(place[1]) * self.scale


def draw(scene: Scene) -> np.ndarray:
    """Returns uint8 [SIDE + FOOT, SIDE, 3]."""
    frame = _frame(scene)
    canvas = Canvas(SIDE, SIDE + FOOT)
    left, top = frame.at(np.array([-1.0, 1.0]))
    canvas.box(left, top, SIDE - left, SIDE - top, WHITE, LINES, round=4)
    if scene.walls is not None:
        _draw_walls(canvas, scene.walls, frame.scale)
    colors = [
        TEAM[i % len(TEAM)]
        if len(scene.groups) == 1
        else GROUPS[scene.groups.index(agent.group) % len(GROUPS)]
        for i, agent in enumerate(scene.agents)
    ]
    _draw_landmarks(canvas, scene, frame, colors)
    _draw_agents(canvas, scene, frame, colors)
    _draw_messages(canvas, scene, frame, colors)
    canvas.text(SIDE / 2, SIDE + FOOT / 2 - 2, f"step {scene.step} of {scene.horizon}", 13)
    return canvas.pixels()


def _frame(scene: Scene) -> Frame:
    """Returns a frame wide enough for all bodies and walls."""
    reach = max(MARGIN, sum(scene.walls[::2]) + 0.06 if scene.walls else 0.0)
    sizes = [agent.size for agent in scene.agents] + [mark.size for mark in scene.landmarks]
    for size, place in zip(sizes, (*scene.agent_pos, *scene.landmark_pos), strict=True):
        reach = max(reach, float(np.abs(place).max()) + size + 0.02)
    return Frame(SIDE / 2 / reach)


def _draw_landmarks(canvas: Canvas, scene: Scene, frame: Frame, colors: list[Color]) -> None:
    """Draws landmarks, the largest below the others, and rings around the goals."""
    marks, places = scene.landmarks, scene.landmark_pos
    for k in sorted(range(len(places)), key=lambda k: -marks[k].size):
        color = MARKS[k] if scene.colored else KINDS[marks[k].kind]
        canvas.disc(*frame.at(places[k]), marks[k].size * frame.scale, color, _darker(color))
    for number, (k, agent) in enumerate(scene.goals):
        radius = marks[k].size * frame.scale + 5 + 4 * number
        _draw_ring(canvas, *frame.at(places[k]), radius, GOAL if agent is None else colors[agent])


def _draw_agents(canvas: Canvas, scene: Scene, frame: Frame, colors: list[Color]) -> None:
    """Draws agents, each with a line along its velocity and a letter or number."""
    for i, agent in enumerate(scene.agents):
        x, y = frame.at(scene.agent_pos[i])
        size = agent.size * frame.scale
        canvas.disc(x, y, size, colors[i], _darker(colors[i]))
        ahead = frame.at(scene.agent_pos[i] + scene.agent_vel[i] * LOOK_AHEAD)
        canvas.line(x, y, *ahead, fill=_darker(colors[i]), width=2)
        canvas.text(x, y, _label(agent.name), max(8.0, min(size * 1.1, 15.0)), WHITE)


def _draw_messages(canvas: Canvas, scene: Scene, frame: Frame, colors: list[Color]) -> None:
    """Draws a bubble beside each speaker with its last symbol, or `-` for silence."""
    for i, message in scene.messages:
        x, y = frame.at(scene.agent_pos[i])
        size = scene.agents[i].size * frame.scale
        words = SYMBOLS[int(message.argmax())] if message.any() else "-"
        bx, by = min(max(x + size + 10, 12), SIDE - 12), min(max(y - size - 10, 12), SIDE - 12)
        canvas.box(bx - 10, by - 10, bx + 10, by + 10, WHITE, colors[i], round=6)
        canvas.text(bx, by, words, 13, INK)


def _draw_walls(canvas: Canvas, walls: tuple[float, float, float], scale: float) -> None:
    """Draws four walls around the centre, which do not meet in the corners."""
    where, end, half = (scale * length for length in walls)
    centre = SIDE / 2
    for side in (-where, where):
        for x, y, wide, high in ((side, 0.0, half, end), (0.0, side, end, half)):
            box = (centre + x - wide, centre + y - high, centre + x + wide, centre + y + high)
            canvas.box(*box, (120, 120, 130))


def _draw_ring(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """Draws a circle that is not filled."""
    turn = np.linspace(0, 2 * np.pi, 61)
    line = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], -1)
    canvas.line(*map(float, line.ravel()), fill=color, width=2.5)


def _label(name: str) -> str:
    """Returns the text on an agent: its number, or the first letter of its name."""
    kind, _, number = name.rpartition("_")
    return number if kind in ("agent", "adversary", "predator") else kind[0].upper()


def _darker(color: Color) -> Color:
    """Returns a darker shade."""
    red, green, blue = (part * 7 // 10 for part in color)
    return red, green, blue
