"""Text for people: names that are safe to show, the nearest to an unknown one, numbers."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable
from typing import Any

WIDEST = 80
"""Characters of a value or name in messages; longer ones are cut in the middle."""
LISTED = 12
"""Most names that a message lists; of more it gives the nearest three."""
SYNONYMS = {
    "learning_rate": "lr",
    "step_size": "lr",
    "discount": "gamma",
    "batch_size": "batch",
    "buffer_size": "capacity",
    "buffer_capacity": "capacity",
    "hidden_dim": "hidden",
    "hidden_size": "hidden",
    "num_seeds": "seeds",
    "total_timesteps": "total_steps",
    "t_max": "total_steps",
    "n_envs": "num_envs",
    "entropy_coef": "entropy",
    "ent_coef": "entropy",
    "clip_eps": "clip",
    "num_minibatches": "minibatches",
    "update_epochs": "epochs",
    "gae_lambda": "lambda",
}
"""Names of settings in other libraries, and ours."""


def printable(text: object) -> str:
    """Returns `text` with the characters that a terminal would obey or cannot show escaped.

    Names come from files and environments of others. Every name that is shown in a terminal, a web
    page or a picture passes through here.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def shortened(text: object, width: int = WIDEST) -> str:
    """Returns `text` as `printable` does, cut in the middle to at most `width` characters."""
    whole = str(text)
    if len(whole) > 2 * width:  # before it is escaped: it may be very long
        whole = f"{whole[:width]} ... {whole[-width:]}"
    shown = printable(whole)
    if len(shown) <= width:
        return shown
    half = (width - 5) // 2
    return f"{shown[:half]} ... {shown[-half:]}"


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.5) -> list[str]:
    """Returns the `known` names most like `name`, best first; none if nothing is near.

    Names of settings in other libraries (`SYNONYMS`) are near to ours, and so is a setting of the
    same name in another block.

    Args:
      name: as it was given.
      known: names to choose from.
      count: most names to return.
      cutoff: least likeness, from 0 (anything) to 1 (the same).
    """
    by_lower = {word.lower(): word for word in known}
    last = _last(name.lower())
    wanted = SYNONYMS.get(last, last)
    ours = [word for lower, word in by_lower.items() if _last(lower) == wanted]
    if len(name) > WIDEST:
        return ours[:count]
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=cutoff)
    return list(dict.fromkeys([*ours, *(by_lower[word] for word in found)]))[:count]


def unknown(
    kind: str, name: Any, known: Iterable[str], where: str = "", listed_by: str = ""
) -> ValueError:
    """Returns the error for an unknown name: one line with the nearest known ones.

    Args:
      kind: of the name, e.g. `algorithm`.
      name: as it was given: text, or what a YAML file has in its place, as `true` or 3.
      known: names that are accepted.
      where: where it was given, e.g. a file; may be empty.
      listed_by: the command that shows all of them; may be empty.
    """
    known = sorted(known)
    near = nearest(str(name), known)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif len(known) <= LISTED:
        hint = f"known: {', '.join(known) or 'none'}"
    else:
        near = nearest(str(name), known, cutoff=0.0) or known[:3]
        hint = f"known: {', '.join(near)} and {len(known) - len(near)} more"
    rest = f"; {listed_by} shows all" if listed_by else ""
    place = f" in {where}" if where else ""
    return ValueError(f"unknown {kind} {shortened(repr(name))}{place}; {hint}{rest}")


def _last(name: str) -> str:
    """Returns the last part of a dotted name, as a setting is written: `learner.lr` gives `lr`."""
    return name.rpartition(".")[2].strip("-_").replace("-", "_")


def print_line(line: str) -> None:
    """Prints a line on stderr; nothing where that is closed, broken or full."""
    with contextlib.suppress(OSError, ValueError):  # a closed file raises a ValueError
        print(line, file=sys.stderr, flush=True)


def short_text(value: Any) -> str:
    """Returns a setting as text, numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {noun}{'s' * (number != 1)}"


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


def decimals(value: float) -> int:
    """Returns how many decimals a number is shown with: three digits or so in all."""
    size = abs(value)
    return 3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0


def rounded(value: float, digits: int | None = None) -> str:
    """Returns a number with so many decimals, by default three digits: `0.972`, `9.13`, `-18.5`."""
    places = decimals(value) if digits is None else digits
    text = f"{value:,.{places}f}"
    return text[1:] if text.startswith("-") and not float(text.replace(",", "")) else text
