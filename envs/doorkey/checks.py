"""Checks of a DoorKey state that a caller gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.envs.checks import check_not_negative
from marlx.envs.doorkey.state import CLOSED, LOCKED, OPEN


def check_state(
    size: int,
    agent_pos: np.ndarray,
    agent_dir: np.ndarray,
    wall_col: int,
    door_row: int,
    goal_pos: np.ndarray,
    key_pos: Any,
    carrier: int,
    door: int,
    step: int,
) -> None:
    """Checks that a state can occur; shapes are checked before. See `DoorKey.make_state`.

    Raises:
      ValueError: it cannot.
    """
    n, count, carried = size, len(agent_pos), key_pos is None
    if not 2 <= wall_col <= n - 3:
        raise ValueError(f"wall_col is {wall_col}; it must be in 2..{n - 3}")
    if not 1 <= door_row <= n - 2:
        raise ValueError(f"door_row is {door_row}; it must be in 1..{n - 2}")
    if door not in (OPEN, CLOSED, LOCKED):
        raise ValueError(f"door is {door}; it must be 0 (open), 1 (closed) or 2 (locked)")
    if not (-1 <= carrier < count and (carrier >= 0) == carried):
        raise ValueError(
            f"carrier is {carrier} and key_pos {key_pos}; the key must either lie on a cell or be "
            f"carried by one of the agents 0..{count - 1}"
        )
    if ((agent_dir < 0) | (agent_dir > 3)).any():
        raise ValueError(f"agent_dir is {agent_dir.tolist()}; headings are between 0 and 3")
    check_not_negative(step=step)

    def free_cell(what: str, cell: Any, doorway: bool) -> tuple[int, int]:
        row, col = int(cell[0]), int(cell[1])
        floor = 1 <= row <= n - 2 and 1 <= col <= n - 2 and col != wall_col
        if not (floor or (doorway and (row, col) == (door_row, wall_col))):
            raise ValueError(f"{what} is at ({row}, {col}), which is not a free cell")
        return row, col

    goal = free_cell("the goal", goal_pos, False)
    occupied = [] if carried else [free_cell("the key", key_pos, False)]
    if goal in occupied:
        raise ValueError(f"the key is at {goal}, where the goal is")
    for i, place in enumerate(agent_pos):
        cell = free_cell(f"agent {i}", place, door == OPEN)
        if cell in occupied:
            raise ValueError(f"agent {i} is at {cell}, which is occupied")
        if cell != goal:
            occupied.append(cell)
