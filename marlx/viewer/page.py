"""Self-contained pages: the files of this folder and data, in one file that asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from marlx.analysis.html import escape

WATCHING = ("decode.js", "drawing.js", "boards.js", "panel.js", "viewer.js", "start_viewer.js")
"""Scripts of a page to step through episodes, in their order."""


def asset(name: str) -> str:
    """Returns the text of a file of the viewer."""
    return (resources.files("marlx.viewer") / name).read_text("utf-8")


def page(
    title: str,
    subtitle: str,
    data: Mapping[str, Any],
    scripts: Sequence[str],
    *,
    asks: bool = False,
) -> str:
    """Returns a page that needs no network and asks for nothing.

    Its policy forbids every request, so that a name in the data cannot cause one either. Text of
    others is data, which the scripts show as text.

    Args:
      title: heading, and the title of the window.
      subtitle: a line below it.
      data: what the scripts read, as JSON has it.
      scripts: files of this folder, in the order in which they run.
      asks: the page may ask the server that it came from, and no other.
    """
    parts = {
        "TITLE": escape(title),
        "SUBTITLE": escape(subtitle),
        "STYLE": asset("viewer.css"),
        "DATA": json_text(data),
        "MAY": "; connect-src 'self'" if asks else "",
        "SCRIPTS": "\n".join(f"<script>\n{asset(name)}</script>" for name in scripts),
    }
    text = asset("page.html")
    pieces = text.split("%%")  # names stand between the marks, so what is filled in is never read
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def json_text(data: Any) -> str:
    """Returns JSON that is safe inside a `<script>` element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
