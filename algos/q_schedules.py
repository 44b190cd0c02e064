"""Schedules of a Q-learner: exploration, and when its target network moves."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from marlx.algos.q_config import QConfig
from marlx.algos.q_state import QParams
from marlx.types import Array


def exploration(config: QConfig, steps: Array) -> Array:
    """Returns f32 [], epsilon after so many environment steps: a linear schedule after a delay."""
    c = config
    over = jnp.maximum(1, c.epsilon_steps)
    left = 1 - jnp.minimum(jnp.maximum(0, steps - c.epsilon_delay), over) / over
    return (c.epsilon_start - c.epsilon_end) * left + c.epsilon_end


def moved_target(config: QConfig, params: QParams, target: QParams, updates: Array) -> QParams:
    """Returns the target parameters: copied every `target_period` updates, or moved a little."""
    hard = optax.periodic_update(params, target, updates, config.target_period)
    soft = optax.incremental_update(params, target, config.target_rate)
    return jax.tree.map(functools.partial(jnp.where, config.target_rate > 0), soft, hard)  # type: ignore[no-any-return]
