"""Environments over devices: what the core tells the compiler about it.

A run may lay its environments over the axis `data` of a mesh (`marlx.loop.placement`). Programs
stay those of one device: XLA divides them, and puts in what devices have to tell each other. It
follows from the program alone; the functions here are hints where a division that costs less is
known, and do nothing where there is no such axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import AxisType, PartitionSpec

from marlx.types import Array, Tree

DATA = "data"
"""The axis of a mesh that environments, replays and minibatches are laid over."""

T = TypeVar("T")


def shares(size: int) -> int:
    """Over how many devices an axis of `size` is laid here; 1 where it does not divide."""
    count = _devices()
    return count if size % count == 0 else 1


def divided(tree: T, axis: int) -> T:
    """`tree` with `axis` of every array laid over the devices, where it divides."""

    def lay(x: Array) -> Array:
        if shares(x.shape[axis]) == 1:
            return x
        part: Array = jax.lax.with_sharding_constraint(x, PartitionSpec(*[None] * axis, DATA))
        return part

    laid: T = jax.tree.map(lay, tree)
    return laid


def whole_of(x: Array) -> Array:
    """`x` in full on every device: for little that all of them look through."""
    if _devices() == 1:
        return x
    everywhere: Array = jax.lax.with_sharding_constraint(x, PartitionSpec())
    return everywhere


def each_share(function: Callable[..., Tree], *args: Tree, together: Tree = ()) -> Tree:
    """`function(together, *args)`, computed by each device for its share of the first axis.

    Within it no device waits for another, so a branch is taken and a loop is run as each needs it.

    Args:
      function: pure; what it returns has the same first axis as `args`.
      args: trees of arrays, all with a first axis that `shares` more than once.
      together: what every device gets in full.
    """
    share = PartitionSpec(DATA)
    over = jax.shard_map(
        function,
        in_specs=(PartitionSpec(), *[share] * len(args)),
        out_specs=share,
        axis_names={DATA},
        check_vma=False,
    )
    return over(together, *args)


def _devices() -> int:
    """How many share the environments here; 1 within `each_share`, where each is on its own."""
    mesh = jax.sharding.get_abstract_mesh()
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return int(mesh.shape[DATA]) if types.get(DATA) == AxisType.Auto else 1
