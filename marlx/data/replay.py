"""Sequence replay: a ring of rollouts on the device, from which windows of time are drawn.

The replay knows nothing of reinforcement learning. It takes in rollouts of any pytree, time-major
`[T, B, ...]`, each the continuation of the one before, and hands back windows of `length` steps of
one environment's stream. Windows start at multiples of `stride`. They may span rollouts and episode
ends (items carry their own flags); they never span the place that is being written.

    replay = uniform(capacity=100_000, batch=32, length=50)
    state = replay.init(Rollout(items, start))    # shapes are enough
    state = replay.add(state, Rollout(items, start))
    draw = replay.draw(state, key)                # draw.items: [length, batch, ...]

Every function is pure. Jit the loop that calls them and donate its carry: `add` then writes one
rollout in place, and nothing does work that grows with `capacity`.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from marlx.data.sum_tree import find, set_leaves, sum_above
from marlx.types import Array, Tree
from marlx.xla.sharding import replicate, shard


class Rollout(NamedTuple):
    """What `Replay.add` takes in: T consecutive steps of B environments."""

    items: Tree  # [T, B, ...], kept for every step
    start: Tree = ()  # [T, B, ...], kept only where a window starts: acting memory, for instance
    wanted: Array | None = None  # bool [T, B]; windows without any such step are never drawn
    # (by `uniform`). None: all are


class Draw(NamedTuple):
    """What one update learns from."""

    items: Tree  # [length, batch, ...]
    start: Tree  # [batch, ...], `Rollout.start` at each window's first step
    weight: Array  # f32 [batch], importance, at most 1; all 0 (and items void) if nothing was there
    index: Array  # type: ignore[assignment]  # int32 [batch], which window, for `Replay.update_priorities`


class Priorities(NamedTuple):
    """A sum tree over the windows, `P` of them after padding to a power of two."""

    tree: Array  # f32 [2 P]; node i has children 2i and 2i + 1, the root is 1, leaves start at P
    largest: Array  # f32 [], the largest leaf so far, what a new window gets


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReplayState:
    """The storage: a ring of W rows, each of `stride` steps of B environments.

    Row `w` begins where a window begins, so a window is `ceil(length / stride)` successive rows of
    one environment, and its steps lie together in memory.
    """

    items: Tree  # [W, B, stride, ...]
    start: Tree  # [W, B, 1, ...]
    head: Array  # int32 [], the step of the ring, in [0, W * stride), that comes next
    size: Array  # int32 [], steps of the ring that are written
    priorities: Priorities | None  # None where the draw is uniform
    wanted: Array | None  # bool [W, B], whether the row has a step that is; None: all are
    rollout_length: int = dataclasses.field(metadata={"static": True})  # T, of every `add`


class Replay(NamedTuple):
    """A record of pure functions; see `uniform` and `prioritised`.

    Attributes:
      init: `(example) -> state`. `example` is a `Rollout` of arrays or `jax.ShapeDtypeStruct`s, as
        every `add` will have it. Values are stored and drawn in its dtypes.
      add: `(state, rollout) -> state`, in the place of the oldest steps.
      draw: `(state, key) -> Draw`, with replacement.
      update_priorities: `(state, index, priority) -> state`, with `index` from a `Draw` and
        `priority` f32 [batch], finite and at least 0; 0 takes a window out of the draw. To be
        called before the next `add`: an index means the place of a window, not its contents.
        Returns the state as it is where the draw is uniform.
    """

    init: Callable[[Rollout], ReplayState]
    add: Callable[[ReplayState, Rollout], ReplayState]
    draw: Callable[[ReplayState, Array], Draw]
    update_priorities: Callable[[ReplayState, Array, Array], ReplayState]


def uniform(capacity: int, batch: int, length: int, stride: int | None = None) -> Replay:
    """A replay that draws each complete window with the same probability.

    Where rollouts say which steps are `wanted`, it draws from the complete windows with such a
    step. Counting them takes work that grows with the number of windows, W * B bits per draw. Where
    all steps are wanted, the same key draws the same windows.

    Args:
      capacity: environment steps to keep, over all B environments; the ring takes as many whole
        rollouts and strides as fit.
      batch: windows per draw.
      length: steps per window.
      stride: steps from one window's start to the next; `length` by default, where no two windows
        overlap. It must divide the rollout length T or be a multiple of it.

    Raises:
      ValueError: here, or from `init` where T and B are known, for a setting that cannot work.
    """
    stride = length if stride is None else stride
    _check_settings(capacity, batch, length, stride)

    def init(example: Rollout) -> ReplayState:
        return _empty(example, capacity, batch, length, stride)

    def draw(state: ReplayState, key: Array) -> Draw:
        if state.wanted is not None:
            return _draw_wanted(state, key, batch, length)
        W, B, _ = _ring_shape(state.items)
        first, count = _complete_rows(state, length)
        number = jax.random.randint(key, (batch,), 0, jnp.maximum(count * B, 1))
        row, env = (first + number // B) % W, number % B
        weight = jnp.broadcast_to((count > 0).astype(jnp.float32), (batch,))
        return _take(state, row, env, weight, length)

    def update_priorities(state: ReplayState, index: Array, priority: Array) -> ReplayState:
        del index, priority
        return state

    return Replay(init, _write, draw, update_priorities)


def prioritised(
    capacity: int,
    batch: int,
    length: int,
    stride: int | None = None,
    *,
    exponent: float = 0.6,
    importance: float = 0.4,
) -> Replay:
    """A replay that draws a window with probability proportional to `priority ** exponent`.

    A window that has just become complete has the largest priority seen so far, 1 at first. Draws
    are stratified: the i-th of a batch comes from the i-th of `batch` equal parts of the total.

    Args:
      capacity: as for `uniform`, like the next three.
      batch: windows per draw.
      length: steps per window.
      stride: steps from one window's start to the next.
      exponent: at least 0; 0 is uniform.
      importance: beta in [0, 1] of `Draw.weight`, which is `(n P) ** -beta` for a window of
        probability P among n, shard by the largest of the batch.

    Raises:
      ValueError: here, or from `init` where T and B are known, for a setting that cannot work.

    Source: Schaul et al. 2016, section 3.3. Differs from: their division of the weights by the
    largest over the whole memory.
    """
    stride = length if stride is None else stride
    _check_settings(capacity, batch, length, stride)
    if exponent < 0:
        raise ValueError(f"exponent is {exponent}; it must be at least 0")
    if not 0 <= importance <= 1:
        raise ValueError(f"importance is {importance}; it must lie in [0, 1]")

    def init(example: Rollout) -> ReplayState:
        state = _empty(example, capacity, batch, length, stride)
        W, B, _ = _ring_shape(state.items)
        leaves = max(4, 1 << math.ceil(math.log2(W * B)))
        priorities = Priorities(jnp.zeros(2 * leaves), jnp.ones(()))
        return dataclasses.replace(state, priorities=priorities)

    def add(state: ReplayState, rollout: Rollout) -> ReplayState:
        return dataclasses.replace(_write(state, rollout), priorities=_renew(state, length))

    def draw(state: ReplayState, key: Array) -> Draw:
        B = _ring_shape(state.items)[1]
        tree = _priorities(state).tree
        share = (jnp.arange(batch) + jax.random.uniform(key, (batch,))) / batch
        leaf, value = find(tree, share * tree[1])
        weight = jnp.where(value > 0, (value.min() / value) ** importance, 0.0)
        return _take(state, leaf // B, leaf % B, weight, length)

    def update_priorities(state: ReplayState, index: Array, priority: Array) -> ReplayState:
        W, B, _ = _ring_shape(state.items)
        first, count = _complete_rows(state, length)
        value = priority.astype(jnp.float32) ** exponent
        tree, largest = _priorities(state)
        largest = jnp.maximum(largest, value.max())
        value = jnp.where((index // B - first) % W < count, value, 0.0)
        priorities = Priorities(set_leaves(tree, index, value), largest)
        return dataclasses.replace(state, priorities=priorities)

    return Replay(init, add, draw, update_priorities)


def nbytes(replay: Replay, example: Rollout) -> int:
    """Bytes that `replay.init(example)` will allocate, found without allocating them."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: replay.init(example)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


