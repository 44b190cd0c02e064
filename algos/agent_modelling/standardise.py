"""Running standardisation of embeddings, before a policy reads them.

Embeddings are vectors of length 1 of which the greatest part is the same for all partners. What
differs between partners is small beside it, and a policy takes long to find it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from marlx.learning.running_moments import LARGEST, Moments, extend
from marlx.types import Array

KEEP = 0.95
"""Weight that older embeddings keep at each rollout, since the encoder changes."""


def no_moments(size: int) -> Moments:
    """Returns the moments of no embeddings, f32 [size] each."""
    return Moments(jnp.zeros(size), jnp.zeros(size), jnp.zeros(size))


def with_embeddings_of(seen: Moments, embedding: Array) -> Moments:
    """Returns the moments with those of a rollout's embeddings f32 [T, B, N, E] added.

    Zeros, the embeddings of an episode's first step, are left out.
    """
    counted = (embedding != 0).any(-1)
    one = functools.partial(extend, keep=KEEP, counted=counted)
    moments: Moments = jax.vmap(one, (0, -1))(seen, embedding)
    return moments


def standardised(seen: Moments, embedding: Array) -> Array:
    """Returns embeddings f32 [..., E] less their mean, over their deviation; 0 stays 0.

    Before there are moments they are returned as they are.
    """
    deviation = jnp.where(seen.number > 0, seen.deviation, 1.0)
    moved = jnp.clip((embedding - seen.mean) / deviation, -LARGEST, LARGEST)
    return jnp.where((embedding != 0).any(-1, keepdims=True), moved, 0.0)
