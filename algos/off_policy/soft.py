"""ISAC and MASAC: actors that maximise a critic and their own entropy.

The weight of the entropy is learned for each agent, so that its policy keeps the entropy that the
settings ask for. Next actions are drawn from the present policies, without target networks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from marlx.algos.off_policy.config import ISACConfig, MASACConfig
from marlx.algos.off_policy.core import build_learner, improve_together
from marlx.algos.off_policy.critics import Critic, central, independent
from marlx.algos.off_policy.parts import Improve, Parts, Temperature, adam, make_parts
from marlx.algos.off_policy.policies import target_entropies, with_entropy
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec


def soft_parts(
    spec: EnvSpec, config: ISACConfig, critic: Critic, improve: Improve = improve_together
) -> Parts:
    """Returns the parts of a learner whose policies are worth their entropy.

    During the warm-up actions are uniformly random, as in the authors' code.

    Args:
      spec: of the environment.
      config: settings.
      critic: what its actors maximise.
      improve: the update of the actors.
    """
    c = config

    def target(mask: Array) -> Array:
        return target_entropies(spec, mask, c.target_entropy, c.target_entropy_share)

    return make_parts(
        spec,
        c,
        with_entropy(spec, c.gumbel_temperature),
        critic,
        improve=improve,
        epsilon=lambda steps: (steps < c.warmup).astype(jnp.float32),
        temperature=Temperature(
            jnp.log(c.temperature), adam(c.temperature_lr, c.max_grad_norm), target
        ),
    )


def isac(spec: EnvSpec, config: ISACConfig | None = None, **settings: Any) -> Learner:
    """Independent soft actor-critic: each agent for itself (Haarnoja et al. 2018)."""
    c = dataclasses.replace(config or ISACConfig(), **settings)
    return build_learner(
        spec, c.last_action, lambda spec: soft_parts(spec, c, independent(spec, c))
    )


def masac(spec: EnvSpec, config: MASACConfig | None = None, **settings: Any) -> Learner:
    """Soft actor-critic with critics that know what all agents do.

    There is no paper of that name; BenchMARL and Mava have it. Where agents learn from the team's
    reward, a next value counts the entropy of all of them, as HASAC's. Differs from: Mava, whose
    values count each agent's own.
    """
    c = dataclasses.replace(config or MASACConfig(), **settings)

    def build(spec: EnvSpec) -> Parts:
        return soft_parts(spec, c, central(spec, c, c.critic_input, c.others))

    return build_learner(spec, c.last_action, build)


ALGORITHMS = (
    Algorithm("isac", "independent soft actor-critic", ISACConfig, isac, preset="sac"),
    Algorithm("masac", "SAC with a critic of all actions", MASACConfig, masac, preset="sac"),
)
