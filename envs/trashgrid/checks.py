"""Checks of a TrashGrid state that a caller gives."""

from __future__ import annotations

import numpy as np

from marlx.envs.checks import check_not_negative
from marlx.envs.trashgrid.state import BIG, NUM_ACTIONS, ON_BOARD, SMALL


def check_state(
    size: tuple[int, int],
    capacity: int,
    agent_pos: np.ndarray,
    agent_dir: np.ndarray,
    trash_pos: np.ndarray,
    trash_kind: np.ndarray,
    holder: np.ndarray,
    did: np.ndarray,
    step: int,
) -> None:
    """Checks that a state can occur; shapes are checked before. See `TrashGrid.make_state`.

    Raises:
      ValueError: it cannot.
    """
    (rows, cols), count = size, len(agent_pos)
    for name, array, least, most in (
        ("agent_dir", agent_dir, 0, 3),
        ("trash_kind", trash_kind, SMALL, BIG),
        ("holder", holder, ON_BOARD, count),
        ("did", did, -1, NUM_ACTIONS - 1),
    ):
        if ((array < least) | (array > most)).any():
            raise ValueError(
                f"{name} is {array.tolist()}; values must be between {least} and {most}"
            )
    for what, places in (("agent", agent_pos), ("trash", trash_pos)):
        for i, (row, col) in enumerate(places):
            if not (0 <= row < rows and 0 <= col < cols):
                raise ValueError(f"{what} {i} is at ({row}, {col}), off the {rows}x{cols} board")
    on_board = trash_pos[holder == ON_BOARD]
    for what, places in (("agents", agent_pos), ("pieces of trash", on_board)):
        if len({(int(row), int(col)) for row, col in places}) < len(places):
            raise ValueError(f"two {what} are in one cell: {places.tolist()}")
    if ((trash_kind == BIG) & (holder != ON_BOARD)).any():
        raise ValueError("big trash cannot be carried; split it, which makes its kind 1")
    for i in range(count):
        if (holder == i).sum() > capacity:
            raise ValueError(f"agent {i} carries {(holder == i).sum()}; capacity is {capacity}")
    if (holder == count).all():
        raise ValueError("all trash is in the bin, so the episode has ended")
    check_not_negative(step=step)
