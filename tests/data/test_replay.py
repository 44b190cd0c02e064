"""Replay, held to models in plain Python that keep the whole stream and every priority."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.data import replay, sum_tree
from marlx.data.replay import Replay, ReplayState, Sample
from marlx.data.ring import Rollout

# T, B, capacity, length, stride: windows shorter than, equal to and longer than rollouts;
# overlapping, adjacent and with gaps; rings of one rollout and of many.
SHAPES = [
    (10, 3, 120, 10, 10),
    (10, 3, 120, 5, 5),
    (10, 3, 129, 5, 2),  # a capacity that is not whole, overlap
    (10, 1, 50, 7, 1),  # a window starts at every step
    (10, 2, 100, 20, 10),  # windows span rollouts and wrap
    (10, 2, 100, 25, 5),
    (4, 2, 64, 8, 8),  # several rollouts per stride
    (4, 2, 80, 6, 8),  # gaps between windows
    (4, 3, 96, 12, 8),  # several rollouts per stride, overlap, wrap
    (12, 2, 48, 20, 4),  # windows that a rollout completes and overwrites at once
    (8, 4, 32, 8, 8),  # the ring is one rollout
    (1, 2, 40, 4, 1),
]


class Stream:
    """Items that were added, and which windows of it a replay must hold."""

    def __init__(self, T: int, B: int, capacity: int, length: int, stride: int) -> None:
        self.T, self.B, self.length, self.stride, self.time = T, B, length, stride, 0
        unit = max(T, stride)
        self.steps = capacity // B // unit * unit

    def rollout(self) -> Rollout:
        """The next one. Items tell who wrote them; an episode ends every 7 steps."""
        step = self.time + np.arange(self.T)[:, None] + np.zeros((1, self.B), int)
        code = step * 1000 + np.arange(self.B)
        self.time += self.T
        items = {
            "code": np.asarray(code, np.int32),
            "obs": np.asarray(code[..., None, None] + np.zeros((2, 3)), np.float32),
            "done": step % 7 == 6,
            "small": np.asarray(step[..., None] % 100, np.int8),
        }
        return Rollout(items, {"memory": np.asarray(code[..., None] + np.arange(2), np.float32)})

    def windows(self) -> dict[int, tuple[int, int]]:
        """`Sample.indices` of each complete window, and its first step and environment."""
        oldest = max(0, self.time - self.steps)
        first = -(-oldest // self.stride) * self.stride
        starts = range(first, self.time - self.length + 1, self.stride)
        rows = [(start, start % self.steps // self.stride) for start in starts]
        return {row * self.B + env: (start, env) for start, row in rows for env in range(self.B)}

    def check(self, sample: Sample) -> None:
        """Every window is complete, contiguous, one environment's, with its own start and index."""
        code, memory = np.asarray(sample.items["code"]), sample.start["memory"]
        first, env = code[0] // 1000, code[0] % 1000
        step = first + np.arange(self.length)[:, None]
        np.testing.assert_array_equal(code, step * 1000 + env)
        np.testing.assert_array_equal(sample.items["obs"] - code[..., None, None], 0)
        np.testing.assert_array_equal(sample.items["done"], step % 7 == 6)
        np.testing.assert_array_equal(sample.items["small"], step[..., None] % 100)
        np.testing.assert_array_equal(memory, code[0][:, None] + np.arange(2))
        windows = self.windows()
        for i, index in enumerate(np.asarray(sample.indices).tolist()):
            assert windows[index] == (first[i], env[i])


def make(kind: str, shape: tuple[int, ...], batch: int = 1, **settings: Any) -> Replay:
    _, _, capacity, length, stride = shape
    return {"uniform": replay.uniform, "prioritised": replay.prioritised}[kind](
        capacity, batch, length, stride, **settings
    )


def many(source: Replay, number: int) -> Callable[[ReplayState, jax.Array], Sample]:
    """Returns a function that makes one sample of `number` samples, `number * batch` wide."""

    def together(items: bool) -> Callable[[jax.Array], jax.Array]:
        def merge(x: jax.Array) -> jax.Array:
            x = jnp.moveaxis(x, 0, 1) if items else x
            lead = x.shape[:1] if items else ()
            return x.reshape(*lead, -1, *x.shape[len(lead) + 2 :])

        return merge

    @jax.jit
    def sample(state: ReplayState, key: jax.Array) -> Sample:
        samples = jax.vmap(source.sample, in_axes=(None, 0))(state, jax.random.split(key, number))
        rest = jax.tree.map(together(False), samples._replace(items=()))
        return rest._replace(items=jax.tree.map(together(True), samples.items))

    return sample


