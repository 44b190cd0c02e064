"""Files of a checkpoint: arrays on disk, checksums, flushing."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.loop import multihost
from marlx.xla.memory import is_key


class Checkpoint(NamedTuple):
    """A checkpoint on disk, with all files verified.

    Attributes:
      path: its folder.
      state: contents of `state.json`, see `marlx.runs.checkpoint_files`.
    """

    path: Path
    state: dict[str, Any]

    @property
    def steps(self) -> int:
        """Environment steps per seed at the checkpoint."""
        return int(self.state["steps"])


def is_array_type(value: Any) -> bool:
    """Whether a value of `state.json` is the dtype and the shape of an array."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        return False
    dims = value[1]
    return (
        isinstance(dims, list)
        and len(dims) > 0
        and all(type(size) is int and 0 <= size < 2**40 for size in dims)
    )


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays, by name, into the folder `path` with orbax.

    Raises:
      OSError: they cannot be written. What orbax raised is not chained to it, so that the writes
        that it left unfinished end here, in silence.
    """
    import orbax.checkpoint as ocp

    reason = None
    with _quiet():
        try:
            with _checkpointer() as checkpointer:
                # an array of no size has nothing to save, and orbax refuses it
                full = {name: x for name, x in arrays.items() if x.size}
                checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(full))
        except Exception as error:  # of many kinds
            reason = reason_of(error)
        if reason is not None:
            gc.collect()  # the tasks that are left go while nothing is said about them
    if reason is not None:
        raise OSError(reason)


def _checkpointer() -> Any:
    """Returns orbax's checkpointer; of several processes it works for this one alone.

    Orbax would otherwise wait for all processes, and only the first one writes.
    """
    import orbax.checkpoint as ocp

    if not multihost.is_multihost():
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences orbax's log: its errors are raised as well, and reported once.

    Where one write of several fails, as on a full disk, the others end later, in threads of their
    own. They log that, and print tracebacks about the event loop that they belonged to and that is
    closed. Those stay silent, too.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    logger.addFilter(_is_not_of_orbax)
    logging.getLogger("asyncio").addFilter(_is_not_left_over)
    if not isinstance(sys.unraisablehook, _WithoutLeftOver):
        sys.unraisablehook = _WithoutLeftOver(sys.unraisablehook)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)


class _WithoutLeftOver:
    """An `unraisablehook` that passes on all but what writes raise after their loop was closed."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        text = str(unraisable.exc_value)
        if "Event loop is closed" not in text and "_UnixSelectorEventLoop" not in text:
            self._hook(unraisable)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Whether a line of absl's log is of another library."""
    return "orbax" not in Path(record.pathname).parts


def _is_not_left_over(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's log is about anything but a task of orbax that failed."""
    text = record.getMessage()
    return not ("never retrieved" in text and "orbax" in text)


def flush(path: Path) -> None:
    """Flushes a file or a folder to the disk (fsync)."""
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> list[int]:
    """Returns the size and CRC-32 of a file."""
    size, crc = 0, 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def read_arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the arrays of a checkpoint by name, leading axis [replicas]; keys as key data.

    Raises:
      ValueError: orbax cannot read them.
    """
    import orbax.checkpoint as ocp

    shapes = {name: (dims, dtype) for name, (dtype, dims) in checkpoint.state["arrays"].items()}
    host = ocp.RestoreArgs(restore_type=np.ndarray)
    full = {name: host for name, (dims, _) in shapes.items() if math.prod(dims)}
    try:
        with _quiet(), _checkpointer() as checkpointer:
            arrays = checkpointer.restore(
                (checkpoint.path / "arrays").absolute(),
                args=ocp.args.PyTreeRestore(restore_args=full),
            )
    except Exception as error:  # whole files, but another version of orbax perhaps
        raise ValueError(f"orbax cannot read {checkpoint.path}: {reason_of(error)}") from error
    return {name: arrays[name] if name in full else np.zeros(*shapes[name]) for name in shapes}


def restored_as(array: np.ndarray[Any, Any], like: Any) -> Any:
    """Returns a stored array (see `stored_form`) with the dtype of `like`, which may be keys."""
    if not is_key(like):
        return array
    kind = jax.random.key_impl(jnp.empty((), like.dtype))
    return jax.random.wrap_key_data(jnp.asarray(array), impl=kind)


def reason_of(error: BaseException) -> str:
    """Returns the message of an error, in one line of at most 200 characters."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-100:]}"
