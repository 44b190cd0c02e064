"""Views for contrastive learning: random parts of a trajectory, with steps blanked."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.config import ContrastConfig
from marlx.types import Array


def sample_view(
    key: Array, length: Array, shortest: int, longest: int, prefix: float
) -> tuple[Array, Array]:
    """Returns first step and number of steps of a random part of a trajectory, int32 [] each.

    With probability `prefix` it is the first 1 to `longest` steps; else `shortest` to `longest`
    steps in a row from anywhere. It is no longer than the trajectory, int32 [] `length`.
    """
    key_prefix, key_size, key_start = jax.random.split(key, 3)
    most = jnp.minimum(longest, length)
    at_start = jax.random.uniform(key_prefix) < prefix
    least = jnp.where(at_start, 1, jnp.minimum(shortest, most))
    size = jax.random.randint(key_size, (), least, most + 1)
    start = jax.random.randint(key_start, (), 0, length - size + 1)
    return jnp.where(at_start, 0, start), size


def sample_pair(key: Array, length: Array, config: ContrastConfig) -> tuple[Array, Array]:
    """Returns first steps and numbers of steps, int32 [2] each, of two views of a trajectory.

    With `config.apart`, the second view lies before a random cut and the first behind it; of a
    trajectory of a single step the first is then empty.
    """
    c = config
    key_cut, key_first, key_second = jax.random.split(key, 3)
    offset, first, second = jnp.zeros_like(length), length, length
    if c.apart:
        cut = jax.random.randint(key_cut, (), 1, jnp.maximum(length, 2))
        offset, first, second = cut, length - cut, cut
    start, size = sample_view(key_first, first, c.shortest, c.longest, 0.0)
    other_start, other_size = sample_view(key_second, second, c.shortest, c.longest, c.prefix)
    return jnp.stack([offset + start, other_start]), jnp.stack([size, other_size])


def blank_mask(key: Array, size: Array, width: int, share: float) -> Array:
    """Returns bool [width], True at `ceil(share * size)` random ones of the first `size` steps."""
    rank = jnp.where(jnp.arange(width) < size, jax.random.uniform(key, (width,)), 2.0)
    number = jnp.ceil(share * size).astype(jnp.int32)
    largest = jnp.sort(rank)[jnp.maximum(number - 1, 0)]
    return (rank <= largest) & (number > 0)
