"""Learned subgoals and the sign that the world has changed, on data with known answers."""

import jax
import jax.numpy as jnp
import numpy as np

from marlx import generators
from marlx.types import EnvSpec, Observation

SPEC = EnvSpec("points", num_agents=2, num_actions=2, obs_size=4, state_size=1, horizon=9, scale=2)


def seen(corners, key, count=400):
    """Observations [count, 1, 2, 4] near some of four far apart corners; and which, [count, 2]."""
    key_which, key_noise = jax.random.split(key)
    which = jax.random.choice(key_which, jnp.asarray(corners), (count, 2))
    local = 4 * jax.nn.one_hot(which, 4) + 0.1 * jax.random.normal(key_noise, (count, 2, 4))
    return local[:, None], which


def learn(source, corners, rounds, state=None, seed=0):
    step = jax.jit(source.learn)
    state = source.init(jax.random.key(seed)) if state is None else state
    for i in range(rounds):
        state, told = step(state, seen(corners, jax.random.key(100 * seed + i))[0])
    return state, told


def observation(local):
    shape = local.shape[:-1]
    return Observation(local, jnp.ones((*shape, 2), bool), jnp.zeros((*shape[:-1], 1)))


def test_regions_are_the_clusters_of_what_is_seen_and_follow_it():
    """Four clusters, four regions; then two clusters vanish, and the rest is divided anew."""
    source = generators.regions(SPEC, number=4)
    state, told = learn(source, [0, 1, 2, 3], 60)
    local, which = seen([0, 1, 2, 3], jax.random.key(7))
    layout = source.bind(source.policy(state))
    achieved = np.asarray(layout.achieved(observation(local)))[:, 0]
    assert (achieved.sum(-1) == 1).all()
    place = achieved.argmax(-1)
    of_corner = [set(place[np.asarray(which) == corner]) for corner in range(4)]
    assert all(len(places) == 1 for places in of_corner) and len(set.union(*of_corner)) == 4
    choices = np.asarray(layout.choices(observation(local)))[:, 0]
    np.testing.assert_array_equal(choices, ~achieved)
    assert float(told["region_least"]) > 0.15

    state, told = learn(source, [0, 1], 120, state, seed=1)
    assert float(told["region_least"]) > 0.02  # no region is left where nobody goes
    layout = source.bind(source.policy(state))
    place = np.asarray(layout.achieved(observation(seen([0, 1], jax.random.key(8))[0]))).argmax(-1)
    assert len(np.unique(place)) >= 3


def test_a_changed_world_is_told_from_one_that_is_known():
    source = generators.novelty(SPEC, 4, quantile=0.95)
    first = source.bind(source.policy(source.init(jax.random.key(0))))
    assert not np.asarray(first(observation(seen([0], jax.random.key(1))[0]))).any()
    state, _ = learn(source, [0, 1], 150)
    changed = source.bind(source.policy(state))
    usual = np.asarray(changed(observation(seen([0, 1], jax.random.key(9))[0])))
    unusual = np.asarray(changed(observation(seen([3], jax.random.key(9))[0])))
    assert usual.shape == (400, 1, 2) and usual.mean() < 0.12
    assert unusual.mean() > 0.95
