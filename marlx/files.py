"""Reading files that somebody else may have written: the one guard that every reader goes through.

A file is read only if it is a regular file (no pipe, no device) and not larger than a limit. JSON
may be nested only so deep, and its values must be of the types that a small schema says. Whatever
is wrong is a `ValueError` of one line, which names the file and the key.

A schema is one of

- a `Kind`, such as `NUMBER` or `TEXT`,
- `[schema]`, a list whose items all fit it,
- `Each(schema)`, an object whose values all fit it,
- `Record(needed, allowed)`, an object with these keys. It may have other keys, which nobody reads.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marlx.text import bytes_text, shortened

LARGEST_JSON = 256_000_000
"""Bytes of a JSON file, or of a file of JSON lines."""
LARGEST_YAML = 4_000_000
"""Bytes of a file of settings."""
LARGEST_ARRAYS = 64_000_000_000
"""Bytes of a file of arrays."""
DEEPEST = 64
"""Levels of lists and objects inside each other."""
LARGEST_NUMBER = 1e40
"""Numbers are smaller than this; those of a float32 are."""


class CannotRead(ValueError):
    """Raised for a file that is missing, not a regular file, too large or not readable.

    Attributes:
      missing: whether there is no such file.
    """

    def __init__(self, path: str | Path, reason: str, *, missing: bool = False) -> None:
        super().__init__(f"cannot read {shortened(path, 300)}: {reason}")
        self.missing = missing


class Kind(NamedTuple):
    """A type of values: its name in messages, and a test for it."""

    words: str
    holds: Callable[[Any], bool]


class Each(NamedTuple):
    """An object with any keys, whose values fit `item`."""

    item: Any


class Record(NamedTuple):
    """An object with the keys `needed`, and perhaps those of `allowed`; key -> schema."""

    needed: Mapping[str, Any]
    allowed: Mapping[str, Any] = {}


def is_number(value: Any) -> bool:
    """Whether a value is a finite number below `LARGEST_NUMBER` in size."""
    return type(value) in (int, float) and abs(value) < LARGEST_NUMBER


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


NUMBER = Kind("a number", is_number)
NUMBER_OR_NONE = Kind("a number or null", lambda value: value is None or is_number(value))
ANY_NUMBER = Kind("a number", lambda value: type(value) is float or is_number(value))
"""Also NaN and infinity, which checkpoints keep."""
WHOLE = Kind("a whole number, 0 or more", _is_whole)
TEXT = Kind("text", lambda value: isinstance(value, str))
ANYTHING = Kind("anything", lambda value: True)


def check_regular(path: str | Path, limit: int) -> None:
    """Checks that a file is there, is a regular file, and is not larger than `limit` bytes.

    Raises:
      CannotRead: it is not.
    """
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        missing = not isinstance(error, PermissionError)
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotRead(path, reason, missing=missing) from None
    if stat.S_ISDIR(about.st_mode):
        raise CannotRead(path, "it is a folder")
    if not stat.S_ISREG(about.st_mode):
        raise CannotRead(path, "it is not a regular file")
    if about.st_size > limit:
        raise CannotRead(
            path, f"it has {bytes_text(about.st_size)}; at most {bytes_text(limit)} are read"
        )


def read_bytes(path: str | Path, limit: int = LARGEST_JSON) -> bytes:
    """Returns the content of a regular file of at most `limit` bytes.

    Raises:
      CannotRead: it is something else, or cannot be read.
    """
    check_regular(path, limit)
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise CannotRead(path, error.strerror or str(error)) from None
    if len(content) > limit:  # it grew, or is a file of the system that has no size
        raise CannotRead(path, f"at most {bytes_text(limit)} are read")
    return content


def read_text(path: str | Path, limit: int = LARGEST_YAML) -> str:
    """Returns the text of a regular file of at most `limit` bytes.

    Raises:
      CannotRead: it is something else, cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError:
        raise CannotRead(path, "not a text file") from None


def read_json(path: str | Path, schema: Any, *, limit: int = LARGEST_JSON) -> Any:
    """Returns the content of a JSON file that fits `schema`.

    Raises:
      CannotRead: the file is missing or cannot be read.
      ValueError: it is not JSON, is nested too deep, or does not fit.
    """
    return checked(parse_json(read_text(path, limit), path), schema, path)


def parse_json(text: str, source: str | Path) -> Any:
    """Returns the value of a JSON text; `source` is named in errors.

    Raises:
      ValueError: it is not JSON, or is nested too deep.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{shortened(source, 300)} is not JSON, or is nested too deep") from None
    if text.count("[") + text.count("{") > DEEPEST and _deeper_than(content, DEEPEST):
        raise ValueError(f"{shortened(source, 300)} is nested more than {DEEPEST} levels deep")
    return content


def checked(content: Any, schema: Any, source: str | Path, key: str = "") -> Any:
    """Returns `content` if it fits `schema`.

    Args:
      content: as `parse_json` returns it.
      schema: see the module.
      source: the file, named in errors.
      key: dotted name of `content` in the file; empty for the whole file.

    Raises:
      ValueError: it does not fit; the message names the file and the key.
    """
    if isinstance(schema, Kind):
        if not schema.holds(content):
            raise _misfit(content, schema.words, source, key)
    elif isinstance(schema, list):
        if not isinstance(content, list):
            raise _misfit(content, "a list", source, key)
        for i, item in enumerate(content):
            checked(item, schema[0], source, f"{key}[{i}]")
    else:
        if not isinstance(content, dict):
            raise _misfit(content, "an object", source, key)
        before = f"{key}." if key else ""
        items = dict.fromkeys(content, schema.item) if isinstance(schema, Each) else schema.allowed
        if isinstance(schema, Record):
            for name in (name for name in schema.needed if name not in content):
                raise ValueError(f"{shortened(source, 300)} has no {before}{name}")
            items = {**schema.needed, **schema.allowed}
        for name, item in items.items():
            if name in content:
                checked(content[name], item, source, before + name)
    return content


def _misfit(content: Any, words: str, source: str | Path, key: str) -> ValueError:
    kinds: dict[Any, str] = {dict: "an object", list: "a list"}
    try:
        shown = kinds.get(type(content)) or shortened(repr(content))
    except ValueError:  # a whole number of more digits than Python writes
        shown = "a very large number"
    what = f"{shortened(key)} in {shortened(source, 300)}" if key else shortened(source, 300)
    return ValueError(f"{what} is {shown}; it must be {words}")


def _deeper_than(content: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than `levels` deep; without recursion."""
    inside = [content]
    for _ in range(levels + 1):
        inside = [
            item
            for one in inside
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, dict | list)
        ]
    return bool(inside)
