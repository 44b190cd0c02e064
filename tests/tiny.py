"""A learner that compiles in no time, for tests of what is around learners; and a pair of it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from marlx.learner import Learner
from marlx.settings import setting
from marlx.types import EnvSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Settings of the tiny algorithm."""

    lr: float = setting(0.5, traced=True)
    """How fast it comes to like action 0."""
    batch: int = 4
    """Not used."""
    capacity: int = 8
    """At least `batch`."""

    def __post_init__(self) -> None:
        if self.capacity < self.batch:
            raise ValueError(f"capacity is {self.capacity}; a batch needs {self.batch}")


def tiny(spec: EnvSpec, config: TinyConfig) -> Learner:
    """A learner that compiles at once: it learns a table of logits which favours action 0."""
    shape = (spec.num_agents, spec.num_actions)

    def act(policy, memory, obs, key, explore):
        logits = jnp.where(obs.action_mask, policy["logits"], -jnp.inf)
        action = jnp.argmax(logits, -1)
        if explore:
            action = jax.random.categorical(key, logits, -1)
        return action.astype(jnp.int32), memory + 1, ()

    return Learner(
        init=lambda key, example: {"logits": jax.random.normal(key, shape)},
        memory=lambda num_envs: jnp.zeros((num_envs, 1)),
        policy=lambda state: state,
        act=act,
        observe=lambda state, rollout: state,
        update=lambda state, key: (
            {"logits": state["logits"].at[:, 0].add(config.lr)},
            {"loss": jnp.float32(0)},
        ),
        config=config,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairConfig:
    """Settings of a learner made of two others."""

    first: TinyConfig = TinyConfig(lr=0.25)
    """Acts and learns."""
    second: TinyConfig = TinyConfig()
    """Is only there."""
    share: float = 0.5
    """Not used."""
