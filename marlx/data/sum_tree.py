"""Sum tree: an array of priorities with logarithmic updates and searches in the running sum.

A tree f32 [2 P] over P leaves, a power of two: node i has the children 2i and 2i + 1, node 1 is the
root, and leaves start at P. Every node is the sum of its children.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.types import Array


def update_sums(tree: Array, first: Array, number: int) -> Array:
    """Returns `tree` with correct sums above `number` successive leaves from `first` on."""

    def climb(at: tuple[Array, Array, Array], number: int) -> tuple[Array, Array, Array]:
        tree, level, first = at
        level = level // 2
        first = jnp.clip(first // 2, 0, jnp.maximum(level - number, 0))
        below = jax.lax.dynamic_slice_in_dim(tree, 2 * (level + first), 2 * number)
        sums = below[::2] + below[1::2]
        tree = jax.lax.dynamic_update_slice_in_dim(tree, sums, level + first, 0)
        return tree, level, first

    level = tree.shape[0] // 2
    at = (tree, jnp.int32(level), first)
    while number > 2:
        level //= 2
        number = min(number // 2 + 1, level)
        at = climb(at, number)
    # The remaining levels have one or two changed nodes each: one loop, always over two nodes.
    steps = level.bit_length() - 1
    done: tuple[Array, Array, Array]
    done = jax.lax.fori_loop(0, steps, lambda _, at: climb(at, number), at)
    return done[0]


def set_leaves(tree: Array, leaf: Array, value: Array) -> Array:
    """Returns `tree` with leaves int32 [k] set to `value` f32 [k].

    Of several values for one leaf the largest is taken.
    """
    level = tree.shape[0] // 2
    node = level + leaf
    tree = tree.at[node].set(0.0).at[node].max(value)
    while level > 256:
        level, node = level // 2, node // 2
        sums = tree.reshape(-1, 2).at[node].get(mode="promise_in_bounds").sum(-1)
        tree = tree.at[node].set(sums, mode="promise_in_bounds")
    # The levels near the root are short: summing them whole is faster than a scatter for each. The
    # write is a scatter too, since a slice would copy the tree under `vmap`.
    levels = [tree[level : 2 * level]]
    while len(levels[0]) > 1:
        levels.insert(0, levels[0][::2] + levels[0][1::2])
    sums = jnp.concatenate(levels)
    return tree.at[1 + jnp.arange(len(sums))].set(sums, mode="promise_in_bounds")


def find(tree: Array, target: Array) -> tuple[Array, Array]:
    """Returns the leaves where the running sum passes `target` f32 [k], and their values.

    A leaf of 0 is never found, also not by rounding, unless all leaves are 0.

    Args:
      tree: f32 [2 P].
      target: f32 [k], in [0, sum of leaves].

    Returns:
      int32 [k], leaves in [0, P), and f32 [k].
    """
    leaves, pairs = tree.shape[0] // 2, tree.reshape(-1, 2)

    def descend(_: int, at: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        node, _before, target = at
        left, right = jnp.moveaxis(pairs.at[node].get(mode="promise_in_bounds"), -1, 0)
        go_right = (target >= left) & (right > 0)
        value = jnp.where(go_right, right, left)
        return 2 * node + go_right, value, target - jnp.where(go_right, left, 0.0)

    # The value is part of the carry: reading it from the tree after the loop would keep the tree
    # alive, and later updates would work on a copy.
    root = (jnp.ones(target.shape, jnp.int32), jnp.zeros(target.shape), target)
    node, value, _rest = jax.lax.fori_loop(0, leaves.bit_length() - 1, descend, root, unroll=4)
    return node - leaves, value
