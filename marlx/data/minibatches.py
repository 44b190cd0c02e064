"""Minibatches of an on-policy rollout: windows of it, in random orders."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree
from marlx.xla.sharding import shard


def windows(x: Array, window: int) -> Array:
    """[window, S, ...] of [T, B, ...]: every stretch of `window` steps of every environment."""
    chunks = x.reshape(-1, window, *x.shape[1:])  # [T / window, window, B, ...]
    return jnp.moveaxis(chunks, 1, 0).reshape(window, -1, *x.shape[2:])


def chosen_of(tree: Tree, chosen: Array, axis: int) -> Tree:
    """The minibatch int32 [n] `chosen` of the sequences along `axis`, laid over the devices."""
    return shard(jax.tree.map(lambda x: x[(slice(None),) * axis + (chosen,)], tree), axis)


def orders_of(key: Array, number: int, count: int) -> Array:
    """int32 [number, count], random orders of `range(count)`, by one sort each.

    The low bits of random numbers are replaced by the index, so that only numbers are sorted; XLA
    sorts these ten times as fast as pairs. Where their upper bits agree, as they seldom do, the
    lower index comes first; beyond 65,536 they would agree too often.
    """
    if count > 2**16:
        keys = jax.random.split(key, number)
        orders: Array = jax.vmap(jax.random.permutation, (0, None))(keys, count)
        return orders
    low = jnp.uint32((1 << (count - 1).bit_length()) - 1)
    tickets = jax.random.bits(key, (number, count)) & ~low | jnp.arange(count, dtype=jnp.uint32)
    drawn: Array = (jnp.sort(tickets) & low).astype(jnp.int32)
    return drawn


def scan_wanted(
    one: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]],
    carry: Tree,
    orders: Array,
    wanted: Array,
    epochs: int,
) -> tuple[Tree, dict[str, Array]]:
    """`lax.scan(one, carry, orders)` over no more minibatches than those wanted fill.

    In every epoch the sequences that are `wanted` bool [S] come first, in their order; minibatches
    of others alone are left out. Metrics are means over those made, nan if there were none.
    """
    size = orders.shape[1]
    each = orders.reshape(epochs, -1)  # [epochs, S]
    first = jnp.argsort(~wanted[each], axis=1, stable=True)
    each = jnp.take_along_axis(each, first, axis=1).reshape(epochs, -1, size)
    needed = -(-wanted.sum() // size)
    shapes = jax.eval_shape(one, carry, orders[0])[1]
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def step(i: Array, state: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        carry, metrics = one(state[0], each[i // needed, i % needed])
        return carry, jax.tree.map(jnp.add, state[1], metrics)

    carry, sums = jax.lax.fori_loop(0, epochs * needed, step, (carry, sums))
    return carry, jax.tree.map(lambda x: x / (epochs * needed), sums)
