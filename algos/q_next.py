"""Utilities of next states, read from the following step of a window wherever it is the same state.

A target needs the utilities of each step's own `next_obs`, with the memory after that step. Within
an episode these are the utilities of the following step, which the unrolled network has already
given. They are computed anew where that does not hold: at a window's last step, where an episode
ends, and where a learner's view of the next state is not that of the following step, as in a
composite whose subgoal changes in between.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_items import Item
from marlx.algos.q_network import QNetwork
from marlx.nets.mixers import Utilities
from marlx.types import Array, Tree
from marlx.xla.sharding import num_shards

SHORT = 8
"""Windows of at most so many steps are computed as a whole, which is faster there."""


class Unrolled(NamedTuple):
    """A network's parameters, and what it gave for a batch of windows."""

    params: Tree
    utilities: Utilities  # [T, b]
    memories: Array  # f32 [T, b, N, M], after each step


def next_utilities(
    net: QNetwork, unrolled: tuple[Unrolled, ...], items: Item
) -> tuple[Utilities, ...]:
    """Returns the utilities [T, b] of `items.next_obs` by each network, without gradient.

    Args:
      net: the agents' network.
      unrolled: of each set of parameters, what it gave for `items.obs`.
      items: a batch of windows [T, b, ...].
    """
    unrolled = jax.lax.stop_gradient(unrolled)
    length, batch, _, width = unrolled[0].memories.shape
    # without a memory, a step is one product of all rows; rows of windows that devices share would
    # have to move between them
    if length <= SHORT or not width or num_shards(batch) > 1:
        return tuple(net.step(u.params, u.memories, items.next_obs)[0] for u in unrolled)
    return _read_or_computed(net, unrolled, items)


def computed_anew(items: Item) -> Array:
    """Returns bool [T, b], where the following step of the window does not see `items.next_obs`."""

    def differ(following: Array, next_: Array) -> Array:
        return (following[1:] != next_[:-1]).any(tuple(range(2, next_.ndim)))

    other = jax.tree.map(differ, items.obs, items.next_obs)
    anew = functools.reduce(jnp.logical_or, jax.tree.leaves(other), items.done[:-1])
    return jnp.concatenate([anew, jnp.ones_like(items.done[-1:])])


def _read_or_computed(
    net: QNetwork, unrolled: tuple[Unrolled, ...], items: Item
) -> tuple[Utilities, ...]:
    """Returns `next_utilities` from the following steps, `2b` rows at a time computed anew.

    How many rows are, is known only when it runs: most often once `2b`, as a window has its last
    step and an end of an episode or two. The loop goes on until all are done.
    """
    length, batch = items.done.shape
    size, rows = length * batch, 2 * batch
    anew = computed_anew(items).reshape(size)
    # rows to compute, in order; beyond them `size`, which no array has
    (order,) = jnp.nonzero(anew, size=-(-size // rows) * rows, fill_value=size)

    def flat(x: Array) -> Array:
        return x.reshape(size, *x.shape[2:])

    memories, next_obs = jax.tree.map(flat, ([u.memories for u in unrolled], items.next_obs))

    def compute(carry: tuple[Array, tuple[Utilities, ...]]) -> tuple[Array, tuple[Utilities, ...]]:
        turn, found = carry
        chosen = jax.lax.dynamic_slice_in_dim(order, turn * rows, rows)
        obs = jax.tree.map(lambda x: x.at[chosen].get(mode="clip"), next_obs)
        given = tuple(
            net.step(u.params, memory.at[chosen].get(mode="clip"), obs)[0]
            for u, memory in zip(unrolled, memories, strict=True)
        )
        found = jax.tree.map(lambda x, new: x.at[chosen].set(new, mode="drop"), found, given)
        return turn + 1, found

    def following(x: Array) -> Array:
        return flat(jnp.concatenate([x[1:], x[-1:]]))

    read = jax.tree.map(following, tuple(u.utilities for u in unrolled))
    turns = -(-anew.sum() // rows)
    _, found = jax.lax.while_loop(lambda carry: carry[0] < turns, compute, (jnp.int32(0), read))
    return jax.tree.map(lambda x: x.reshape(length, batch, *x.shape[1:]), found)  # type: ignore[no-any-return]