# --- the ring ---


def _empty(example: Rollout, capacity: int, batch: int, length: int, stride: int) -> ReplayState:
    """A state with nothing in it, sized for rollouts like `example`."""
    T, B = _leading(example)
    if example.wanted is not None and length % stride:
        raise ValueError(
            f"stride is {stride}; where steps are wanted it must divide the length ({length})"
        )
    W = _rows(capacity, batch, length, stride, T, B)

    def zeros(*axes: int) -> Callable[[Array], Array]:
        return lambda x: jnp.zeros((*axes, *x.shape[2:]), x.dtype)

    return ReplayState(
        items=jax.tree.map(zeros(W, B, stride), example.items),
        start=jax.tree.map(zeros(W, B, 1), example.start),
        head=jnp.zeros((), jnp.int32),
        size=jnp.zeros((), jnp.int32),
        priorities=None,
        wanted=None if example.wanted is None else jnp.zeros((W, B), bool),
        rollout_length=T,
    )


def _write(state: ReplayState, rollout: Rollout) -> ReplayState:
    """`state` with `rollout` in the place of the oldest steps; priorities are left as they are."""
    _check_rollout(state, rollout)
    W, _, stride = _ring_shape(state.items)
    T = state.rollout_length
    row, step = state.head // stride, state.head % stride
    put: Callable[[Array, Array, Array, Array], Array] = _put

    def write_items(ring: Array, new: Array) -> Array:
        return put(ring, new, row, step)

    def write_start(ring: Array, new: Array) -> Array:
        new = new[::stride]
        if T < stride:  # most rollouts continue a row, and leave its start alone
            old = jax.lax.dynamic_slice_in_dim(ring, row, 1)[:, :, 0]
            new = jnp.where(step == 0, new, old)
        return put(ring, new, row, jnp.zeros_like(row))

    wanted = state.wanted
    if wanted is not None and rollout.wanted is not None:
        new = _as_rows(rollout.wanted, stride).any(-1)  # [rows, B]
        old = jax.lax.dynamic_slice_in_dim(wanted, row, len(new)) & (step > 0)
        wanted = jax.lax.dynamic_update_slice_in_dim(wanted, new | old, row, 0)
    return dataclasses.replace(
        state,
        items=jax.tree.map(write_items, state.items, rollout.items),
        start=jax.tree.map(write_start, state.start, rollout.start),
        wanted=wanted,
        head=(state.head + T) % (W * stride),
        size=jnp.minimum(state.size + T, W * stride),
    )


