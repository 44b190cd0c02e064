"""Multi-host training: several processes train one run, each on its own devices.

Every process must issue the same computations in the same order, so decisions that depend on time,
signals or disk are broadcast or gathered. Only the first process writes.

With one process every function here does the obvious thing.
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


def num_processes() -> int:
    """Number of processes that train together."""
    return int(jax.process_count())


def is_multihost() -> bool:
    """Whether there is more than one process."""
    return num_processes() > 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def all_gather(*numbers: int) -> np.ndarray[Any, Any]:
    """int64 [processes, numbers], the numbers of every process; all of them must call it.

    Args:
      *numbers: each from 0 to 2**31 - 1.
    """
    own = np.array(numbers, np.int32)
    if not is_multihost():
        return own[None].astype(np.int64)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(own), np.int64)


def to_host(tree: Tree) -> Tree:
    """Copies `tree` to NumPy arrays, keys as their key data; all processes must call it.

    Arrays are gathered one after the other, so that no device needs room for more than the largest
    of them. Only the first process gets them; the others get None in each place.
    """

    def copy(x: Array) -> Any:
        x = jax.random.key_data(x) if is_key(x) else x
        if not x.is_fully_addressable and not x.is_fully_replicated:
            assert isinstance(x.sharding, NamedSharding)
            x = _replicate_over(x.sharding.mesh)(x)
        return np.asarray(x) if is_first() else None

    return jax.tree.map(copy, tree)


def device_put(tree: Tree, sharding: Any) -> Tree:
    """Copies `tree`, which every process holds in full, into arrays with `sharding`.

    The arrays never share memory with `tree`, so they may be donated.

    Args:
      tree: of arrays on the host, or on this process's devices.
      sharding: one for all, or a tree of them.
    """
    if not is_multihost():
        return jax.device_put(tree, sharding, may_alias=False)
    if isinstance(sharding, NamedSharding):
        sharding = jax.tree.map(lambda _: sharding, tree)

    def put(x: Any, sharding: NamedSharding) -> Array:
        if is_key(x):
            data = put(jax.random.key_data(x), sharding)
            keys: Array = jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
            return keys
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: np.array(host[part]))

    return jax.tree.map(put, tree, sharding)


@functools.cache
def _replicate_over(mesh: Mesh) -> Callable[[Array], Array]:
    """A compiled function that replicates an array over `mesh`."""
    compiled: Callable[[Array], Array]
    compiled = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return compiled
