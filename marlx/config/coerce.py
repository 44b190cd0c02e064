"""Conversion of values from YAML, text and Python to the types of settings."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from marlx.text import shortened


def coerce(value: Any, hint: Any) -> Any:
    """Returns `value` as the type `hint` of a setting.

    Numbers may be given as text (`3e-4`, `1e6`, `500_000`), and whole numbers as `1e6`.

    Raises:
      ValueError: it cannot be; the message says what was expected.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if isinstance(value, str | int | bool) and value in args:
            return value
        raise ValueError(f"expected {' or '.join(map(str, args))}, got {_shown(value)}")
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, args)
    if origin in (tuple, list):
        return _coerce_sequence(value, origin, args)
    if hint in (int, float):
        return _coerce_number(value, hint)
    if hint is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError(f"expected true or false, got {_shown(value)}")
    if hint is str and isinstance(value, str | list | tuple):
        return value if isinstance(value, str) else str(list(value))  # a table, kept as its text
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ValueError(f"expected {_name(hint)}, got {_shown(value)}")


def _coerce_number(value: Any, kind: type[int] | type[float]) -> int | float:
    expected = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {expected}, got {_shown(value)}")
    try:
        return kind(value) if isinstance(value, str) else _same(kind, value)
    except (ValueError, OverflowError):
        pass
    try:
        return _same(kind, float(value))
    except (ValueError, OverflowError):
        raise ValueError(f"expected {expected}, got {_shown(value)}") from None


def _same(kind: type[int] | type[float], value: float) -> int | float:
    if kind(value) != value and value == value:
        raise ValueError
    return kind(value)


def _coerce_union(value: Any, args: tuple[Any, ...]) -> Any:
    if value is None or value in ("None", "null", "none"):
        if type(None) in args:
            return None
    rest = [arg for arg in args if arg is not type(None)]
    if isinstance(value, str):  # which is no function
        rest = [arg for arg in rest if not getattr(arg, "_is_protocol", False)]
    reasons = []
    for arg in rest:
        try:
            return coerce(value, arg)
        except ValueError as error:
            reasons.append(str(error))
    empty = " or none" if type(None) in args else ""
    raise ValueError(f"expected {' or '.join(map(_name, rest))}{empty}, got {_shown(value)}")


def _coerce_sequence(value: Any, origin: type, args: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list, got {_shown(value)}")
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise ValueError(f"expected {len(args)} values, got {len(value)}")
        return tuple(map(coerce, value, args))
    return origin(coerce(item, args[0] if args else Any) for item in value)


def _shown(value: Any) -> str:
    """Returns a value in messages."""
    try:
        return shortened(repr(value))
    except ValueError:  # a whole number of more digits than Python writes
        return "a very large number"


def _name(hint: Any) -> str:
    """Returns the name of a type in messages."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (tuple, list):
        return "a list"
    return names.get(hint, str(getattr(hint, "__name__", hint)))
