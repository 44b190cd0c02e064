"""Time limits, auto-reset and batches of foraging."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foraging_cases import assert_distributed

from marlx.envs.foraging import (
    Foraging,
    ForagingState,
)
from marlx.loop.vector import vector_reset, vector_step


def batch_of(env: Foraging, num_envs: int, seed: int) -> tuple[ForagingState, jax.Array, jax.Array]:
    """States at random times, actions, and a key."""
    keys = jax.random.split(jax.random.key(seed), 4)
    _, state = vector_reset(env, env.default_params, keys[0], num_envs)
    time = jax.random.randint(keys[1], (num_envs,), 0, env.horizon)
    action = jax.random.randint(keys[2], (num_envs, env.num_agents), 0, 6)
    return state.replace(time=time), action, keys[3]


@pytest.mark.parametrize("num_envs", [1, pytest.param(48, marks=pytest.mark.slow)])
def test_vector_step_is_a_step_and_a_fresh_episode_where_one_ended(num_envs: int) -> None:
    env = Foraging(num_agents=3, horizon=3)
    params = env.default_params
    step = jax.jit(lambda key, state, action: vector_step(env, params, key, state, action))
    plain = jax.jit(jax.vmap(lambda s, a: env.step_env(jax.random.key(0), s, a, params)))
    observe = jax.jit(jax.vmap(lambda s: env.observe(s, params)))
    ends = []
    for seed in range(12):
        state, action, key = batch_of(env, num_envs, seed)
        ended, reward, terminated, _ = plain(state, action)
        obs, after, got_reward, got_terminated, truncated, info = step(key, state, action)
        done = np.asarray(terminated | (ended.time >= 3))
        ends.append(done)
        same = jax.tree.map(
            np.testing.assert_array_equal, info["final_observation"], observe(ended)
        )
        del same
        np.testing.assert_array_equal(got_reward, reward)
        np.testing.assert_array_equal(got_terminated, terminated)
        np.testing.assert_array_equal(truncated, ended.time >= 3)
        np.testing.assert_array_equal(info["truncated"], truncated)
        jax.tree.map(np.testing.assert_array_equal, obs, observe(after))
        jax.tree.map(
            lambda a, b, done=done: np.testing.assert_array_equal(a[~done], b[~done]), after, ended
        )
        assert (after.time[done] == 0).all()
        fresh = np.asarray(after.agent_pos)[done].reshape(done.sum(), 6)
        assert len(np.unique(fresh, axis=0)) >= done.sum() - 1, "fresh episodes repeat a draw"
    assert 0 < np.mean(ends) < 1


def test_time_limit_truncates_and_does_not_terminate() -> None:
    env = Foraging(horizon=2)
    params = env.default_params
    obs, state = env.reset(jax.random.key(0))
    still = jnp.zeros(2, jnp.int32)
    _, state, _, terminated, truncated, _ = env.step(jax.random.key(1), state, still, params)
    assert not terminated and not truncated and state.time == 1
    _, state, _, terminated, truncated, info = env.step(jax.random.key(2), state, still, params)
    assert truncated and not terminated and state.time == 0
    jax.tree.map(np.testing.assert_array_equal, info["final_observation"], obs)


def test_vector_step_under_vmap_is_the_same_for_each_seed() -> None:
    env = Foraging(horizon=3)
    params = env.default_params

    def step(key, state, action):
        return vector_step(env, params, key, state, action)

    batches = [batch_of(env, 20, seed) for seed in range(3)]
    together = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    got = jax.jit(jax.vmap(step))(together[2], together[0], together[1])
    for k, (state, action, key) in enumerate(batches):
        alone = jax.jit(step)(key, state, action)
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(a[k], b), got, alone)


def test_episodes_are_independent_of_each_other_and_of_the_last() -> None:
    env = Foraging(size=(3, 4), num_agents=1, num_food=1, horizon=1)
    params = env.default_params

    def body(state, key):
        _, state, *_ = vector_step(env, params, key, state, jnp.zeros((32, 1), jnp.int32))
        return state, state.agent_pos[:, 0, 0] * 4 + state.agent_pos[:, 0, 1]

    _, state = vector_reset(env, params, jax.random.key(0), 32)
    keys = jax.random.split(jax.random.key(1), 1000)
    cells = np.asarray(jax.jit(lambda: jax.lax.scan(body, state, keys)[1])())  # [T, B]
    for first, second in (
        (cells[:-1], cells[1:]),
        (cells[:, :-1], cells[:, 1:]),
        (cells[1:, :-1], cells[:-1, 1:]),
    ):
        joint = np.bincount((first * 12 + second).ravel(), minlength=144)
        assert_distributed(joint, np.full(144, first.size / 144))
