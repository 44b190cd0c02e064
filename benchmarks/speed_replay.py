"""Speed of the replay against flashbax, and the proof that it never copies its storage.

    python benchmarks/speed_replay.py [--quick]

Items are those of a two-agent foraging team. Both sides get their storage donated, the same
windows (adjacent, of the length of a rollout) and the same dtypes. flashbax is batch-major, so it
is given rollouts that are already `[B, T]` and is not charged for turning what it samples to
`[T, B]`; ours takes and gives time-major.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import _timing
import flashbax
import jax
import jax.numpy as jnp

from marlx import replay
from marlx.replay import Rollout

LENGTH, BATCH = 20, 32


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


@dataclasses.dataclass
class Side:
    """A buffer, full, behind calls of no arguments; the state is donated from call to call."""

    state: Any
    rollout: Any
    add_fn: Callable[[Any, Any], Any]
    sample_fn: Callable[[Any, jax.Array], Any]
    update_fn: Callable[[Any, Any], Any] | None
    key: jax.Array = dataclasses.field(default_factory=lambda: jax.random.key(0))

    def __post_init__(self) -> None:
        self.add_fn = jax.jit(self.add_fn, donate_argnums=0)
        sample_fn = self.sample_fn

        def sample(state: Any, key: jax.Array) -> Any:
            key, key_sample = jax.random.split(key)
            return sample_fn(state, key_sample), key

        self.sample_fn = jax.jit(sample)
        if self.update_fn is not None:
            self.update_fn = jax.jit(self.update_fn, donate_argnums=0)

    def add(self) -> Any:
        self.state = self.add_fn(self.state, self.rollout)
        return self.state

    def sample(self) -> Any:
        self.drawn, self.key = self.sample_fn(self.state, self.key)
        return self.drawn

    def update(self) -> Any:
        assert self.update_fn is not None
        self.state = self.update_fn(self.state, self.drawn)
        return self.state


def ours(kind: str, capacity: int, num_envs: int) -> Side:
    make = replay.uniform if kind == "uniform" else replay.prioritised
    source = make(capacity, BATCH, LENGTH)
    rollout = Rollout(items(LENGTH, num_envs))
    state = jax.jit(lambda: source.init(rollout))()

    def update(state: Any, drawn: replay.Draw) -> Any:
        return source.update_priorities(state, drawn.index, jnp.full(BATCH, 0.5))

    return Side(state, rollout, source.add, source.draw, update)


def theirs(kind: str, capacity: int, num_envs: int) -> Side:
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
        update = None
    else:
        source = flashbax.make_prioritised_trajectory_buffer(
            **settings, priority_exponent=0.6, device=jax.default_backend()
        )

        def update(state: Any, drawn: Any) -> Any:
            return source.set_priorities(state, drawn.indices, jnp.full(BATCH, 0.5))

    state = jax.jit(source.init)(items())
    return Side(state, items(num_envs, LENGTH), source.add, source.sample, update)


def against_flashbax(num_envs: int, capacity: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of medians in microseconds and ratios."""
    rows = []
    for kind in ["uniform", "prioritised"]:
        sides = {
            "marlx": ours(kind, capacity, num_envs),
            "flashbax": theirs(kind, capacity, num_envs),
        }
        calls = ["add", "sample"] + ["update"] * (kind == "prioritised")
        for side in sides.values():
            for _ in range(min(capacity // num_envs // LENGTH, 200)):
                side.add()
        for call in calls:
            fns = {name: getattr(side, call) for name, side in sides.items()}
            seconds = _timing.interleaved(fns, repeats)
            medians = _timing.median(seconds)
            rows.append(
                {
                    "replay": kind,
                    "envs": num_envs,
                    "capacity": capacity,
                    "call": call,
                    "marlx_us": medians["marlx"] * 1e6,
                    "flashbax_us": medians["flashbax"] * 1e6,
                    "times_as_fast": _timing.ratio(seconds, "flashbax", "marlx"),
                }
            )
            print(_timing.table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def loop_times(capacities: list[int], num_envs: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of microseconds per cycle of a jitted loop whose carry, the storage, is donated.

    A cycle adds a rollout, draws, and updates priorities. If anything copied the storage, the
    cycle would take longer the larger it is.
    """
    cycles, rows = 100, []
    for kind in ["uniform", "prioritised"]:
        for seeds in [1, 2]:
            fns = {str(c): _loop(kind, c, num_envs, seeds, cycles) for c in capacities}
            medians = _timing.median(_timing.interleaved(fns, repeats))
            row: dict[str, Any] = {"replay": kind, "envs": num_envs, "seeds": seeds}
            row |= {f"us_at_{c}": medians[str(c)] / cycles * 1e6 for c in capacities}
            row["last_over_first"] = medians[str(capacities[-1])] / medians[str(capacities[0])]
            rows.append(row)
            print(_timing.table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def _loop(kind: str, capacity: int, num_envs: int, seeds: int, cycles: int) -> Callable[[], Any]:
    make = replay.uniform if kind == "uniform" else replay.prioritised
    source = make(capacity, BATCH, LENGTH)
    rollout = Rollout(items(LENGTH, num_envs))

    def cycle(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state = source.add(state, rollout)
        draw = source.draw(state, key)
        state = source.update_priorities(state, draw.index, draw.items["reward"][0] + 0.5)
        return state, sum(x.sum(dtype=jnp.float32) for x in jax.tree.leaves(draw.items))

    def block(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        return jax.lax.scan(cycle, state, jax.random.split(key, cycles))

    init, key = lambda _: source.init(rollout), jax.random.key(0)
    if seeds > 1:
        init, block, key = jax.vmap(init), jax.vmap(block), jax.random.split(key, seeds)
    state = jax.jit(init)(jnp.arange(seeds))
    block = jax.jit(block, donate_argnums=0)

    def call() -> Any:
        nonlocal state
        state, total = block(state, key)
        return total

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small storages and few repeats")
    quick = parser.parse_args().quick
    repeats = 20 if quick else 100
    sizes = [(1, 100_000), (64, 1_000_000), (1024, 1_000_000), (4096, 1_000_000)]
    rivals = []
    for num_envs, capacity in sizes:
        rivals += against_flashbax(num_envs, capacity // 5 if quick else capacity, repeats)
    loops = loop_times([10_000, 100_000] if quick else [10_000, 100_000, 1_000_000], 64, 10)
    print("\nagainst flashbax, medians in microseconds")
    print(_timing.table(rivals))
    print("\none cycle of add, draw and update in a donated loop, microseconds")
    print(_timing.table(loops))
    if not quick:
        settings = {"length": LENGTH, "batch": BATCH, "repeats": repeats}
        results = {"settings": settings, "against_flashbax": rivals, "loop": loops}
        print("written to", _timing.write("speed_replay", results, ["flashbax"]).name)


if __name__ == "__main__":
    main()
