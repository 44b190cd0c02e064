"""Agents and foods as single numbers, and sets of cells as the bits of integers.

Arithmetic on single numbers, unrolled over agents and foods: under `vmap` each number becomes one
contiguous `[B]` vector, which is what makes thousands of episodes cheap on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from marlx.environment import EnvState, settle
from marlx.types import Array, Tree

WORD = 32
"""Bits of the integers that stand for sets: of foods, and of cells in one row of the board."""
MOST = 999
"""Largest size and level: a row, a column and a level share one integer, see `encode`."""
EMPTY = 1 << 30
"""What stands for no thing there; above all that stand for one."""
MANY = 3
"""Agents or foods from which on repeated work costs more than keeping it from being repeated."""


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
    tried: Array | None = None  # int32 [N], bit f: the last step tried to load its food f


class Thing(NamedTuple):
    """An agent or a food, as single numbers."""

    row: Array  # int32 []
    col: Array  # int32 []
    level: Array  # int32 []


class Near(NamedTuple):
    """The foods around an agent, int32 [] each: bit f stands for food f, 0 where there is none."""

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


def split_things(state: ForagingState) -> tuple[list[Thing], list[Thing]]:
    """The agents and foods of a state as single numbers."""

    def split(pos: Array, level: Array) -> list[Thing]:
        numbers = jnp.unstack(pos.reshape(pos.size))
        return list(map(Thing, numbers[::2], numbers[1::2], jnp.unstack(level)))

    return split(state.agent_pos, state.agent_level), split(state.food_pos, state.food_level)


def as_state(time: Array, agents: list[Thing], foods: list[Thing], spawned: Array) -> ForagingState:
    """The inverse of `things`."""

    def positions(things: list[Thing]) -> Array:
        return jnp.stack([n for t in things for n in (t.row, t.col)]).reshape(len(things), 2)

    return ForagingState(
        time=time,
        agent_pos=positions(agents),
        agent_level=jnp.stack([agent.level for agent in agents]),
        food_pos=positions(foods),
        food_level=jnp.stack([food.level for food in foods]),
        food_spawned=spawned,
    )


def near_foods(agent: Thing, foods: list[Thing]) -> Near:
    """Where there is food around an agent; an empty slot at (-1, -1) is next to no cell."""
    north = south = west = east = jnp.int32(0)
    for f, food in enumerate(foods):
        down, right = food.row - agent.row, food.col - agent.col
        above, beside = right == 0, down == 0
        north = north | jnp.where((down == -1) & above, 1 << f, 0)
        south = south | jnp.where((down == 1) & above, 1 << f, 0)
        west = west | jnp.where((right == -1) & beside, 1 << f, 0)
        east = east | jnp.where((right == 1) & beside, 1 << f, 0)
    return Near(north, south, west, east)


def encode(thing: Thing) -> Array:
    """One integer for a thing, so that a selection moves all of it; ordered row by row."""
    return (thing.row << 20) | (thing.col << 10) | thing.level


def decode(code: Array) -> Thing:
    """The inverse of `encode`; EMPTY is a slot that is left over."""
    empty = code == EMPTY
    row, col, level = code >> 20, (code >> 10) & 1023, code & 1023
    return Thing(jnp.where(empty, -1, row), jnp.where(empty, -1, col), jnp.where(empty, 0, level))


def pack(things: list[Thing], keep: list[Array], time: Array) -> list[Array]:
    """Codes of the things to keep in their order, then EMPTY up to as many as there were."""
    places, count = [], jnp.int32(0)
    for kept in keep:
        places.append(jnp.where(kept, count, -1))
        count = count + kept
    places = settle_many(places, time)
    slots = [jnp.int32(EMPTY)] * len(things)
    for i, (thing, place) in enumerate(zip(things, places, strict=True)):
        code = encode(thing)
        for k in range(i + 1):
            slots[k] = jnp.where(place == k, code, slots[k])
    return slots


def settle_many(tree: Tree, time: Array) -> Tree:
    """`settle`, unless there is so little that it is not worth it."""
    return settle(tree, time) if len(jax.tree.leaves(tree)) > MANY else tree


def flat(things: Sequence[Sequence[Array]]) -> Array:
    """f32 [numbers], those of all things in a row."""
    return jnp.stack([number for thing in things for number in thing]).astype(jnp.float32)


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