def filled(source: Replay, shape: tuple[int, ...], rollouts: int) -> tuple[ReplayState, Stream]:
    """A state after so many rollouts, and their stream."""
    stream = Stream(*shape)
    news = [stream.rollout() for _ in range(rollouts)]

    @jax.jit
    def fill(news: Rollout) -> ReplayState:
        state = source.init(Stream(*shape).rollout())
        return jax.lax.scan(lambda s, new: (source.add(s, new), None), state, news)[0]

    return fill(jax.tree.map(lambda *x: np.stack(x), *news)), stream


# --- samples ---


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("uniform", shape) for shape in SHAPES] + [("prioritised", shape) for shape in SHAPES[4::4]],
    ids=str,
)
def test_a_sample_is_any_complete_window_and_nothing_else(
    kind: str, shape: tuple[int, ...]
) -> None:
    """Through three laps of the ring: never across the head, never unwritten, never left out."""
    stream, source = Stream(*shape), make(kind, shape)
    state = source.init(Stream(*shape).rollout())
    add, sample_many = jax.jit(source.add, donate_argnums=0), many(source, 2000)
    empty = sample_many(state, jax.random.key(0))
    assert not empty.importance.any()
    for i in range(3 * stream.steps // shape[0] + 3):
        state = add(state, stream.rollout())
        sample = sample_many(state, jax.random.key(i))
        if not stream.windows():
            assert not sample.importance.any()
            continue
        stream.check(sample)
        assert set(np.asarray(sample.indices).tolist()) == set(stream.windows())
        np.testing.assert_array_equal(sample.importance, 1.0)


def test_windows_keep_the_episode_ends_inside_them() -> None:
    """Both sides of an end come back, with the flag between them."""
    shape = (10, 3, 120, 10, 10)
    state, stream = filled(make("uniform", shape), shape, 9)
    sample = many(make("uniform", shape), 50)(state, jax.random.key(0))
    stream.check(sample)
    ends = np.asarray(sample.items["done"])[:-1].any(0)
    assert ends.all()  # 10 steps always hold an end, as one comes every 7


def test_stored_dtypes_come_back() -> None:
    dtypes = [
        jnp.bool,
        jnp.int8,
        jnp.int16,
        jnp.int32,
        jnp.uint8,
        jnp.float16,
        jnp.bfloat16,
        jnp.float32,
    ]
    items = {str(i): jnp.ones((4, 2, 3), dtype) for i, dtype in enumerate(dtypes)}
    source = replay.uniform(64, 2, 4)
    start = jnp.ones((4, 2), jnp.bfloat16)
    state = jax.jit(lambda new: source.add(source.init(new), new))(Rollout(items, start))
    sample = jax.jit(source.sample)(state, jax.random.key(0))
    for i, dtype in enumerate(dtypes):
        assert sample.items[str(i)].dtype == dtype
        assert sample.items[str(i)].shape == (4, 2, 3)
        np.testing.assert_array_equal(sample.items[str(i)], jnp.ones((4, 2, 3), dtype))
    assert sample.start.dtype == jnp.bfloat16


def chi_square(index: jax.Array, windows: list[int], probability: np.ndarray) -> None:
    counts = np.bincount(np.asarray(index), minlength=max(windows) + 1)[windows]
    expected = probability * counts.sum()
    assert counts.sum() == index.size
    free = len(windows) - 1
    assert ((counts - expected) ** 2 / expected).sum() < free + 4 * math.sqrt(2 * free)


@pytest.mark.parametrize("rollouts", [3, 9])  # before and after the ring is full
def test_uniform_samples_are_uniform(rollouts: int) -> None:
    shape = (10, 3, 180, 10, 5)
    source = make("uniform", shape, batch=8)
    state, stream = filled(source, shape, rollouts)
    sample = many(source, 4000)(state, jax.random.key(1))
    windows = list(stream.windows())
    chi_square(sample.indices, windows, np.full(len(windows), 1 / len(windows)))


def only_eligible(rollout: Rollout, eligible: np.ndarray[Any, Any]) -> Rollout:
    return rollout._replace(eligible=jnp.asarray(eligible))


@pytest.mark.parametrize(("shape", "rollouts"), [(SHAPES[1], 3), (SHAPES[4], 9), (SHAPES[6], 11)])
def test_samples_are_uniform_over_windows_with_an_eligible_step(
    shape: tuple[int, ...], rollouts: int
) -> None:
    """Windows within, equal to and longer than rollouts, before and after the ring has wrapped."""
    T, B, _, length, _ = shape
    source, stream = make("uniform", shape, batch=4), Stream(*shape)
    chosen = np.random.default_rng(0).random((rollouts * T + length, B)) < 1 / length
    state, add = None, jax.jit(source.add)
    for i in range(rollouts):
        rollout = only_eligible(stream.rollout(), chosen[i * T : (i + 1) * T])
        state = add(source.init(rollout) if state is None else state, rollout)
    windows = [
        index
        for index, (start, env) in stream.windows().items()
        if chosen[start : start + length, env].any()
    ]
    assert 1 < len(windows) < len(stream.windows())
    sample = many(source, 4000)(state, jax.random.key(1))
    assert set(np.asarray(sample.indices).ravel().tolist()) == set(windows)
    chi_square(sample.indices, windows, np.full(len(windows), 1 / len(windows)))
    one = jax.jit(source.sample)(state, jax.random.key(2))
    stream.check(one)
    assert (one.importance == 1).all()


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[4], SHAPES[6]], ids=str)
def test_where_every_step_is_eligible_the_same_key_gives_the_same(shape: tuple[int, ...]) -> None:
    source, stream = make("uniform", shape, batch=4), Stream(*shape)
    plain, marked, sample = None, None, jax.jit(source.sample)
    for _ in range(9):
        rollout = stream.rollout()
        more = only_eligible(rollout, np.ones(shape[:2], bool))
        plain = source.add(source.init(rollout) if plain is None else plain, rollout)
        marked = source.add(source.init(more) if marked is None else marked, more)
        for key in jax.random.split(jax.random.key(3)):
            one, other = sample(plain, key), sample(marked, key)
            if one.importance.any():  # otherwise the windows are void
                jax.tree.map(np.testing.assert_array_equal, one, other)


