"""Running mean and standard deviation, for scaling rewards and values."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.types import Array

LARGEST = 5.0
"""Largest size of a standardised component, where numbers are clipped."""


class Moments(NamedTuple):
    """Moments of the numbers seen so far."""

    number: Array  # f32 [], how many; old ones count less where `extend` has `keep` below 1
    mean: Array  # f32 []
    squares: Array  # f32 [], sum of squared distances from the mean

    @property
    def deviation(self) -> Array:
        """f32 [], the standard deviation, at least 1e-4."""
        return jnp.sqrt(self.squares / jnp.maximum(self.number, 1.0) + 1e-8)


def moments() -> Moments:
    """Returns the moments of no numbers."""
    return Moments(jnp.float32(0), jnp.float32(0), jnp.float32(0))


def extend(seen: Moments, more: Array, keep: float = 1.0, counted: Array | None = None) -> Moments:
    """Returns the moments of the numbers seen so far and `more` together.

    Args:
      seen: moments so far.
      more: f32, any shape.
      keep: factor on the weight of the numbers seen so far; below 1 old numbers are forgotten.
      counted: bool, of the shape of `more`, the numbers that count; None: all do.

    Source: Chan et al. 1979.
    """
    number, squares = keep * seen.number, keep * seen.squares
    if counted is None:
        count, mean = jnp.float32(more.size), more.mean()
        distance = more - mean
    else:
        count = counted.sum().astype(jnp.float32)
        mean = jnp.where(counted, more, 0.0).sum() / jnp.maximum(count, 1.0)
        distance = jnp.where(counted, more - mean, 0.0)
    total, gap = number + count, mean - seen.mean
    divisor = total if counted is None else jnp.maximum(total, 1e-8)  # there may be none so far
    squares = squares + (distance**2).sum() + gap**2 * number * count / divisor
    return Moments(total, seen.mean + gap * count / divisor, squares)
