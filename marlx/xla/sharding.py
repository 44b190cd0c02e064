"""Sharding of the environment axis inside traced code.

A run may shard its environments over the mesh axis `data` (`marlx.loop.placement`). The program is
written for one device; XLA partitions it and inserts the communication. The functions here are
hints for places where a cheaper partition is known. Without such a mesh axis they do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import AxisType, PartitionSpec

from marlx.types import Array, Tree

DATA = "data"
"""The mesh axis that environments, replays and minibatches are sharded over."""

T = TypeVar("T")


def num_shards(size: int) -> int:
    """Number of shards that an axis of length `size` has here; 1 where it does not divide."""
    count = _data_devices()
    return count if size % count == 0 else 1


def shard(tree: T, axis: int) -> T:
    """Returns `tree` with `axis` of every array sharded over the devices, where it divides."""

    def constrain(x: Array) -> Array:
        if num_shards(x.shape[axis]) == 1:
            return x
        spec = PartitionSpec(*[None] * axis, DATA)
        sharded: Array = jax.lax.with_sharding_constraint(x, spec)
        return sharded

    result: T = jax.tree.map(constrain, tree)
    return result


def replicate(x: Array) -> Array:
    """Returns `x` in full on every device; for small arrays that all devices read."""
    if _data_devices() == 1:
        return x
    replicated: Array = jax.lax.with_sharding_constraint(x, PartitionSpec())
    return replicated


def map_shards(function: Callable[..., Tree], *args: Tree, replicated: Tree = ()) -> Tree:
    """Returns `function(replicated, *args)`, called by each device with its own shard of `args`.

    Inside `function` no device waits for another, so branches and loops run as each shard needs.

    Args:
      function: pure; its results have the same first axis as `args`.
      args: trees of arrays whose first axis has `num_shards` above 1.
      replicated: given to every device in full.
    """
    sharded = PartitionSpec(DATA)
    mapped = jax.shard_map(
        function,
        in_specs=(PartitionSpec(), *[sharded] * len(args)),
        out_specs=sharded,
        axis_names={DATA},
        check_vma=False,
    )
    return mapped(replicated, *args)


def _data_devices() -> int:
    """Size of the mesh axis `data`; 1 without one, and inside `map_shards`."""
    mesh = jax.sharding.get_abstract_mesh()
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return int(mesh.shape[DATA]) if types.get(DATA) == AxisType.Auto else 1
