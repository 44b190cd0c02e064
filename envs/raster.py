"""Shapes and text on a canvas, with Pillow, for pictures of environments.

Shapes are drawn larger and scaled down at the end, which smooths their edges. The same calls always
give the same pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

INK: Color = (44, 48, 58)
PAPER: Color = (250, 250, 247)
LINES: Color = (222, 222, 214)
WHITE: Color = (255, 255, 255)

TEAM: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (120, 94, 240),
    (140, 120, 40),
    (90, 90, 100),
)
"""Colours of agents, distinct for colour-blind people (Okabe & Ito 2008, and three more)."""


class Canvas:
    """A picture being drawn; lengths are in pixels of the finished picture, y grows downwards."""

    def __init__(self, width: int, height: int, color: Color = PAPER, smooth: int = 4) -> None:
        self._size = width, height
        self._smooth = smooth
        self._image = Image.new("RGB", (width * smooth, height * smooth), color)
        self._draw = ImageDraw.Draw(self._image)

    def _scaled(self, *lengths: float) -> list[float]:
        return [length * self._smooth for length in lengths]

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: Color,
        edge: Color | None = None,
        round: float = 0.0,
    ) -> None:
        """Draws a rectangle with corners of radius `round`."""
        corners = self._scaled(left, top, right, bottom)
        radius, width = round * self._smooth, self._smooth * 3 // 2
        self._draw.rounded_rectangle(corners, radius, fill, edge, width if edge else 0)

    def disc(
        self, x: float, y: float, radius: float, fill: Color, edge: Color | None = None
    ) -> None:
        """Draws a filled circle around (x, y)."""
        corners = self._scaled(x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(corners, fill, edge, self._smooth * 3 // 2 if edge else 0)

    def line(self, *points: float, fill: Color = LINES, width: float = 1.0) -> None:
        """Draws straight lines through x, y, x, y, ..."""
        self._draw.line(self._scaled(*points), fill, max(1, int(width * self._smooth)))

    def polygon(self, *points: float, fill: Color) -> None:
        """Draws a filled polygon with corners x, y, x, y, ..."""
        self._draw.polygon(self._scaled(*points), fill)

    def arrow(self, x: float, y: float, half: float, heading: int, fill: Color) -> None:
        """Draws an arrowhead around (x, y) that points 0 east, 1 south, 2 west or 3 north."""
        right, down = ((1, 0), (0, 1), (-1, 0), (0, -1))[heading]
        points: list[float] = []
        for ahead, aside in ((1.0, 0.0), (-0.8, 0.82), (-0.45, 0.0), (-0.8, -0.82)):
            points.append(x + half * (ahead * right - aside * down))
            points.append(y + half * (ahead * down + aside * right))
        self.polygon(*points, fill=fill)

    def text(self, x: float, y: float, words: str, size: float, fill: Color = INK) -> None:
        """Draws text centred on (x, y); `size` is roughly the height of the letters in pixels."""
        font = ImageFont.load_default(size * self._smooth)
        self._draw.text((x * self._smooth, y * self._smooth), words, fill, font, "mm")

    def grid(self, left: float, top: float, rows: int, cols: int, cell: float) -> None:
        """Draws the lines of a board of square cells."""
        for row in range(rows + 1):
            self.line(left, top + row * cell, left + cols * cell, top + row * cell)
        for col in range(cols + 1):
            self.line(left + col * cell, top, left + col * cell, top + rows * cell)

    def pixels(self) -> np.ndarray:
        """Returns uint8 [height, width, 3], the finished picture."""
        return np.asarray(self._image.resize(self._size, Image.Resampling.BOX), np.uint8)
