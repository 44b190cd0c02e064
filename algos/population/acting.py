"""How a population acts: a speaker of each environment, and the listener."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.population.losses import Parts
from marlx.algos.population.networks import outputs
from marlx.algos.population.schedule import Phase
from marlx.types import Array, Observation, Tree


class Policy(NamedTuple):
    """Parameters of all speakers and of the listener, and who speaks."""

    speakers: Tree  # [T + 1, ...]
    listener: Tree
    phase: Phase


def outputs_of(parts: Parts, policy: Policy, who: Array, obs: Observation) -> Array:
    """Returns logits f32 [B, N, A] of all agents, `who` int32 [B] being the speaker in each."""
    layout, spec = parts.layout, parts.spec
    seen = obs.local[..., : layout.mouths, :]
    spoken = jax.vmap(lambda speaker: outputs(parts.speaker, speaker, seen))(policy.speakers)
    spoken = jnp.take_along_axis(spoken, who[None, :, None, None], 0)[0]
    chosen = outputs(parts.listener, policy.listener, layout.message(obs), layout.candidates(obs))
    missing = spec.num_actions - chosen.shape[-1]
    chosen = jnp.pad(chosen, [(0, 0), (0, missing)])[:, None]
    return jnp.concatenate([spoken, chosen], 1)
