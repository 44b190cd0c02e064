"""IDDPG and MADDPG: actors that maximise a critic, whose gradient passes through their action.

Continuous actions are deterministic, with noise while exploring; discrete ones are drawn by the
Gumbel-softmax. IDDPG's critic reads what its agent sees and does, MADDPG's what all do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from marlx.algos.off_policy.config import IDDPGConfig, MADDPGConfig
from marlx.algos.off_policy.core import build_learner, improve_together
from marlx.algos.off_policy.critics import Critic, central, independent
from marlx.algos.off_policy.parts import Parts, make_parts
from marlx.algos.off_policy.policies import without_entropy
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec


def epsilon(config: IDDPGConfig, steps: Array) -> Array:
    """Returns f32 [], the share of uniformly random actions: it falls linearly with steps."""
    over = jnp.maximum(1, config.epsilon_steps)
    left = 1.0 - jnp.minimum(steps, over) / over
    return config.epsilon_end + (config.epsilon_start - config.epsilon_end) * left


def deterministic_parts(spec: EnvSpec, config: IDDPGConfig, critic: Critic) -> Parts:
    """Returns the parts of a learner whose policies have no use for entropy.

    Args:
      spec: of the environment.
      config: settings.
      critic: what its actors maximise.
    """
    c = config
    policy = without_entropy(spec, c.noise, c.gumbel_temperature)
    return make_parts(
        spec,
        c,
        policy,
        critic,
        improve=improve_together,
        epsilon=lambda steps: epsilon(c, steps),
        trace=c.lambda_,
        penalty=c.regularisation,
    )


def iddpg(spec: EnvSpec, config: IDDPGConfig | None = None, **settings: Any) -> Learner:
    """Independent DDPG: each agent has actor and critic of its own (Lillicrap et al. 2016)."""
    c = dataclasses.replace(config or IDDPGConfig(), **settings)
    return build_learner(
        spec, c.last_action, lambda spec: deterministic_parts(spec, c, independent(spec, c))
    )


def maddpg(spec: EnvSpec, config: MADDPGConfig | None = None, **settings: Any) -> Learner:
    """MADDPG: critics that know what all agents do (Lowe et al. 2017).

    Differs from: the paper in the critics' networks, see `critics.central`, and in shared actors,
    where `sharing` is not `none`.
    """
    c = dataclasses.replace(config or MADDPGConfig(), **settings)

    def build(spec: EnvSpec) -> Parts:
        return deterministic_parts(spec, c, central(spec, c, c.critic_input, c.others))

    return build_learner(spec, c.last_action, build)


ALGORITHMS = (
    Algorithm("iddpg", "independent DDPG", IDDPGConfig, iddpg, preset="ddpg"),
    Algorithm("maddpg", "DDPG with a critic of all actions", MADDPGConfig, maddpg, preset="ddpg"),
)
