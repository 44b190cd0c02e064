"""TD equations against values worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.q_config import QConfig
from marlx.algos.q_network import q_network, unroll_after
from marlx.algos.td_equations import (
    double_q_values,
    masked_td_loss,
    scale_reward,
    td_targets,
    window_priority,
)
from marlx.learning.running_moments import extend, moments
from marlx.nets import mixers
from marlx.nets.mixers import Utilities
from marlx.types import EnvSpec, Observation


def column(*numbers, dtype=jnp.float32):
    """One window of so many steps, [T, 1]."""
    return jnp.asarray(numbers, dtype)[:, None]


def test_td_targets_of_three_steps():
    """The last step is a true end: y2 = 3. Before it every target looks ahead by a half."""
    found = td_targets(
        reward=column(1, 2, 3),
        discount=column(0.5, 0.5, 0.0),
        next_value=column(10, 20, 30),
        ended=column(0, 0, 1, dtype=bool),
        trace=0.5,
    )
    second = 2 + 0.5 * (0.5 * 20 + 0.5 * 3)
    first = 1 + 0.5 * (0.5 * 10 + 0.5 * second)
    np.testing.assert_allclose(found[:, 0], [first, second, 3], rtol=1e-6)


def test_the_loss_is_a_mean_over_the_steps_of_the_mask():
    error = jnp.array([[1.0, -2.0], [3.0, 4.0]])  # two steps of two windows
    mask, importance = jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([1.0, 0.5])
    expected = (1 + 0.5 * 4 + 0.5 * 16) / 3
    assert float(masked_td_loss(error, mask, importance)) == pytest.approx(expected)
    agents = [jnp.stack([x, x], -1) for x in (error, mask)]  # two agents with the same errors
    assert float(masked_td_loss(*agents, importance)) == pytest.approx(expected)
    assert float(masked_td_loss(error, jnp.zeros((2, 2)), importance)) == 0


def test_a_window_has_the_priority_of_its_largest_and_mean_error():
    """The first of three steps is burn-in."""
    error, mask = column(9, -3, 2), column(0, 1, 1)
    assert float(window_priority(error, mask, 1)[0]) == pytest.approx(0.9 * 3 + 0.1 * 5 / 2)
    agents = jnp.stack([error, 0 * error], -1), jnp.stack([mask, mask], -1)
    assert float(window_priority(*agents, 1)[0]) == pytest.approx((0.9 * 3 + 0.1 * 5 / 2) / 2)


@pytest.mark.parametrize(("double", "expected"), [(True, 3.0), (False, 7.0)])
def test_double_q_values_the_online_choice_with_the_target_network(double, expected):
    """Action 1 is best online, action 0 by the target network; action 2 is illegal."""

    def utilities(*q):
        mask = jnp.array([True, True, False])[None, None, None]
        features = state = jnp.zeros((1, 1, 1, 0))
        return Utilities(jnp.asarray(q)[None, None, None], features, mask, state[:, :, 0])

    online, target = ({}, utilities(1.0, 5.0, 99.0)), ({}, utilities(7.0, 3.0, 99.0))
    found = double_q_values(mixers.independent(), online, target, double)
    np.testing.assert_array_equal(found, [[[expected]]])


def test_reward_statistics_are_those_of_all_rewards():
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 2, size=(5, 4)).astype(np.float32) for _ in range(6)]
    stats = moments()
    for batch in batches:
        stats = extend(stats, jnp.asarray(batch))
    everything = np.concatenate(batches)
    assert float(stats.mean) == pytest.approx(everything.mean(), rel=1e-5)
    assert float(stats.squares / stats.number) == pytest.approx(everything.var(), rel=1e-4)
    scaled = scale_reward("standardise", stats, jnp.asarray(everything))
    assert float(scaled.std()) == pytest.approx(1, rel=1e-3)
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-3)


def test_burn_in_brings_the_memory_up_to_date_and_passes_no_gradient():
    """The same numbers as of the whole window, also where an episode ends just before the rest."""
    spec = EnvSpec("two", num_agents=2, num_actions=3, obs_size=4, state_size=0, horizon=9)
    net = q_network(spec, QConfig(hidden=8))
    params, start = net.init(jax.random.key(0)), net.memory(2)
    local = jax.random.normal(jax.random.key(1), (5, 2, 2, 4))
    done = jnp.zeros((5, 2), bool).at[1, 0].set(True)

    def q(local, burn_in):
        obs = Observation(local, jnp.ones((5, 2, 2, 3), bool), jnp.zeros((5, 2, 0)))
        utilities, memory = unroll_after(net, params, start, obs, done, burn_in)
        return utilities.q, memory

    @jax.jit
    def both(local):
        def later(local, burn_in):
            return (q(local, burn_in)[0][2:] ** 2).sum()

        return q(local, 0), q(local, 2), *(jax.grad(later)(local, n) for n in (0, 2))

    whole, parted, through, stopped = both(local)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), whole, parted)
    assert jnp.abs(through[:2, 1]).max() > 1e-4 and not stopped[:2].any() and stopped[2:].any()
