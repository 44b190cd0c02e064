"""Learned subgoals and the sign that the world has changed, on data with known answers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.subgoals.acting import Parts, SourceTrees
from marlx.algos.subgoals.goals import rare_goal
from marlx.algos.subgoals.novelty import change_detector
from marlx.algos.subgoals.regions import (
    INITIAL_USAGE,
    MIN_USAGE,
    Batch,
    Landmarks,
    learned_regions,
    replace_forgotten,
)
from marlx.algos.subgoals.sources import constant_source
from marlx.algos.subgoals.training import learn_sources
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
        state, metrics = step(state, seen(corners, jax.random.key(100 * seed + i))[0])
    return state, metrics


def observation(local):
    shape = local.shape[:-1]
    return Observation(local, jnp.ones((*shape, 2), bool), jnp.zeros((*shape[:-1], 1)))


def places(source, state, corners, seed=7):
    """The region of observations around corners, int [n], and their corners."""
    local, which = seen(corners, jax.random.key(seed))
    achieved = np.asarray(source.bind(source.policy(state)).achieved(observation(local)))
    assert (achieved.sum(-1) == 1).all()
    return achieved.argmax(-1).reshape(-1), np.asarray(which).reshape(-1)


def test_regions_part_what_is_seen_and_nobody_is_sent_where_they_are():
    source = learned_regions(SPEC, number=4)
    state, metrics = learn(source, [0, 1, 2, 3], 60)
    place, which = places(source, state, [0, 1, 2, 3])
    of_corner = [set(place[which == corner]) for corner in range(4)]
    assert all(len(found) == 1 for found in of_corner) and len(set.union(*of_corner)) == 4
    assert float(metrics["region_known"]) == 1.0
    obs = observation(seen([0, 1, 2, 3], jax.random.key(9))[0])
    layout = source.bind(source.policy(state))
    np.testing.assert_array_equal(layout.choices(obs), ~np.asarray(layout.achieved(obs)))


def test_what_is_only_seen_at_the_end_of_episodes_has_a_region():
    source = learned_regions(SPEC, number=4)
    parts = Parts(SPEC, None, None, source, constant_source(None), None, 0.0)
    state = SourceTrees(source.init(jax.random.key(0)), ())
    step = jax.jit(
        lambda state, before, after: learn_sources(
            parts, state, SimpleNamespace(obs=observation(before), next_obs=observation(after))
        )[0]
    )
    for i in range(60):
        before, after = (seen(corners, jax.random.key(i))[0] for corners in ([0, 1, 2], [1, 2, 3]))
        state = step(state, before, after)
    place, which = places(source, state.subgoals, [0, 1, 2, 3])
    ends = set(place[which == 3])
    assert len(ends) == 1 and not ends & set(place[which != 3])


def test_what_is_seen_once_keeps_a_region_until_it_is_long_forgotten():
    """One observation of 800 is elsewhere; k-means would never spare a centre for it."""
    source = learned_regions(SPEC, number=4)
    state, _ = learn(source, [0, 1], 30)
    local = seen([0, 1], jax.random.key(5))[0].at[0, 0, 0].set(jnp.array([0.0, 0, 0, 4]))
    state, metrics = jax.jit(source.learn)(state, local)
    assert float(metrics["region_anew"]) >= 1
    (rare,), common = (set(places(source, state, [corner])[0]) for corner in (3, 0))
    assert rare not in common
    usage = source.bind(source.policy(state)).usage
    assert 0 < usage[rare] < 0.01

    options = jnp.ones((500, 2, 4), bool)
    assert (rare_goal(usage, jax.random.key(0), options) == rare).mean() > 0.5
    others = options.at[..., rare].set(False)
    assert (rare_goal(usage, jax.random.key(0), others) != rare).all()

    state, _ = learn(source, [0, 1], 260, state, seed=2)
    usage = source.bind(source.policy(state)).usage
    known = np.flatnonzero(np.asarray(usage) > MIN_USAGE)
    place, _ = places(source, state, [0, 1])
    assert set(place) == set(known)  # nothing is kept, or chosen, for its sake
    assert set(np.unique(rare_goal(usage, jax.random.key(1), options))) <= set(known)


def test_a_landmark_gives_way_to_the_furthest_observation():
    """One that is forgotten, else one of the closest two, and none without a better observation."""

    def replaced(centres, usage, rows):
        centres, rows = (jnp.asarray(x, jnp.float32)[:, None] for x in (centres, rows))
        landmarks = Landmarks(centres, centres, jnp.asarray(usage, jnp.float32))
        end = replace_forgotten(landmarks, Batch(rows, rows), 1)
        found = np.asarray(end.distances)
        np.testing.assert_allclose(found, (rows - end.landmarks.centres[:, 0]) ** 2, atol=1e-4)
        return end.landmarks.centres[:, 0].tolist(), end.landmarks.usage.tolist(), int(end.replaced)

    new = float(np.float32(INITIAL_USAGE))
    assert replaced([0, 1, 10], [1, 1, 0], [0, 1, 5]) == ([0, 1, 5], [1, 1, new], 1)
    assert replaced([0, 1, 10], [1, 1, 1], [0, 1, 5]) == ([5, 1, 10], [new, 1, 1], 1)
    assert replaced([0, 1, 10], [1, 1, 1], [0, 1, 10]) == ([0, 1, 10], [1, 1, 1], 0)


def test_a_changed_world_is_distinguished_from_a_known_one():
    source = change_detector(SPEC, 4, quantile=0.95)
    first = source.bind(source.policy(source.init(jax.random.key(0))))
    assert not np.asarray(first(observation(seen([0], jax.random.key(1))[0]))).any()
    state, _ = learn(source, [0, 1], 150)
    changed = source.bind(source.policy(state))
    usual = np.asarray(changed(observation(seen([0, 1], jax.random.key(9))[0])))
    unusual = np.asarray(changed(observation(seen([3], jax.random.key(9))[0])))
    assert usual.shape == (400, 1, 2) and usual.mean() < 0.12
    assert unusual.mean() > 0.95
