"""The previous action as input: what is stored is what acting saw, and it is of use."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import ppo, q_learning
from marlx.algos.last_action import encoded, wider_rollout, wider_spec
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.subgoals.config import GMAHConfig
from marlx.algos.subgoals.learner import gmah
from marlx.algos.switching.learner import mansa_q
from marlx.environment import Environment, EnvParams, EnvState
from marlx.learner import example_rollout
from marlx.loop.rollout import rollout, start
from marlx.subgoals import with_declared
from marlx.testing import Constant, Leaving, Recall, check_learner
from marlx.training import train
from marlx.types import Array, EnvSpec, Observation

Q = QConfig(
    hidden=8, mixer_hidden=8, mixer_embed=4, warmup=32, batch=4, window=8, capacity=512,
    updates_per_step=1 / 16, last_action=True,
)  # fmt: skip
PPO = PPOConfig(hidden=8, window=8, epochs=1, minibatches=1, last_action=True)


def played(env, learner, length=12, num_envs=4):
    """State of a learner at first, and a rollout [T, B] of it exploring."""
    params = env.default_params
    example = example_rollout(env.spec(), learner, length, num_envs)

    @jax.jit
    def play(key):
        state = learner.init(key, example)
        actors = start(env, params, learner, key, num_envs)
        return state, rollout(
            env, params, learner, learner.policy(state), actors, key, length
        )[1]  # fmt: skip

    return play(jax.random.key(0))


def test_steps_end_with_the_action_before_them_and_lead_to_their_own():
    env = Recall(num_agents=3)
    spec = env.spec()
    _, t = played(env, q_learning.iql(spec, Q), length=16)
    wide, width = wider_rollout(spec, t), spec.obs_size
    before, after = wide.obs.local[..., width:], wide.next_obs.local[..., width:]
    np.testing.assert_array_equal(wide.obs.local[..., :width], t.obs.local)
    np.testing.assert_array_equal(after, jax.nn.one_hot(t.action, spec.num_actions))
    kept = ~t.done[:-1, :, None, None]
    assert kept.any() and not kept.all()
    np.testing.assert_array_equal(before[1:], jnp.where(kept, after[:-1], 0.0))
    assert not before[0].any()


def test_an_agent_that_is_not_there_has_no_last_action():
    env = Leaving()
    _, t = played(env, q_learning.iql(env.spec(), Q), length=4)
    width = env.spec().obs_size
    after = wider_rollout(env.spec(), t).next_obs.local[..., width:]
    np.testing.assert_array_equal(after.sum(-1), t.obs.active)


def test_continuous_actions_are_seen_as_they_are():
    spec = EnvSpec("x", 2, 3, 4, 1, 5, continuous=True, storage="int8", scale=2.0)
    action = jnp.array([[0.5, 0.0, 1.0], [0.25, 0.75, 0.0]])
    np.testing.assert_array_equal(encoded(spec, action), action)
    assert wider_spec(spec).storage == "float32" and wider_spec(spec).obs_sizes == (7, 7)


@pytest.mark.parametrize(
    ("scale", "storage"), [(1.0, "int8"), (100.0, "int8"), (200.0, "float32"), (1.5, "float32")]
)
def test_replays_stay_compact_where_that_loses_nothing(scale, storage):
    spec = EnvSpec("x", 2, 3, 4, 1, 5, storage="int8", scale=scale)
    assert wider_spec(spec).storage == storage


@pytest.mark.parametrize("recurrent", [pytest.param(False, marks=pytest.mark.slow), True])
def test_recomputing_a_rollout_gives_the_probabilities_of_acting(recurrent):
    """So the first ratio of every update is 1; a last action that is off by a step must show."""
    env = Recall(num_agents=3)
    config = dataclasses.replace(PPO, recurrent=recurrent, window=4)
    learner = ppo.ippo(env.spec(), config)
    state, t = played(env, learner)
    # a head that tells last actions apart, where initial ones are near uniform
    actor = jax.tree.map(lambda x: x * 3, state.params.actor)
    params = state.params._replace(actor=actor)
    policy = params.actor
    actors = start(env, env.default_params, learner, jax.random.key(3), 4)
    t = rollout(env, env.default_params, learner, policy, actors, jax.random.key(4), 12)[1]
    update = jax.jit(lambda state, t: learner.update(learner.observe(state, t), jax.random.key(1)))
    state = state._replace(params=params)
    exact = update(state, t)[1]
    assert exact["kl"] < 1e-9 and exact["clipped"] == 0
    shifted = t.memory._replace(last=jnp.roll(t.memory.last, 1, 0))
    assert update(state, t._replace(memory=shifted))[1]["kl"] > 1e-7


@flax.struct.dataclass
class AlternateState(EnvState):
    last: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alternate(Environment[AlternateState, EnvParams]):
    """Pays 1 for an action other than the last one; nothing of it is in the observation."""

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=8)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        return dataclasses.replace(Constant(num_agents=1).spec(), horizon=8, optimum=8.0)

    def reset_env(self, key: Array, params: EnvParams) -> AlternateState:
        return AlternateState(time=jnp.int32(0), last=jnp.full(1, 2))

    def step_env(self, key: Array, state: AlternateState, action: Array, params: EnvParams) -> Any:
        reward = (action != state.last).astype(jnp.float32)
        return AlternateState(time=state.time + 1, last=action), reward, jnp.bool_(False), {}

    def observe(self, state: AlternateState, params: EnvParams) -> Observation:
        return Observation(jnp.ones((1, 1)), jnp.ones((1, 2), bool), jnp.ones(1))


@pytest.mark.parametrize(
    ("last_action", "best"), [(True, 8.0), pytest.param(False, 1.0, marks=pytest.mark.slow)]
)
def test_a_team_without_memory_alternates_only_if_it_sees_its_last_action(last_action, best):
    """A greedy policy of nothing takes one action for ever: 1 of 8."""
    config = dataclasses.replace(
        Q, recurrent=False, window=1, lr=5e-3, gamma=0.5, updates_per_step=0.25, batch=32,
        epsilon_steps=1_000, target_period=20, last_action=last_action,
    )  # fmt: skip
    learner = q_learning.iql(Alternate().spec(), config)
    result = train(
        Alternate(), learner, total_steps=2_000, num_envs=8, rollout_length=4, evals=1,
        eval_episodes=4,
    )  # fmt: skip
    np.testing.assert_array_equal(result.returns, np.full(result.returns.shape, best))


CONTRACT = {
    "iql": lambda spec: q_learning.iql(spec, Q),
    "ippo": lambda spec: ppo.ippo(spec, PPO),
    "qmix": lambda spec: q_learning.qmix(spec, Q),
    "mappo": lambda spec: ppo.mappo(spec, dataclasses.replace(PPO, recurrent=True)),
}


@pytest.mark.parametrize(
    "name", ["iql", *(pytest.param(x, marks=pytest.mark.slow) for x in ("ippo", "qmix", "mappo"))]
)
def test_learners_keep_the_contract_with_it(name):
    check_learner(CONTRACT[name], absent=None, others=(), eager=False, together=False)


def test_learners_made_of_others_refuse_it():
    spec = Recall().spec()
    with pytest.raises(ValueError, match=r"independent\.last_action is true; it must be false"):
        mansa_q(spec, independent=Q)
    with pytest.raises(ValueError, match=r"low\.last_action is true; it must be false"):
        gmah(with_declared(Recall()).spec(), GMAHConfig(low=PPO))
