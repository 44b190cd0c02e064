"""Computing an intermediate once: XLA's CPU compiler otherwise repeats it in each consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree

SMALL_BATCH = 16
"""Episodes below which launching kernels and threads, not arithmetic, is what a step costs."""


def call_materialised(
    function: Callable[..., Tree], time: Array, *args: Tree, whole: bool = False
) -> Tree:
    """`function(*args)`, computed once before anything that uses it.

    XLA's CPU compiler computes an element-wise intermediate again inside each of its consumers, and
    drops `optimization_barrier` before it does. With many small numbers that depend on each other
    this repeats most of a step a dozen times over (measured on foraging: a factor of four). It
    cannot see through a branch, so `function` becomes the body of one that is always taken.

    Args:
      function: pure; all that depends on the state must come through `args`, not by closure.
      time: int32, any array with values that are never negative, such as a state's `time`.
      args: pytrees of arrays.
      whole: a branch even for a few numbers, which by default are computed again instead.
    """

    @jax.custom_batching.custom_vmap
    def call(time: Array, *args: Tree) -> Tree:
        shapes = jax.eval_shape(function, *args)
        if time.size < SMALL_BATCH and len(jax.tree.leaves(shapes)) <= 16 and not whole:
            return function(*args)  # a few numbers are computed again faster than a branch is taken

        def branch(time: Array, *args: Tree) -> Tree:
            always = time.reshape(time.size)[0] >= 0
            never = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return jax.lax.cond(always, function, lambda *_: never, *args)

        return jax.lax.platform_dependent(
            time, *args, cpu=branch, default=lambda _, *args: function(*args)
        )

    @call.def_vmap
    def batch(size: int, batched: Any, time: Array, *args: Tree) -> tuple[Tree, Tree]:
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched[1:]))
        mapped = jax.vmap(function, axes, axis_size=size)
        result = call_materialised(mapped, time, *args, whole=whole)
        return result, jax.tree.map(lambda _: True, result)

    return call(time, *args)


def materialise(tree: Tree, time: Array) -> Tree:
    """`tree` itself, computed once: `settled` for what is computed already, at a copy more."""
    return call_materialised(lambda tree: tree, time, tree)
