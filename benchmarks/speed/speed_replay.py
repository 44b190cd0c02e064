"""Speed of the replay against flashbax, and a check that it never copies its storage.

    python benchmarks/speed/speed_replay.py [--quick]

Items are those of a two-agent foraging team. Both buffers have the same windows (adjacent, as long
as a rollout), the same dtypes and donated storage, and are timed in turns in one process. flashbax
is batch-major: it gets rollouts `[B, T]`, and transposing its samples to `[T, B]` is not counted.
Ours is time-major.

`loop` is microseconds per iteration of a jitted scan, as in a training loop; the result of every
iteration is carried, so that it is computed. `call` is one jitted call from Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import _timing
import jax
import jax.numpy as jnp

from marlx.data import replay
from marlx.data.ring import Rollout

LENGTH, BATCH, CYCLES = 20, 32, 20


class Buffer(NamedTuple):
    """A replay buffer: its initial state, a rollout, and its functions."""

    init: Callable[[], Any]
    rollout: Any
    add: Callable[[Any, Any], Any]
    sample: Callable[[Any, jax.Array], Any]
    update: Callable[[Any, jax.Array], Any]  # state, int32 [batch] of windows


def items(*lead: int) -> dict[str, jax.Array]:
    """One foraging step, as a learner stores it."""
    return {
        "obs": jnp.ones((*lead, 2, 12), jnp.float32),
        "action_mask": jnp.ones((*lead, 2, 6), bool),
        "global_state": jnp.ones((*lead, 12), jnp.float32),
        "action": jnp.ones((*lead, 2), jnp.int8),
        "reward": jnp.ones(lead, jnp.float32),
        "discount": jnp.ones(lead, jnp.float32),
        "done": jnp.ones(lead, bool),
    }


def ours(kind: str, capacity: int, num_envs: int) -> Buffer:
    make = {"uniform": replay.uniform, "prioritised": replay.prioritised}[kind]
    source = make(capacity, BATCH, LENGTH)
    rollout = Rollout(items(LENGTH, num_envs))

    def update(state: Any, index: jax.Array) -> Any:
        return source.update_priorities(state, index, jnp.full(BATCH, 0.5))

    return Buffer(lambda: source.init(rollout), rollout, source.add, source.sample, update)


def theirs(kind: str, capacity: int, num_envs: int) -> Buffer:
    import flashbax

    settings: dict[str, Any] = {
        "add_batch_size": num_envs,
        "sample_batch_size": BATCH,
        "sample_sequence_length": LENGTH,
        "period": LENGTH,
        "min_length_time_axis": LENGTH,
        "max_length_time_axis": capacity // num_envs // LENGTH * LENGTH,
    }
    if kind == "uniform":
        source = flashbax.make_trajectory_buffer(**settings)
    else:
        source = flashbax.make_prioritised_trajectory_buffer(
            **settings, priority_exponent=0.6, device=jax.default_backend()
        )

    def update(state: Any, index: jax.Array) -> Any:
        return source.set_priorities(state, index, jnp.full(BATCH, 0.5))

    rollout = items(num_envs, LENGTH)
    return Buffer(lambda: source.init(items()), rollout, source.add, source.sample, update)


def in_loop(buffer: Buffer, call: str, windows: int) -> Callable[[Any, Any, jax.Array], Any]:
    """`(state, rollout, key) -> state, result` of `CYCLES` iterations of `call`."""

    def block(state: Any, rollout: Any, key: jax.Array) -> Any:
        keys = jax.random.split(key, CYCLES)
        if call == "add":
            add = lambda s, _: (buffer.add(s, rollout), None)  # noqa: E731
            return jax.lax.scan(add, state, None, CYCLES)[0], ()
        if call == "update":
            index = jax.random.randint(key, (CYCLES, BATCH), 0, windows)
            update = lambda s, i: (buffer.update(s, i), None)  # noqa: E731
            return jax.lax.scan(update, state, index)[0], ()
        shapes = jax.eval_shape(lambda: buffer.sample(state, key))
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        sample = lambda _, k: (buffer.sample(state, k), None)  # noqa: E731
        return state, jax.lax.scan(sample, nothing, keys)[0]

    return block


def one_call(buffer: Buffer, call: str, windows: int) -> Callable[[Any, Any, jax.Array], Any]:
    """`(state, rollout, key) -> state, result` of one `call`."""

    def once(state: Any, rollout: Any, key: jax.Array) -> Any:
        if call == "add":
            return buffer.add(state, rollout), ()
        if call == "update":
            return buffer.update(state, jax.random.randint(key, (BATCH,), 0, windows)), ()
        return state, buffer.sample(state, key)

    return once


def against_flashbax(
    num_envs: int, capacity: int, repeats: int, rival: bool
) -> list[dict[str, Any]]:
    """Returns rows of medians in microseconds and of the speed of ours over that of flashbax."""
    rows = []
    windows = capacity // num_envs // LENGTH * num_envs
    for kind in ["uniform", "prioritised"]:
        buffers = {"marlx": ours(kind, capacity, num_envs)}
        if rival:
            buffers["flashbax"] = theirs(kind, capacity, num_envs)
        states = {name: jax.jit(buffer.init)() for name, buffer in buffers.items()}
        for call in ["add", "sample"] + ["update"] * (kind == "prioritised"):
            row: dict[str, Any] = {
                "replay": kind,
                "envs": num_envs,
                "capacity": capacity,
                "op": call,
            }
            for way, make, per in [("loop", in_loop, CYCLES), ("call", one_call, 1)]:
                fns = {
                    name: _stepper(states, name, make(buffer, call, windows), buffer.rollout)
                    for name, buffer in buffers.items()
                }
                number = max(10, repeats // 10) if (call, way) == ("add", "loop") else repeats
                seconds = _timing.interleaved(fns, number, warmup=3)
                for name, value in _timing.median(seconds).items():
                    row[f"{way}_{name}"] = value / per * 1e6
                if rival:
                    row[f"{way}_ratio"] = _timing.ratio(seconds, "flashbax", "marlx")
            rows.append(row)
            print(_timing.table([row]).splitlines()[-1], flush=True)
    return rows


def _stepper(states: dict[str, Any], name: str, block: Any, rollout: Any) -> Callable[[], Any]:
    """Returns a function without arguments that steps `states[name]`, donated."""
    compiled = jax.jit(block, donate_argnums=0)
    keys = list(jax.random.split(jax.random.key(0), 256))
    turn = 0

    def call() -> Any:
        nonlocal turn
        turn = (turn + 1) % len(keys)
        states[name], result = compiled(states[name], rollout, keys[turn])
        return states[name], result

    return call


def storage_sizes(capacities: list[int], num_envs: int, repeats: int) -> list[dict[str, Any]]:
    """Returns rows of microseconds per cycle and seed of a donated loop, by size of the storage.

    A cycle adds a rollout, samples, and updates priorities. If it copied the storage, its time
    would grow in proportion to the size. `copy` is the time of copying the largest storage once.
    """
    rows = []
    for kind in ["uniform", "prioritised"]:
        for seeds in [1, 2]:
            fns: dict[str, Callable[[], Any]] = {}
            for capacity in capacities:
                fns[str(capacity)] = _cycles(ours(kind, capacity, num_envs), seeds)
            state = jax.jit(ours(kind, capacities[-1], num_envs).init)()
            fns["copy"] = lambda state=state: jax.tree.map(lambda x: x.copy(), state)
            seconds = _timing.median(_timing.interleaved(fns, repeats))
            row: dict[str, Any] = {"replay": kind, "envs": num_envs, "stacked_seeds": seeds}
            row |= {str(c): seconds[str(c)] / CYCLES / seeds * 1e6 for c in capacities}
            row["copy"] = seconds["copy"] * 1e6
            rows.append(row)
            print(_timing.table([row]).splitlines()[-1], flush=True)
    return rows


def _cycles(buffer: Buffer, seeds: int) -> Callable[[], Any]:
    def cycle(state: Any, rollout: Any, key: jax.Array) -> tuple[Any, replay.Sample]:
        state = buffer.add(state, rollout)
        sample = buffer.sample(state, key)
        return buffer.update(state, sample.indices), sample

    def block(state: Any, rollout: Any, key: jax.Array) -> Any:
        shapes = jax.eval_shape(lambda: buffer.sample(state, key))
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        step = lambda c, k: (cycle(c[0], rollout, k), None)  # noqa: E731
        return jax.lax.scan(step, (state, nothing), jax.random.split(key, CYCLES))[0]

    init, rollout, key = lambda _: buffer.init(), buffer.rollout, jax.random.key(0)
    if seeds > 1:
        init, block, key = jax.vmap(init), jax.vmap(block), jax.random.split(key, seeds)
        rollout = jax.tree.map(lambda x: jnp.stack([x] * seeds), rollout)
    state = jax.jit(init)(jnp.arange(seeds))
    compiled = jax.jit(block, donate_argnums=0)

    def call() -> Any:
        nonlocal state
        state, sample = compiled(state, rollout, key)
        return state, sample

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small storages, fewer repeats")
    quick = parser.parse_args().quick
    rival = not _timing.missing("flashbax")
    repeats = 30 if quick else 200
    sizes = [(1, 100_000), (64, 1_000_000), (1024, 1_000_000), (4096, 1_000_000)]
    rivals = []
    for num_envs, capacity in sizes:
        rivals += against_flashbax(num_envs, capacity // 5 if quick else capacity, repeats, rival)
    capacities = [10_000, 100_000] if quick else [10_000, 100_000, 1_000_000, 4_000_000]
    storages = storage_sizes(capacities, 64, repeats // 3)
    print("\nagainst flashbax: microseconds, and our speed over that of flashbax")
    print(_timing.table(rivals))
    print(
        "\nadd, sample and update in a donated loop: microseconds per cycle and seed, by capacity"
    )
    print(_timing.table(storages))
    settings = {"length": LENGTH, "batch": BATCH, "cycles": CYCLES, "repeats": repeats}
    for part, rows, names in (
        ("against_flashbax", rivals, ("replay", "envs", "capacity", "op")),
        ("storage_sizes", storages, ("replay", "envs", "stacked_seeds")),
    ):
        for row in rows:
            case = {name: row.pop(name) for name in names}
            arm = f"{case['replay']} {case.get('op', 'cycle')}, {case['envs']} environments"
            if part == "storage_sizes":
                arm += f", {case['stacked_seeds']} seeds"
            given = {"part": part, **settings, **case}
            _timing.write("speed_replay", arm, given, row, ["flashbax"], quick=quick)


if __name__ == "__main__":
    main()
