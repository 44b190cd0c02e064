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
