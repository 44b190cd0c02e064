"""Environment steps per second of particle worlds with random actions: marlx, JaxMARL and mpe2.

    python benchmarks/speed/speed_mpe.py

Simple spread with three agents and simple tag with three against one, 25 steps (26 in JaxMARL,
which compares its counter before it increments it), auto-reset. Ours is stepped by `vector_step`
and by `jax.vmap(env.step)`. All programs get the same random actions, drawn before the loop: drawn
inside, the random generator would take a third of a step of ours with one environment. All programs
of one batch size are compiled first (timed separately), then timed in turns in one process; the
median is reported. `ratio` compares steps per second, `cpu_ratio` the processor time of a step over
all cores, which is the steadier of the two where other programs share the machine.
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
from marlx.loop.vector import vector_reset

SCENARIOS = ("simple_spread_v3", "simple_tag_v3")
WHAT = "environment steps per second, 25 steps (JaxMARL: 26), uniform random actions"


def random_actions(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """uint8 of `shape`, uniform over 5 up to 0.4 %."""
    bits = jax.random.bits(key, shape, jnp.uint8)
    return ((bits.astype(jnp.uint16) * 5) >> 8).astype(jnp.uint8)


def scanned(reset: Any, step: Any, num_envs: int, num_agents: int, steps: int) -> Any:
    """Returns a program of `steps` steps; `step` is `(key, state, action) -> obs, state, reward`.

    The program returns the sum of rewards of each environment and the last observations, so that
    the compiler cannot leave them out.
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


def ours(scenario: str, num_envs: int, steps: int, call: str) -> Callable[[jax.Array], Any]:
    env = mpe.make(f"mpe/{scenario}")
    params = env.default_params

    def step(key: jax.Array, state: Any, action: jax.Array) -> Any:
        obs, state, reward, _, _, _ = _timing.stepped(env, params, call, key, state, action)
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


def measure(scenario: str, num_envs: int, args: argparse.Namespace) -> dict[str, Any]:
    """Times all packages that are installed on one scenario with one batch size."""
    slower = 10 if num_envs == 1 else 1
    programs = {
        call: ((lambda steps, call=call: ours(scenario, num_envs, steps, call)), 4e6 / slower)
        for call in (_timing.VECTOR, _timing.VMAP)
    }
    if "jaxmarl" not in args.absent:
        programs["jaxmarl"] = lambda steps: jaxmarls(scenario, num_envs, steps), 2e5 / slower
    return _timing.environment_speed(programs, num_envs, args.repeats, args.seconds)


def measure_and_write(scenario: str, num_envs: int, args: argparse.Namespace) -> None:
    """Measures one scenario with one batch size, and writes a row for each of our calls."""
    measured = measure(scenario, num_envs, args)
    arm = f"{scenario}, {num_envs} environments"
    shared = {"what": WHAT, "repeats": args.repeats, "seconds": args.seconds}
    shared |= {"scenario": scenario, "num_envs": num_envs}
    for call in _timing.calls(measured):
        row = _timing.call_row(measured, call, "jaxmarl")
        if call == _timing.VECTOR and num_envs == 1 and "mpe2" not in args.absent:
            row["mpe2"] = round(
                statistics.median(500 / mpe2s(scenario, 500) for _ in range(args.repeats))
            )
        name = arm if call == _timing.VECTOR else f"{arm}, {call}"
        print(f"{name}: {row}", flush=True)
        settings, packages = shared | {"call": call}, ("jaxmarl", "mpe2")
        _timing.write("speed_mpe", name, settings, row, packages, env=f"mpe/{scenario}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing, roughly")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    args.absent = _timing.missing("jaxmarl", "mpe2")
    for scenario in SCENARIOS:
        for num_envs in args.sizes:
            measure_and_write(scenario, num_envs, args)


if __name__ == "__main__":
    main()
