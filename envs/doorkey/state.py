"""State of DoorKey, and what an agent can do with the cell in front of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.struct
import jax.numpy as jnp

from marlx.environment import EnvState
from marlx.envs import sketch
from marlx.envs.grid import ahead, rows_and_cols
from marlx.types import Array

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
"""Actions, with MiniGrid's numbers."""
NUM_ACTIONS = 7
OPEN, CLOSED, LOCKED = range(3)
"""States of the door, with MiniGrid's numbers."""
UNSEEN, EMPTY, WALL, DOOR, KEY, GOAL, AGENT = 0, 1, 2, 4, 5, 8, 10
"""Objects in views and in the global state, with MiniGrid's numbers."""
RED, GREEN, YELLOW, GREY = 0, 1, 4, 5
"""Colours in views, with MiniGrid's numbers."""


@flax.struct.dataclass
class DoorKeyState(EnvState):
    """State of one episode; rows and columns count from the top left cell, which is wall."""

    agent_pos: Array  # int32 [N, 2], (row, column)
    agent_dir: Array  # int32 [N], 0 east, 1 south, 2 west, 3 north
    wall_col: Array  # int32 [], the column of the wall between the rooms
    door_row: Array  # int32 [], row of the door in that wall
    door: Array  # int32 [], 0 open, 1 closed, 2 locked
    key_pos: Array  # int32 [2], (row, column); (-1, -1) while it is carried
    carrier: Array  # int32 [], the agent that carries the key, or -1
    goal_pos: Array  # int32 [2], (row, column)

    def _drawing(self) -> str:
        """Returns an SVG: the door `D` (`O` when open), the key `k`, the goal `G`, agents."""
        door = "O" if int(self.door) == OPEN else "D"
        things = [
            sketch.Thing(int(self.door_row), int(self.wall_col), door, "#8a6500", False),
            sketch.Thing(int(self.key_pos[0]), int(self.key_pos[1]), "k", "#b98900"),
            sketch.Thing(int(self.goal_pos[0]), int(self.goal_pos[1]), "G", "#2a7d4f"),
        ]
        return sketch.board(
            [*things, *sketch.agents(self.agent_pos, sketch.headings(self.agent_dir))]
        )


class Pose(NamedTuple):
    """Position and heading of an agent, in scalars."""

    row: Array  # int32 []
    col: Array  # int32 []
    dir: Array  # int32 [], the heading

    @property
    def ahead(self) -> tuple[Array, Array]:
        """Rows down and columns right of the cell in front, int32 [] each."""
        return ahead(self.dir)


class Front(NamedTuple):
    """Contents of the cell in front of an agent, bool [] each."""

    wall: Array
    door: Array
    key: Array
    goal: Array
    agent: Array

    @property
    def empty(self) -> Array:
        """Whether the cell is free floor."""
        return ~(self.wall | self.door | self.key | self.goal | self.agent)


def poses(state: DoorKeyState) -> list[Pose]:
    """Returns the pose of each agent."""
    cells = rows_and_cols(state.agent_pos)
    headings = jnp.unstack(state.agent_dir)
    return [Pose(row, col, heading) for (row, col), heading in zip(cells, headings, strict=True)]


def objects_at(size: int, state: DoorKeyState, row: Any, col: Any) -> tuple[Array, Array, Array]:
    """Returns object, colour and state of cells as MiniGrid encodes them, int32 [...] each.

    Args:
      size: of the board.
      state: of one episode; agents are left out.
      row: int32 [...]; may be off the board, which is wall.
      col: int32 [...].
    """
    between, doorway = col == state.wall_col, row == state.door_row
    border = (row <= 0) | (row >= size - 1) | (col <= 0) | (col >= size - 1)
    door = between & doorway
    wall = border | between & ~doorway
    key = (row == state.key_pos[0]) & (col == state.key_pos[1]) & (state.carrier < 0)
    goal = (row == state.goal_pos[0]) & (col == state.goal_pos[1])
    kind = jnp.where(wall, WALL, jnp.where(door, DOOR, jnp.where(key, KEY, EMPTY)))
    kind = jnp.where(goal, GOAL, kind)
    color = jnp.where(wall, GREY, jnp.where(door | key, YELLOW, jnp.where(goal, GREEN, 0)))
    return kind, color, jnp.where(door, state.door, 0)


def front_of(size: int, state: DoorKeyState, agents: list[Pose], i: int) -> Front:
    """Returns the contents of the cell in front of agent `i`."""
    down, right = agents[i].ahead
    row, col = agents[i].row + down, agents[i].col + right
    kind, _, _ = objects_at(size, state, row, col)
    mate = jnp.bool_(False)
    for j, other in enumerate(agents):
        if j != i:
            mate |= (row == other.row) & (col == other.col)
    return Front(kind == WALL, kind == DOOR, kind == KEY, kind == GOAL, mate)


def can_enter(front: Front, state: DoorKeyState) -> Array:
    """Returns bool [], whether the agent can go forward."""
    blocked = front.wall | front.key | front.door & (state.door != OPEN)
    return ~blocked & (front.goal | ~front.agent)


def can_toggle(front: Front, state: DoorKeyState, i: int) -> Array:
    """Returns bool [], whether agent `i` can open or close the door."""
    return front.door & ~front.agent & ((state.door != LOCKED) | (state.carrier == i))
