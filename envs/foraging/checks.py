"""What settings can be played."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from marlx.envs.foraging.things import MOST

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging


def check(env: Foraging) -> None:
    """Raises ValueError for settings under which no episode can be played."""
    rows, cols = env.size
    if not (3 <= rows <= MOST and 3 <= cols <= MOST):
        raise ValueError(f"size is {env.size}; rows and columns must be between 3 and {MOST}")
    if env.num_agents < 1:
        raise ValueError(f"num_agents is {env.num_agents}; it must be 1 or more")
    if env.num_food < 1:
        raise ValueError(f"num_food is {env.num_food}; it must be 1 or more")
    most = most_foods(rows, cols)
    if env.num_food > most:
        raise ValueError(
            f"num_food is {env.num_food}; a {rows}x{cols} board can hold no more than {most} "
            "(foods keep off the border and apart from each other)"
        )
    if env.num_agents > rows * cols - 1:
        raise ValueError(
            f"num_agents is {env.num_agents}; a {rows}x{cols} board has room for "
            f"{rows * cols - 1} agents and a food"
        )
    if env.sight is not None and env.sight < 1:
        raise ValueError(f"sight is {env.sight}; it must be 1 or more, or None for the whole board")
    if env.subgoal_kind not in ("beside", "load"):
        raise ValueError(f"subgoal_kind is {env.subgoal_kind!r}; it must be 'beside' or 'load'")
    if env.min_player_level < 1:
        raise ValueError(f"min_player_level is {env.min_player_level}; it must be 1 or more")
    if env.max_player_level < env.min_player_level:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at least min_player_level, "
            f"{env.min_player_level}"
        )
    if 3 * env.max_player_level > MOST:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at most {MOST // 3}"
        )
    if env.min_food_level < 1:
        raise ValueError(f"min_food_level is {env.min_food_level}; it must be 1 or more")
    if env.max_food_level is not None and env.max_food_level < env.min_food_level:
        raise ValueError(
            f"max_food_level is {env.max_food_level}; it must be at least min_food_level, "
            f"{env.min_food_level}, or None"
        )
    if env.max_food_level is not None and env.max_food_level > MOST:
        raise ValueError(f"max_food_level is {env.max_food_level}; it must be at most {MOST}")
    lowest_sum = min(env.num_agents, 3) * env.min_player_level
    if env.max_food_level is None and not env.force_coop and env.min_food_level > lowest_sum:
        raise ValueError(
            f"min_food_level is {env.min_food_level}; with max_food_level None it must be at most "
            f"{lowest_sum}, the lowest sum of three agents' levels"
        )
    if env.penalty < 0:
        raise ValueError(f"penalty is {env.penalty}; it must be 0 or more")
    if env.observation not in ("vector", "grid"):
        raise ValueError(f"observation is {env.observation!r}; it must be 'vector' or 'grid'")
    if env.horizon < 1:
        raise ValueError(f"horizon is {env.horizon}; it must be 1 or more")


@functools.cache
def most_foods(rows: int, cols: int) -> int:
    """No more foods than this fit on a board; exact up to 8x8, an upper bound beyond.

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
