"""PQN against hand computations, known values and its own acting."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import parallel_q
from marlx.algos.parallel_q import Parts, loss, targets
from marlx.algos.parallel_q_config import PQNConfig
from marlx.algos.q_items import pack
from marlx.algos.q_network import q_network
from marlx.algos.q_state import QParams, QPolicy
from marlx.environment import EnvParams
from marlx.loop.rollout import rollout, start
from marlx.loop.settings import TrainConfig
from marlx.nets import mixers
from marlx.testing import Constant, Recall
from marlx.training import train

TINY = PQNConfig(hidden=16, mixer_hidden=8, mixer_embed=4, minibatches=2, window=4, lr=3e-3)
RECALL = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=3)  # the longest episodes are cut
CONFIG = TrainConfig(total_steps=12_000, num_envs=8, rollout_length=16, evals=2, eval_episodes=16)


def stored(config, mixer, length=8, num_envs=4):
    """Parts, parameters and a rollout of an untrained learner."""
    spec, shared = RECALL.spec(LIMITED), config.of_q_learner()
    learner = parallel_q.parallel_q_learner(spec, config, mixer)
    net = q_network(spec, shared)
    params = QParams(net.init(jax.random.key(7)), mixer.init(jax.random.key(8)))
    policy = QPolicy(params, jnp.int32(0))
    actors = start(RECALL, LIMITED, learner, jax.random.key(0), num_envs)
    roll = jax.jit(functools.partial(rollout, RECALL, LIMITED, learner, length=length))
    _, taken, _ = roll(policy, actors, jax.random.key(1))
    parts = Parts(config, shared, net, mixer, None)
    return parts, params, taken, pack(spec, shared, mixer.uses_state, taken)


def test_targets_are_lambda_returns_of_the_present_network_by_hand():
    config = dataclasses.replace(TINY, recurrent=True, lambda_=0.7, gamma=0.9)
    parts, params, taken, given = stored(config, mixers.additive())
    found = jax.jit(functools.partial(targets, parts))(params, given)
    assert taken.truncated.any() and taken.terminated.any()
    length, num_envs = taken.done.shape

    @jax.jit
    def best(memory, obs, next_obs):  # one step at a time, from the memories that acting had
        _, after = parts.net.step(params.agents, memory, obs)
        utilities, _ = parts.net.step(params.agents, after, next_obs)
        return jnp.where(utilities.action_mask, utilities.q, -jnp.inf).max(-1).sum(-1)

    rows = [jax.tree.map(lambda x: x[t], taken) for t in range(length)]  # noqa: B023
    following = np.stack([best(row.memory, row.obs, row.next_obs) for row in rows])
    reward = np.asarray(RECALL.spec(LIMITED).team_reward(taken.reward, None))
    expected, after = np.zeros((length, num_envs)), following[-1]
    for t in reversed(range(length)):
        cut = np.asarray(taken.done[t]) | (t == length - 1)
        after = np.where(cut, following[t], 0.3 * following[t] + 0.7 * after)
        after = reward[t] + 0.9 * ~np.asarray(taken.terminated[t]) * after
        expected[t] = after
    np.testing.assert_allclose(found.target, expected, rtol=1e-5, atol=1e-6)


def test_the_loss_has_no_gradient_through_its_targets_and_is_0_at_them():
    parts, params, _, given = stored(TINY, mixers.independent())
    batch = targets(parts, params, given)
    size = batch.items.done.size
    flat = jax.tree.map(lambda x: x.reshape(1, size, *x.shape[2:]), batch)
    memory = given.start.reshape(size, *given.start.shape[2:])
    online, _ = parts.net.unroll(params.agents, memory, flat.items.obs, flat.items.done)
    value = mixers.window_values(parts.mixer, params.mixer, online, flat.items.action)
    gradient, metrics = jax.grad(loss, has_aux=True)(
        params, parts, memory, flat._replace(target=value)
    )
    assert metrics["loss"] == 0 and all((x == 0).all() for x in jax.tree.leaves(gradient))
    assert loss(params, parts, memory, flat)[0] > 0


@pytest.mark.parametrize("name", ["pqn", "pqn_qmix"])
def test_values_bootstrap_through_the_time_limit(name):
    env = Constant(reward=1.0, horizon=10)
    settings = {"gamma": 0.8, "epsilon_steps": 1_000, "epochs": 4}
    learner = getattr(parallel_q, name)(env.spec(), TINY, **settings)
    result = train(env, learner, config=CONFIG)
    team = env.spec().team_reward(jnp.ones(env.num_agents), None)
    assert result.history[-1].metrics["q"][0] == pytest.approx(float(team) / 0.2, rel=0.1)


def test_a_recurrent_learner_recalls():
    learner = parallel_q.pqn_vdn(RECALL.spec(), TINY, recurrent=True, epochs=4, epsilon_steps=6_000)
    result = train(RECALL, learner, config=dataclasses.replace(CONFIG, total_steps=30_000))
    assert result.history[-1].metrics["return"][0] > 0.9


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"minibatches": 3}, "minibatches is 3; it must divide the 128 sequences"),
        ({"recurrent": True, "window": 5}, r"window is 5; it must divide the rollout length"),
        ({"reward": "own"}, "reward is 'own'; only independent learners"),
    ],
)
def test_impossible_settings_are_refused(settings, answer):
    env = Constant()
    with pytest.raises(ValueError, match=answer):
        train(env, parallel_q.pqn_vdn(env.spec(), TINY, **settings), config=CONFIG)
