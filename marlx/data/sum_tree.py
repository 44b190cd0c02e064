"""Sum tree: priorities whose prefix sums are found and changed in logarithmic time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.types import Array


def sum_above(tree: Array, first: Array, number: int) -> Array:
    """`tree` with the sums made right above `number` successive leaves from `first` on."""

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
    # From here on one or two nodes of each level, by the same code; with the root goes its child.
    steps = level.bit_length() - 1
    done: tuple[Array, Array, Array]
    done = jax.lax.fori_loop(0, steps, lambda _, at: climb(at, number), at)
    return done[0]


def set_leaves(tree: Array, leaf: Array, value: Array) -> Array:
    """`tree` with leaves int32 [k] set to `value`; of two values for one leaf the larger counts."""
    level = tree.shape[0] // 2
    node = level + leaf
    tree = tree.at[node].set(0.0).at[node].max(value)
    while level > 256:
        level, node = level // 2, node // 2
        sums = tree.reshape(-1, 2).at[node].get(mode="promise_in_bounds").sum(-1)
        tree = tree.at[node].set(sums, mode="promise_in_bounds")
    # The last levels are short: summing all of them is faster than a scatter for each. Written as
    # a slice instead, this one would be a copy of the tree under `vmap`.
    levels = [tree[level : 2 * level]]
    while len(levels[0]) > 1:
        levels.insert(0, levels[0][::2] + levels[0][1::2])
    sums = jnp.concatenate(levels)
    return tree.at[1 + jnp.arange(len(sums))].set(sums, mode="promise_in_bounds")


def find(tree: Array, target: Array) -> tuple[Array, Array]:
    """The leaves at which the running sum of leaves passes `target` f32 [k], and their values.

    A leaf of 0 is never found, whatever rounding does, unless all are.
    """
    leaves, pairs = tree.shape[0] // 2, tree.reshape(-1, 2)

    def descend(_: int, at: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        node, _before, target = at
        left, right = jnp.moveaxis(pairs.at[node].get(mode="promise_in_bounds"), -1, 0)
        go_right = (target >= left) & (right > 0)
        value = jnp.where(go_right, right, left)
        return 2 * node + go_right, value, target - jnp.where(go_right, left, 0.0)

    # The value is carried along: reading the tree after the loop would keep it alive, and make a
    # later update work on a copy.
    root = (jnp.ones(target.shape, jnp.int32), jnp.zeros(target.shape), target)
    node, value, _rest = jax.lax.fori_loop(0, leaves.bit_length() - 1, descend, root, unroll=4)
    return node - leaves, value
