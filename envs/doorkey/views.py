"""Partial views of a DoorKey board, as MiniGrid computes them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.envs.doorkey.state import (
    AGENT,
    DOOR,
    EMPTY,
    KEY,
    OPEN,
    RED,
    UNSEEN,
    WALL,
    YELLOW,
    DoorKeyState,
    Pose,
    objects_at,
)
from marlx.types import Array
from marlx.xla.materialise import materialise


def view_cells(view_size: int, agent: Pose) -> tuple[Array, Array]:
    """Returns rows and columns int32 [v v] of the cells of a view, in the order of the view."""
    v = view_size
    across, deep = np.mgrid[:v, :v].reshape(2, -1)
    ahead, aside = v - 1 - deep, across - v // 2
    down, right = agent.ahead
    return agent.row + down * ahead + right * aside, agent.col + right * ahead - down * aside


def local_view(
    size: int, view_size: int, state: DoorKeyState, agents: list[Pose], i: Any, agent: Pose
) -> Array:
    """Returns int32 [v v, 3], the view of agent `i`; `DoorKey` describes it.

    Cells are one long axis until the end, since short axes do not vectorise.

    Args:
      size: of the board.
      view_size: v, rows and columns of the view.
      state: of one episode.
      agents: all agents.
      i: index of the agent, which may be traced.
      agent: its pose.
    """
    v = view_size
    row, col = materialise(view_cells(v, agent), state.time)
    kind, color, detail = objects_at(size, state, row, col)
    clear = (kind != WALL) & ((kind != DOOR) | (detail == OPEN))
    if len(agents) > 1:
        for j, other in enumerate(agents):
            here = (row == other.row) & (col == other.col) & jnp.asarray(i != j)
            kind = jnp.where(here, AGENT, kind)
            color = jnp.where(here, jnp.where(state.carrier == j, YELLOW, RED), color)
            detail = jnp.where(here, other.dir, detail)
    seen = materialise(visible_cells(clear, v, state.time), state.time)
    own = np.arange(v * v) == v // 2 * v + v - 1
    carries = state.carrier == i
    kind = jnp.where(own, jnp.where(carries, KEY, EMPTY), jnp.where(seen, kind, UNSEEN))
    color = jnp.where(own, jnp.where(carries, YELLOW, 0), jnp.where(seen, color, 0))
    detail = jnp.where(~own & seen, detail, 0)
    return jnp.stack([kind, color, detail], -1)


def visible_cells(clear: Array, view_size: int, time: Array) -> Array:
    """Returns bool [v v], the cells of a view that the agent sees.

    The view is filled row by row, starting at the agent. In a row, a visible cell makes visible the
    whole run of clear cells around it and the two cells at the ends of the run; all of these make
    visible the cells one row further away. This gives the same result as MiniGrid's two passes, to
    the right and to the left, through each row. A row is the bits of one integer here.

    Args:
      clear: bool [v v], cells that do not block the view.
      view_size: v, at most 31.
      time: int32 [], the state's.
    """
    v = view_size
    bit = np.arange(v)[:, None]
    marks = jnp.where(clear.reshape(v, v), 1 << bit, 0)
    through = materialise(marks.sum(0, dtype=jnp.int32), time)
    rows: list[Array] = [jnp.int32(0)] * v
    lit = jnp.int32(1 << (v // 2))
    for deep in reversed(range(v)):
        run, down = lit & through[deep], through[deep]
        run = ((down + run) ^ down | run) & down  # carries go up to the end of a run
        reach = 1
        while reach < v:
            run, down, reach = run | down & run >> reach, down & down >> reach, 2 * reach
        around = (run | run << 1 | run >> 1) & (1 << v) - 1
        rows[deep], lit = lit | around, around
    seen: Array = materialise(jnp.stack(rows), time) >> bit & 1 > 0
    return seen.reshape(v * v)