def _as_rows(new: Array, stride: int) -> Array:
    """`new` [T, B, ...] as [T / stride, B, stride, ...], or [1, B, T, ...] if that is shorter."""
    rows = max(1, new.shape[0] // stride)
    return new.reshape(rows, new.shape[0] // rows, *new.shape[1:]).swapaxes(1, 2)


def _put_one(ring: Array, new: Array, row: Array, step: Array) -> Array:
    """`ring` [W, B, stride, ...] with `new` [T, B, ...] from `step` of `row` on."""
    rest = [0] * (ring.ndim - 3)
    return jax.lax.dynamic_update_slice(ring, _as_rows(new, ring.shape[2]), [row, 0, step, *rest])


def _put_many(
    size: int, batched: list[bool], ring: Array, new: Array, row: Array, step: Array
) -> tuple[Array, bool]:
    """`_put_one` under `vmap`, for each of `size` seeds.

    Left to itself it would become a scatter, which a CPU does element by element, several times
    slower than it copies one seed's rollout after another's.
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


def _complete_rows(state: ReplayState, length: int) -> tuple[Array, Array]:
    """The oldest row that begins a complete window, and how many rows from there on do."""
    W, _, stride = _ring_shape(state.items)
    oldest = (state.head - state.size) % (W * stride)
    first = -(-oldest // stride)
    steps = state.size - (first * stride - oldest)
    return first % W, jnp.maximum((steps - length) // stride + 1, 0)


def _take(state: ReplayState, row: Array, env: Array, weight: Array, length: int) -> Draw:
    """The windows of `env` that begin at `row`, int32 [batch] both."""
    W, B, stride = _ring_shape(state.items)
    time = jnp.arange(length)[:, None]
    where = jnp.broadcast_arrays((row + time // stride) % W, env, time % stride)
    # Without the barrier, the indices are computed anew for every element gathered.
    where = [replicate(x) for x in jax.lax.optimization_barrier(tuple(where))]
    row, env = replicate(row), replicate(env)

    def items(ring: Array) -> Array:
        return shard(ring.at[tuple(where)].get(mode="promise_in_bounds"), 1)

    def start(ring: Array) -> Array:
        return shard(ring.at[row, env, 0].get(mode="promise_in_bounds"), 0)

    return Draw(
        items=jax.tree.map(items, state.items),
        start=jax.tree.map(start, state.start),
        weight=weight,
        index=row * B + env,
    )


def _draw_wanted(state: ReplayState, key: Array, batch: int, length: int) -> Draw:
    """Complete windows with a step that is wanted, each with the same probability."""
    assert state.wanted is not None
    W, B, stride = _ring_shape(state.items)
    first, count = _complete_rows(state, length)
    wanted = replicate(state.wanted)
    window = wanted  # [W, B], of the window that begins there: any of its rows
    for i in range(1, -(-length // stride)):
        window = window | jnp.roll(wanted, -i, axis=0)
    age = jnp.arange(W)  # rows from the oldest on, as the draw from all windows counts them
    window = window[(first + age) % W] & (age < count)[:, None]
    until = jnp.cumsum(window.sum(1))  # [W], so many windows up to and with this row
    number = jax.random.randint(key, (batch,), 0, jnp.maximum(until[-1], 1))
    row = (until <= number[:, None]).sum(1)  # the first with more than `number`
    row = jnp.minimum(row, W - 1)
    within = number - jnp.where(row > 0, until[row - 1], 0)
    env = (jnp.cumsum(window[row], axis=1) <= within[:, None]).sum(1)
    env = jnp.minimum(env, B - 1)
    weight = jnp.broadcast_to((until[-1] > 0).astype(jnp.float32), (batch,))
    return _take(state, (first + row) % W, env, weight, length)


def _ring_shape(items: Tree) -> tuple[int, int, int]:
    """W, B and stride."""
    W, B, stride = jax.tree.leaves(items)[0].shape[:3]
    return W, B, stride


# --- priorities ---


def _priorities(state: ReplayState) -> Priorities:
    if state.priorities is None:
        raise ValueError("the state is of a uniform replay; it has no priorities")
    return state.priorities


def _renew(state: ReplayState, length: int) -> Priorities:
    """The priorities after a rollout is added to `state`.

    Windows whose first step it overwrites get 0, those it completes get the largest so far.
    """
    W, B, stride = _ring_shape(state.items)
    T, head = state.rollout_length, state.head
    tree, largest = _priorities(state)
    rows = max(1, T // stride)  # at most so many rows begin, and so many windows are completed

    # Counted from this lap's row 0, the windows that end in (head, head + T]. Negative rows are of
    # the lap before: they must exist, and not begin in what this rollout overwrites.
    low = (head - length) // stride + 1
    kept = -((W * stride - head - T) // stride)
    low = jnp.maximum(low, jnp.where(state.size < W * stride, 0, kept))
    count = jnp.maximum((head + T - length) // stride + 1 - low, 0)

    # The rows that change: those that begin in what is written, and those completed, which may go
    # around the end of the ring: a range up to the end and one from row 0 on.
    written = head // stride
    firsts = [written]
    if not length <= stride <= T:  # otherwise the windows completed are those written
        firsts.append(jnp.minimum(low % W, W - rows))
    if len(firsts) == 2 and rows > 1:
        firsts.append(jnp.zeros((), jnp.int32))

    def renew(i: int, tree: Array) -> Array:
        first = jnp.stack(firsts)[i]
        row = first + jnp.arange(rows * B) // B
        gone = ((row - written) % W < rows) & (head % stride == 0)
        at = tree.shape[0] // 2 + first * B
        old = jax.lax.dynamic_slice_in_dim(tree, at, rows * B)
        new = jnp.where((row - low) % W < count, largest, jnp.where(gone, 0.0, old))
        tree = jax.lax.dynamic_update_slice_in_dim(tree, new, at, 0)
        return sum_above(tree, first * B, rows * B)

    return Priorities(jax.lax.fori_loop(0, len(firsts), renew, tree), largest)


# --- checks ---


def _check_settings(capacity: int, batch: int, length: int, stride: int) -> None:
    settings = {"capacity": capacity, "batch": batch, "length": length, "stride": stride}
    for name, value in settings.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} is {value}; it must be a whole number, at least 1")
    if capacity > 2**30:
        raise ValueError(f"capacity is {capacity}; it must be at most 2**30 = {2**30}")


def _leading(rollout: Rollout) -> tuple[int, int]:
    """T and B, the same for every leaf of `rollout`."""
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


def _rows(capacity: int, batch: int, length: int, stride: int, T: int, B: int) -> int:
    """W, such that the ring holds whole rollouts and is never without a complete window."""
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


def _check_rollout(state: ReplayState, rollout: Rollout) -> None:
    """Raise where `rollout` is not what `state` was made for."""
    T, B = state.rollout_length, _ring_shape(state.items)[1]
    given = {keystr(path): leaf for path, leaf in tree_leaves_with_path(rollout)}
    stored = tree_leaves_with_path(Rollout(state.items, state.start, state.wanted))
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
