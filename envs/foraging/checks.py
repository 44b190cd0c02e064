"""Checks of foraging settings and of states that a caller gives."""

from __future__ import annotations

import functools

import numpy as np

from marlx.envs.checks import at_least, at_least_or_none, check_not_negative, one_of
from marlx.envs.foraging.cells import MAX_NUMBER
from marlx.envs.foraging.settings import ForagingSettings


def check_settings(env: ForagingSettings) -> None:
    """Checks that episodes can be played with these settings.

    Raises:
      ValueError: they cannot.
    """
    _check_board(env)
    at_least_or_none(env, sight=1)
    one_of(env, subgoal_kind=("beside", "load"), observation=("vector", "grid"))
    _check_levels(env)
    at_least(env, penalty=0, horizon=1)


def _check_board(env: ForagingSettings) -> None:
    """Checks that all agents and foods fit on the board."""
    rows, cols = env.size
    if not (3 <= rows <= MAX_NUMBER and 3 <= cols <= MAX_NUMBER):
        raise ValueError(f"size is {env.size}; rows and columns must be between 3 and {MAX_NUMBER}")
    at_least(env, num_agents=1, num_food=1)
    most = most_foods(rows, cols)
    if env.num_food > most:
        raise ValueError(
            f"num_food is {env.num_food}; a {rows}x{cols} board can hold no more than {most} "
            "(foods are not on the border and not close to each other)"
        )
    if env.num_agents > rows * cols - 1:
        raise ValueError(
            f"num_agents is {env.num_agents}; a {rows}x{cols} board has room for "
            f"{rows * cols - 1} agents and a food"
        )


def _check_levels(env: ForagingSettings) -> None:
    """Checks the ranges of the levels of agents and foods."""
    at_least(env, min_player_level=1, min_food_level=1)
    if env.max_player_level < env.min_player_level:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at least min_player_level, "
            f"{env.min_player_level}"
        )
    if 3 * env.max_player_level > MAX_NUMBER:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at most {MAX_NUMBER // 3}"
        )
    if env.max_food_level is not None:
        if env.max_food_level < env.min_food_level:
            raise ValueError(
                f"max_food_level is {env.max_food_level}; it must be at least min_food_level, "
                f"{env.min_food_level}, or None"
            )
        if env.max_food_level > MAX_NUMBER:
            raise ValueError(
                f"max_food_level is {env.max_food_level}; it must be at most {MAX_NUMBER}"
            )
    lowest_sum = min(env.num_agents, 3) * env.min_player_level
    if env.max_food_level is None and not env.force_coop and env.min_food_level > lowest_sum:
        raise ValueError(
            f"min_food_level is {env.min_food_level}; with max_food_level None it must be at most "
            f"{lowest_sum}, the lowest sum of three agents' levels"
        )


def check_state(
    env: ForagingSettings,
    agent_pos: np.ndarray,
    agent_level: np.ndarray,
    food_grid: np.ndarray,
    step: int,
    food_spawned: int,
) -> None:
    """Checks that a state can occur; shapes are checked before. See `Foraging.make_state`.

    Raises:
      ValueError: it cannot.
    """
    rows, cols = env.size
    for i, (row, col) in enumerate(agent_pos):
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(f"agent {i} is at ({row}, {col}), off the {rows}x{cols} board")
        if food_grid[row, col]:
            raise ValueError(f"agent {i} is at ({row}, {col}), where there is a food")
    if (agent_level < 1).any() or (agent_level > MAX_NUMBER).any():
        raise ValueError(
            f"agent_level is {agent_level.tolist()}; levels are between 1 and {MAX_NUMBER}"
        )
    lowest, highest = food_grid.min(), food_grid.max()
    if lowest < 0 or highest > MAX_NUMBER:
        raise ValueError(
            f"food_grid holds {lowest if lowest < 0 else highest}; levels are between 1 and "
            f"{MAX_NUMBER}, and 0 is no food"
        )
    cells = np.argwhere(food_grid)
    for row, col in cells:
        if row in (0, rows - 1) or col in (0, cols - 1):
            raise ValueError(f"there is a food at ({row}, {col}); foods cannot be on the border")
    if len(cells) > env.num_food:
        raise ValueError(f"food_grid holds {len(cells)} foods; num_food is {env.num_food}")
    check_not_negative(step=step)
    if food_spawned < food_grid.sum():
        raise ValueError(
            f"food_spawned is {food_spawned}; the foods on the board alone sum to {food_grid.sum()}"
        )


@functools.cache
def most_foods(rows: int, cols: int) -> int:
    """Returns an upper bound of the foods that fit on a board, which is exact up to 8x8.

    Two foods are at least 3 steps apart, so the plus shapes of five cells around them are disjoint,
    and no such shape covers a corner of the board.
    """
    if rows > 8 or cols > 8:
        return (rows * cols - 4) // 5
    cells = [(r, c) for r in range(1, rows - 1) for c in range(1, cols - 1)]
    apart = [
        sum(1 << j for j, (r, c) in enumerate(cells) if abs(r - row) + abs(c - col) > 2)
        for row, col in cells
    ]

    @functools.cache
    def most(free: int) -> int:
        if not free:
            return 0
        first = (free & -free).bit_length() - 1
        return max(1 + most(free & apart[first]), most(free & (free - 1)))

    return most((1 << len(cells)) - 1)
