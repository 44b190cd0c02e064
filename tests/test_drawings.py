"""Drawings made by hand: no text leaves the box that it starts in."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"


def texts(node, size=15.0, weight="normal", anchor="start"):
    """Yields text, x, y, width and size of every text; DejaVu Sans is wider than most fonts."""
    size, weight = float(node.get("font-size", size)), node.get("font-weight", weight)
    anchor = node.get("text-anchor", anchor)
    if node.tag == f"{SVG}text":
        font = FontProperties(family="DejaVu Sans", weight="bold" if weight == "600" else "normal")
        width = TextPath((0, 0), node.text, size=size, prop=font).get_extents().width
        left = float(node.get("x")) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        yield node.text, left, float(node.get("y")), width, size
    for child in node:
        yield from texts(child, size, weight, anchor)


def boxes(root):
    for rect in root.iter(f"{SVG}rect"):
        x, y, width, height = (float(rect.get(n, 0)) for n in ("x", "y", "width", "height"))
        yield x, y, x + width, y + height


def overflowing(root):
    """Every text that is not within the smallest box around its middle."""
    found = []
    for text, left, y, width, size in texts(root):
        middle = left + width / 2
        around = [b for b in boxes(root) if b[0] <= middle <= b[2] and b[1] <= y <= b[3]]
        x0, y0, x1, y1 = min(around, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        if left < x0 + 2 or left + width > x1 - 2 or y - size < y0 or y > y1 - 4:
            found.append(text)
    return found


@pytest.mark.parametrize("name", ["loop.svg"])
def test_text_stays_in_its_box(name):
    root = ElementTree.parse(IMAGES / name).getroot()
    assert len(list(texts(root))) > 15 and overflowing(root) == []


def test_text_that_leaves_its_box_is_found():
    root = ElementTree.parse(IMAGES / "loop.svg").getroot()
    (node,) = [x for x in root.iter(f"{SVG}text") if x.text == "gradient steps"]
    node.text = "gradient steps, many of them"
    assert overflowing(root) == [node.text]
