"""Learners with each network keep the contract of learners, and learn what it is for."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import pytest

from marlx.algos.parallel_q import pqn_vdn
from marlx.algos.ppo import ippo, mappo
from marlx.algos.q_learning import vdn
from marlx.environment import Environment, EnvParams, EnvState
from marlx.loop.settings import TrainConfig
from marlx.testing import Recall, check_learner
from marlx.training import train
from marlx.types import Array, Entities, EnvSpec, Observation, Planes

Q = {
    "hidden": 8, "warmup": 32, "batch": 4, "window": 8, "capacity": 512,
    "updates_per_step": 1 / 16, "attention_steps": 3,
}  # fmt: skip
PPO = {"hidden": 8, "window": 4, "minibatches": 1, "epochs": 1, "attention_steps": 3}


def declared(spec):
    """Any environment's spec, with its observation declared as an image of one row, and as rows."""
    return dataclasses.replace(
        spec,
        planes=Planes(1, spec.obs_size, 1),
        entities=(Entities.block("numbers", 0, spec.obs_size, 1),),
    )


@pytest.mark.parametrize(
    ("build", "network"),
    [
        ("mappo", "transformer"),
        *(
            pytest.param(build, network, marks=pytest.mark.slow)
            for build, network in [
                ("vdn", "mlp"), ("vdn", "cnn"), ("vdn", "entity"), ("vdn", "transformer"),
                ("ippo", "gru"), ("ippo", "cnn"), ("ippo", "entity"), ("ippo", "transformer"),
            ]
        ),
    ],
)  # fmt: skip
def test_learners_keep_the_contract(build, network):
    """Recomputed actions and memories are those of acting; absent agents count for nothing."""

    def learner(spec):
        if build == "vdn":
            return vdn(declared(spec), **Q, network=network)
        return {"ippo": ippo, "mappo": mappo}[build](declared(spec), **PPO, network=network)

    check_learner(learner, others=(), eager=False, together=False)


@flax.struct.dataclass
class RowsState(EnvState):
    """Which row is there, and what all rows hold."""

    there: Array  # int32 [], its place
    bit: Array  # int32 [3]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneOfThree(Environment[RowsState, EnvParams]):
    """One step: three rows, one of which is there; the reward is 1 for naming what it holds."""

    @property
    def default_params(self):
        """One step."""
        return EnvParams(max_steps_in_episode=1)

    def spec(self, params=None):
        """Rows of a number and whether they are there."""
        rows = (Entities.block("rows", 0, 3, 2, present=1),)
        return EnvSpec(
            "probe/rows", num_agents=1, num_actions=2, obs_size=6, state_size=6, horizon=1,
            optimum=1.0, entities=rows,
        )  # fmt: skip

    def reset_env(self, key, params):
        """Draws everything."""
        keys = jax.random.split(key)
        there = jax.random.randint(keys[0], (), 0, 3)
        return RowsState(jnp.int32(0), there, jax.random.randint(keys[1], (3,), 0, 2))

    def step_env(self, key, state, action, params):
        """Pays for the right name."""
        right = action == state.bit[state.there]
        return state.replace(time=state.time + 1), right.astype(jnp.float32), jnp.bool_(True), {}

    def observe(self, state, params):
        """The rows, one after another."""
        rows = jnp.stack([state.bit, jnp.arange(3) == state.there], -1).astype(jnp.float32)
        return Observation(rows.reshape(1, 6), jnp.ones((1, 2), bool), rows.reshape(6))


SMALL = TrainConfig(num_envs=32, rollout_length=16, evals=1, eval_episodes=128, seeds=1)


def test_rows_are_learned_from():
    env = OneOfThree()
    learner = pqn_vdn(env.spec(), network="entity", hidden=16, lr=1e-3, epsilon_steps=2_000)
    config = dataclasses.replace(SMALL, total_steps=8_000)
    assert train(env, learner, config=config).history[-1].metrics["return"][0] > 0.97


def test_a_transformer_recalls():
    env = Recall(shortest=1, longest=3)
    learner = pqn_vdn(
        env.spec(), network="transformer", hidden=16, epochs=4, epsilon_steps=6_000, lr=1e-3
    )
    config = dataclasses.replace(SMALL, total_steps=25_000)
    assert train(env, learner, config=config).history[-1].metrics["return"][0] > 0.9
