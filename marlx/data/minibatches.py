"""Minibatches of a rollout: windows of consecutive steps in random order."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree
from marlx.xla.sharding import shard


def check_windows(length: int, num_envs: int, window: int, minibatches: int) -> None:
    """Raises ValueError unless a rollout can be cut into windows and equal minibatches.

    Args:
      length: steps of a rollout.
      num_envs: environments.
      window: steps per window.
      minibatches: minibatches per pass.
    """
    if length % window:
        raise ValueError(f"window is {window}; it must divide the rollout length ({length})")
    count = length // window * num_envs
    if count % minibatches:
        raise ValueError(
            f"minibatches is {minibatches}; it must divide the {count} sequences of a rollout "
            f"({num_envs} environments x {length} steps in windows of {window})"
        )


def windows(x: Array, window: int) -> Array:
    """Returns [window, S, ...] of [T, B, ...]: the S windows of all environments, end to end."""
    number, batch, *rest = x.shape[0] // window, *x.shape[1:]
    chunks = x.reshape(number, window, batch, *rest)
    return jnp.moveaxis(chunks, 1, 0).reshape(window, number * batch, *rest)


def take(tree: Tree, indices: Array, axis: int) -> Tree:
    """Returns the elements int32 [n] `indices` along `axis` of all leaves, sharded over devices."""
    return shard(jax.tree.map(lambda x: x[(slice(None),) * axis + (indices,)], tree), axis)


def permutations(key: Array, number: int, count: int) -> Array:
    """Returns int32 [number, count], random permutations of `range(count)`, by one sort each.

    The low bits of random numbers are replaced by the index, so that single numbers are sorted: XLA
    does this ten times as fast as it sorts pairs. Where the upper bits of two numbers are equal,
    the lower index comes first. That is rare up to a `count` of 65,536; beyond it
    `jax.random.permutation` is used.
    """
    if count > 2**16:
        keys = jax.random.split(key, number)
        slow: Array = jax.vmap(jax.random.permutation, (0, None))(keys, count)
        return slow
    low = jnp.uint32((1 << (count - 1).bit_length()) - 1)
    numbers = jax.random.bits(key, (number, count)) & ~low | jnp.arange(count, dtype=jnp.uint32)
    fast: Array = (jnp.sort(numbers) & low).astype(jnp.int32)
    return fast


def active_first(orders: Array, active: Array, epochs: int) -> Array:
    """Returns `orders` with the active sequences of every epoch first, each kind in its order.

    Args:
      orders: int32 [epochs * minibatches, n], sequences of each minibatch.
      active: bool [S].
      epochs: passes over all sequences.
    """
    each = orders.reshape(epochs, -1)  # [epochs, S]
    first = jnp.argsort(~active[each], axis=1, stable=True)
    return jnp.take_along_axis(each, first, axis=1).reshape(orders.shape)


def scan_active(
    step: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]],
    carry: Tree,
    orders: Array,
    active: Array,
    epochs: int,
) -> tuple[Tree, dict[str, Array]]:
    """Returns `lax.scan(step, carry, orders)`, without minibatches that have no active sequence.

    In every epoch the active sequences come first, in their order, and only as many minibatches are
    made as they fill.

    Args:
      step: `(carry, indices int32 [n]) -> carry, metrics`, on one minibatch.
      carry: before the first minibatch.
      orders: int32 [epochs * minibatches, n], sequences of each minibatch.
      active: bool [S], sequences with something to learn from.
      epochs: passes over all sequences.

    Returns:
      The carry, and metrics averaged over the minibatches made; nan if there were none.
    """
    size = orders.shape[1]
    each = active_first(orders, active, epochs).reshape(epochs, -1, size)
    needed = -(-active.sum() // size)  # minibatches per epoch
    shapes = jax.eval_shape(step, carry, orders[0])[1]
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def body(i: Array, state: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        carry, metrics = step(state[0], each[i // needed, i % needed])
        return carry, jax.tree.map(jnp.add, state[1], metrics)

    carry, sums = jax.lax.fori_loop(0, epochs * needed, body, (carry, sums))
    return carry, jax.tree.map(lambda x: x / (epochs * needed), sums)
