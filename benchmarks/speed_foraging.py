"""Environment steps per second of foraging: marlx, jumanji and lbforaging, random actions.

    python benchmarks/speed_foraging.py

8x8, two agents, two foods, full sight, 50 steps, uniform unmasked random actions, auto-reset. All
programs of one batch size are compiled first (timed apart), then timed in turns in this process,
and the median of the turns is reported, so that what else the machine does meets all alike.
`ratio` compares steps per second, `cpu` the processor time of a step over all cores: where other
programs share the machine, the second is the steadier.

Random teams mostly run into the time limit together. A trained team's episodes end at different
times, and then some episode is reset on nearly every step: the rows `1 to 23` measure that. Both
sides get the same rule: a reset also draws how long the episode may last, uniform over 1 to 23
steps (12 on average), and starts its clock so that the time limit falls there.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import _timing
import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs.foraging import Foraging
from marlx.loop.vector import vector_reset, vector_step

AGENTS, FOODS, SIZE, HORIZON, LONGEST = 2, 2, 8, 50, 23


class Short(Foraging):
    """Foraging whose episodes last 1 to LONGEST steps."""

    def reset_env(self, key, params):
        key, key_life = jax.random.split(key)
        return super().reset_env(key, params).replace(time=_start(key_life))


def _start(key: jax.Array) -> jax.Array:
    """int32 [], what the clock shows at the start of an episode of 1 to LONGEST steps."""
    life = 1 + (jax.random.bits(key, (), jnp.uint32) % LONGEST).astype(jnp.int32)
    return HORIZON - life


def random_actions(key: jax.Array, steps: int, num_envs: int) -> jax.Array:
    """uint8 [T, B, N], uniform over 6 up to 1.2 %.

    Drawn for all steps at once, so that what is timed is the environment and not the draws.
    """
    bits = jax.random.bits(key, (steps, num_envs, AGENTS), jnp.uint8)
    return ((bits.astype(jnp.uint16) * 6) >> 8).astype(jnp.uint8)


def ours(num_envs: int, steps: int, early: bool) -> Callable[[jax.Array], Any]:
    kind = Short if early else Foraging
    env = kind(size=(SIZE, SIZE), num_agents=AGENTS, num_food=FOODS, horizon=HORIZON)
    params = env.default_params

    def run(key: jax.Array) -> Any:
        key_reset, key_action, key_step = jax.random.split(key, 3)
        obs, state = vector_reset(env, params, key_reset, num_envs)
        actions = random_actions(key_action, steps, num_envs)

        def body(carry: Any, given: Any) -> Any:
            state, total, _ = carry
            key, action = given
            action = action.astype(jnp.int32)
            obs, state, reward, _, _, _ = vector_step(env, params, key, state, action)
            return (state, total + reward.sum(-1), obs), None

        start = (state, jnp.zeros(num_envs), obs)
        (_, total, obs), _ = jax.lax.scan(body, start, (jax.random.split(key_step, steps), actions))
        return total, obs

    return run


def jumanjis(num_envs: int, steps: int, early: bool) -> Callable[[jax.Array], Any]:
    from jumanji.environments import LevelBasedForaging
    from jumanji.environments.routing.lbf.generator import RandomGenerator
    from jumanji.wrappers import AutoResetWrapper, Wrapper

    class ShortEpisodes(Wrapper):
        def reset(self, key: jax.Array) -> Any:
            key, key_life = jax.random.split(key)
            state, timestep = self._env.reset(key)
            return state.replace(step_count=_start(key_life)), timestep

    generator = RandomGenerator(
        grid_size=SIZE, fov=SIZE, num_agents=AGENTS, num_food=FOODS, force_coop=False
    )
    env = LevelBasedForaging(generator=generator, time_limit=HORIZON)
    inner = ShortEpisodes(env) if early else env
    # Its VmapAutoResetWrapper takes the same time within 3 %, at 1, 64 and 1024 environments.
    wrapped = AutoResetWrapper(inner)
    reset, step = jax.vmap(wrapped.reset), jax.vmap(wrapped.step)

    def run(key: jax.Array) -> Any:
        key_reset, key_action = jax.random.split(key)
        state, timestep = reset(jax.random.split(key_reset, num_envs))
        actions = random_actions(key_action, steps, num_envs)

        def body(carry: Any, action: jax.Array) -> Any:
            state, total, _ = carry
            state, timestep = step(state, action.astype(jnp.int32))
            return (state, total + timestep.reward.sum(-1), timestep.observation), None

        start = (state, jnp.zeros(num_envs), timestep.observation)
        (_, total, obs), _ = jax.lax.scan(body, start, actions)
        return total, obs

    return run


def lbforagings(steps: int) -> float:
    """Seconds for `steps` steps of the Python environment."""
    from lbforaging.foraging import ForagingEnv

    env = ForagingEnv(
        players=AGENTS, min_player_level=1, max_player_level=2, min_food_level=1,
        max_food_level=None, field_size=(SIZE, SIZE), max_num_food=FOODS, sight=SIZE,
        max_episode_steps=HORIZON, force_coop=False,
    )  # fmt: skip
    actions = np.random.default_rng(0).integers(0, 6, (steps, AGENTS)).tolist()
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return time.perf_counter() - start


def measure(
    sizes: list[int], repeats: int, early_rows: bool, seconds: float, absent: list[str]
) -> list[dict[str, Any]]:
    """One row per kind of ending and batch size; packages that are `absent` are left out."""
    rows = []
    for early in (False, True) if early_rows else (False,):
        for num_envs in sizes:
            programs: dict[str, tuple[Any, int]] = {}
            row: dict[str, Any] = {
                "num_envs": num_envs,
                "lasts": "1 to 23" if early else "as played",
            }
            for name, make, rate in (("marlx", ours, 3e6), ("jumanji", jumanjis, 3e5)):
                if name in absent:
                    continue
                if num_envs == 1:
                    rate /= 4
                steps = max(100, int(rate * seconds / num_envs))
                start = time.perf_counter()
                program = jax.jit(make(num_envs, steps, early)).lower(jax.random.key(0)).compile()
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
            if "jumanji" in programs:
                row["ratio"] = round(
                    statistics.median(times["marlx"][k] / times["jumanji"][k] for k in turns), 1
                )
                row["cpu_ratio"] = round(
                    statistics.median(work["jumanji"][k] / work["marlx"][k] for k in turns), 1
                )
            if num_envs == 1 and not early and "lbforaging" not in absent:
                row["lbforaging"] = round(
                    statistics.median(2000 / lbforagings(2000) for _ in range(repeats))
                )
            rows.append(row)
            shown = {name: row.get(name, "-") for name in ("jumanji", "lbforaging")}
            print(
                f"{row['lasts']:>10} {num_envs:>6} {row['marlx']:>12,} {shown['jumanji']:>12} "
                f"{row.get('ratio', '-'):>7} {row.get('cpu_ratio', '-'):>7} "
                f"{shown['lbforaging']:>11} {row['marlx_compile_s']:>8} "
                f"{row.get('jumanji_compile_s', '-'):>8}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing, roughly")
    parser.add_argument("--no-early", action="store_true", help="leave out the rows `1 to 23`")
    parser.add_argument("--name", default="speed_foraging", help="of the file of results")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    absent = _timing.missing("jumanji", "lbforaging")
    print(
        f"{'lasts':>10} {'envs':>6} {'marlx':>12} {'jumanji':>12} {'ratio':>7} {'cpu':>7} "
        f"{'lbforaging':>11} {'compile':>8} {'(s)':>8}"
    )
    rows = measure(args.sizes, args.repeats, not args.no_early, args.seconds, absent)
    result = {
        "what": "environment steps per second, 8x8-2p-2f, 50 steps, uniform random actions",
        "jumanji_auto_reset": "AutoResetWrapper",
        "repeats": args.repeats,
        "rows": rows,
    }
    _timing.write(args.name, result, ("jumanji", "lbforaging"))


if __name__ == "__main__":
    main()
