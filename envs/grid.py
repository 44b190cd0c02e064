"""Headings and positions of agents on a grid, shared by the grid environments."""

from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp

from marlx.types import Array

EAST, SOUTH, WEST, NORTH = range(4)
"""Headings, clockwise, with MiniGrid's numbers."""


def ahead(heading: Array) -> tuple[Array, Array]:
    """Returns rows down and columns right of the cell in front of an agent, int32 each."""
    down = (heading == SOUTH).astype(jnp.int32) - (heading == NORTH)
    right = (heading == EAST).astype(jnp.int32) - (heading == WEST)
    return down, right


def rows_and_cols(pos: Array) -> list[tuple[Array, Array]]:
    """Returns the rows of positions [N, 2] as pairs of scalars."""
    numbers = jnp.unstack(pos.reshape(pos.size))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def positions(places: Iterable[tuple[Array, Array]]) -> Array:
    """Returns positions [N, 2] from pairs of scalars; the inverse of `rows_and_cols`."""
    return jnp.stack([number for place in places for number in place]).reshape(-1, 2)