def test_where_no_step_is_eligible_the_sample_is_void() -> None:
    source, stream = make("uniform", SHAPES[1], batch=4), Stream(*SHAPES[1])
    rollout = only_eligible(stream.rollout(), np.zeros(SHAPES[1][:2], bool))
    sample = source.sample(source.add(source.init(rollout), rollout), jax.random.key(0))
    assert (sample.importance == 0).all()


@pytest.mark.parametrize(("shape", "rollouts"), [(SHAPES[1], 3), (SHAPES[4], 9), (SHAPES[6], 11)])
def test_windows_without_an_eligible_step_get_no_priority(
    shape: tuple[int, ...], rollouts: int
) -> None:
    """With few eligible steps, most new windows would else be drawn once with nothing in them."""
    T, B, _, length, _ = shape
    source, stream = make("prioritised", shape, batch=4), Stream(*shape)
    chosen = np.random.default_rng(0).random((rollouts * T + length, B)) < 1 / length
    state, add = None, jax.jit(source.add)
    for i in range(rollouts):
        rollout = only_eligible(stream.rollout(), chosen[i * T : (i + 1) * T])
        state = add(source.init(rollout) if state is None else state, rollout)
    known = stream.windows().items()
    windows = {i for i, (at, env) in known if chosen[at : at + length, env].any()}
    assert 1 < len(windows) < len(known)
    sample = many(source, 500)(state, jax.random.key(1))
    assert set(np.asarray(sample.indices).ravel().tolist()) == windows


def test_a_sample_is_a_function_of_its_key() -> None:
    shape = SHAPES[0]
    for kind in ["uniform", "prioritised"]:
        source = make(kind, shape, batch=4)
        state, _ = filled(source, shape, 4)
        sample = jax.jit(source.sample)
        one, same, other = (sample(state, jax.random.key(k)).indices for k in (0, 0, 1))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()


# --- priorities ---


