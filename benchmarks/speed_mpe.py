"""Environment steps per second of particle environments: marlx, JaxMARL and mpe2, random actions.

    python benchmarks/speed_mpe.py

Simple spread with three agents and simple tag with three against one, 25 steps (26 in JaxMARL,
which compares its counter before advancing it), auto-reset. Both sides are given the same random
actions, drawn before the loop: drawing them inside would time the random generator too, which with
one environment is a third of our step. All programs of one batch size are compiled first (timed
apart), then timed in turns in this process, and the median of the turns is reported, so that what
else the machine does meets all alike. `ratio` compares steps per second, `cpu` the processor time
of a step over all cores: where other programs share the machine, the second is the steadier.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import _timing
import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs import mpe
from marlx.loop.vector import vector_reset, vector_step

SCENARIOS = ("simple_spread_v3", "simple_tag_v3")


def random_actions(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """uint8 of `shape`, uniform over 5 up to 0.4 %."""
    bits = jax.random.bits(key, shape, jnp.uint8)
    return ((bits.astype(jnp.uint16) * 5) >> 8).astype(jnp.uint8)


def scanned(reset: Any, step: Any, num_envs: int, num_agents: int, steps: int) -> Any:
    """A program that plays `steps` steps; `step` is `(key, state, action) -> obs, state, reward`.

    Returns each environment's summed reward and the last observations, so that none is left out.
    """

    def run(key: jax.Array) -> Any:
        key_reset, key_step, key_actions = jax.random.split(key, 3)
        obs, state = reset(key_reset)

        def body(carry: Any, given: Any) -> Any:
            state, total, _ = carry
            key, action = given
            obs, state, reward = step(key, state, action.astype(jnp.int32))
            return (state, total + reward, obs), None

        start = (state, jnp.zeros(num_envs), obs)
        actions = random_actions(key_actions, (steps, num_envs, num_agents))
        keys = jax.random.split(key_step, steps)
        (_, total, obs), _ = jax.lax.scan(body, start, (keys, actions))
        return total, obs

    return run


def ours(scenario: str, num_envs: int, steps: int) -> Callable[[jax.Array], Any]:
    env = mpe.make(f"mpe/{scenario}")
    params = env.default_params

    def step(key: jax.Array, state: Any, action: jax.Array) -> Any:
        obs, state, reward, _, _, _ = vector_step(env, params, key, state, action)
        return obs, state, reward.sum(-1)

    reset = lambda key: vector_reset(env, params, key, num_envs)  # noqa: E731
    return scanned(reset, step, num_envs, len(env.agents), steps)


def jaxmarls(scenario: str, num_envs: int, steps: int) -> Callable[[jax.Array], Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        import jaxmarl
    env = jaxmarl.make(f"MPE_{scenario}")

    def step(key: jax.Array, state: Any, action: jax.Array) -> Any:
        actions = {name: action[:, i] for i, name in enumerate(env.agents)}
        obs, state, reward, _, _ = jax.vmap(env.step)(
            jax.random.split(key, num_envs), state, actions
        )
        return obs, state, sum(reward[name] for name in env.agents)

    reset = lambda key: jax.vmap(env.reset)(jax.random.split(key, num_envs))  # noqa: E731
    return scanned(reset, step, num_envs, len(env.agents), steps)


def mpe2s(scenario: str, steps: int) -> float:
    """Seconds for `steps` steps of the Python environment."""
    import importlib

    env = importlib.import_module(f"mpe2.{scenario}").parallel_env()
    names = env.possible_agents
    actions = np.random.default_rng(0).integers(0, 5, (steps, len(names))).tolist()
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        if any(env.step(dict(zip(names, action, strict=True)))[3].values()):
            env.reset()
    return time.perf_counter() - start


def measure(
    sizes: list[int], repeats: int, seconds: float, absent: list[str]
) -> list[dict[str, Any]]:
    """One row per scenario and batch size; packages that are `absent` are left out."""
    rows = []
    for scenario in SCENARIOS:
        for num_envs in sizes:
            programs: dict[str, tuple[Any, int]] = {}
            row: dict[str, Any] = {"scenario": scenario, "num_envs": num_envs}
            for name, make, rate in (("marlx", ours, 4e6), ("jaxmarl", jaxmarls, 2e5)):
                if name in absent:
                    continue
                if num_envs == 1:
                    rate /= 10
                steps = max(60, int(rate * seconds / num_envs))
                start = time.perf_counter()
                program = jax.jit(make(scenario, num_envs, steps))
                program = program.lower(jax.random.key(0)).compile()
                row[f"{name}_compile_s"] = round(time.perf_counter() - start, 2)
                jax.block_until_ready(program(jax.random.key(0)))
                programs[name] = program, steps
            times: dict[str, list[float]] = {name: [] for name in programs}
            work: dict[str, list[float]] = {name: [] for name in programs}
            for turn in range(repeats):
                for name, (program, steps) in programs.items():
                    start, busy = time.perf_counter(), time.process_time()
                    jax.block_until_ready(program(jax.random.key(turn)))
                    work[name].append((time.process_time() - busy) / (steps * num_envs))
                    times[name].append(steps * num_envs / (time.perf_counter() - start))
            for name, speeds in times.items():
                row[name] = round(statistics.median(speeds))
            turns = range(repeats)
            if "jaxmarl" in programs:
                row["ratio"] = round(
                    statistics.median(times["marlx"][k] / times["jaxmarl"][k] for k in turns), 1
                )
                row["cpu_ratio"] = round(
                    statistics.median(work["jaxmarl"][k] / work["marlx"][k] for k in turns), 1
                )
            if num_envs == 1 and "mpe2" not in absent:
                row["mpe2"] = round(
                    statistics.median(500 / mpe2s(scenario, 500) for _ in range(repeats))
                )
            rows.append(row)
            shown = {name: row.get(name, "-") for name in ("jaxmarl", "mpe2")}
            print(
                f"{scenario:>17} {num_envs:>6} {row['marlx']:>12,} {shown['jaxmarl']:>12} "
                f"{row.get('ratio', '-'):>7} {row.get('cpu_ratio', '-'):>7} "
                f"{shown['mpe2']:>8} {row['marlx_compile_s']:>8} "
                f"{row.get('jaxmarl_compile_s', '-'):>8}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing, roughly")
    parser.add_argument("--name", default="speed_mpe", help="of the file of results")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    absent = _timing.missing("jaxmarl", "mpe2")
    print(
        f"{'scenario':>17} {'envs':>6} {'marlx':>12} {'jaxmarl':>12} {'ratio':>7} {'cpu':>7} "
        f"{'mpe2':>8} {'compile':>8} {'(s)':>8}"
    )
    rows = measure(args.sizes, args.repeats, args.seconds, absent)
    result = {
        "what": "environment steps per second, 25 steps (JaxMARL: 26), uniform random actions",
        "repeats": args.repeats,
        "rows": rows,
    }
    _timing.write(args.name, result, ("jaxmarl", "mpe2"))


if __name__ == "__main__":
    main()
