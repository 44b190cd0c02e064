"""Positions, distances and contact forces of particle worlds.

Numbers keep the type of the state they come from, so that with JAX's 64-bit mode the same code
computes in double precision, as mpe2 does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.types import Array

STIFFNESS = 100.0
"""Force of a contact, per length of overlap."""
MARGIN = 1e-3
"""Length over which a contact force sets in."""
Number = Array | float


class Point(NamedTuple):
    """A position or velocity, in scalars."""

    x: Array
    y: Array

    def __sub__(self, other: Point) -> Point:
        """Returns this position relative to the other."""
        return Point(self.x - other.x, self.y - other.y)


def points(array: Array) -> list[Point]:
    """Returns the rows of [K, 2] as points."""
    numbers = jnp.unstack(array.reshape(array.size))
    return list(map(Point, numbers[::2], numbers[1::2]))


def one_hot(which: Array, size: int, dtype: Any) -> Array:
    """Returns [size] of type `dtype`, 1 at index `which` and 0 elsewhere."""
    return (which == np.arange(size)).astype(dtype)


def pick(rows: Sequence[Any], which: Array) -> Any:
    """Returns `rows[which]` for a traced `which`; rows are numbers, vectors or points."""

    def select(chosen: Any, row: tuple[int, Any]) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(which == row[0], b, a), chosen, row[1])

    return functools.reduce(select, enumerate(rows[1:], 1), rows[0])


def contact(apart: Array, reach: np.ndarray) -> Array:
    """Returns the contact forces [K, 2] on a body from K others.

    Args:
      apart: [K, 2], position of the body relative to each of the others.
      reach: [K], sum of the two radii.
    """
    dist = jnp.sqrt(square(Point(apart[:, 0], apart[:, 1])))
    strength = STIFFNESS * overlap(dist - reach) / nonzero(dist)
    return apart * strength[:, None]


def overlap(gap: Array) -> Array:
    """Returns the smoothed depth by which two bodies overlap; near 0 where there is a gap."""
    u = gap / MARGIN
    # log(1 + exp(-u)) in a form that does not overflow.
    return MARGIN * (jnp.maximum(-u, 0.0) + jnp.log(1.0 + jnp.exp(-jnp.abs(u))))


def nonzero(number: Array) -> Array:
    """Returns `number`, or 1 where it is 0, for use as a divisor."""
    return jnp.where(number > 0, number, 1.0)


def square(apart: Point) -> Array:
    """Returns the squared length of a vector."""
    return apart.x * apart.x + apart.y * apart.y


def distance(a: Point, b: Point) -> Array:
    """Returns the distance of two points."""
    return jnp.sqrt(square(a - b))


def touch(a: Point, b: Point, reach: float) -> Array:
    """Returns bool [], whether two points are closer than `reach`."""
    return square(a - b) < reach * reach


def count(conditions: Iterable[Array]) -> Array:
    """Returns the number of conditions that hold, as a float."""
    return functools.reduce(jnp.add, [jnp.where(yes, 1.0, 0.0) for yes in conditions])


def outside(place: Point) -> Array:
    """Returns mpe2's cost of leaving the screen, summed over both axes."""

    def one(x: Array) -> Array:
        x = jnp.abs(x)
        far = jnp.minimum(jnp.exp(2.0 * x - 2.0), 10.0)
        return jnp.where(x < 0.9, 0.0, jnp.where(x < 1.0, (x - 0.9) * 10.0, far))

    return one(place.x) + one(place.y)


def nearest(places: Sequence[Point], to: Point) -> Array:
    """Returns the distance from `to` to the nearest of `places`."""
    return jnp.sqrt(functools.reduce(jnp.minimum, [square(place - to) for place in places]))


def relative(places: Array, to: Array) -> Array:
    """Returns [2 K], `places` [K, 2] relative to `to` [2]."""
    return (places - to).reshape(places.size)


def others(rows: Array, i: int) -> Array:
    """Returns all rows but the i-th."""
    return jnp.concatenate([rows[:i], rows[i + 1 :]])


def uniform(bits: Array, bound: float) -> Array:
    """Returns a number uniform in [-bound, bound) from 32 random bits."""
    return (bits >> 8).astype(float) * (bound * 2.0**-23) - bound
