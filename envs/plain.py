"""What several environments need: integers from random bits, and checks of plain arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.types import Array


def below(draw: Array, count: Array | int) -> Array:
    """An integer in [0, count) from 32 random bits, uniform up to a bias below count / 2**32."""
    return jnp.asarray(draw % jnp.asarray(count).astype(jnp.uint32), jnp.int32)


def integers(what: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """int32 array.

    Args:
      what: what the values are, for the message.
      values: an array, lists or numbers.
      shape: the shape that they must have; None for any.

    Raises:
      ValueError: the values are no whole numbers, or of another shape.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{what} has rows of different lengths") from None
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{what} holds {array.dtype} values; it must hold integers")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{what} has shape {array.shape}; it must be {shape}")
    return array.astype(np.int32)
