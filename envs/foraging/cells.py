"""Integer codes of agents and foods, and sets of cells as bits of words."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.envs.foraging.state import Entity
from marlx.types import Array

WORD_BITS = 32
"""Bits of an integer that stands for a set of cells in one row of the board."""
MAX_NUMBER = 999
"""Largest board side and level: row, column and level share one integer, see `encode`."""
EMPTY = 1 << 30
"""Code of an empty slot; larger than any code of `encode`."""


def encode(entity: Entity) -> Array:
    """Returns one int32 for an agent or a food, so that one `where` selects all its numbers.

    Codes are ordered row by row, then by column.
    """
    return (entity.row << 20) | (entity.col << 10) | entity.level


def decode(code: Array) -> Entity:
    """Returns the entity of a code; `EMPTY` becomes position (-1, -1) and level 0."""
    empty = code == EMPTY
    row, col, level = code >> 20, (code >> 10) & 1023, code & 1023
    return Entity(jnp.where(empty, -1, row), jnp.where(empty, -1, col), jnp.where(empty, 0, level))


def bits(centre: Array, radius: Array | int, max_radius: int) -> Array:
    """Returns uint32 words whose set bits are within `radius` of bit `centre`.

    Args:
      centre: int32, position of a bit; may lie outside the word.
      radius: at most `max_radius`; negative for no bit.
      max_radius: a Python number, over which the loop is unrolled.
    """
    bits: Array = jnp.uint32(0)
    for side in range(-max_radius, max_radius + 1):
        at = centre + side
        inside = (at >= 0) & (at < WORD_BITS) & (abs(side) <= radius)
        one = jnp.uint32(1) << (at & (WORD_BITS - 1)).astype(jnp.uint32)
        bits = bits | jnp.where(inside, one, 0)
    return bits


def nth_bit(word: Array, rank: Array) -> Array:
    """Returns int32, the position of the set bit that has `rank` set bits below it.

    The search halves the word five times.
    """
    position = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        below = jax.lax.population_count(low).astype(jnp.int32)
        up = rank >= below
        rank = jnp.where(up, rank - below, rank)
        word = jnp.where(up, word >> half, low)
        position = jnp.where(up, position + half, position)
    return position
