"""Pictures of matrix games: payoff tables, with the last joint action framed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont


class Scene(NamedTuple):
    """Contents of a picture."""

    title: str
    payoff: np.ndarray  # f64 [K, *A, N]
    per_agent: bool  # whether cells show a number for each agent
    step: int
    stage: int  # the table that is played next
    played: int  # the table in which `last_action` was taken
    last_action: tuple[int, ...]  # -1 for none yet


def draw(scene: Scene) -> np.ndarray:
    """Returns uint8 [height, width, 3].

    There is one table for each stage and each joint action of all agents but the last two, whose
    actions are its rows and columns. Cells are coloured by the mean reward of the agents. Stages
    other than the next are grey.
    """
    stages, *sizes, num_agents = scene.payoff.shape
    *before, rows, columns = sizes if num_agents > 1 else (1, *sizes)
    pay = scene.payoff.reshape(stages, *before, rows, columns, num_agents)
    colors = _colors(pay.mean(-1))
    last, acted = scene.last_action, scene.last_action[0] >= 0
    framed = np.zeros(scene.payoff.shape[:-1], bool)
    framed[(scene.played, *last)] = acted
    framed = framed.reshape(pay.shape[:-1])
    tables = []
    for where in np.ndindex(stages, *before):
        title = [f"stage {where[0]}"] * (stages > 1)
        title += [f"agent {i} plays {action}" for i, action in enumerate(where[1:])]
        tables.append(
            _draw_table(
                ", ".join(title) or scene.title,
                _words(pay[where], scene.per_agent),
                colors[where],
                framed[where],
                "black" if where[0] == scene.stage else "#8a8a92",
            )
        )
    did = ", ".join(map(str, last)) if acted else "none yet"
    axes = f"rows: agent {num_agents - 2}, columns: agent {num_agents - 1}"
    footer = [axes] * (num_agents > 1) + [f"step {scene.step}, last actions: {did}"]
    return _arrange(tables, len(tables) // stages if before else stages, footer)


def _words(pay: np.ndarray, per_agent: bool) -> list[list[str]]:
    """Returns the text of each cell, from rewards f64 [rows, columns, N]."""
    shown = pay if per_agent else pay[..., :1]
    return [[", ".join(f"{reward:g}" for reward in cell) for cell in row] for row in shown]


def _colors(reward: np.ndarray) -> np.ndarray:
    """Returns int [..., 3], colours from red for the lowest through white for 0 to green."""
    most, least = max(float(reward.max()), 1e-9), min(float(reward.min()), -1e-9)
    amount = np.where(reward > 0, reward / most, reward / least)[..., None]
    full = np.where(reward[..., None] > 0, (116, 196, 150), (238, 140, 128))
    return np.asarray(250 + amount * (full - 250)).astype(int)


def _draw_table(
    title: str, words: list[list[str]], colors: np.ndarray, framed: np.ndarray, ink: str
) -> Image.Image:
    """Returns the picture of one payoff table.

    Args:
      title: text above the table.
      words: text of each cell, [rows][columns].
      colors: int [rows, columns, 3], of the cells.
      framed: bool [rows, columns], cells to frame.
      ink: colour of the text.
    """
    small, large = ImageFont.load_default(14), ImageFont.load_default(18)
    rows, columns = framed.shape
    high = 44
    wide = max(56, 24 + round(max(large.getlength(word) for row in words for word in row)))
    width = 64 + max(columns * wide, round(large.getlength(title)))
    image = Image.new("RGB", (width, 56 + rows * high), "white")
    draw = ImageDraw.Draw(image)
    left, top = (width - columns * wide) / 2, 54.0
    draw.text((width / 2, 18), title, ink, large, "mm")
    for j in range(columns):
        draw.text((left + (j + 0.5) * wide, top - 11), f"{j}", "#6b6b6b", small, "mm")
    for i in range(rows):
        draw.text((left - 13, top + (i + 0.5) * high), f"{i}", "#6b6b6b", small, "mm")
    for i, j in np.ndindex(rows, columns):
        x, y = left + j * wide, top + i * high
        frame, line = ("#1c1c24", 4) if framed[i, j] else ("#d0d0d6", 1)
        draw.rectangle((x, y, x + wide - 3, y + high - 3), tuple(colors[i, j]), frame, line)
        draw.text((x + wide / 2 - 1, y + high / 2 - 1), words[i][j], ink, large, "mm")
    return image


def _arrange(tables: list[Image.Image], across: int, footer: list[str]) -> np.ndarray:
    """Returns uint8 [height, width, 3]: tables in rows of at most `across` or 6, text below."""
    across = min(across, 6)
    wide, high = max(table.width for table in tables), tables[0].height
    down = -(-len(tables) // across)
    size = (max(across * wide, 260), down * high + 20 * len(footer) + 16)
    image = Image.new("RGB", size, "white")
    for place, table in enumerate(tables):
        x = (size[0] - across * wide) // 2 + place % across * wide + (wide - table.width) // 2
        image.paste(table, (x, place // across * high))
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(footer):
        at = (size[0] / 2, down * high + 18 + 20 * line)
        draw.text(at, text, "#4a4a50", ImageFont.load_default(14), "mm")
    return np.asarray(image)
