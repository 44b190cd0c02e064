"""Computes an intermediate result once, where XLA's CPU compiler would repeat it in each use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree

SMALL_BATCH = 16
"""Batch size below which a step costs kernel launches and threads rather than arithmetic."""


def call_materialised(
    function: Callable[..., Tree], time: Array, *args: Tree, whole: bool = False
) -> Tree:
    """Returns `function(*args)`, computed once before anything that uses it.

    XLA's CPU compiler fuses an element-wise intermediate into each of its consumers, and so repeats
    it; it drops `optimization_barrier` before that. Where many small arrays depend on each other,
    most of a step is computed a dozen times (foraging became 4 times slower). XLA does not fuse
    across a branch, so on a CPU `function` becomes the body of a branch that is always taken. On
    other devices this is a plain call. The derivative is that of the plain call.

    Args:
      function: pure; all that depends on the state must come through `args`, not by closure.
      time: int32, any array with values that are never negative, such as a state's `time`. The
        compiler does not know that, which is why it keeps the branch.
      args: pytrees of arrays.
      whole: use a branch even for few small outputs; by default these are left to be recomputed.
    """
    function = jax.jit(function, inline=True)  # the same program; traced once for all uses below

    @jax.custom_batching.custom_vmap
    def call(time: Array, *args: Tree) -> Tree:
        shapes = jax.eval_shape(function, *args)
        if time.size < SMALL_BATCH and len(jax.tree.leaves(shapes)) <= 16 and not whole:
            return function(*args)  # recomputing a few numbers is cheaper than a branch

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

    def tangent(given: Any, tangents: Any) -> Any:
        return jax.jvp(lambda _, *args: function(*args), given, tangents)

    differentiable = jax.custom_jvp(call)
    differentiable.defjvp(tangent)
    result: Tree = differentiable(time, *args)
    return result


def materialise(tree: Tree, time: Array) -> Tree:
    """Returns `tree`, computed once: `call_materialised` of a value, at the cost of a copy."""
    return call_materialised(lambda tree: tree, time, tree)
