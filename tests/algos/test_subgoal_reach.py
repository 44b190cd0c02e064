"""Which learned subgoals are near which, on walks with known answers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.subgoals.config import GMAHConfig
from marlx.algos.subgoals.reach import FADING, REACHABLE, faded, near_regions, steps_until
from marlx.algos.subgoals.regions import learned_regions
from marlx.types import EnvSpec, Observation

SPEC = EnvSpec("ring", num_agents=2, num_actions=2, obs_size=4, state_size=1, horizon=9, scale=2)


def test_steps_count_within_the_episode_only():
    there = jnp.array([1, 2, 0, 1])[:, None, None]
    done = jnp.array([False, True, False, False])[:, None]
    until = np.asarray(steps_until(there, done, 3))[:, 0, 0]
    inf = np.inf
    np.testing.assert_array_equal(until, [[inf, 1, 2], [inf, inf, 1], [1, 2, inf], [inf, 1, inf]])


def test_ways_not_taken_fade_where_somebody_was():
    trace = jnp.full((3, 3), 0.5)
    taken = jnp.zeros((2, 3), bool).at[0, 1].set(True)
    after = np.asarray(faded(trace, jnp.array([0, 0]), taken))
    kept = 0.5 * (1 - FADING)
    np.testing.assert_allclose(after, [[kept, 1, kept], [0.5] * 3, [0.5] * 3], rtol=1e-6)


def observation(corner):
    local = 4.0 * jax.nn.one_hot(corner, 4)
    shape = local.shape[:-1]
    return Observation(local, jnp.ones((*shape, 2), bool), jnp.zeros((*shape[:-1], 1)))


@pytest.mark.parametrize("period", [1, 2])
def test_agents_that_walk_round_a_ring_choose_what_lies_ahead(period):
    source = near_regions(learned_regions(SPEC, number=4), 4, period)
    corner = (jnp.arange(24)[:, None, None] + jnp.array([0, 2])) % 4  # [T, 1, 2]
    t = SimpleNamespace(
        obs=observation(corner),
        next_obs=observation((corner + 1) % 4),
        done=jnp.zeros((24, 1), bool),
    )

    @jax.jit
    def learn(state):
        return source.follow(source.learn(state, t.obs.local)[0], t)

    state = source.init(jax.random.key(0))
    corners = observation(jnp.arange(4)[:, None])
    assert np.asarray(source.bind(source.policy(state)).choices(corners)).any(-1).all()
    for _ in range(70):  # landmarks come to rest, then other ways fade
        state, metrics = learn(state)
    layout = source.bind(source.policy(state))
    place = np.asarray(layout.achieved(corners)).argmax(-1)[:, 0]
    assert sorted(place) == [0, 1, 2, 3]
    near = np.asarray(layout.choices(corners))[:, 0]
    for corner in range(4):
        ahead = {int(place[(corner + k) % 4]) for k in range(1, period + 1)}
        assert set(np.flatnonzero(near[corner])) == ahead
    assert float(metrics["region_near"]) == pytest.approx(period / 4)
    alone = source.policy(state)._replace(trace=jnp.full((4, 4), REACHABLE / 2))
    others = np.asarray(source.bind(alone).choices(corners))[:, 0]
    np.testing.assert_array_equal(others.sum(-1), [3, 3, 3, 3])  # none is near: all others


def test_settings_that_learned_subgoals_make_useless_are_refused():
    with pytest.raises(ValueError, match=r"near is on and subgoals 'declared'"):
        GMAHConfig(near=True)
    with pytest.raises(ValueError, match=r"'options' and subgoals 'learned'.* 'achieved'"):
        GMAHConfig(refresh="options", subgoals="learned")
    assert GMAHConfig(near=True, subgoals="learned").near
