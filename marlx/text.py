"""Text for people: the nearest names to an unknown one, durations, short numbers."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Returns the `known` names most like `name`, best first; none if nothing is near."""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[word] for word in found]


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> ValueError:
    """Returns the error for an unknown name: one line with the nearest known ones.

    Args:
      kind: of the name, e.g. `algorithm`.
      name: as it was given.
      known: names that are accepted.
      where: where it was given, e.g. a file; may be empty.
    """
    known = sorted(known)
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return ValueError(f"unknown {kind} {name!r}{f' in {where}' if where else ''}; {hint}")


def print_line(line: str) -> None:
    """Prints a line on stderr; nothing where that is closed, broken or full."""
    with contextlib.suppress(OSError, ValueError):  # a closed file raises a ValueError
        print(line, file=sys.stderr, flush=True)


def short_text(value: Any) -> str:
    """Returns a setting as text, numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Returns a duration as `0:07`, `12:30` or `1:02:03`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    clock = f"{minutes}:{whole % 60:02d}"
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else clock


def short(number: float, digits: int = 3) -> str:
    """Returns a number as `20k` or `1.5M`, with so many significant digits."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.{digits}g}{letter}"
    return f"{number:.{digits}g}"


def bytes_text(size: float) -> str:
    """Returns a number of bytes as text, e.g. `1.5 MB`."""
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {letters}"
    return f"{size:.0f} B"
