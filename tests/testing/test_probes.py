"""Probe environments: their rules and known values."""

import jax
import jax.numpy as jnp
import numpy as np

from marlx.loop.evaluation import evaluate, random_learner
from marlx.testing import Leaving, Masked, Recall, check_env


def test_masked_rewards_legal_and_illegal_actions():
    env = Masked()
    assert env.best_mean == 1.25
    states = jax.vmap(env.reset_env, (0, None))(jax.random.split(jax.random.key(0), 4096), None)
    best = jnp.where(states.legal, jnp.arange(3), 0).max(-1)
    assert abs(best.mean() - 1.25) < 0.03
    reward = env.step_env(
        jax.random.key(0),
        states.replace(legal=jnp.array([[True, False, True]] * 2)),
        jnp.array([1, 2]),
        None,
    )[1]
    np.testing.assert_array_equal(reward, [1000, 2])


def test_recall_shows_the_cue_once_and_rewards_the_answer():
    env = Recall(cues=3, longest=2)
    for key in jax.random.split(jax.random.key(1), 6):
        state = env.reset_env(key, env.default_params)
        first = env.observe(state, None)
        np.testing.assert_array_equal(first.local[:, :3], np.eye(3)[state.cue])
        answer = state.cue + 1
        total = 0.0
        for time in range(int(state.delay) + 1):
            obs = env.observe(state, None)
            asked = time == state.delay
            assert obs.local[0, -1] == asked
            assert (obs.local[:, :3].any() == 0) == (time > 0)
            np.testing.assert_array_equal(obs.action_mask[:, 0], [not asked] * 2)
            action = answer if asked else jnp.zeros(2, jnp.int32)
            state, reward, terminated, _ = env.step_env(key, state, action, None)
            total += reward.mean()
            assert terminated == asked
        assert total == 1


def test_agents_leave_and_the_return_is_of_those_who_were_there():
    env = Leaving()
    check_env(env)
    learner = random_learner(env.spec())
    returns = evaluate(env, env.default_params, learner, (), jax.random.key(0), 4)
    np.testing.assert_array_equal(returns, [9.0] * 4)  # 2 + 4 + 3 steps of 1, no bait
    np.testing.assert_allclose(env.value(0.5)[:2], [[1.5, 1.875, 1.75], [1, 1.75, 1.5]])
    np.testing.assert_array_equal(env.value(0.5)[2:, 0], [0, 0])
