"""Sizes of arrays and of device memory, in bytes."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.types import Tree


def nbytes(tree: Tree) -> int:
    """Total size of the arrays, or `ShapeDtypeStruct`s, in `tree`."""
    return sum(math.prod(x.shape) * _itemsize(x) for x in jax.tree.leaves(tree))


def is_key(x: Any) -> bool:
    """Whether `x` is an array of random keys (`jax.random.key`), or the shape of one."""
    return hasattr(x, "dtype") and bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def device_memory(*, free: bool = False) -> int | None:
    """Memory of all local devices; None where the platform does not report it.

    Args:
      free: only the part that is not in use.
    """
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
            fields = dict(line.split(":", 1) for line in lines)
            return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _itemsize(x: Any) -> int:
    return 8 if is_key(x) else int(np.dtype(x.dtype).itemsize)
