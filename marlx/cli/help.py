"""Help texts: every option of a command with its type, its value and its docstring."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from marlx.settings import field_docs

_COLUMN = 34
"""Where the text of an option begins."""


class Section(NamedTuple):
    """Options under one heading.

    Attributes:
      title: the heading, e.g. `learner options`; empty for the only section of a command.
      record: a dataclass or an instance of one; its fields are the options.
      prefix: of the options' names, e.g. `learner.`.
    """

    title: str
    record: Any
    prefix: str = ""


def help_text(
    usage: str, description: str, sections: Sequence[Section], values: Mapping[str, Any]
) -> str:
    """Returns the help of a command.

    Args:
      usage: the command line without its options.
      description: of the command.
      sections: of its options; parts of a record follow it as sections of their own.
      values: of all options by dotted name, as they are if none is given.
    """
    width = max(60, min(100, shutil.get_terminal_size((88, 24)).columns))
    lines = [f"usage: {usage} [options]", "", *_wrapped(description, width), "", "options:"]
    lines += _entry("-h, --help", "Show this help and exit.", width)
    for section in sections:
        lines += _section(section, values, width)
    return "\n".join(lines) + "\n"


def option_name(name: str) -> str:
    """Returns the name of a setting as it is written on a command line, without the dashes."""
    return name.rstrip("_").replace("_", "-")


def _section(section: Section, values: Mapping[str, Any], width: int) -> Iterator[str]:
    from marlx.registry import settings_of

    record = section.record
    cls = record if isinstance(record, type) else type(record)
    docs = field_docs(cls)
    if section.title:
        yield from ("", f"{section.title}:")
        yield from _wrapped(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0], width, "  ")
    parts = []
    for name, hint in settings_of(record).items():
        full = section.prefix + name
        if isinstance(hint, dict):
            part = typing.get_type_hints(cls)[name]
            parts.append(Section(f"{full} options", part, f"{full}."))
            continue
        first, *choices = _paragraphs(docs.get(name, ""))
        first = f"{first} (default: {_shown(values[full])})".strip()
        option = f"--{option_name(full)} {_type_name(hint)}"
        yield from _entry(option, "\n".join((first, *choices)), width)
    for part in parts:
        yield from _section(part, values, width)


def _entry(option: str, text: str, width: int) -> list[str]:
    """Returns the option and, beside or below it, its text."""
    left = f"  {option}"
    lines = _wrapped(text, width, " " * _COLUMN)
    if len(left) > _COLUMN - 2:
        return [left, *lines]
    return [left.ljust(_COLUMN) + lines[0].lstrip(), *lines[1:]]


def _paragraphs(text: str) -> list[str]:
    """Returns `text` a line per paragraph; a line that begins with "`value`:" is one of its own."""
    paragraphs = [""]
    for line in text.splitlines():
        if not line.strip() or re.match("`[^`]+`:", line):
            paragraphs.append(line.strip())
        else:
            paragraphs[-1] = f"{paragraphs[-1]} {line.strip()}".strip()
    return paragraphs


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    lines = []
    for paragraph in _paragraphs(text):
        hanging = indent + "  " * bool(re.match("`[^`]+`:", paragraph))
        lines += textwrap.wrap(
            paragraph, width, initial_indent=indent, subsequent_indent=hanging,
            break_long_words=False, break_on_hyphens=False,
        ) or [""]  # fmt: skip
    return lines


def _type_name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "{" + ",".join(map(_shown, args)) + "}"
    if origin in (typing.Union, types.UnionType):
        return "|".join("none" if arg is type(None) else _type_name(arg) for arg in args)
    if origin in (tuple, list):
        return " ".join("..." if arg is Ellipsis else _type_name(arg) for arg in args)
    names = {int: "INT", float: "FLOAT", bool: "BOOL", str: "TEXT"}
    return names.get(hint, str(getattr(hint, "__name__", hint)).upper())


def _shown(value: Any) -> str:
    if value is None or value == () or value == []:
        return "none"
    if isinstance(value, tuple | list):
        return " ".join(map(_shown, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
