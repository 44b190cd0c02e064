"""Checks of settings and of arrays that a caller gives; each error is one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.text import shortened

LONGEST_EPISODE = 100_000
"""Most steps of an episode."""
MOST_OF_A_KIND = 256
"""Most agents, foods, obstacles and so on of an environment."""
LARGEST_VALUE = 1_000_000
"""Largest value of another setting of an environment."""


def largest(name: str) -> int:
    """Returns the largest value of the setting called `name`."""
    if name == "horizon":
        return LONGEST_EPISODE
    return MOST_OF_A_KIND if name.startswith("num_") else LARGEST_VALUE


def at_least(settings: Any, **lowest: float) -> None:
    """Checks that numbers are not below their lowest value, and not above `largest`.

    Args:
      settings: a record with these attributes.
      **lowest: attribute name and lowest value, e.g. `horizon=1`.

    Raises:
      ValueError: a value is lower or too large, or is not a number (NaN).
    """
    for name, lowest_value in lowest.items():
        value = getattr(settings, name)
        if not value >= lowest_value:
            raise ValueError(f"{name} is {value}; it must be {lowest_value} or more")
        if value > largest(name):
            raise ValueError(f"{name} is {shortened(value)}; it must be at most {largest(name)}")


def at_least_or_none(settings: Any, **lowest: float) -> None:
    """Checks as `at_least` those attributes that are not None.

    Raises:
      ValueError: a value is lower, or too large.
    """
    for name, lowest_value in lowest.items():
        value = getattr(settings, name)
        if value is not None and not value >= lowest_value:
            raise ValueError(f"{name} is {value}; it must be {lowest_value} or more, or None")
        if value is not None and value > largest(name):
            raise ValueError(
                f"{name} is {shortened(value)}; it must be at most {largest(name)}, or None"
            )


def between(settings: Any, **ranges: tuple[float, float]) -> None:
    """Checks that numbers are in a closed range.

    Args:
      settings: a record with these attributes.
      **ranges: attribute name and (lowest, highest) value, e.g. `epsilon=(0, 1)`.

    Raises:
      ValueError: a value is outside its range, or is not a number (NaN).
    """
    for name, (lowest, highest) in ranges.items():
        value = getattr(settings, name)
        if not lowest <= value <= highest:
            raise ValueError(f"{name} is {value}; it must be between {lowest} and {highest}")


def check_probability(**values: float) -> None:
    """Checks that arguments are between 0 and 1.

    Args:
      **values: argument name and value, e.g. `epsilon=epsilon`.

    Raises:
      ValueError: a value is outside [0, 1].
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must be between 0 and 1")


def check_not_negative(**values: float) -> None:
    """Checks that arguments are 0 or more.

    Args:
      **values: argument name and value, e.g. `step=step`.

    Raises:
      ValueError: a value is negative.
    """
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be 0 or more")


def one_of(settings: Any, **accepted: tuple[str, ...]) -> None:
    """Checks that text settings have one of the accepted values.

    Args:
      settings: a record with these attributes.
      **accepted: attribute name and its values, e.g. `order=("sequential", "simultaneous")`.

    Raises:
      ValueError: a value is another.
    """
    for name, values in accepted.items():
        value = getattr(settings, name)
        if value not in values:
            *most, last = map(repr, values)
            words = f"{', '.join(most)} or {last}" if most else last
            raise ValueError(f"{name} is {value!r}; it must be {words}")


def integers(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns `values` as an int32 array.

    Args:
      name: of the argument, for the error.
      values: an array, lists or numbers.
      shape: the shape that they must have; None for any.

    Raises:
      ValueError: rows differ in length, a value is not an integer, or the shape is another.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths") from None
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} holds {array.dtype} values; it must hold integers")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must be {shape}")
    return array.astype(np.int32)


def numbers(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns `values` as an array of finite numbers.

    Args:
      name: of the argument, for the error.
      values: an array, lists or numbers; any empty array will do for an empty shape.
      shape: the shape that they must have.

    Raises:
      ValueError: a value is not a finite number, or the shape is another.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {array.dtype} values; it must hold numbers")
    if array.shape != shape and not array.size == np.prod(shape) == 0:
        raise ValueError(f"{name} has shape {array.shape}; it must be {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array.reshape(shape)
