"""Ring buffer of rollouts on the device, read in windows of consecutive steps.

The ring has W rows of `stride` steps of B environments. Windows begin where rows begin, so a window
of `length` steps is `ceil(length / stride)` successive rows of one environment, and its steps lie
together in memory. A window may span rollouts and episode ends, but never the place that is being
written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from marlx.types import Array, Tree
from marlx.xla.sharding import replicate, shard


class Rollout(NamedTuple):
    """Input of `Replay.add`: T consecutive steps of B environments."""

    items: Tree  # [T, B, ...], stored for every step
    start: Tree = ()  # [T, B, ...], stored only for the first step of each window (RNN memory)
    eligible: Array | None = None  # bool [T, B]; a window is sampled only if it has an eligible
    # step. None: all windows are


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ring:
    """A ring of W rows, each of `stride` steps of B environments."""

    items: Tree  # [W, B, stride, ...]
    start: Tree  # [W, B, 1, ...]
    eligible: Array | None  # bool [W, B], whether the row has an eligible step; None: all have
    head: Array  # int32 [], the step of the ring, in [0, W * stride), that is written next
    size: Array  # int32 [], steps of the ring that are written
    rollout_length: int = dataclasses.field(metadata={"static": True})  # T, the same in every `add`

    @property
    def shape(self) -> tuple[int, int, int]:
        """W, B and stride."""
        W, B, stride = jax.tree.leaves(self.items)[0].shape[:3]
        return W, B, stride


def empty_ring(example: Rollout, capacity: int, batch: int, length: int, stride: int) -> Ring:
    """Returns a ring with nothing in it, sized for rollouts like `example`.

    Args:
      example: arrays or `jax.ShapeDtypeStruct`s.
      capacity: environment steps that the ring may hold at most.
      batch: windows per sample, to check that the ring holds as many.
      length: steps per window.
      stride: steps from one window's start to the next.

    Raises:
      ValueError: the sizes do not fit together.
    """
    T, B = _leading_axes(example)
    if example.eligible is not None and length % stride:
        raise ValueError(
            f"stride is {stride}; where only some steps are eligible it must divide the length "
            f"({length})"
        )
    W = _num_rows(capacity, batch, length, stride, T, B)

    def zeros(*axes: int) -> Callable[[Array], Array]:
        return lambda x: jnp.zeros((*axes, *x.shape[2:]), x.dtype)

    return Ring(
        items=jax.tree.map(zeros(W, B, stride), example.items),
        start=jax.tree.map(zeros(W, B, 1), example.start),
        eligible=None if example.eligible is None else jnp.zeros((W, B), bool),
        head=jnp.zeros((), jnp.int32),
        size=jnp.zeros((), jnp.int32),
        rollout_length=T,
    )


def write(ring: Ring, rollout: Rollout) -> Ring:
    """Returns `ring` with `rollout` in the place of the oldest steps.

    Raises:
      ValueError: the rollout's arrays are not those that the ring was made for.
    """
    _check_rollout(ring, rollout)
    W, _, stride = ring.shape
    T = ring.rollout_length
    row, step = ring.head // stride, ring.head % stride
    put: Callable[[Array, Array, Array, Array], Array] = _put

    def write_items(old: Array, new: Array) -> Array:
        return put(old, new, row, step)

    def write_start(old: Array, new: Array) -> Array:
        new = new[::stride]
        if T < stride:  # a rollout that continues a row leaves the row's start as it is
            kept = jax.lax.dynamic_slice_in_dim(old, row, 1)[:, :, 0]
            new = jnp.where(step == 0, new, kept)
        return put(old, new, row, jnp.zeros_like(row))

    eligible = ring.eligible
    if eligible is not None and rollout.eligible is not None:
        new = _as_rows(rollout.eligible, stride).any(-1)  # [rows, B]
        old = jax.lax.dynamic_slice_in_dim(eligible, row, len(new)) & (step > 0)
        eligible = jax.lax.dynamic_update_slice_in_dim(eligible, new | old, row, 0)
    return dataclasses.replace(
        ring,
        items=jax.tree.map(write_items, ring.items, rollout.items),
        start=jax.tree.map(write_start, ring.start, rollout.start),
        eligible=eligible,
        head=(ring.head + T) % (W * stride),
        size=jnp.minimum(ring.size + T, W * stride),
    )


def complete_rows(ring: Ring, length: int) -> tuple[Array, Array]:
    """Returns the oldest row that begins a complete window, and how many rows from there on do."""
    W, _, stride = ring.shape
    oldest = (ring.head - ring.size) % (W * stride)
    first = -(-oldest // stride)
    steps = ring.size - (first * stride - oldest)
    return first % W, jnp.maximum((steps - length) // stride + 1, 0)


def eligible_windows(ring: Ring, length: int) -> Array:
    """Returns bool [W, B], whether the window that begins at a row has an eligible step."""
    assert ring.eligible is not None
    rows = replicate(ring.eligible)
    windows = rows
    for i in range(1, -(-length // ring.shape[2])):
        windows = windows | jnp.roll(rows, -i, axis=0)
    return windows


def read_windows(ring: Ring, row: Array, env: Array, length: int) -> tuple[Tree, Tree]:
    """Returns items [length, batch, ...] and starts [batch, ...] of windows.

    Args:
      ring: the buffer.
      row: int32 [batch], where the windows begin.
      env: int32 [batch], whose steps they are.
      length: steps per window.
    """
    W, _, stride = ring.shape
    time = jnp.arange(length)[:, None]
    where = jnp.broadcast_arrays((row + time // stride) % W, env, time % stride)
    # Without the barrier XLA computes the indices anew for every element gathered.
    where = [replicate(x) for x in jax.lax.optimization_barrier(tuple(where))]
    row, env = replicate(row), replicate(env)

    def items(x: Array) -> Array:
        return shard(x.at[tuple(where)].get(mode="promise_in_bounds"), 1)

    def start(x: Array) -> Array:
        return shard(x.at[row, env, 0].get(mode="promise_in_bounds"), 0)

    return jax.tree.map(items, ring.items), jax.tree.map(start, ring.start)


# --- writing rows ---


def _as_rows(new: Array, stride: int) -> Array:
    """Returns `new` [T, B, ...] as [T / stride, B, stride, ...]; [1, B, T, ...] if T < stride."""
    rows = max(1, new.shape[0] // stride)
    return new.reshape(rows, new.shape[0] // rows, *new.shape[1:]).swapaxes(1, 2)


def _put_one(ring: Array, new: Array, row: Array, step: Array) -> Array:
    """Returns `ring` [W, B, stride, ...] with `new` [T, B, ...] from `step` of `row` on."""
    rest = [0] * (ring.ndim - 3)
    return jax.lax.dynamic_update_slice(ring, _as_rows(new, ring.shape[2]), [row, 0, step, *rest])


def _put_many(
    size: int, batched: list[bool], ring: Array, new: Array, row: Array, step: Array
) -> tuple[Array, bool]:
    """Returns `_put_one` of each of `size` seeds, and that the result has an axis of seeds.

    The rule for `vmap`. By default it would become a scatter, which a CPU does element by element:
    several times slower than copying the rollouts of one seed after the other.
    """
    ring, new, row, step = (
        x if has_seeds else jnp.broadcast_to(x, (size, *x.shape))
        for x, has_seeds in zip((ring, new, row, step), batched, strict=True)
    )

    def one_by_one(ring: Array, new: Array, row: Array, step: Array) -> Array:
        def put(i: Array, ring: Array) -> Array:
            rows, rest = _as_rows(new[i], ring.shape[3]), [0] * (ring.ndim - 4)
            return jax.lax.dynamic_update_slice(ring, rows[None], [i, row[i], 0, step[i], *rest])

        out: Array = jax.lax.fori_loop(0, size, put, ring)
        return out

    together = jax.vmap(_put_one)
    out = jax.lax.platform_dependent(ring, new, row, step, cpu=one_by_one, default=together)
    return out, True


_put = jax.custom_batching.custom_vmap(_put_one)
_put.def_vmap(_put_many)


# --- checks ---


def _leading_axes(rollout: Rollout) -> tuple[int, int]:
    """Returns T and B, the same for every leaf of `rollout`."""
    leaves = tree_leaves_with_path(rollout)
    if not jax.tree.leaves(rollout.items):
        raise ValueError("rollout.items has no arrays; it must have at least one, [T, B, ...]")
    T_B = leaves[0][1].shape[:2]
    for path, leaf in leaves:
        if len(leaf.shape) < 2 or leaf.shape[:2] != T_B or 0 in T_B:
            raise ValueError(
                f"rollout{keystr(path)} has shape {leaf.shape}; every array must begin with the "
                f"same [T, B], at least 1 each"
            )
    T, B = T_B
    return T, B


def _num_rows(capacity: int, batch: int, length: int, stride: int, T: int, B: int) -> int:
    """Returns W, such that whole rollouts fit and there always is a complete window."""
    if T % stride and stride % T:
        raise ValueError(
            f"stride is {stride}; it must divide the rollout length {T} or be a multiple of it"
        )
    unit = max(T, stride)
    steps = capacity // B // unit * unit
    lost = max(0, stride - T)  # of the oldest row, when a rollout has overwritten part of it
    if steps < length + lost:
        least = -(-(length + lost) // unit) * unit * B
        raise ValueError(
            f"capacity is {capacity}; it must be at least {least} for windows of {length} steps "
            f"from rollouts of {T} steps of {B} environments"
        )
    windows = ((steps - lost - length) // stride + 1) * B
    if batch > windows:
        raise ValueError(
            f"batch is {batch}; it must be at most {windows}, the windows of {length} steps that a "
            f"capacity of {capacity} holds"
        )
    return steps // stride


def _check_rollout(ring: Ring, rollout: Rollout) -> None:
    """Raise ValueError where `rollout` is not what `ring` was made for."""
    T, B = ring.rollout_length, ring.shape[1]
    given = {keystr(path): leaf for path, leaf in tree_leaves_with_path(rollout)}
    stored = tree_leaves_with_path(Rollout(ring.items, ring.start, ring.eligible))
    if list(given) != [keystr(path) for path, _ in stored]:
        raise ValueError(
            f"the rollout has arrays {', '.join(given)}; it must have those that `init` saw, "
            f"{', '.join(keystr(path) for path, _ in stored)}"
        )
    for path, old in stored:
        new = given[keystr(path)]
        shape = (T, B, *old.shape[3:])
        if (new.shape, new.dtype) != (shape, old.dtype):
            raise ValueError(
                f"rollout{keystr(path)} is {new.dtype}{list(new.shape)}; it must be as `init` saw "
                f"it, {old.dtype}{list(shape)}"
            )
