"""Settings as dataclass fields that declare their bounds, and the one function that checks them.

::

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class MyConfig:
        lr: float = setting(5e-4, above=0, traced=True)
        \"\"\"Adam's step size.\"\"\"
        batch: int = setting(32, at_least=1)
        \"\"\"Transitions per gradient step.\"\"\"

        def __post_init__(self) -> None:
            check_settings(self)

A `traced` setting may be an array: `marlx.train_many` then trains runs that differ in it in one
compiled program. Arrays are not checked, since their values are not known yet.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import math
import re
import textwrap
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from marlx.text import shortened, unknown

T = TypeVar("T")

BOUNDS = ("at_least", "above", "at_most", "below")
LARGEST = 2**31 - 1
"""Largest whole number of a setting without another bound: counters are int32."""
LARGEST_SEED = 2**32 - 1
"""Largest seed: 32 bits, as in sweeps of others."""
FAR = 1000
"""Largest values from here on are against mistakes: they are named to those who exceed them."""
MOST_SEEDS = 2**16
"""Most runs of one program."""


def setting(
    default: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    traced: bool = False,
    finite: bool = True,
) -> Any:
    """Returns a dataclass field with a default and bounds.

    Args:
      default: the value if none is given.
      at_least: smallest value that is accepted.
      above: values must be larger than this.
      at_most: largest value that is accepted.
      below: values must be smaller than this.
      traced: the setting may be an array inside a compiled program. Neither a shape nor a Python
        `if` may depend on it.
      finite: infinity is refused. False where it has a meaning, such as no limit.
    """
    bounds = dict(zip(BOUNDS, (at_least, above, at_most, below), strict=True))
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return dataclasses.field(
        default=default, metadata={**given, "traced": traced, "finite": finite}
    )


def nearest_names(cls: type[T]) -> type[T]:
    """Makes a dataclass answer a misspelt keyword with the nearest setting, as a `ValueError`.

    Put it above `dataclasses.dataclass`.
    """
    known = [field.name for field in dataclasses.fields(cast("Any", cls))]
    init: Callable[..., None] = cast("Any", cls).__init__

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in known:
                raise unknown("setting", name, known, cls.__name__)
        init(self, *args, **kwargs)

    cast("Any", cls).__init__ = checked
    return cls


def check_settings(config: Any) -> None:
    """Raises ValueError for the first setting that is outside its bounds or not among its choices.

    Numbers must be finite, unless the setting is declared without, and whole numbers at most
    `LARGEST`, unless there is another bound. None and arrays are accepted.

    Args:
      config: a dataclass.
    """
    cls: Any = type(config)
    hints = _hints(cls)
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            require(field.name, value, value in choices, " or ".join(map(repr, choices)))
        if isinstance(value, int | float) and not isinstance(value, bool):
            bounds, finite = bounds_of(field), field.metadata.get("finite", True)
            or_none = ", or none" if type(None) in typing.get_args(hint) else ""
            if isinstance(value, float) and finite and math.isinf(value):
                require(field.name, value, False, "a finite number" + or_none)
            if isinstance(value, int) and not bounds.keys() & {"at_most", "below"}:
                require(field.name, value, value <= LARGEST, f"at most {LARGEST}" + or_none)
            require(field.name, value, _inside(value, bounds), _in_words(bounds, value) + or_none)


def require(name: str, value: Any, ok: bool, accepted: str) -> None:
    """Raises ValueError "`name` is `value`; it must be `accepted`" unless `ok`.

    For rules that join several settings: `require("burn_in", c.burn_in, c.burn_in < c.window,
    f"less than window ({c.window})")`.
    """
    if not ok:
        shown = shortened(repr(value) if isinstance(value, str) else value)
        raise ValueError(f"{name} is {shown}; it must be {accepted}")


def bounds_of(field: dataclasses.Field[Any]) -> dict[str, float]:
    """Returns the bounds that a field declares, by the name of `setting`'s argument."""
    return {name: field.metadata[name] for name in BOUNDS if name in field.metadata}


def traced_settings(config: Any, prefix: str = "") -> dict[str, int | float]:
    """Returns the values of `traced` settings, also those of nested dataclasses, by dotted name."""
    found: dict[str, int | float] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= traced_settings(value, f"{prefix}{field.name}.")
        elif field.metadata.get("traced") and isinstance(value, int | float):
            found[prefix + field.name] = value
    return found


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Returns the descriptions of a dataclass's fields, those of its base classes included.

    They are the docstrings below the fields, or else the lines `name: text` under `Attributes:` in
    the docstring of the class. Where there is no source, there are no docstrings below fields.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        docs |= _attributes(inspect.cleandoc(base.__doc__ or ""))
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        for field, below in itertools.pairwise(getattr(definition, "body", ())):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = below.value if isinstance(below, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    docs[field.target.id] = inspect.cleandoc(text.value)
    return docs


def _attributes(docstring: str) -> dict[str, str]:
    """Returns the lines `name: text` under `Attributes:` or `Args:` by name."""
    _, _, section = re.sub("^Args:$", "Attributes:", docstring, flags=re.M).partition("Attributes:")
    section = re.split(r"\n\S", section)[0]
    entries = re.findall(r"^  (\w+): (.*(?:\n   .*)*)", section, flags=re.M)
    return {name: " ".join(text.split()) for name, text in entries}


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _inside(value: float, bounds: dict[str, float]) -> bool:
    return value == value and (
        bounds.get("at_least", value) <= value <= bounds.get("at_most", value)
        and ("above" not in bounds or value > bounds["above"])
        and ("below" not in bounds or value < bounds["below"])
    )


def _in_words(bounds: dict[str, float], value: float) -> str:
    """Returns the bounds in words; a far one only if `value` is beyond it."""
    if bounds.get("at_most", 0) >= FAR and not value > bounds["at_most"]:
        bounds = {name: bound for name, bound in bounds.items() if name != "at_most"}
    if not bounds:
        return "a number"
    if {"at_least", "at_most"} <= bounds.keys():
        return f"between {bounds['at_least']} and {bounds['at_most']}"
    if bounds == {"at_least": 0}:
        return "0 or more"
    words = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
    return " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items())
