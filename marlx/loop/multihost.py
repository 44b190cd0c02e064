"""Several processes that train one run, each on devices of its own.

All of them run the same program, and have to call the same compiled functions in the same order:
what depends on a clock, a signal or a disk is therefore agreed on. The first process writes.

Every function here does the obvious thing where there is one process only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from marlx.types import Array, Tree
from marlx.xla.memory import is_key


def count() -> int:
    """How many processes there are."""
    return int(jax.process_count())


def several() -> bool:
    """Whether there is more than one."""
    return count() > 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def gathered(*numbers: int) -> np.ndarray[Any, Any]:
    """int64 [processes, numbers], what every process gave; all of them must call it.

    Args:
      *numbers: each from 0 to 2**31 - 1.
    """
    own = np.array(numbers, np.int32)
    if not several():
        return own[None].astype(np.int64)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(own), np.int64)


def to_host(tree: Tree) -> Tree:
    """`tree` as numpy arrays, keys as the numbers in them; all processes must call it.

    Arrays are put together one after the other, so that no device needs room for more than the
    largest of them. Only the first process gets them, the others get a `None` in each place.
    """

    def whole(x: Array) -> Any:
        x = jax.random.key_data(x) if is_key(x) else x
        if not x.is_fully_addressable and not x.is_fully_replicated:
            assert isinstance(x.sharding, NamedSharding)
            x = _everywhere(x.sharding.mesh)(x)
        return np.asarray(x) if is_first() else None

    return jax.tree.map(whole, tree)


def laid(tree: Tree, sharding: Any) -> Tree:
    """`tree`, which every process has in full, as arrays of `sharding` with memory of their own.

    Args:
      tree: of arrays on the host, or on this process's devices.
      sharding: one for all, or a tree of them.
    """
    if not several():
        return jax.device_put(tree, sharding, may_alias=False)
    if isinstance(sharding, NamedSharding):
        sharding = jax.tree.map(lambda _: sharding, tree)

    def lay(x: Any, sharding: NamedSharding) -> Array:
        if is_key(x):
            data = lay(jax.random.key_data(x), sharding)
            keys: Array = jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
            return keys
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: np.array(host[part]))

    return jax.tree.map(lay, tree, sharding)


@functools.cache
def _everywhere(mesh: Mesh) -> Callable[[Array], Array]:
    """What lays an array in full on every device of `mesh`; compiled once for each shape."""
    compiled: Callable[[Array], Array]
    compiled = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return compiled
