"""COMA: its advantage and targets against sums by hand, its gradient against the exact one."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.counterfactual import (
    COMAState,
    actor_loss,
    coma,
    make_parts,
    targets,
)
from marlx.algos.counterfactual_config import COMAConfig
from marlx.algos.counterfactual_critic import (
    counterfactual_advantage,
    critic_inputs,
    expected_value,
    probabilities,
)
from marlx.environment import EnvParams
from marlx.loop.rollout import rollout, start
from marlx.loop.settings import TrainConfig
from marlx.testing import Leaving, Masked, Recall
from marlx.training import train
from marlx.types import EnvSpec, Observation, Transition

TINY = COMAConfig(hidden=16, critic_hidden=16, critic_minibatches=2)
RECALL = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=3)  # the longest episodes are cut
GAME = EnvSpec(id="game", num_agents=3, num_actions=2, obs_size=1, state_size=1, horizon=1)
JOINT = list(itertools.product(range(2), repeat=3))
PAYOFF = dict(zip(JOINT, np.random.default_rng(0).normal(size=8), strict=True))
POLICY = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])


def values(action):
    """f32 [3, 2], the payoff of each agent's actions while the others' stay as in `action`."""
    return np.array(
        [[PAYOFF[(*action[:i], own, *action[i + 1 :])] for own in (0, 1)] for i in range(3)]
    )


def test_the_advantage_is_the_payoff_less_a_sum_over_own_actions():
    q = jnp.array([values(u) for u in JOINT], jnp.float32)
    policy = jnp.broadcast_to(jnp.array(POLICY, jnp.float32), q.shape)
    found = counterfactual_advantage(q, policy, jnp.array(JOINT))
    for row, u in zip(np.asarray(found), JOINT, strict=True):
        for i in range(3):
            baseline = sum(POLICY[i][a] * PAYOFF[(*u[:i], a, *u[i + 1 :])] for a in (0, 1))
            assert row[i] == pytest.approx(PAYOFF[u] - baseline, abs=1e-6)
    chance = np.array([np.prod([POLICY[i][a] for i, a in enumerate(u)]) for u in JOINT])
    np.testing.assert_allclose(chance @ np.asarray(found), 0.0, atol=1e-6)  # a baseline, no bias


def test_an_illegal_action_is_in_no_baseline():
    q = jnp.array([[1.0, jnp.nan, 3.0]])
    policy = probabilities(jnp.zeros((1, 3)), jnp.array([[True, False, True]]))
    np.testing.assert_allclose(policy, [[0.5, 0.0, 0.5]])
    assert expected_value(q, policy)[0] == 2.0


def test_the_critic_reads_what_the_others_do_and_not_the_agent_itself():
    obs = Observation(jnp.ones((3, 1)), jnp.ones((3, 2), bool), jnp.ones(1), None)
    inputs = functools.partial(critic_inputs, GAME, obs, agent_id=True)
    first, second = inputs(jnp.array([0, 1, 1])), inputs(jnp.array([1, 1, 1]))
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1] != second[1]).any() and (first[2] != second[2]).any()
    # state, observation, nobody's own, the others' one-hots, index
    np.testing.assert_array_equal(first[1], [1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0])
    absent = obs._replace(active=jnp.array([True, False, True]))
    gone = critic_inputs(GAME, absent, jnp.array([0, 1, 1]), False)
    np.testing.assert_array_equal(gone[0], [1, 1, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(gone[1], [1, 0, 1, 0, 0, 0, 0, 1])


def taken(config, env=RECALL, params=LIMITED, length=8, num_envs=4):
    """Parts, a state of an untrained learner and the rollout in it."""
    spec = env.spec(params)
    learner, parts = coma(spec, config), make_parts(spec, config)
    actor = jax.jit(parts.actor.init)(jax.random.key(7))
    critic = jax.jit(parts.critic.init)(jax.random.key(8))
    actors = start(env, params, learner, jax.random.key(0), num_envs)
    roll = jax.jit(functools.partial(rollout, env, params, learner, length=length))
    _, given, _ = roll(actor, actors, jax.random.key(1))
    zero = jnp.int32(0)
    return parts, COMAState(actor, critic, critic, ((), ()), given, zero, zero), given


def test_targets_are_lambda_returns_of_the_target_critic_by_hand():
    config = dataclasses.replace(TINY, recurrent=True, lambda_=0.7, gamma=0.9)
    parts, state, t = taken(config)
    key = jax.random.key(3)
    found = np.asarray(jax.jit(functools.partial(targets, parts))(state, key))
    assert t.truncated.any() and t.terminated.any()
    length = len(t.done)

    @jax.jit
    def next_values():  # with the memories of a network unrolled from the first on
        _, _, memory = parts.actor.unroll(state.actor, t.memory[0], t.obs, t.done)
        outputs, _, _ = parts.actor.step(state.actor, memory, t.next_obs)
        legal = jnp.where(t.next_obs.action_mask, outputs, -jnp.inf)
        action = jax.random.categorical(key, legal)
        inputs = critic_inputs(parts.spec, t.next_obs, action, True)
        return (parts.critic.values(state.target, inputs) * jax.nn.softmax(legal)).sum(-1)

    following = np.asarray(next_values())
    reward = np.asarray(parts.spec.team_reward(t.reward, None))[..., None]
    done, ended = np.asarray(t.done)[..., None], np.asarray(t.terminated)[..., None]
    after = following[-1]
    for k in reversed(range(length)):
        cut = done[k] | (k == length - 1)
        after = np.where(cut, following[k], 0.3 * following[k] + 0.7 * after)
        after = reward[k] + 0.9 * ~ended[k] * after
        np.testing.assert_allclose(found[k], after, rtol=1e-4, atol=1e-5)


def test_the_actor_s_gradient_is_that_of_the_expected_payoff():
    """All joint actions once, under a uniform policy, are an exact expectation."""
    config = dataclasses.replace(TINY, sharing="none", entropy=0.0, normalise_advantage=False)
    parts = make_parts(GAME, config)
    actor = jax.jit(parts.actor.init)(jax.random.key(0))
    head = actor["params"]["readout"]
    actor["params"]["readout"] = jax.tree.map(jnp.zeros_like, head)
    shape = (1, len(JOINT))
    obs = Observation(
        jnp.ones((*shape, 3, 1)), jnp.ones((*shape, 3, 2), bool), jnp.ones((*shape, 1)), None
    )
    done, memory = jnp.ones(shape, bool), jnp.zeros((*shape, 3, 0))
    action = jnp.array([JOINT], jnp.int32)
    t = Transition(obs, action, jnp.zeros((*shape, 3)), done, done, obs, memory, ())
    q = jnp.array([[values(u) for u in JOINT]], jnp.float32)
    found = jax.jit(jax.grad(lambda a: actor_loss(a, parts, t, q)[0]))(actor)

    def payoff(actor):
        seen = jax.tree.map(lambda x: x[0, 0], obs)
        outputs, _, _ = parts.actor.step(actor, jnp.zeros((3, 0)), seen)
        policy = jax.nn.softmax(outputs)
        return sum(
            PAYOFF[u] * jnp.prod(jnp.stack([policy[i, a] for i, a in enumerate(u)])) for u in JOINT
        )

    exact = jax.jit(jax.grad(payoff))(actor)
    assert jnp.abs(exact["params"]["readout"]["bias"]).max() > 1e-2
    jax.tree.map(  # the loss is a mean over three agents
        lambda a, b: np.testing.assert_allclose(-3 * a, b, rtol=1e-4, atol=1e-6), found, exact
    )


def test_it_learns_which_actions_are_worth_something():
    env = Masked()
    learner = coma(env.spec(), TINY, lr=3e-3, critic_lr=3e-3)
    config = TrainConfig(total_steps=12_000, num_envs=16, rollout_length=8, evals=1)
    result = train(env, learner, config=config)
    best = env.best_mean * env.horizon
    assert result.history[-1].metrics["greedy_return"][0] == pytest.approx(best, rel=0.05)


def test_continuous_actions_are_refused():
    with pytest.raises(ValueError, match="COMA's baseline is a sum over discrete ones"):
        coma(dataclasses.replace(GAME, continuous=True))


def test_what_is_paid_after_an_agent_left_is_in_its_target():
    """The value is the team's: it goes on while anyone is there. Absent agents' bait is in none."""
    env, gamma = Leaving(), 0.9
    config = dataclasses.replace(TINY, lambda_=1.0, gamma=gamma)
    parts, state, _ = taken(config, env, env.default_params, length=4, num_envs=2)
    found = jax.jit(functools.partial(targets, parts))(state, jax.random.key(0))
    expected = np.broadcast_to(env.value(gamma).sum(-1)[:, None, None], (4, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
