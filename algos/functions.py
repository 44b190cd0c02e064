"""A function for each algorithm: `marlx.algos.qmix(spec, lr=3e-4)`, documented by its settings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from marlx.registry import Algorithm
from marlx.settings import field_docs

if TYPE_CHECKING:
    from marlx.learner import Learner


@functools.cache
def function_of(record: Algorithm) -> Callable[..., Learner]:
    """Returns the function that makes a learner of an algorithm, its settings as keywords.

    Name, signature and documentation follow from the settings, so that `help` and editors that run
    the code show them. Type checkers read `algos/__init__.pyi`.

    Args:
      record: the algorithm.
    """

    def make(spec: Any, **settings: Any) -> Learner:
        return record(spec, **settings)

    make.__name__ = make.__qualname__ = record.name
    make.__module__ = "marlx.algos"
    make.__doc__ = documentation(record)
    make.__signature__ = signature(record)  # type: ignore[attr-defined]
    return make


def signature(record: Algorithm) -> inspect.Signature:
    """Returns `(spec, *, lr: float = 0.0005, ...) -> Learner` with all settings of an algorithm."""
    keyword, positional = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    accepted = "EnvSpec | Environment[Any, Any] | str"
    parameters = [inspect.Parameter("spec", positional, annotation=accepted)]
    default, hints = record.config(), typing.get_type_hints(record.config)
    for field in dataclasses.fields(record.config):
        if field.init:
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                hint = hint | Mapping[str, Any]
            value = getattr(default, field.name)
            parameters.append(
                inspect.Parameter(field.name, keyword, default=value, annotation=hint)
            )
    return inspect.Signature(parameters, return_annotation="Learner")


def documentation(record: Algorithm) -> str:
    """Returns the docstring of an algorithm's function: its summary and every setting."""
    docs = field_docs(record.config)
    lines = [f"Returns a learner of {record.name}: {record.summary}.", "", "Args:"]
    lines.append("  spec: of the environment; or the environment, or its id.")
    for field in dataclasses.fields(record.config):
        if field.init:
            first, *rest = docs.get(field.name, "").splitlines() or [""]
            lines += [
                f"  {field.name}: {first}".rstrip(),
                *(f"    {line}".rstrip() for line in rest),
            ]
    return "\n".join(lines)
