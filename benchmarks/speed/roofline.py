"""Roofline of the hottest programs: counted operations and bytes, and measured time.

    python benchmarks/speed/roofline.py [--quick]

Operations and bytes are XLA's count of the compiled program, after fusion. The peaks of this
machine, measured in the same run, give the time that they need at least: large matrix products for
learners, chains of multiply-adds for environments, and reading and writing arrays that fit into the
cache of a core, or do not. The larger time is the roof. The rest of the measured time goes to
starting many small kernels, to kernels that run on one core, and to operations that are slower than
a multiply-add.

XLA counts the body of a loop once. Each count is therefore that of a program without loops that
matter, and is multiplied here: one environment step; one gradient step of QMIX; one pass of PPO
over its data, as one minibatch. `kernels` is the number of instructions after fusion, with the
bodies of loops once.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import _timing
import jax
import jax.numpy as jnp

from marlx.config import layers as config_layers
from marlx.loop import program as loop_program
from marlx.loop.vector import vector_reset, vector_step
from marlx.registry import make_env

FORAGING = "Foraging-8x8-2p-2f-coop-v3"
SPREAD = "mpe/simple_spread_v3"
NO_WORK = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional",
    "call", "after-all", "opt-barrier",
}  # fmt: skip
NEAR = 0.5
"""A program is limited by its roof where that is at least this share of its time."""


class Program(NamedTuple):
    """A program to measure.

    Attributes:
      call: runs the program `times` times.
      times: see `call`.
      counted: compiled program with the operations and bytes.
      times_counted: how often one run of the program does what `counted` does.
      peak: the peak of the machine to compare its operations with.
    """

    call: Callable[[], Any]
    times: int
    counted: Any
    times_counted: int
    peak: str


def machine(repeats: int) -> dict[str, float]:
    """Returns the peaks of this machine: operations, and bytes read and written, per second."""
    square = jnp.ones((1024, 1024))
    product = jax.jit(lambda a, b: a @ b)
    many = jnp.ones(1 << 20)

    @jax.jit
    def chain(x: jax.Array) -> jax.Array:
        for i in range(64):
            x = x * (1.0 + 1e-3 * i) + 1e-3
        return x

    near, far = jnp.ones(1 << 16), jnp.ones(1 << 26)  # 256 kB and 256 MB
    loops = {"cache": 1000, "memory": 10}  # a result's memory is allocated once and then reused

    @functools.partial(jax.jit, static_argnums=1)
    def again(x: jax.Array, times: int) -> jax.Array:
        return jax.lax.fori_loop(0, times, lambda _, y: y * 1.0001, x)

    seconds = _timing.interleaved(
        {
            "product": lambda: product(square, square),
            "multiply_add": lambda: chain(many),
            "cache": lambda: again(near, loops["cache"]),
            "memory": lambda: again(far, loops["memory"]),
        },
        repeats,
    )
    fastest = {name: min(values) for name, values in seconds.items()}  # a peak is the best time
    return {
        "product": 2 * 1024**3 / fastest["product"],
        "multiply_add": 2 * 64 * many.size / fastest["multiply_add"],
        "cache": 2 * near.nbytes * loops["cache"] / fastest["cache"],
        "memory": 2 * far.nbytes * loops["memory"] / fastest["memory"],
    }


def environment(env_id: str, num_envs: int, steps: int) -> Program:
    """Returns a step of all environments, with random actions drawn before."""
    env = make_env(env_id)
    params = env.default_params
    spec = env.spec(params)
    key = jax.random.key(0)
    _, state = jax.jit(lambda k: vector_reset(env, params, k, num_envs))(key)
    shape = (steps, num_envs, spec.num_agents)
    actions = jax.random.randint(key, shape, 0, spec.num_actions, jnp.int32)

    def step(state: Any, key: jax.Array, action: jax.Array) -> Any:
        obs, state, reward, *_ = vector_step(env, params, key, state, action)
        return state, obs, reward

    @jax.jit
    def run(state: Any, keys: jax.Array, actions: jax.Array) -> Any:
        def body(carry: Any, given: Any) -> Any:
            # observations are carried, so that they are computed
            return step(carry[0], *given), None

        start = step(state, keys[0], actions[0])
        return jax.lax.scan(body, start, (keys, actions))[0]

    keys = jax.random.split(key, steps)
    counted = jax.jit(step).lower(state, key, actions[0]).compile()
    return Program(lambda: run(state, keys, actions), steps, counted, 1, "multiply_add")


def update(algorithm: str, env_id: str, times: int) -> Program:
    """Returns the update of a learner with the shipped preset, after its warm-up."""
    made = config_layers.experiment(algorithm, env_id)
    env, params, learner = made.build()
    loop = loop_program.loop(env, params, learner, made.train)
    run = jax.jit(loop.warm_up)(jax.jit(loop.init)(jax.random.key(0)))
    q_learner = hasattr(run.learner, "pending")

    def one(state: Any, key: jax.Array, by: Any = learner) -> Any:
        if q_learner:  # one gradient step is due, whatever the rollout was worth
            state = state._replace(pending=jnp.ones_like(state.pending))
        return by.update(state, key)[0]

    keys = jax.random.split(jax.random.key(1), times)
    many = jax.jit(
        lambda state: jax.lax.scan(lambda s, k: (one(s, k), None), state, keys)[0],
        donate_argnums=0,
    )
    whole, passes = learner, 1
    if not q_learner:
        passes = learner.config.epochs
        settings = dataclasses.replace(learner.config, epochs=1, minibatches=1)
        whole = made._replace(learner=settings).build()[2]
    lowered = jax.jit(lambda s, k: one(s, k, whole), donate_argnums=0).lower(run.learner, keys[0])
    carry = [run.learner]

    def call() -> Any:
        carry[0] = many(carry[0])
        return carry[0]

    return Program(call, times, lowered.compile(), passes, "product")


def kernels(compiled: Any) -> int:
    """Returns the number of instructions that do work, with the bodies of loops and branches."""
    count, inside = 0, False
    for line in compiled.as_text().splitlines():
        if line.endswith("{") and not line.startswith(" "):
            # fused computations and the functions of reductions are part of one instruction
            inside = not re.match(r"%?(fused|region|wrapped|parallel_)", line)
            inside |= "body" in line.split("(")[0] or line.startswith("ENTRY")
        found = re.match(r"\s+(?:ROOT )?%?[\w.-]+ = .*?[\])}] ([a-z][\w-]*)\(", line)
        if inside and found and found.group(1) not in NO_WORK:
            count += 1
    return count


def row(name: str, program: Program, peaks: dict[str, float], repeats: int) -> dict[str, Any]:
    """Returns the counts of a program, the times that follow from them, and the measured time."""
    cost = program.counted.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    operations = (cost["flops"] + cost.get("transcendentals", 0)) * program.times_counted
    moved = cost["bytes accessed"] * program.times_counted
    seconds = _timing.interleaved({name: program.call}, repeats)[name]
    took = statistics.median(seconds) / program.times
    times = {
        "operations": operations / peaks[program.peak],
        "bytes": moved / peaks["cache"],
    }
    roof = max(times, key=lambda key: times[key])
    share = times[roof] / took
    return {
        "measured_us": round(took * 1e6, 1),
        "Mop": round(operations / 1e6, 3),
        "MB": round(moved / 1e6, 3),
        "op_per_byte": round(operations / moved, 2),
        "operations_us": round(times["operations"] * 1e6, 1),
        "bytes_us": round(times["bytes"] * 1e6, 1),
        "from_memory_us": round(moved / peaks["memory"] * 1e6, 1),
        "of_roof": round(share, 2),
        "limit": roof if share >= NEAR else "neither",
        "kernels": kernels(program.counted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    quick = parser.parse_args().quick
    repeats, steps, times = (3, 50, 5) if quick else (15, 500, 50)
    peaks = machine(repeats)
    print({name: f"{value / 1e9:.1f} G/s" for name, value in peaks.items()}, flush=True)
    programs: dict[str, Callable[[], Program]] = {
        "foraging step, 64": lambda: environment(FORAGING, 64, steps),
        "foraging step, 4096": lambda: environment(FORAGING, 4096, steps),
        "spread step, 64": lambda: environment(SPREAD, 64, steps),
        "spread step, 4096": lambda: environment(SPREAD, 4096, steps),
        "QMIX update, foraging": lambda: update("qmix", FORAGING, times),
        "MAPPO update, foraging": lambda: update("mappo", FORAGING, max(1, times // 10)),
        "IPPO update, spread": lambda: update("ippo", SPREAD, max(1, times // 10)),
    }
    packages = ("marlx", "flax", "optax")
    per_second = {name: round(value / 1e9, 1) for name, value in peaks.items()}
    _timing.write("roofline", "machine", {"part": "machine"}, per_second, packages, quick=quick)
    rows = []
    for name, make in programs.items():
        measured = row(name, make(), peaks, repeats)
        rows.append({"program": name, **measured})
        print(rows[-1], flush=True)
        _timing.write("roofline", name, {"program": name}, measured, packages, quick=quick)
    print(_timing.table(rows))


if __name__ == "__main__":
    main()
