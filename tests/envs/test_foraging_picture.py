"""Pictures of foraging."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.envs.foraging import (
    Foraging,
)


def test_pictures_show_the_state_and_nothing_else(like_golden: Any) -> None:
    env = Foraging(num_agents=3)
    grid = np.zeros((8, 8), int)
    grid[2, 2] = 3
    state = env.make_state([(0, 0), (2, 1), (2, 1)], [1, 2, 1], grid)
    picture = env.render(state)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    like_golden("foraging", picture)
    np.testing.assert_array_equal(picture, env.render(state))
    for other in (
        env.make_state([(0, 1), (2, 1), (2, 1)], [1, 2, 1], grid),
        env.make_state([(0, 0), (2, 1), (2, 1)], [2, 2, 1], grid),
        env.make_state([(0, 0), (2, 1), (2, 1)], [1, 2, 1], grid * 2),
    ):
        assert (env.render(other) != picture).any()


def test_the_subgoals_of_agents_are_ringed_in_their_colours() -> None:
    """The n-th food *in sight* of each agent: with a sight of 2, food 0 is another for each."""
    env = Foraging(num_agents=2, num_food=2, sight=2)
    grid = np.zeros((8, 8), int)
    grid[1, 1], grid[6, 6] = 1, 1
    state = env.make_state([(0, 0), (7, 7)], [1, 1], grid)
    picture, subgoals = env.render(state), env.subgoals()
    assert subgoals.mark is not None
    marked = subgoals.mark(picture, state, np.array([0, 0]))
    rows, cols = np.nonzero((marked != picture).any(-1))
    first = rows < picture.shape[0] // 2
    blue, orange = (0, 114, 178), (230, 159, 0)
    for own, (row, col), colour in ((first, (1, 1), blue), (~first, (6, 6), orange)):
        x, y = 16 + (col + 0.5) * 48, 16 + (row + 0.5) * 48
        far = np.hypot(cols[own] - x, rows[own] - y)
        assert own.any() and far.min() > 12 and far.max() < 24.5
        seen = {tuple(map(int, marked[i, j])) for i, j in zip(rows[own], cols[own], strict=True)}
        assert seen == {colour}
    rest = subgoals.mark(picture, state, np.array([2, 1]))  # `rest`, and one out of sight
    np.testing.assert_array_equal(rest, picture)
