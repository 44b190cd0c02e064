"""Sequence replay: a ring of rollouts on the device, from which windows of time are drawn.

The replay knows nothing of reinforcement learning. It is given rollouts of any pytree, time-major
`[T, B, ...]`, each the continuation of the one before, and hands back windows of `length` steps of
one environment's stream. Windows start at the multiples of `stride`; they may span rollouts and
episode ends (items carry their own flags), and never span the ring's write head.

    replay = uniform(capacity=100_000, batch=32, length=50)
    state = replay.init(Rollout(items, start))    # shapes are enough
    state = replay.add(state, Rollout(items, start))
    draw = replay.draw(state, key)                # draw.items: [length, batch, ...]

Every function is pure. Jit the loop that calls them and donate its carry: an `add` then writes one
rollout in place and neither `add` nor `draw` does work that grows with `capacity`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree


class Rollout(NamedTuple):
    """What `Replay.add` takes in: consecutive steps of B environments."""

    items: Tree  # [T, B, ...], kept for every step
    start: Tree = ()  # [T, B, ...], kept where a window starts: acting memory, for instance


class Draw(NamedTuple):
    """What one update learns from."""

    items: Tree  # [length, batch, ...]
    start: Tree  # [batch, ...], `Rollout.start` at each window's first step
    weight: Array  # f32 [batch], importance weights, at most 1; all 0 while no window is complete
    index: Array  # int32 [batch], which window, for `Replay.update_priorities`


class ReplayState(NamedTuple):
    """The storage: `S` slots of time, `W = S / stride` windows of each of `B` environments."""

    items: Tree  # [S, B, ...]
    start: Tree  # [W, B, ...]
    head: Array  # int32 [], the slot the next rollout goes to
    size: Array  # int32 [], slots written, at most S
    priorities: Tree  # () for uniform


class Replay(NamedTuple):
    """A record of pure functions; see `uniform` and `prioritised`.

    Attributes:
      init: `(example) -> state`. `example` is a `Rollout` of arrays or `jax.ShapeDtypeStruct`s, of
        the shapes that every `add` will have. Values are stored and drawn in its dtypes.
      add: `(state, rollout) -> state`, in the place of the oldest steps.
      draw: `(state, key) -> Draw`, with replacement.
      update_priorities: `(state, index, priority) -> state`, with `Draw.index` and f32 [batch].
    """

    init: Callable[[Rollout], ReplayState]
    add: Callable[[ReplayState, Rollout], ReplayState]
    draw: Callable[[ReplayState, Array], Draw]
    update_priorities: Callable[[ReplayState, Array, Array], ReplayState]


def uniform(capacity: int, batch: int, length: int, stride: int | None = None) -> Replay:
    """A replay that draws every stored window with the same probability.

    Args:
      capacity: environment steps to keep, over all B environments; rounded down to what whole
        rollouts and whole strides fill.
      batch: windows per draw.
      length: steps per window.
      stride: steps from one window's start to the next; `length` by default, so that no two windows
        overlap. It must divide the rollout length T or be a multiple of it.

    Raises:
      ValueError: here or from `init`, for a setting that cannot work.
    """
    stride = length if stride is None else stride
    _check_settings(capacity, batch, length, stride)

    def init(example: Rollout) -> ReplayState:
        T, B = _leading(example)
        S = _slots(capacity, batch, length, stride, T, B)
        items = _zeros(example.items, S)
        start = _zeros(example.start, S // stride)
        return ReplayState(items, start, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), ())

    def add(state: ReplayState, rollout: Rollout) -> ReplayState:
        T, _ = _leading(rollout)
        S = _slots_of(state)
        items = jax.tree.map(
            lambda ring, new: jax.lax.dynamic_update_slice_in_dim(ring, new, state.head, 0),
            state.items,
            rollout.items,
        )
        start = jax.tree.map(lambda ring, new: _add_start(ring, new, state.head, stride), state.start, rollout.start)
        head = (state.head + T) % S
        return ReplayState(items, start, head, jnp.minimum(state.size + T, S), state.priorities)

    def draw(state: ReplayState, key: Array) -> Draw:
        S, B = jax.tree.leaves(state.items)[0].shape[:2]
        first, count = _valid_rows(state, S, length, stride)
        number = jax.random.randint(key, (batch,), 0, jnp.maximum(count * B, 1))
        row, env = (first + number // B) % (S // stride), number % B
        weight = jnp.full((batch,), (count > 0).astype(jnp.float32))
        return _gather(state, row, env, length, stride, weight)

    def update_priorities(state: ReplayState, index: Array, priority: Array) -> ReplayState:
        del index, priority
        return state

    return Replay(init, add, draw, update_priorities)


def nbytes(replay: Replay, example: Rollout) -> int:
    """Bytes that `replay.init(example)` will allocate, found without allocating them."""
    leaves = jax.tree.leaves(jax.eval_shape(replay.init, example))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _gather(state: ReplayState, row: Array, env: Array, length: int, stride: int, weight: Array) -> Draw:
    S, B = jax.tree.leaves(state.items)[0].shape[:2]
    slot = (row * stride + jnp.arange(length)[:, None]) % S
    items = jax.tree.map(lambda x: x[slot, env], state.items)
    start = jax.tree.map(lambda x: x[row, env], state.start)
    return Draw(items, start, weight, row * B + env)


def _valid_rows(state: ReplayState, S: int, length: int, stride: int) -> tuple[Array, Array]:
    oldest = (state.head - state.size) % S
    first = -(-oldest // stride)
    usable = state.size - (first * stride - oldest)
    return first % (S // stride), jnp.maximum((usable - length) // stride + 1, 0)


def _add_start(ring: Array, new: Array, head: Array, stride: int) -> Array:
    row = head // stride
    if new.shape[0] >= stride:
        return jax.lax.dynamic_update_slice_in_dim(ring, new[::stride], row, 0)
    old = jax.lax.dynamic_slice_in_dim(ring, row, 1, 0)
    return jax.lax.dynamic_update_slice_in_dim(ring, jnp.where(head % stride == 0, new[:1], old), row, 0)


def _zeros(example: Tree, rows: int) -> Tree:
    return jax.tree.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype), example)


def _slots_of(state: ReplayState) -> int:
    return int(jax.tree.leaves(state.items)[0].shape[0])


def _leading(rollout: Rollout) -> tuple[int, int]:
    """T and B, the same for every leaf."""
    T, B = jax.tree.leaves(rollout.items)[0].shape[:2]
    for path, leaf in jax.tree_util.tree_leaves_with_path(rollout):
        if leaf.shape[:2] != (T, B):
            raise ValueError(
                f"rollout{jax.tree_util.keystr(path)} has shape {leaf.shape}; every leaf must begin "
                f"with [T, B] = [{T}, {B}]"
            )
    return T, B


def _check_settings(capacity: int, batch: int, length: int, stride: int) -> None:
    values = {"capacity": capacity, "batch": batch, "length": length, "stride": stride}
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def _slots(capacity: int, batch: int, length: int, stride: int, T: int, B: int) -> int:
    """Slots of the ring: a multiple of T and of `stride`, at most `capacity / B`."""
    if T % stride and stride % T:
        raise ValueError(f"stride is {stride}; it must divide the rollout length {T} or be a multiple of it")
    unit = max(T, stride)
    S = capacity // B // unit * unit
    # While a stride is partly overwritten, its window and the steps left of it are lost.
    usable = S - max(0, stride - T)
    if usable < length:
        need = -(-(length + max(0, stride - T)) // unit) * unit * B
        raise ValueError(
            f"capacity is {capacity}; with {B} environments, rollouts of {T} steps and windows of "
            f"{length} it must be at least {need}"
        )
    windows = ((usable - length) // stride + 1) * B
    if batch > windows:
        raise ValueError(f"batch is {batch}; a capacity of {capacity} holds {windows} windows, so it must be at most {windows}")
    return S
