"""The episode store against a list of whole episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.data.episode_store import episodes


def stream(rng, num_envs, rollouts, length, horizon):
    """Rollouts of numbered steps, and their episodes of 1 to `horizon` steps by hand."""
    left = rng.integers(1, horizon + 1, num_envs)
    under_way = [[] for _ in range(num_envs)]
    whole, out, number = [], [], 0
    for _ in range(rollouts):
        steps = np.zeros((length, num_envs, 2), np.float32)
        done = np.zeros((length, num_envs), bool)
        for t in range(length):
            for b in range(num_envs):
                number += 1
                steps[t, b] = number, b
                under_way[b].append(number)
                left[b] -= 1
                if left[b] == 0:
                    done[t, b] = True
                    whole.append((b, under_way[b]))
                    under_way[b], left[b] = [], rng.integers(1, horizon + 1)
        out.append((steps, done))
    return out, whole


@pytest.mark.parametrize(("capacity", "length"), [(10, 3), (4, 7), (200, 5)])
def test_what_is_kept_is_the_last_whole_episodes(capacity, length):
    """They span rollouts, end anywhere, and are written over only by later ones."""
    rng = np.random.default_rng(0)
    rollouts, whole = stream(rng, 3, 12, length, 6)
    store = episodes(capacity, 6)
    state = store.init(jnp.zeros((length, 3, 2)))
    add, take = jax.jit(store.add), jax.jit(store.take)
    for steps, done in rollouts:
        state = add(state, steps, done)
    expected = whole[-capacity:]
    assert store.size(state) == len(expected)
    kept = np.array(jnp.stack(state.table, -1))[: len(expected)]
    found = set()
    for first, size, env in kept:
        entry = jax.tree.map(lambda x: jnp.array([x]), type(state.table)(first, size, env))
        got = np.asarray(take(state, entry, jnp.arange(size)[None]))[0]
        assert (got[:, 1] == env).all()
        found.add((int(env), tuple(got[:, 0].astype(int))))
    assert found == {(b, tuple(numbers)) for b, numbers in expected}


def test_every_episode_is_sampled_as_often():
    rng = np.random.default_rng(1)
    rollouts, whole = stream(rng, 3, 4, 8, 5)
    store = episodes(50, 5)
    state = store.init(jnp.zeros((8, 3, 2)))
    for steps, done in rollouts:
        state = store.add(state, steps, done)
    keys = jax.random.split(jax.random.key(0), 2_000)
    sampled = jax.jit(jax.vmap(lambda key: store.sample(state, key, 4)))(keys)
    number = store.take(
        state, jax.tree.map(lambda x: x.reshape(-1), sampled), jnp.zeros((8000, 1), int)
    )
    counts = np.bincount(np.asarray(number)[:, 0, 0].astype(int))
    counts = counts[[numbers[0] for _, numbers in whole]]
    assert counts.sum() == 8_000
    assert abs(counts / counts.mean() - 1).max() < 0.25


def test_an_episode_that_is_partly_written_over_is_not_sampled():
    """The table may still name it when its first steps are gone."""
    store = episodes(2, 4)
    state = store.init(jnp.zeros((4, 1)))
    end = jnp.array([[False], [False], [False], [True]])
    never = jnp.zeros((4, 1), bool)
    state = store.add(state, jnp.ones((4, 1)), end)
    assert store.size(state) == 1
    for _ in range(20):
        state = store.add(state, jnp.ones((4, 1)), never)
    assert store.size(state) == 0


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="capacity is 0 episodes; it must be at least 1"):
        episodes(0, 5)
