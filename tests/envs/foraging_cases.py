"""Foraging environments for tests, their first states, and a test of distributions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from marlx.envs.foraging import Foraging, ForagingState

CONFIGS = {
    "8x8-2p-2f": Foraging(),
    "8x8-2p-2f-coop-pen": Foraging(force_coop=True, penalty=0.1),
    "2s-8x8-3p-2f": Foraging(sight=2, num_agents=3),
    "1s-6x7-3p-2f-raw": Foraging(
        sight=1, size=(6, 7), num_agents=3, normalize_reward=False, penalty=0.5
    ),
    "2s-9x6-4p-3f-hidden": Foraging(
        sight=2, size=(9, 6), num_agents=4, num_food=3, observe_levels=False
    ),
    "7s-8x8-2p-4f": Foraging(sight=7, num_food=4, max_player_level=3, max_food_level=5),
    "grid-2s-8x8-3p-3f": Foraging(observation="grid", sight=2, num_agents=3, num_food=3),
    "2s-9x9-8p-4f-pen": Foraging(sight=2, size=(9, 9), num_agents=8, num_food=4, penalty=0.1),
    "grid-6x6-2p-2f-hidden": Foraging(observation="grid", size=(6, 6), observe_levels=False),
}


def resets(env: Foraging, count: int, seed: int = 0) -> ForagingState:
    """Returns `count` random first states, stacked."""
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.device_get(jax.jit(jax.vmap(env.reset_env, (0, None)))(keys, env.default_params))


def assert_distributed(counts: Any, expected: Any) -> None:
    """Checks that Pearson's statistic is within five standard deviations of its mean."""
    counts, expected = np.asarray(counts, float).ravel(), np.asarray(expected, float).ravel()
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert expected.min() > 5
    degrees = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees), (statistic, degrees)
