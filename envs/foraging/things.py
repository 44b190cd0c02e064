"""Agents and foods, what is the same for one and for arrays of them, and sets of cells as bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from marlx.environment import EnvState
from marlx.types import Array

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)

WORD = 32
"""Bits of the integers that stand for sets of cells in one row of the board."""
MOST = 999
"""Largest size and level: a row, a column and a level share one integer, see `encode`."""
EMPTY = 1 << 30
"""What stands for no thing there; above all that stand for one."""


@flax.struct.dataclass
class ForagingState(EnvState):
    """One episode: agents and foods on the board.

    Foods are listed row by row from the top, left to right, without gaps; slots that are left over
    (eaten, or never spawned) come last and hold position (-1, -1) and level 0.
    """

    agent_pos: Array  # int32 [N, 2], (row, column), row 0 is north
    agent_level: Array  # int32 [N]
    food_pos: Array  # int32 [F, 2], (row, column)
    food_level: Array  # int32 [F], 0 in an empty slot
    food_spawned: Array  # int32 [], sum of the food levels the episode began with
    tried: Array | None = None  # int32 [N], which of its foods an agent just tried to load, or -1


class Thing(NamedTuple):
    """An agent or a food, or all of them as arrays."""

    row: Array  # int32
    col: Array  # int32
    level: Array  # int32


class Near(NamedTuple):
    """The foods around an agent, int32 each: bit f stands for food f, 0 where there is none."""

    north: Array
    south: Array
    west: Array
    east: Array

    @property
    def any(self) -> Array:
        """All foods next to the agent."""
        return self.north | self.south | self.west | self.east

    @property
    def first(self) -> Array:
        """The food the agent faces: the first to its north, south, west, east."""
        beside = jnp.where(self.west > 0, self.west, self.east)
        return jnp.where(self.north > 0, self.north, jnp.where(self.south > 0, self.south, beside))


def legal_moves(env: Foraging, agent: Thing, near: Near) -> tuple[Array, Array, Array, Array]:
    """Which of north, south, west, east an agent may go, bool each; agents do not block."""
    rows, cols = env.size
    return (
        (agent.row > 0) & (near.north == 0),
        (agent.row < rows - 1) & (near.south == 0),
        (agent.col > 0) & (near.west == 0),
        (agent.col < cols - 1) & (near.east == 0),
    )


def legal_actions(env: Foraging, agent: Thing, near: Near) -> Array:
    """Bool [..., 6], the actions that would not count as nothing, and nothing."""
    nothing = jnp.ones_like(agent.row, bool)
    return jnp.stack([nothing, *legal_moves(env, agent, near), near.any > 0], axis=-1)


def wanted(env: Foraging, agent: Thing, near: Near, action: Array) -> tuple[Array, Array]:
    """Row and column of the cell that an agent wants: its own, unless it makes a legal move."""
    legal = legal_moves(env, agent, near)
    north, south, west, east = [(action == NORTH + k) & may for k, may in enumerate(legal)]
    return agent.row + south - north, agent.col + east - west


def encode(thing: Thing) -> Array:
    """One integer for a thing, so that a selection moves all of it; ordered row by row."""
    return (thing.row << 20) | (thing.col << 10) | thing.level


def decode(code: Array) -> Thing:
    """The inverse of `encode`; EMPTY is a slot that is left over."""
    empty = code == EMPTY
    row, col, level = code >> 20, (code >> 10) & 1023, code & 1023
    return Thing(jnp.where(empty, -1, row), jnp.where(empty, -1, col), jnp.where(empty, 0, level))


def bits(centre: Array, wide: Array | int, most: int) -> Array:
    """uint32, the bits of a word at most `wide` (which is at most `most`) from `centre`."""
    bits: Array = jnp.uint32(0)
    for side in range(-most, most + 1):
        at = centre + side
        inside = (at >= 0) & (at < WORD) & (abs(side) <= wide)
        bits = bits | jnp.where(inside, jnp.uint32(1) << (at & (WORD - 1)).astype(jnp.uint32), 0)
    return bits


def nth_bit(word: Array, rank: Array) -> Array:
    """Position of the set bit of `word` that has `rank` set bits below it, by halving the word."""
    position = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        below = jax.lax.population_count(low).astype(jnp.int32)
        up = rank >= below
        rank = jnp.where(up, rank - below, rank)
        word = jnp.where(up, word >> half, low)
        position = jnp.where(up, position + half, position)
    return position
