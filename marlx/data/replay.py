"""Replay buffers: windows of consecutive steps, sampled uniformly or by priority.

A buffer takes in rollouts of any pytree, time-major `[T, B, ...]`, each the continuation of the one
before. It returns windows of `length` steps of one environment. Windows start at multiples of
`stride`; they may span rollouts and episode ends (items carry their own flags).

    replay = uniform(capacity=100_000, batch=32, length=50)
    state = replay.init(Rollout(items, start))    # shapes are enough
    state = replay.add(state, Rollout(items, start))
    sample = replay.sample(state, key)            # sample.items: [length, batch, ...]

Every function is pure. Jit the loop that calls them and donate its carry: `add` then writes one
rollout in place, and no work grows with `capacity` (but see `uniform` for eligible steps).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.data.ring import (
    Ring,
    Rollout,
    complete_rows,
    eligible_windows,
    empty_ring,
    read_windows,
    write,
)
from marlx.data.sum_tree import find, set_leaves, update_sums
from marlx.types import Array, Tree


class Sample(NamedTuple):
    """A batch of windows."""

    items: Tree  # [length, batch, ...]
    start: Tree  # [batch, ...], `Rollout.start` at each window's first step
    importance: Array  # f32 [batch], importance weight, at most 1; all 0 (and items void) if there
    # was no window to sample
    indices: Array  # int32 [batch], of the windows, for `Replay.update_priorities`


class Priorities(NamedTuple):
    """A sum tree over the windows, `P` of them after padding to a power of two."""

    tree: Array  # f32 [2 P]; node i has children 2i and 2i + 1, the root is 1, leaves start at P
    largest: Array  # f32 [], the largest leaf so far, given to new windows


class ReplayState(NamedTuple):
    """State of a replay buffer."""

    ring: Ring
    priorities: Priorities | None  # None where sampling is uniform


class Replay(NamedTuple):
    """A replay buffer as a record of pure functions; see `uniform` and `prioritised`.

    Attributes:
      init: `(example) -> state`. `example` is a `Rollout` of arrays or `jax.ShapeDtypeStruct`s, of
        the shapes and dtypes of every `add`. Values are stored and returned in its dtypes.
      add: `(state, rollout) -> state`, in the place of the oldest steps.
      sample: `(state, key) -> Sample`, with replacement.
      update_priorities: `(state, indices, priority) -> state`, with `indices` of a `Sample` and
        `priority` f32 [batch], finite and at least 0; a window of priority 0 is not sampled. To be
        called before the next `add`, since an index means a place in the ring, not its contents.
        A uniform replay returns the state as it is.
    """

    init: Callable[[Rollout], ReplayState]
    add: Callable[[ReplayState, Rollout], ReplayState]
    sample: Callable[[ReplayState, Array], Sample]
    update_priorities: Callable[[ReplayState, Array, Array], ReplayState]


def nbytes(replay: Replay, example: Rollout) -> int:
    """Returns the bytes that `replay.init(example)` will allocate, without allocating them."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: replay.init(example)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


# --- uniform ---


def uniform(capacity: int, batch: int, length: int, stride: int | None = None) -> Replay:
    """Returns a replay that samples each complete window with the same probability.

    Where rollouts say which steps are `eligible`, only complete windows with such a step are
    sampled. Counting them takes work that grows with the number of windows: W * B bits per sample.
    Where all steps are eligible, the same key gives the same windows.

    Args:
      capacity: environment steps to keep, over all B environments; the ring takes as many whole
        rollouts and strides as fit.
      batch: windows per sample.
      length: steps per window.
      stride: steps from one window's start to the next; by default `length`, where no two windows
        overlap. It must divide the rollout length T or be a multiple of it.

    Raises:
      ValueError: a setting is out of bounds; or, from `init`, where T and B are known, settings do
        not fit the rollouts.
    """
    stride = length if stride is None else stride
    _check_settings(capacity, batch, length, stride)

    def init(example: Rollout) -> ReplayState:
        return ReplayState(empty_ring(example, capacity, batch, length, stride), None)

    def add(state: ReplayState, rollout: Rollout) -> ReplayState:
        return state._replace(ring=write(state.ring, rollout))

    def sample(state: ReplayState, key: Array) -> Sample:
        choose = _any_window if state.ring.eligible is None else _eligible_window
        row, env, count = choose(state.ring, key, batch, length)
        importance = jnp.broadcast_to((count > 0).astype(jnp.float32), (batch,))
        return _sample(state.ring, row, env, importance, length)

    def update_priorities(state: ReplayState, indices: Array, priority: Array) -> ReplayState:
        del indices, priority
        return state

    return Replay(init, add, sample, update_priorities)