def check_tree(priorities: replay.Priorities | None, expected: dict[int, float]) -> None:
    """The leaves are `expected` and 0 elsewhere, and every node is the sum of its children."""
    assert priorities is not None
    tree = np.asarray(priorities.tree)
    leaves = len(tree) // 2
    wanted = np.zeros(leaves, np.float32)
    for index, value in expected.items():
        wanted[index] = value
    np.testing.assert_allclose(tree[leaves:], wanted, rtol=1e-6)
    assert ((tree[leaves:] == 0) == (wanted == 0)).all()
    np.testing.assert_array_equal(tree[1:leaves], tree[2::2] + tree[3::2])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_priorities_follow_a_dictionary(shape: tuple[int, ...]) -> None:
    """Adds and updates at random; updates reach gone windows too, and must not revive them."""
    exponent = 0.5
    stream, source = Stream(*shape), make("prioritised", shape, exponent=exponent)
    state = source.init(Stream(*shape).rollout())
    add = jax.jit(source.add, donate_argnums=0)
    update = jax.jit(source.update_priorities, donate_argnums=0)
    generator = np.random.default_rng(0)
    known: dict[tuple[int, int], float] = {}  # by first step and environment
    largest = 1.0
    capacity = stream.steps // stream.stride * stream.B
    for _ in range(3 * stream.steps // shape[0] + 3):
        state = add(state, stream.rollout())
        windows = stream.windows()
        known = {window: known.get(window, largest) for window in windows.values()}
        check_tree(state.priorities, {i: known[window] for i, window in windows.items()})

        index = generator.choice(capacity, size=min(5, capacity), replace=False)
        priority = generator.uniform(0.1, 3, len(index)).astype(np.float32)
        state = update(state, jnp.asarray(index, jnp.int32), jnp.asarray(priority))
        largest = max(largest, float(priority.max()) ** exponent)
        for i, value in zip(index.tolist(), priority.tolist(), strict=True):
            if i in windows:
                known[windows[i]] = value**exponent
        check_tree(state.priorities, {i: known[window] for i, window in windows.items()})


def test_a_window_sampled_twice_takes_the_larger_priority() -> None:
    shape = SHAPES[0]
    source = make("prioritised", shape, exponent=1.0)
    state, _ = filled(source, shape, 4)
    state = source.update_priorities(state, jnp.array([5, 5, 5]), jnp.array([0.5, 2.0, 1.0]))
    check_tree(state.priorities, {i: 2.0 if i == 5 else 1.0 for i in range(12)})


def test_a_deep_tree_keeps_its_sums() -> None:
    """Deeper than the levels that are summed whole, at both ends and in the middle."""
    tree, generator = jnp.zeros(2**14), np.random.default_rng(0)
    wanted: dict[int, float] = {}
    for first in [0, 1, 4000, 4097, 2**13 - 300]:
        value = generator.uniform(size=300).astype(np.float32)
        tree = tree.at[2**13 + first + np.arange(300)].set(value)
        tree = jax.jit(sum_tree.update_sums, static_argnums=2)(tree, first, 300)
        wanted |= {first + i: float(v) for i, v in enumerate(value)}
        check_tree(replay.Priorities(tree, jnp.ones(())), wanted)
        leaf = generator.choice(2**13, 64, replace=False)
        value = generator.uniform(size=64).astype(np.float32)
        tree = jax.jit(sum_tree.set_leaves)(tree, jnp.asarray(leaf), jnp.asarray(value))
        wanted |= dict(zip(leaf.tolist(), value.tolist(), strict=True))
        check_tree(replay.Priorities(tree, jnp.ones(())), wanted)


def test_finding_a_leaf_is_a_search_in_the_running_sum() -> None:
    generator = np.random.default_rng(0)
    value = generator.integers(0, 3, 64).astype(np.float32)  # whole numbers: sums are exact
    tree = sum_tree.update_sums(jnp.zeros(128).at[64:].set(value), jnp.int32(0), 64)
    target = np.arange(0, value.sum(), 0.25, dtype=np.float32)
    leaf, found = sum_tree.find(tree, jnp.asarray(target))
    np.testing.assert_array_equal(leaf, np.searchsorted(np.cumsum(value), target, side="right"))
    np.testing.assert_array_equal(found, value[np.asarray(leaf)])


def test_rounding_never_finds_a_leaf_of_zero() -> None:
    generator = np.random.default_rng(0)
    build, find = jax.jit(sum_tree.update_sums, static_argnums=2), jax.jit(sum_tree.find)
    for _ in range(20):
        value = generator.uniform(size=64) * 10.0 ** generator.integers(-8, 8, 64)
        value[generator.random(64) < 0.7] = 0
        value[-20:] = 0
        tree = build(np.append(np.zeros(64), value).astype(np.float32), jnp.int32(0), 64)
        share = np.append(generator.uniform(size=500), [0, 1, np.nextafter(np.float32(1), 0)])
        leaf, found = find(tree, share.astype(np.float32) * np.asarray(tree)[1])
        assert (np.asarray(found) > 0).all()
        np.testing.assert_array_equal(found, value.astype(np.float32)[np.asarray(leaf)])


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
def test_frequencies_are_the_priorities_to_the_exponent(exponent: float) -> None:
    shape = (10, 3, 120, 10, 10)
    source = make("prioritised", shape, batch=1, exponent=exponent)
    state, stream = filled(source, shape, 6)
    windows = list(stream.windows())
    priority = np.random.default_rng(0).uniform(0.1, 4, len(windows)).astype(np.float32)
    state = source.update_priorities(state, jnp.asarray(windows, jnp.int32), jnp.asarray(priority))
    sample = many(source, 30_000)(state, jax.random.key(2))
    share = priority**exponent
    chi_square(sample.indices, windows, share / share.sum())


def test_samples_are_stratified() -> None:
    """With equal priorities and as many samples as windows, each window comes exactly once."""
    shape = (8, 4, 256, 8, 8)
    source = make("prioritised", shape, batch=32)
    state, _ = filled(source, shape, 8)
    sample = jax.jit(source.sample)(state, jax.random.key(0))
    np.testing.assert_array_equal(np.sort(sample.indices), np.arange(32))


def test_importance_weights_are_the_formula() -> None:
    shape, beta = (10, 3, 120, 10, 10), 0.7
    source = make("prioritised", shape, batch=6, exponent=0.6, importance=beta)
    state, stream = filled(source, shape, 6)
    windows = list(stream.windows())
    priority = np.random.default_rng(0).uniform(0.1, 4, len(windows))
    state = source.update_priorities(
        state, jnp.asarray(windows, jnp.int32), jnp.asarray(priority, jnp.float32)
    )
    sample = jax.jit(source.sample)(state, jax.random.key(0))
    probability = dict(zip(windows, priority**0.6 / (priority**0.6).sum(), strict=True))
    weight = [(len(windows) * probability[i]) ** -beta for i in np.asarray(sample.indices).tolist()]
    np.testing.assert_allclose(sample.importance, np.array(weight) / max(weight), rtol=1e-5)
    assert sample.importance.max() == 1


def test_a_priority_of_zero_takes_a_window_out() -> None:
    shape = (10, 3, 120, 10, 10)
    source = make("prioritised", shape)
    state, stream = filled(source, shape, 6)
    windows = list(stream.windows())
    gone = jnp.asarray(windows[::2], jnp.int32)
    state = source.update_priorities(state, gone, jnp.zeros(len(gone)))
    sample = many(source, 2000)(state, jax.random.key(0))
    assert set(np.asarray(sample.indices).tolist()) == set(windows[1::2])


def test_uniform_ignores_priorities() -> None:
    shape = SHAPES[0]
    source = make("uniform", shape)
    state, _ = filled(source, shape, 4)
    assert source.update_priorities(state, jnp.array([0]), jnp.array([2.0])) is state


# --- compiled: vmap, scan, donation, size ---


@pytest.mark.parametrize("kind", ["uniform", "prioritised"])
@pytest.mark.parametrize("shape", [SHAPES[5], SHAPES[8]], ids=str)
def test_vmapped_over_seeds_is_one_by_one(kind: str, shape: tuple[int, ...]) -> None:
    """Seeds that are at different places of the ring, and have different contents."""
    source = make(kind, shape, batch=3)
    states = [filled(source, shape, rollouts)[0] for rollouts in (6, 20)]
    news = [Stream(*shape).rollout() for _ in states]
    keys = jax.random.split(jax.random.key(0), len(states))

    def step(state: ReplayState, new: Rollout, key: jax.Array) -> tuple[ReplayState, Sample]:
        state = source.add(state, new)
        sample = source.sample(state, key)
        priority = 1 + jnp.arange(3.0)
        return source.update_priorities(state, sample.indices, priority), sample

    def stack(trees: list[Any]) -> Any:
        return jax.tree.map(lambda *x: np.stack(x), *trees)

    one = jax.jit(step)
    wanted = stack([one(*args) for args in zip(states, news, keys, strict=True)])
    found = jax.jit(jax.vmap(step))(stack(states), stack(news), keys)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("seeds", [0, 2])
@pytest.mark.parametrize("kind", ["uniform", "prioritised"])
@pytest.mark.parametrize("stride", [4, 32])
def test_a_donated_loop_makes_no_copy_of_the_storage(kind: str, seeds: int, stride: int) -> None:
    """What the compiled loop allocates is the same for a storage ten times as large."""

    def memory(capacity: int) -> tuple[int, int, int]:
        T, B = 8, 16
        source = make(kind, (T, B, capacity, 8, stride), batch=4)
        new = Rollout(
            {"x": jnp.ones((T, B, 24)), "flag": jnp.ones((T, B), bool)}, jnp.ones((T, B, 4))
        )

        def cycle(state: ReplayState, key: jax.Array) -> tuple[ReplayState, jax.Array]:
            state = source.add(state, new)
            sample = source.sample(state, key)
            state = source.update_priorities(state, sample.indices, jnp.ones(4))
            return state, sum(x.sum(dtype=jnp.float32) for x in jax.tree.leaves(sample))

        def loop(state: ReplayState, key: jax.Array) -> tuple[ReplayState, jax.Array]:
            return jax.lax.scan(cycle, state, jax.random.split(key, 5))

        key = jax.random.key(0)
        state = jax.eval_shape(lambda: source.init(new))
        if seeds:
            key = jax.random.split(key, seeds)
            state = jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), state)
        compiled = jax.jit(jax.vmap(loop) if seeds else loop, donate_argnums=0)
        analysis = compiled.lower(state, key).compile().memory_analysis()
        size = replay.nbytes(source, new) * max(seeds, 1)
        return size, analysis.alias_size_in_bytes, analysis.temp_size_in_bytes

    size, shared, temporary = memory(10_000)
    larger_size, larger_shared, larger_temporary = memory(100_000)
    assert larger_size > 9 * size
    assert shared >= size and larger_shared >= larger_size
    assert larger_temporary - temporary < 1000


