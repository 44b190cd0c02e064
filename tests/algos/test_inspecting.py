"""What learners show of a step agrees with what they do."""

import jax
import numpy as np
import pytest

import marlx
from marlx import algos
from marlx.learner import example_rollout


def shown(name, env_id="matrix/climbing", explore=False, **settings):
    """The mask, the action and what is shown, of 16 environments in a first state."""
    env, params = marlx.make(env_id, observation="last_action")
    spec = env.spec(params)
    learner = getattr(algos, name)(spec, **settings)

    @jax.jit
    def play(key):
        policy = learner.policy(learner.init(key, example_rollout(spec, learner, 32, 16)))
        obs, _ = jax.vmap(env.reset)(jax.random.split(key, 16))
        obs = obs._replace(
            local=jax.random.normal(key, obs.local.shape),
            action_mask=jax.random.bernoulli(key, 0.7, obs.action_mask.shape).at[..., 0].set(True),
        )
        memory = learner.memory(16)
        action, _, extras = learner.act(policy, memory, obs, key, explore)
        return obs.action_mask, action, learner.inspect(policy, memory, obs, extras)

    return jax.device_get(play(jax.random.key(1)))


@pytest.mark.parametrize("last_action", [False, True])
def test_the_greedy_action_has_the_largest_q(last_action):
    mask, action, values = shown("vdn", last_action=last_action, hidden=8)
    best = np.where(mask, values["q"], -np.inf).argmax(-1)
    np.testing.assert_array_equal(action, best)
    assert len(np.unique(values["q"].round(4))) > 40


def test_probabilities_are_those_of_the_legal_actions():
    mask, action, values = shown("ippo", hidden=8)
    chance = values["probability"]
    np.testing.assert_allclose(chance.sum(-1), 1, rtol=1e-5)
    assert (chance[~mask] == 0).all()
    np.testing.assert_array_equal(action, chance.argmax(-1))


def test_a_joint_action_has_no_values_of_agents():
    env, params = marlx.make("matrix/climbing")
    assert algos.joint_q(env.spec(params)).inspect is None
