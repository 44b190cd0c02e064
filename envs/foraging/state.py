"""State of level-based foraging, and rules for one agent that hold for arrays of agents too."""

from __future__ import annotations

from typing import NamedTuple

import flax.struct
import jax.numpy as jnp

from marlx.environment import EnvState
from marlx.envs import sketch
from marlx.envs.foraging.settings import ForagingSettings
from marlx.types import Array

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
"""Actions."""


@flax.struct.dataclass
class ForagingState(EnvState):
    """State of one episode.

    Foods are listed row by row from the top, left to right, without gaps. Empty slots (eaten, or
    never spawned) come last and have position (-1, -1) and level 0.
    """

    agent_pos: Array  # int32 [N, 2], (row, column), row 0 is north
    agent_level: Array  # int32 [N]
    food_pos: Array  # int32 [F, 2], (row, column)
    food_level: Array  # int32 [F], 0 in an empty slot
    food_spawned: Array  # int32 [], sum of the food levels at the start of the episode
    tried: Array | None = None  # int32 [N], the visible food each agent just tried to load, or -1

    def _drawing(self) -> str:
        """Returns an SVG: foods are discs and agents tiles, with their levels."""
        foods = [
            sketch.Thing(int(row), int(col), str(int(level)), "#b3342c")
            for (row, col), level in zip(self.food_pos, self.food_level, strict=True)
            if level > 0
        ]
        return sketch.board([*foods, *sketch.agents(self.agent_pos, self.agent_level.tolist())])


class Entity(NamedTuple):
    """An agent or a food, or many of them as arrays."""

    row: Array  # int32
    col: Array  # int32
    level: Array  # int32


class AdjacentFoods(NamedTuple):
    """Foods on the four sides of an agent, int32 each: bit f is food f, and 0 is no food."""

    north: Array
    south: Array
    west: Array
    east: Array

    @property
    def any(self) -> Array:
        """All foods next to the agent, as bits."""
        return self.north | self.south | self.west | self.east

    @property
    def first(self) -> Array:
        """The food that the agent faces, as a bit: the first to its north, south, west, east."""
        beside = jnp.where(self.west > 0, self.west, self.east)
        return jnp.where(self.north > 0, self.north, jnp.where(self.south > 0, self.south, beside))


def legal_moves(
    env: ForagingSettings, agent: Entity, adjacent: AdjacentFoods
) -> tuple[Array, Array, Array, Array]:
    """Returns bools, whether an agent may go north, south, west, east; agents do not block."""
    rows, cols = env.size
    return (
        (agent.row > 0) & (adjacent.north == 0),
        (agent.row < rows - 1) & (adjacent.south == 0),
        (agent.col > 0) & (adjacent.west == 0),
        (agent.col < cols - 1) & (adjacent.east == 0),
    )


def legal_actions(env: ForagingSettings, agent: Entity, adjacent: AdjacentFoods) -> Array:
    """Returns bool [..., 6], the action mask; NONE is always legal."""
    nothing = jnp.ones_like(agent.row, bool)
    return jnp.stack([nothing, *legal_moves(env, agent, adjacent), adjacent.any > 0], axis=-1)


def target_cell(
    env: ForagingSettings, agent: Entity, adjacent: AdjacentFoods, action: Array
) -> tuple[Array, Array]:
    """Returns row and column of the cell an agent wants: its own, unless its move is legal."""
    legal = legal_moves(env, agent, adjacent)
    north, south, west, east = [(action == NORTH + k) & may for k, may in enumerate(legal)]
    return agent.row + south - north, agent.col + east - west