def test_nbytes_is_what_is_allocated() -> None:
    """Counted by hand: 100 steps of 4 environments, 10 window rows, 2 counters."""
    example = Rollout(
        {
            "x": jax.ShapeDtypeStruct((5, 4, 3), jnp.float32),
            "a": jax.ShapeDtypeStruct((5, 4), jnp.int8),
        },
        jax.ShapeDtypeStruct((5, 4, 6), jnp.float32),
    )
    ring = 100 * 4 * (3 * 4 + 1) + 10 * 4 * 6 * 4 + 2 * 4
    assert replay.nbytes(replay.uniform(410, 2, 10), example) == ring
    prioritised = replay.prioritised(410, 2, 10)
    assert replay.nbytes(prioritised, example) == ring + 2 * 64 * 4 + 4  # 40 windows, padded
    state = prioritised.init(example)
    assert sum(x.nbytes for x in jax.tree.leaves(state)) == replay.nbytes(prioritised, example)


def test_a_huge_storage_is_sized_without_being_allocated() -> None:
    example = Rollout(jax.ShapeDtypeStruct((50, 1000, 1000), jnp.float32))
    assert replay.nbytes(replay.uniform(10**9, 32, 50), example) > 10**12


# --- errors ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "capacity is 0; it must be a whole number, at least 1"),
        ({"capacity": 1e5}, "capacity is 100000.0; it must be a whole number"),
        ({"capacity": 2**31}, "capacity is 2147483648; it must be at most"),
        ({"batch": 0}, "batch is 0"),
        ({"length": -1}, "length is -1"),
        ({"stride": 0}, "stride is 0"),
    ],
)
@pytest.mark.parametrize("kind", [replay.uniform, replay.prioritised])
def test_settings_are_checked_when_made(
    kind: Callable[..., Replay], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        kind(**{"capacity": 1000, "batch": 4, "length": 10, "stride": 10, **settings})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exponent": -0.1}, "exponent is -0.1; it must be at least 0"),
        ({"importance": 1.1}, r"importance is 1.1; it must lie in \[0, 1\]"),
    ],
)
def test_prioritised_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay.prioritised(1000, 4, 10, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((39, 1, 10, 10), "capacity is 39; it must be at least 40 "),  # less than one rollout
        ((40, 1, 12, 10), "capacity is 40; it must be at least 80 "),  # longer than the ring
        ((80, 1, 20, 20), "capacity is 80; it must be at least 160 "),  # no window while writing
        ((400, 1, 10, 3), "stride is 3; it must divide the rollout length 10 or be a multiple"),
        ((400, 41, 10, 10), "batch is 41; it must be at most 40, "),
    ],
)
def test_sizes_are_checked_at_trace_time(settings: tuple[int, int, int, int], message: str) -> None:
    """T = 10, B = 4; what the message asks for is accepted, and one unit less is not."""
    example = Rollout(jax.ShapeDtypeStruct((10, 4), jnp.float32))
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(lambda: replay.uniform(*settings).init(example))
    assert "\n" not in str(error.value)
    if "at least" in message:
        least = int(message.split("at least ")[1])
        replay.uniform(least, *settings[1:]).init(example)
        with pytest.raises(ValueError, match=f"at least {least} "):
            replay.uniform(least - 1, *settings[1:]).init(example)


