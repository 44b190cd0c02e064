"""Values or probabilities of the agents' actions at a step, for viewers.

These are the functions `Learner.inspect` of Q-learning and PPO. They compute the networks again, on
what `act` saw, so that acting itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.algos.ppo_networks import ActorCritic
from marlx.algos.q_network import QNetwork
from marlx.algos.q_state import QPolicy
from marlx.types import Array, EnvSpec, Observation, Tree

Inspect = Callable[[Tree, Tree, Observation, Tree], dict[str, Array]]


def inspect_q(net: QNetwork) -> Inspect:
    """Returns `Learner.inspect` of Q-learning: `q` f32 [B, N, A], the agents' utilities."""

    def inspect(policy: QPolicy, memory: Tree, obs: Observation, extras: Tree) -> dict[str, Array]:
        del extras
        utilities, _ = net.step(policy.params.agents, memory, obs)
        return {"q": utilities.q}

    return inspect


def inspect_ppo(spec: EnvSpec, nets: ActorCritic) -> Inspect | None:
    """Returns `Learner.inspect` of PPO: `probability` f32 [B, N, A]; None where continuous."""
    if spec.continuous:
        return None

    def inspect(policy: Tree, memory: Tree, obs: Observation, extras: Tree) -> dict[str, Array]:
        del extras
        logits, _ = nets.policy(policy, memory, obs)
        legal = jnp.where(obs.action_mask, logits, -jnp.inf)
        return {"probability": jax.nn.softmax(legal, -1)}

    return inspect
