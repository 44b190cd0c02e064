"""Detection of changes in the world by the reconstruction error of an auto-encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from marlx.algos.subgoals.autoencoder import AutoencoderState, autoencoder, training_batch
from marlx.algos.subgoals.sources import Source, constant_source
from marlx.types import Array, EnvSpec, Observation, Tree


class NoveltyState(NamedTuple):
    """State of the detector."""

    autoencoder: AutoencoderState
    level: Array  # f32 [], running quantile of errors; infinite at first


def change_detector(spec: EnvSpec, width: int, *, quantile: float = 0.95) -> Source:
    """Returns a detector of observations whose reconstruction error is unusually large.

    An error is unusual above a running quantile of the errors of all observations.

    Args:
      spec: for its scale.
      width: O, of `local` without the numbers that `with_subgoals` adds.
      quantile: share of observations that are not a change.

    Source: our reading of GMAH's adaptive goal generation, of which only the idea is public.
    """
    coder = autoencoder(width)

    def init(key: Array) -> NoveltyState:
        return NoveltyState(coder.init(key), jnp.float32(jnp.inf))

    def bind(params: tuple[Tree, Array]) -> Callable[[Observation], Array]:
        def changed(obs: Observation) -> Array:
            local = obs.local[..., :width].astype(jnp.float32) / spec.scale
            return coder.error(params[0], local) > params[1]

        return changed

    def learn(state: NoveltyState, local: Array) -> tuple[NoveltyState, dict[str, Array]]:
        batch = training_batch(local[..., :width], spec.scale)
        here = jnp.quantile(coder.error(state.autoencoder.params, batch), quantile)
        level = jnp.where(jnp.isinf(state.level), here, 0.9 * state.level + 0.1 * here)
        after, loss = coder.learn(state.autoencoder, batch)
        return NoveltyState(after, level), {"novelty_loss": loss, "novelty_level": level}

    return Source(init, lambda state: (state.autoencoder.params, state.level), bind, learn)


def no_detector() -> Source:
    """Returns a detector that observes nothing and never detects a change."""
    return constant_source(None)
