"""Sizes of arrays and of device memory, in bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from marlx.types import Tree
from marlx.xla.host_memory import free_memory, total_memory


def nbytes(tree: Tree) -> int:
    """Total size of the arrays, or `ShapeDtypeStruct`s, in `tree`."""
    return sum(math.prod(x.shape) * _itemsize(x) for x in jax.tree.leaves(tree))


def is_key(x: Any) -> bool:
    """Whether `x` is an array of random keys (`jax.random.key`), or the shape of one."""
    return hasattr(x, "dtype") and bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def device_memory(*, free: bool = False) -> int | None:
    """Memory of all local devices; None where the platform does not report it.

    That of CPUs is the machine's, or what the control groups of a container allow.

    Args:
      free: only the part that is not in use.
    """
    devices = jax.local_devices()
    stats = [device.memory_stats() for device in devices]
    if all(stat and "bytes_limit" in stat for stat in stats):
        used = "bytes_in_use" if free else ""
        return sum(int(stat["bytes_limit"] - stat.get(used, 0)) for stat in stats if stat)
    if devices[0].platform != "cpu":
        return None
    left = free_memory() if free else None
    return total_memory() if left is None else left


CONSTANT_COPIES = 4
"""A constant is in the traced program, in MLIR, in XLA's module and in the executable."""


def peak_bytes(program: Any) -> int:
    """Returns the memory of a traced program: its largest live set, with copies of its constants.

    Args:
      program: a `ClosedJaxpr`, e.g. `jax.jit(f).trace(...).jaxpr`. Devices share the memory.
    """
    return live_bytes(program.jaxpr) + (CONSTANT_COPIES - 1) * nbytes(program.consts)


def count_operations(jaxpr: Any) -> int:
    """Returns the number of operations in a program, those of its loops and branches included."""
    return sum(1 + sum(map(count_operations, _inner(eqn.params))) for eqn in jaxpr.eqns)


def live_bytes(jaxpr: Any) -> int:
    """Returns the largest number of live bytes in a program, inputs and outputs included."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if _is_var(var)}
    last |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if _is_var(var)}
    inputs = [*jaxpr.constvars, *jaxpr.invars]
    ends: dict[int, list[Any]] = {}
    for var, i in last.items():
        ends.setdefault(i, []).append(var)
    alive = sum(map(_size, inputs))
    worst = alive
    for i, eqn in enumerate(jaxpr.eqns):
        freed = sum(map(_size, ends.get(i, [])))
        # a value that is read for the last time can be overwritten, as the carry of a loop is
        made = max(sum(map(_size, eqn.outvars)), freed)
        worst = max(worst, alive + made - freed + _inside(eqn))
        unused = sum(_size(var) for var in eqn.outvars if var not in last)
        alive += sum(map(_size, eqn.outvars)) - freed - unused
    return worst


def _inside(eqn: Any) -> int:
    """Returns the bytes that the programs of one operation need besides their inputs."""
    each = [live_bytes(one) - sum(map(_size, one.invars)) for one in _inner(eqn.params)]
    mesh = eqn.params.get("mesh") if eqn.primitive.name == "shard_map" else None
    return max(each, default=0) * (1 if mesh is None else int(mesh.size))


def _inner(params: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the programs inside an equation: the body of a loop, the branches of a condition."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one


def _is_var(var: Any) -> bool:
    return not hasattr(var, "val")  # a literal has one


def _size(var: Any) -> int:
    return nbytes(var.aval)


def _itemsize(x: Any) -> int:
    return 8 if is_key(x) else int(np.dtype(x.dtype).itemsize)