def test_rollouts_are_checked_at_trace_time() -> None:
    def like(T: int = 10, B: int = 4, dtype: Any = jnp.float32, name: str = "x") -> Rollout:
        return Rollout({name: jnp.zeros((T, B, 3), dtype)}, jnp.zeros((T, B)))

    for source in [replay.uniform(400, 2, 10), replay.prioritised(400, 2, 10)]:
        state = source.init(like())
        for wrong, message in [
            (like(T=20), r"rollout.items\['x'\] is float32\[20, 4, 3\]; it must be .*\[10, 4, 3\]"),
            (like(B=2), r"rollout.items\['x'\] is float32\[10, 2, 3\]"),
            (like(dtype=jnp.int8), r"is int8\[10, 4, 3\]; it must be as `init` saw it, float32"),
            (
                like(name="y"),
                r"arrays .items\['y'\], .start; it must have .* .items\['x'\], .start",
            ),
            (like()._replace(start=jnp.zeros((4, 10))), r"rollout.start is float32\[4, 10\]"),
        ]:
            with pytest.raises(ValueError, match=message) as error:
                jax.eval_shape(source.add, state, wrong)
            assert "\n" not in str(error.value)
        with pytest.raises(ValueError, match=r"rollout.start has shape \(4, 10\)"):
            source.init(like()._replace(start=jnp.zeros((4, 10))))
        with pytest.raises(ValueError, match=r"rollout\.items has no arrays"):
            source.init(Rollout({}, jnp.zeros((10, 4))))


