"""Bytes of arrays, and of devices."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.types import Tree

if TYPE_CHECKING:
    import numpy as np


def nbytes(tree: Tree) -> int:
    """Bytes of all arrays, or shapes of arrays, in `tree`."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.shape) * _itemsize(x) for x in leaves)


def _itemsize(x: Any) -> int:
    return 8 if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else int(np.dtype(x.dtype).itemsize)


def is_key(x: Any) -> bool:
    """Whether `x` is an array of random keys."""
    return bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def device_memory(*, free: bool = False) -> int | None:
    """Bytes that all devices have, or of these the ones not in use; None where nobody can say."""
    import jax

    devices = jax.local_devices()
    stats = [device.memory_stats() for device in devices]
    if all(stat and "bytes_limit" in stat for stat in stats):
        used = "bytes_in_use" if free else ""
        return sum(int(stat["bytes_limit"] - stat.get(used, 0)) for stat in stats if stat)
    if devices[0].platform != "cpu" or not hasattr(os, "sysconf"):
        return None
    if free:
        with contextlib.suppress(OSError, ValueError):  # Linux; it counts caches as free
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            facts = dict(line.split(":", 1) for line in lines)
            return int(facts["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
