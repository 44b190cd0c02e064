"""Uniform integers from random bits."""

from __future__ import annotations

import jax.numpy as jnp

from marlx.types import Array


def below(bits: Array, bound: Array | int) -> Array:
    """Returns an int32 in [0, bound) from 32 random bits.

    The distribution is uniform up to a bias below `bound / 2**32`.

    Args:
      bits: uint32, of any shape.
      bound: a number, or an array that broadcasts against `bits`.
    """
    return jnp.asarray(bits % jnp.asarray(bound).astype(jnp.uint32), jnp.int32)
