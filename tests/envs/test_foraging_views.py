"""Observations of foraging, and the facts in its spec about them."""

from __future__ import annotations

import jax
import numpy as np
from foraging_cases import CONFIGS

from marlx.envs.foraging import (
    Foraging,
)


def test_sight_is_asymmetric_near_the_border_for_agents_but_not_for_foods() -> None:
    env = Foraging(sight=2, num_agents=2, num_food=1)
    grid = np.zeros(env.size, int)
    grid[4, 1] = 1
    state = env.make_state([(0, 0), (4, 0)], [1, 2], grid)
    local = env.observe(state, env.default_params).local
    assert local[0].tolist() == [-1, -1, 0, 0, 0, 1, 4, 0, 2]
    assert local[1].tolist() == [2, 1, 1, 2, 0, 2, -1, -1, 0]


def test_spec_says_what_observations_are() -> None:
    for env in CONFIGS.values():
        spec = env.spec()
        obs, _ = env.reset(jax.random.key(0))
        assert obs.local.shape == (spec.num_agents, spec.obs_size)
        assert obs.action_mask.shape == (spec.num_agents, spec.num_actions)
        assert obs.global_state.shape == (spec.state_size,)
        assert spec.storage == "int8" and spec.reward_aggregation == "sum"
        assert max(abs(obs.local).max(), abs(obs.global_state).max()) <= spec.scale
    assert Foraging().spec().optimum == 1.0
    assert Foraging(normalize_reward=False).spec().optimum is None
    assert Foraging(max_food_level=5).spec().optimum is None, (
        "two agents of level 1 cannot lift a 5"
    )
    assert Foraging(size=(200, 9)).spec().storage == "int16"
    params = Foraging().default_params.replace(max_steps_in_episode=7)
    assert Foraging().spec(params).horizon == 7
