"""Agents that are not there: masks, values and moments without them, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.ppo_batch import agent_rewards, gae_inputs, loss_weights
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.q_items import pack, unpack
from marlx.algos.td_credit import adjusted_terms
from marlx.algos.td_equations import td_targets, td_terms
from marlx.environment import EnvParams
from marlx.learning.active import choice, choosable, value_exists, zero_inactive
from marlx.learning.returns import batched_lambda_returns
from marlx.learning.running_moments import extend, moments
from marlx.loop.evaluation import random_learner
from marlx.loop.rollout import rollout, start
from marlx.testing import Leaving
from marlx.types import EnvSpec, Observation

GAMMA = 0.9
ENV = Leaving()
LENGTH = max(ENV.stay)
OWN = ENV.value(GAMMA)  # [T, N]
TEAM = OWN.sum(-1)


@pytest.fixture(scope="module")
def episode():
    """One episode [T, B = 1] of random play."""
    learner, params = random_learner(ENV.spec()), ENV.default_params
    actors = start(ENV, params, learner, jax.random.key(0), 1)
    return rollout(ENV, params, learner, (), actors, jax.random.key(1), LENGTH)[1]


def test_without_a_mask_everything_is_returned_as_it_is():
    obs = Observation(jnp.ones((2, 3)), jnp.ones((2, 3), bool), jnp.ones(1))
    action = jnp.array([1, 2])
    assert zero_inactive(obs.local, None) is obs.local
    assert choosable(obs) is obs.action_mask
    assert choice(obs, action) is action


def test_an_inactive_agent_has_one_choice_and_zeros():
    mask = jnp.array([[False, True, True], [True, True, True]])
    obs = Observation(jnp.ones((2, 3)), mask, jnp.ones(1), jnp.array([False, True]))
    np.testing.assert_array_equal(choosable(obs), [[0, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(choice(obs, jnp.array([2, 2])), [1, 2])
    np.testing.assert_array_equal(zero_inactive(obs.local, obs.active), [[0, 0, 0], [1, 1, 1]])


def test_a_team_s_value_goes_on_while_anyone_is_there():
    active = jnp.array([[True, False], [False, False]])
    np.testing.assert_array_equal(value_exists(active, False), [1, 0])
    np.testing.assert_array_equal(value_exists(active, True), active)
    np.testing.assert_array_equal(value_exists(active, jnp.bool_(False)), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(value_exists(active, jnp.bool_(True)), active)


@pytest.mark.parametrize(("how", "expected"), [("sum", [3, 0]), ("mean", [1.5, 0])])
def test_the_team_s_reward_is_that_of_active_agents(how, expected):
    spec = EnvSpec("x", 3, 1, 1, 1, 1, reward_aggregation=how)
    reward, active = jnp.array([1.0, 2.0, 50.0]), jnp.array([[1, 1, 0], [0, 0, 0]], bool)
    np.testing.assert_allclose(spec.team_reward(reward, active), expected)
    found = agent_rewards(spec, "group", jnp.broadcast_to(reward, (2, 3)), active)
    np.testing.assert_allclose(found, np.broadcast_to(np.array(expected)[:, None], (2, 3)))


def test_moments_are_those_of_the_numbers_that_count():
    more, counted = jnp.array([1.0, 3.0, 900.0]), jnp.array([True, True, False])
    seen = extend(moments(), jnp.array([5.0]))
    found, wanted = extend(seen, more, 0.9, counted), extend(seen, more[:2], 0.9)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    none = extend(moments(), more, counted=jnp.zeros(3, bool))
    np.testing.assert_array_equal(none, [0, 0, 0])


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("per_agent", [True, False])
def test_td_targets_of_the_true_values_are_the_true_values(episode, lambda_, per_agent):
    """A value before a departure is the reward alone; nothing of the bait is in a target."""
    reward = "own" if per_agent else "team"
    config = QConfig(gamma=GAMMA, lambda_=lambda_, window=LENGTH, reward=reward)
    value = jnp.asarray(OWN if per_agent else TEAM)[:, None]  # [T, 1, N] or [T, 1]
    following = jnp.concatenate([value[1:], jnp.full_like(value[:1], 77.0)])
    if per_agent:  # garbage where there is no value
        following = jnp.where(episode.next_obs.active, following, 77.0)
    items = unpack(pack(ENV.spec(), config, False, episode).items)
    terms = td_terms(config, items, moments(), value)
    terms = adjusted_terms(config, None, items, terms, per_agent)
    found = td_targets(terms.reward, terms.discount, following, terms.ended, terms.trace)
    mask = episode.obs.active if per_agent else jnp.ones((LENGTH, 1))
    np.testing.assert_array_equal(terms.mask, mask)
    np.testing.assert_allclose(found * mask, value * mask, rtol=1e-6)


@pytest.mark.parametrize("reward", ["own", "team"])
def test_lambda_returns_of_the_true_values_are_the_true_values(episode, reward):
    """For PPO with each agent's own values, and with one value of the team."""
    spec, config = ENV.spec(), PPOConfig(gamma=GAMMA, reward=reward)
    team = reward == "team"
    value = jnp.asarray(np.tile(TEAM[:, None], 3) if team else OWN)[:, None]
    following = jnp.concatenate([value[1:], jnp.full_like(value[:1], 77.0)])
    steps = gae_inputs(spec, config, episode, team_value=team)
    found = batched_lambda_returns(
        steps.reward, steps.discount, following, steps.ended, steps.lambda_
    )
    weight = loss_weights(episode)
    np.testing.assert_array_equal(weight, episode.obs.active)
    np.testing.assert_allclose(found * weight, value * weight, rtol=1e-6)


def test_an_agent_s_own_value_ends_with_it_even_of_the_team_s_reward(episode):
    config = PPOConfig(gamma=GAMMA)
    discount = gae_inputs(ENV.spec(), config, episode).discount
    np.testing.assert_allclose(discount, GAMMA * episode.next_obs.active)
    limit = rollout(  # a time limit ends no value
        ENV, EnvParams(max_steps_in_episode=1), random_learner(ENV.spec()), (),
        start(ENV, EnvParams(max_steps_in_episode=1), random_learner(ENV.spec()),
              jax.random.key(0), 1),
        jax.random.key(1), 1,
    )[1]  # fmt: skip
    np.testing.assert_allclose(gae_inputs(ENV.spec(), config, limit).discount, GAMMA)
