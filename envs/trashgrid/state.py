"""State of TrashGrid, and helpers that read it."""

from __future__ import annotations

from typing import NamedTuple

import flax.struct
import jax.numpy as jnp

from marlx.environment import EnvState
from marlx.envs import sketch
from marlx.envs.grid import ahead, rows_and_cols
from marlx.types import Array

FORWARD, LEFT, RIGHT, PICKUP, SPLIT, PUTDOWN = range(6)
"""Actions."""
NUM_ACTIONS = 6
SMALL, BIG = 1, 2
"""Kinds of trash; a big piece becomes small when it is split."""
ON_BOARD = -1
"""Value of `holder` for trash on the board; the number of agents stands for the bin."""
BIN_ROWS, BIN_COLS = 2, 4


@flax.struct.dataclass
class TrashGridState(EnvState):
    """State of one episode; trash keeps its index, and the pieces small at reset come first."""

    agent_pos: Array  # int32 [N, 2], (row, column)
    agent_dir: Array  # int32 [N], 0 east, 1 south, 2 west, 3 north
    did: Array  # int32 [N], the action that had an effect in the last step, or -1
    trash_pos: Array  # int32 [M, 2], (row, column) where it is or was picked up
    trash_kind: Array  # int32 [M], 1 small, 2 big
    holder: Array  # int32 [M], -1 on the board, i carried by agent i, N in the bin

    def _drawing(self) -> str:
        """Returns an SVG: `s` and `b` are small and big trash, arrows are agents."""
        trash = [
            sketch.Thing(int(row), int(col), "sb"[int(kind) - 1], "#6d7686")
            for (row, col), kind, holder in zip(
                self.trash_pos, self.trash_kind, self.holder, strict=True
            )
            if holder == ON_BOARD
        ]
        people = sketch.agents(self.agent_pos, sketch.headings(self.agent_dir))
        return sketch.board([*trash, *people])


class Robot(NamedTuple):
    """Position, heading and load of an agent, in scalars."""

    row: Array  # int32 []
    col: Array  # int32 []
    dir: Array  # int32 [], the heading
    load: Array  # int32 [], pieces that it carries

    @property
    def ahead(self) -> tuple[Array, Array]:
        """Rows down and columns right of the cell in front, int32 [] each."""
        return ahead(self.dir)


def robots_of(state: TrashGridState) -> list[Robot]:
    """Returns position, heading and load of each agent."""
    count = state.agent_dir.size
    cells = rows_and_cols(state.agent_pos)
    loads = [(state.holder == i).sum(dtype=jnp.int32) for i in range(count)]
    headings = jnp.unstack(state.agent_dir)
    return [Robot(*cell, *rest) for cell, *rest in zip(cells, headings, loads, strict=True)]


def trash_here(state: TrashGridState, robot: Robot) -> Array:
    """Returns bool [M], the trash on the board in an agent's cell; at most one piece."""
    row, col = state.trash_pos[:, 0], state.trash_pos[:, 1]
    return (state.holder == ON_BOARD) & (row == robot.row) & (col == robot.col)
