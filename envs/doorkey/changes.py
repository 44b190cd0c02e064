"""Changes of the world in mid-episode: the goal moves, the door locks itself again."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs.doorkey.state import LOCKED, DoorKeyState
from marlx.types import Array


def move_goal(key: Array, size: int, state: DoorKeyState) -> DoorKeyState:
    """Moves the goal to another cell of the floor, uniform over those of both rooms.

    It stays while an agent stands on it: two agents may not share another cell.

    Args:
      key: consumed.
      size: rows and columns of the board.
      state: of one episode. Cells of walls, door, key, agents and the goal itself are left out.
    """
    row, col = np.indices((size, size)).reshape(2, -1)
    wall = (row == 0) | (row == size - 1) | (col == 0) | (col == size - 1)
    free = ~wall & (col != state.wall_col)
    for place in (*jnp.unstack(state.agent_pos), state.key_pos, state.goal_pos):
        free &= (row != place[0]) | (col != place[1])
    cell = jax.random.categorical(key, jnp.where(free, 0.0, -jnp.inf))
    held = (state.agent_pos == state.goal_pos).all(-1).any()
    moved = jnp.stack([cell // size, cell % size]).astype(jnp.int32)
    return dataclasses.replace(state, goal_pos=jnp.where(held, state.goal_pos, moved))


def relock(state: DoorKeyState) -> DoorKeyState:
    """Locks the door, open or closed, unless somebody stands in it."""
    row, col = state.agent_pos.T
    inside = ((row == state.door_row) & (col == state.wall_col)).any()
    return dataclasses.replace(state, door=jnp.where(inside, state.door, LOCKED))
