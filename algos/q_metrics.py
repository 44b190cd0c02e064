"""Metrics of the Q-learner's gradient steps."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from marlx.nets.agents import dormant
from marlx.nets.mixers import Mixer, Utilities, mixer_slope
from marlx.types import Array, Tree
from marlx.xla.sharding import replicate

METRICS = ("loss", "td_error", "q", "mixer_slope", "dormant", "grad_norm", "samples")
"""Metrics of a gradient step. `samples` is the number of steps in the loss."""


def loss_metrics(
    mixer: Mixer,
    params: Tree,
    utilities: Utilities,
    action: Array,
    value: Array,
    error: Array,
    mask: Array,
) -> dict[str, Array]:
    """Returns metrics of a batch of windows.

    Args:
      mixer: combines utilities.
      params: of the mixer.
      utilities: of the online network [T, b].
      action: int32 [T, b, N].
      value: f32 [T, b] or [T, b, N].
      error: f32, same shape; TD errors.
      mask: f32, same shape; 0 where a step is left out.
    """
    return {
        "td_error": (jnp.abs(error) * mask).sum() / jnp.maximum(mask.sum(), 1.0),
        "q": value.mean(),
        "mixer_slope": mean_slope(mixer, params, utilities, action),
        "dormant": dormant(utilities.features[-1]),
        "samples": mask.sum() / (error.size // (error.shape[0] * error.shape[1])),
    }


def mean_slope(mixer: Mixer, params: Tree, utilities: Utilities, action: Array) -> Array:
    """Returns f32 [], `mixer_slope` averaged over the last states of four windows.

    Four states of every batch are a good estimate, since metrics are averaged over many updates.
    """
    four = jax.tree.map(lambda x: replicate(x[-1])[:4], (utilities, action))
    slope = functools.partial(mixer_slope, mixer)
    return jax.vmap(slope, (None, 0, 0))(params, *four).mean()
