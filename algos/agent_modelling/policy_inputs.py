"""Views of a rollout: the inputs of the policy and of the agent model."""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp

from marlx.algos.agent_modelling.standardise import standardised
from marlx.learning.running_moments import Moments
from marlx.types import Array, EnvSpec, Observation, Transition


def with_embeddings(spec: EnvSpec, size: int) -> EnvSpec:
    """Returns `spec` with observations that end with an embedding of `size` numbers."""
    return dataclasses.replace(
        spec,
        obs_size=spec.obs_size + size,
        # padding stays in the middle: what an agent does not see is zero there as well
        obs_sizes=(spec.obs_size + size,) * spec.num_agents,
        storage="float32",
    )


def append_embedding(
    spec: EnvSpec, moments: Moments | None, obs: Observation, embedding: Array
) -> Observation:
    """Returns `obs` with `embedding` f32 [..., N, E], standardised, behind each observation.

    Observations are divided by `spec.scale` later; the embedding is multiplied by it beforehand.
    """
    if moments is not None:
        embedding = standardised(moments, embedding)
    local = obs.local.astype(jnp.float32)
    return obs._replace(local=jnp.concatenate([local, embedding * spec.scale], -1))


def round_ends(policy_steps: int, time: Array) -> Array:
    """Returns bool [...], whether the policy's memory is reset after step int32 [...] `time`."""
    if not policy_steps:
        return jnp.zeros_like(time, bool)
    return (time + 1) % policy_steps == 0


def ppo_rollout(
    spec: EnvSpec, moments: Moments | None, policy_steps: int, rollout: Transition
) -> Transition:
    """Returns the rollout for PPO, with embeddings in its observations.

    Where the policy's memory is reset within an episode, PPO's is truncated: its value goes on.
    """
    over = round_ends(policy_steps, rollout.memory.time) & ~rollout.terminated
    append = functools.partial(append_embedding, spec, moments)
    return rollout._replace(
        obs=append(rollout.obs, rollout.extras.embedding),
        next_obs=append(rollout.next_obs, rollout.extras.next_embedding),
        truncated=rollout.truncated | over,
        memory=rollout.memory.actor,
        extras=rollout.extras.actor,
    )


def model_rollout(rollout: Transition) -> Transition:
    """Returns the rollout for the agent model."""
    return rollout._replace(memory=rollout.memory.model, extras=())
