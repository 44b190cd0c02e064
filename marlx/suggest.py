"""One-line answers to names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `known` names most like `name`, best first; none where nothing is near."""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[word] for word in found]


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> ValueError:
    """The error for `name`, which is not among the `known`: one line with the nearest of them.

    Args:
      kind: what was named, e.g. `algorithm`.
      name: as it was given.
      known: what would have been accepted.
      where: where it was given, e.g. a file; may be empty.
    """
    known = sorted(known)
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return ValueError(f"unknown {kind} {name!r}{f' in {where}' if where else ''}; {hint}")
