"""Running mean and deviation of a stream of numbers, for scaling rewards and values."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.types import Array


class Moments(NamedTuple):
    """Moments of the numbers seen so far."""

    number: Array  # f32 [], how many, discounted where the past fades
    mean: Array  # f32 []
    squares: Array  # f32 [], sum of squared distances from the mean

    @property
    def deviation(self) -> Array:
        """f32 [], standard deviation; 1e-4 at least."""
        return jnp.sqrt(self.squares / jnp.maximum(self.number, 1.0) + 1e-8)


def moments() -> Moments:
    """Of no numbers yet."""
    return Moments(jnp.float32(0), jnp.float32(0), jnp.float32(0))


def extend(seen: Moments, more: Array, keep: float = 1.0) -> Moments:
    """Moments after `more` numbers of any shape.

    Args:
      seen: so far.
      more: f32, any shape.
      keep: what the numbers seen so far still count; below 1 the past fades.

    Source: Chan et al. 1979.
    """
    number, squares = keep * seen.number, keep * seen.squares
    count, mean = jnp.float32(more.size), more.mean()
    total, gap = number + count, mean - seen.mean
    squares = squares + ((more - mean) ** 2).sum() + gap**2 * number * count / total
    return Moments(total, seen.mean + gap * count / total, squares)
