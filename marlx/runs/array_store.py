"""Arrays of a checkpoint on disk, with checksums."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.loop import multihost

if TYPE_CHECKING:
    pass


class Saved(NamedTuple):
    """A checkpoint on disk whose files are whole.

    Attributes:
      path: its folder.
      state: what `state.json` holds.
    """

    path: Path
    state: dict[str, Any]

    @property
    def steps(self) -> int:
        """Environment steps per seed it was taken at."""
        return int(self.state["steps"])


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, by name, into the folder `path` with orbax."""
    import orbax.checkpoint as ocp

    with _quiet(), _checkpointer() as checkpointer:
        # an array of no size has nothing to save, and orbax refuses it
        full = {name: x for name, x in arrays.items() if x.size}
        checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(full))


def _checkpointer() -> Any:
    """Orbax, which would wait for all of several processes, working for this one alone."""
    import orbax.checkpoint as ocp

    if not multihost.several():
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep orbax from logging: its errors are raised as well, and told of once."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def flush(path: Path) -> None:
    """Have the system write a file or a folder to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> list[int]:
    """Size and CRC-32 of a file."""
    size, crc = 0, 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def read_arrays(saved: Saved) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a checkpoint by name, leading axis [lanes]; keys as the numbers in them."""
    import orbax.checkpoint as ocp

    there = {name: (dims, dtype) for name, (dtype, dims) in saved.state["arrays"].items()}
    host = ocp.RestoreArgs(restore_type=np.ndarray)
    full = {name: host for name, (dims, _) in there.items() if math.prod(dims)}
    try:
        with _quiet(), _checkpointer() as checkpointer:
            arrays = checkpointer.restore(
                (saved.path / "arrays").absolute(), args=ocp.args.PyTreeRestore(restore_args=full)
            )
    except Exception as error:  # whole files, but another version of orbax perhaps
        raise ValueError(f"orbax cannot read {saved.path}: {reason_of(error)}") from error
    return {name: arrays[name] if name in full else np.zeros(*there[name]) for name in there}


def restored_as(array: np.ndarray[Any, Any], like: Any) -> Any:
    """A stored array as `like`, which may be keys."""
    if not jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return array
    kind = jax.random.key_impl(jnp.empty((), like.dtype))
    return jax.random.wrap_key_data(jnp.asarray(array), impl=kind)


def reason_of(error: BaseException) -> str:
    """Why, in one line."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-100:]}"
