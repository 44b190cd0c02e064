"""Field comments as documentation: an extension of griffe, which reads the code for the API pages.

The fields of small records are explained by a comment behind them (`reward: Array  # f32 [N]`),
which may go on in comment lines below. Here such comments become the section `Attributes:` of the
class's docstring.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """Adds the comments behind fields to the docstring of their class."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:  # noqa: D102  its hook
        if cls.docstring is None or "Attributes:" in cls.docstring.value:
            return
        lines = Path(str(cls.filepath)).read_text("utf-8").splitlines()
        entries = []
        for name, member in cls.members.items():
            if member.is_attribute and not member.docstring and member.endlineno:
                if text := comment_behind(lines, member.endlineno - 1):
                    entries.append(f"    {name}: {text}")
        if entries:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(entries)


def comment_behind(lines: list[str], index: int) -> str:
    """Returns the comment at the end of a line and in the comment lines that continue it.

    Args:
      lines: of a file of code.
      index: of the line.
    """
    behind = re.search(r"  # (?!noqa|type:|fmt:)(.*)$", lines[index])
    if not behind:
        return ""
    parts = [behind[1]]
    for line in lines[index + 1 :]:
        more = re.fullmatch(r"\s+# ([^A-Z].*)", line)  # a new sentence is about the next field
        if not more:
            break
        parts.append(more[1])
    return " ".join(parts)
