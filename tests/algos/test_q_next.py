"""Utilities of next states read from the following step, against those computed at every step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import q_next
from marlx.algos.q_config import QConfig
from marlx.algos.q_items import Item
from marlx.algos.q_network import q_network
from marlx.algos.q_next import Unrolled, computed_anew, next_utilities
from marlx.types import EnvSpec, Observation

T, B, N, F, A = 12, 3, 2, 4, 3
SPEC = EnvSpec("two", num_agents=N, num_actions=A, obs_size=F, state_size=F, horizon=9)


def items(share: float) -> Item:
    """Windows in which `share` of the steps end an episode, and as many have another next state."""
    keys = jax.random.split(jax.random.key(0), 5)
    local = jax.random.normal(keys[0], (T + 1, B, N, F))
    mask = jax.random.bernoulli(keys[1], 0.7, (T + 1, B, N, A)).at[..., 0].set(True)
    every = Observation(local, mask, local.sum(2))
    obs, following = (jax.tree.map(lambda x, s=s: x[s], every) for s in (slice(T), slice(1, None)))
    done = jax.random.bernoulli(keys[2], share, (T, B))
    other = done | jax.random.bernoulli(keys[3], share, (T, B))
    next_obs = following._replace(
        local=jnp.where(other[..., None, None], jax.random.normal(keys[4], obs.local.shape), 0)
        + jnp.where(other[..., None, None], 0, following.local)
    )
    zeros = jnp.zeros((T, B))
    return Item(obs, zeros[..., None].astype(int), zeros, zeros, done, next_obs, None, None)


@pytest.mark.parametrize(("share", "turns"), [(0.0, 1), (0.1, 2), (0.9, 6)])
def test_utilities_are_those_of_a_step_on_every_next_state(share, turns):
    """Last steps alone, and several turns of the loop; online and target network."""
    net, batch = q_network(SPEC, QConfig(hidden=8)), items(share)
    assert -(-int(computed_anew(batch).sum()) // (2 * B)) == turns

    @jax.jit
    def both(*params):
        given = [Unrolled(p, *net.unroll(p, net.memory(B), batch.obs, batch.done)) for p in params]
        plain = tuple(net.step(u.params, u.memories, batch.next_obs)[0] for u in given)
        return next_utilities(net, tuple(given), batch), plain

    found, plain = both(*map(net.init, jax.random.split(jax.random.key(1))))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), found, plain)


@pytest.mark.parametrize("shards", [1, 2])
def test_no_row_is_moved_between_devices_that_share_windows(shards, monkeypatch):
    """There each next state is computed where it lies, without the loop over chosen rows."""
    monkeypatch.setattr(q_next, "num_shards", lambda size: shards)
    net, batch = q_network(SPEC, QConfig(hidden=8)), items(0.1)
    memories = jnp.zeros((T, B, N, 8))

    def traced(params):
        utilities = net.step(params, memories, batch.obs)[0]
        return next_utilities(net, (Unrolled(params, utilities, memories),), batch)

    program = str(jax.make_jaxpr(traced)(net.init(jax.random.key(0))))
    assert ("while[" in program) == (shards == 1)


def test_a_row_is_computed_at_the_last_step_at_ends_and_where_views_differ():
    batch = items(0.0)
    done, local = batch.done.at[2, 0].set(True), batch.next_obs.local.at[5, 1, 0, 0].add(1.0)
    view = batch._replace(done=done, next_obs=batch.next_obs._replace(local=local))
    expected = np.zeros((T, B), bool)
    expected[-1] = expected[2, 0] = expected[5, 1] = True
    np.testing.assert_array_equal(computed_anew(view), expected)