def _any_window(ring: Ring, key: Array, batch: int, length: int) -> tuple[Array, Array, Array]:
    """Returns row and environment of uniform complete windows, and how many of them there are."""
    W, B, _ = ring.shape
    first, count = complete_rows(ring, length)
    number = jax.random.randint(key, (batch,), 0, jnp.maximum(count * B, 1))
    return (first + number // B) % W, number % B, count


def _eligible_window(ring: Ring, key: Array, batch: int, length: int) -> tuple[Array, Array, Array]:
    """Returns the same as `_any_window`, of the complete windows with an eligible step.

    Windows are numbered as there, from the oldest row on and in each row by environment. The n-th
    eligible one is found in two steps: its row by the running sum over rows, then its environment.
    """
    W, B, _ = ring.shape
    first, count = complete_rows(ring, length)
    age = jnp.arange(W)
    windows = eligible_windows(ring, length)[(first + age) % W] & (age < count)[:, None]
    until = jnp.cumsum(windows.sum(1))  # [W], eligible windows up to and including this row
    number = jax.random.randint(key, (batch,), 0, jnp.maximum(until[-1], 1))
    row = (until <= number[:, None]).sum(1)  # the first row with until > number
    row = jnp.minimum(row, W - 1)
    within = number - jnp.where(row > 0, until[row - 1], 0)
    env = (jnp.cumsum(windows[row], axis=1) <= within[:, None]).sum(1)
    env = jnp.minimum(env, B - 1)
    return (first + row) % W, env, until[-1]


def _sample(ring: Ring, row: Array, env: Array, importance: Array, length: int) -> Sample:
    """Returns the windows of `env` that begin at `row`, int32 [batch] both."""
    items, start = read_windows(ring, row, env, length)
    return Sample(items, start, importance, row * ring.shape[1] + env)


# --- prioritised ---


def prioritised(
    capacity: int,
    batch: int,
    length: int,
    stride: int | None = None,
    *,
    exponent: float = 0.6,
    importance: float = 0.4,
) -> Replay:
    """Returns a replay that samples windows in proportion to `priority ** exponent`.

    A new window has the largest priority seen so far, 1 at first, and 0 if it has no eligible step:
    it is never sampled then. The largest priority does not decay. Sampling is stratified: the i-th
    of a batch comes from the i-th of `batch` equal parts of the total.

    Args:
      capacity: environment steps to keep, as for `uniform`.
      batch: windows per sample.
      length: steps per window.
      stride: steps from one window's start to the next, `length` by default.
      exponent: at least 0; 0 is uniform.
      importance: beta in [0, 1] of `Sample.importance`, which is `(n P) ** -beta` for a window of
        probability P among n, divided by the largest of the batch.

    Raises:
      ValueError: as for `uniform`.

    Source: Schaul et al. 2016, section 3.3. Differs from: their division of the weights by the
    largest over the whole memory.
    """
    stride = length if stride is None else stride
    _check_settings(capacity, batch, length, stride)
    _check_exponents(exponent, importance)

    def init(example: Rollout) -> ReplayState:
        ring = empty_ring(example, capacity, batch, length, stride)
        W, B, _ = ring.shape
        leaves = max(4, 1 << math.ceil(math.log2(W * B)))
        return ReplayState(ring, Priorities(jnp.zeros(2 * leaves), jnp.ones(())))

    def add(state: ReplayState, rollout: Rollout) -> ReplayState:
        ring = write(state.ring, rollout)
        eligible = None if ring.eligible is None else eligible_windows(ring, length)
        new = renewed_priorities(state.ring, _priorities(state), length, eligible)
        return ReplayState(ring, new)

    def sample(state: ReplayState, key: Array) -> Sample:
        B, tree = state.ring.shape[1], _priorities(state).tree
        share = (jnp.arange(batch) + jax.random.uniform(key, (batch,))) / batch
        leaf, value = find(tree, share * tree[1])
        weight = jnp.where(value > 0, (value.min() / value) ** importance, 0.0)
        return _sample(state.ring, leaf // B, leaf % B, weight, length)

    def update_priorities(state: ReplayState, indices: Array, priority: Array) -> ReplayState:
        value = priority.astype(jnp.float32) ** exponent
        return _with_priorities(state, indices, value, length)

    return Replay(init, add, sample, update_priorities)


def _priorities(state: ReplayState) -> Priorities:
    if state.priorities is None:
        raise ValueError("the state is of a uniform replay; it has no priorities")
    return state.priorities


def _with_priorities(state: ReplayState, indices: Array, value: Array, length: int) -> ReplayState:
    """Returns the state with the leaves of windows `indices` set, those of incomplete ones to 0."""
    W, B, _ = state.ring.shape
    first, count = complete_rows(state.ring, length)
    tree, largest = _priorities(state)
    largest = jnp.maximum(largest, value.max())
    value = jnp.where((indices // B - first) % W < count, value, 0.0)
    return state._replace(priorities=Priorities(set_leaves(tree, indices, value), largest))


def renewed_priorities(
    ring: Ring, priorities: Priorities, length: int, eligible: Array | None = None
) -> Priorities:
    """Returns the priorities as they are once the next rollout is added to `ring`.

    Windows whose first step it overwrites get 0, windows it completes get the largest so far, or 0
    where they have no eligible step.

    Args:
      ring: before the rollout is added.
      priorities: likewise.
      length: steps per window.
      eligible: bool [W, B], `eligible_windows` after it is added; None: all are.
    """
    W, B, stride = ring.shape
    T, head = ring.rollout_length, ring.head
    tree, largest = priorities
    completed, count = _completed_rows(ring, length)
    written = head // stride
    rows = max(1, T // stride)  # the rollout overwrites at most so many rows, and completes as many

    # Ranges of `rows` rows whose priorities change: the rows overwritten, and the rows completed.
    # The latter may go around the end of the ring: one range up to its end and one from row 0 on.
    ranges = [written]
    if not length <= stride <= T:  # otherwise the rows completed are those overwritten
        ranges.append(jnp.minimum(completed % W, W - rows))
    if len(ranges) == 2 and rows > 1:
        ranges.append(jnp.zeros((), jnp.int32))

    def renew(i: int, tree: Array) -> Array:
        first = jnp.stack(ranges)[i]
        row = first + jnp.arange(rows * B) // B
        gone = ((row - written) % W < rows) & (head % stride == 0)
        leaf = tree.shape[0] // 2 + first * B
        old = jax.lax.dynamic_slice_in_dim(tree, leaf, rows * B)
        first_value = largest
        if eligible is not None:
            chosen = jax.lax.dynamic_slice_in_dim(eligible.reshape(-1), first * B, rows * B)
            first_value = jnp.where(chosen, largest, 0.0)
        new = jnp.where((row - completed) % W < count, first_value, jnp.where(gone, 0.0, old))
        tree = jax.lax.dynamic_update_slice_in_dim(tree, new, leaf, 0)
        return update_sums(tree, first * B, rows * B)

    return Priorities(jax.lax.fori_loop(0, len(ranges), renew, tree), largest)


def _completed_rows(ring: Ring, length: int) -> tuple[Array, Array]:
    """Returns the first row whose window the next rollout completes, and how many there are.

    Rows are counted from the current lap's row 0; rows of the lap before are negative. The windows
    completed end at a step in (head, head + T].
    """
    W, _, stride = ring.shape
    T, head = ring.rollout_length, ring.head
    first = (head - length) // stride + 1
    # a row of the lap before must exist, and not be overwritten by this rollout
    oldest = jnp.where(ring.size < W * stride, 0, -((W * stride - head - T) // stride))
    first = jnp.maximum(first, oldest)
    return first, jnp.maximum((head + T - length) // stride + 1 - first, 0)


def _check_settings(capacity: int, batch: int, length: int, stride: int) -> None:
    settings = {"capacity": capacity, "batch": batch, "length": length, "stride": stride}
    for name, value in settings.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} is {value}; it must be a whole number, at least 1")
    if capacity > 2**30:
        raise ValueError(f"capacity is {capacity}; it must be at most 2**30 = {2**30}")


def _check_exponents(exponent: float, importance: float) -> None:
    if exponent < 0:
        raise ValueError(f"exponent is {exponent}; it must be at least 0")
    if not 0 <= importance <= 1:
        raise ValueError(f"importance is {importance}; it must lie in [0, 1]")