def test_a_uniform_state_is_no_prioritised_one() -> None:
    shape = SHAPES[0]
    state, _ = filled(make("uniform", shape), shape, 4)
    with pytest.raises(ValueError, match="the state is of a uniform replay"):
        make("prioritised", shape).sample(state, jax.random.key(0))


# --- against flashbax ---


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[5]], ids=str)
def test_holds_the_windows_that_flashbax_holds(shape: tuple[int, ...]) -> None:
    flashbax = pytest.importorskip("flashbax")
    T, B, _, length, stride = shape
    stream, source = Stream(*shape), make("uniform", shape)
    rival = flashbax.make_trajectory_buffer(
        add_batch_size=B,
        sample_batch_size=2000,
        sample_sequence_length=length,
        period=stride,
        min_length_time_axis=length,
        max_length_time_axis=stream.steps,
    )
    example = Stream(*shape).rollout()
    theirs = rival.init(jax.tree.map(lambda x: x[0, 0], example.items))
    ours = source.init(example)
    sample_many = many(source, 2000)
    add = jax.jit(source.add, donate_argnums=0)
    rival_add, rival_sample = jax.jit(rival.add), jax.jit(rival.sample)
    for i in range(2 * stream.steps // T + 1):
        new = stream.rollout()
        ours = add(ours, new)
        theirs = rival_add(theirs, jax.tree.map(lambda x: np.swapaxes(x, 0, 1), new.items))
        if not stream.windows():
            continue
        mine = sample_many(ours, jax.random.key(i)).items["code"]
        other = rival_sample(theirs, jax.random.key(i)).experience["code"]
        windows = {tuple(window) for window in np.asarray(mine).T.tolist()}
        assert windows == {tuple(window) for window in np.asarray(other).tolist()}
