"""Environment steps per second of foraging with random actions: marlx, jumanji and lbforaging.

    python benchmarks/speed/speed_foraging.py

8x8-2p-2f-coop: two agents, two foods that need both, full sight, 50 steps, uniform unmasked random
actions, auto-reset. Ours is stepped by `vector_step` and by `jax.vmap(env.step)`. All programs of
one batch size are compiled first (timed separately), then timed in turns in one process; the median
is reported. `ratio` compares steps per second, `cpu_ratio` the processor time of a step over all
cores, which is the steadier of the two where other programs share the machine.

Random teams mostly reach the time limit together. The episodes of a trained team end at different
times, and then some episode is reset on nearly every step. The rows `1 to 23` measure that: in both
packages a reset also draws the length of the episode, uniform over 1 to 23 steps (12 on average),
and starts the clock so that the time limit ends it.
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
from marlx.loop.vector import vector_reset

AGENTS, FOODS, SIZE, HORIZON, LONGEST = 2, 2, 8, 50, 23
COOP = True
WHAT = "environment steps per second, 8x8-2p-2f-coop, 50 steps, uniform random actions"


class Short(Foraging):
    """Foraging whose episodes last 1 to LONGEST steps."""

    def reset_env(self, key, params):
        key, key_life = jax.random.split(key)
        return super().reset_env(key, params).replace(time=_start(key_life))


def _start(key: jax.Array) -> jax.Array:
    """int32 [], clock at the start of an episode of 1 to LONGEST steps."""
    life = 1 + (jax.random.bits(key, (), jnp.uint32) % LONGEST).astype(jnp.int32)
    return HORIZON - life


def random_actions(key: jax.Array, steps: int, num_envs: int) -> jax.Array:
    """uint8 [T, B, N], uniform over 6 up to 1.2 %.

    Drawn for all steps at once, so that drawing them is not timed.
    """
    bits = jax.random.bits(key, (steps, num_envs, AGENTS), jnp.uint8)
    return ((bits.astype(jnp.uint16) * 6) >> 8).astype(jnp.uint8)


def ours(num_envs: int, steps: int, early: bool, call: str) -> Callable[[jax.Array], Any]:
    kind = Short if early else Foraging
    env = kind(
        size=(SIZE, SIZE), num_agents=AGENTS, num_food=FOODS, horizon=HORIZON, force_coop=COOP
    )
    params = env.default_params

    def run(key: jax.Array) -> Any:
        key_reset, key_action, key_step = jax.random.split(key, 3)
        obs, state = vector_reset(env, params, key_reset, num_envs)
        actions = random_actions(key_action, steps, num_envs)

        def body(carry: Any, given: Any) -> Any:
            state, total, _ = carry
            key, action = given
            action = action.astype(jnp.int32)
            obs, state, reward, _, _, _ = _timing.stepped(env, params, call, key, state, action)
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
        grid_size=SIZE, fov=SIZE, num_agents=AGENTS, num_food=FOODS, force_coop=COOP
    )
    env = LevelBasedForaging(generator=generator, time_limit=HORIZON)
    inner = ShortEpisodes(env) if early else env
    # VmapAutoResetWrapper takes the same time within 3 % at 1, 64 and 1024 environments
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
        max_episode_steps=HORIZON, force_coop=COOP,
    )  # fmt: skip
    actions = np.random.default_rng(0).integers(0, 6, (steps, AGENTS)).tolist()
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return time.perf_counter() - start


def measure(num_envs: int, early: bool, args: argparse.Namespace) -> dict[str, Any]:
    """Times all packages that are installed with one batch size and one kind of ending."""
    rate = 3e6 / (4 if num_envs == 1 else 1)
    calls = (_timing.VECTOR,) if early else (_timing.VECTOR, _timing.VMAP)
    programs = {
        call: ((lambda steps, call=call: ours(num_envs, steps, early, call)), rate)
        for call in calls
    }
    if "jumanji" not in args.absent:
        programs["jumanji"] = lambda steps: jumanjis(num_envs, steps, early), rate / 10
    return _timing.environment_speed(programs, num_envs, args.repeats, args.seconds)


def measure_and_write(num_envs: int, early: bool, args: argparse.Namespace) -> None:
    """Measures one batch size and one kind of ending, and writes a row for each of our calls."""
    measured = measure(num_envs, early, args)
    lasts = "1 to 23" if early else "as played"
    arm = f"{num_envs} environments, {lasts}"
    shared = {"what": WHAT, "repeats": args.repeats, "seconds": args.seconds, "coop": COOP}
    shared |= {"jumanji_auto_reset": "AutoResetWrapper", "num_envs": num_envs, "lasts": lasts}
    for call in _timing.calls(measured):
        row = _timing.call_row(measured, call, "jumanji")
        if call == _timing.VECTOR and arm == "1 environments, as played" and args.python_peer:
            row["lbforaging"] = round(
                statistics.median(2000 / lbforagings(2000) for _ in range(args.repeats))
            )
        name = arm if call == _timing.VECTOR else f"{arm}, {call}"
        print(f"{name}: {row}", flush=True)
        settings = shared | {"call": call}
        _timing.write("speed_foraging", name, settings, row, ("jumanji", "lbforaging"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing, roughly")
    parser.add_argument("--no-early", action="store_true", help="leave out the rows `1 to 23`")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    args.absent = _timing.missing("jumanji", "lbforaging")
    args.python_peer = "lbforaging" not in args.absent
    for early in (False,) if args.no_early else (False, True):
        for num_envs in args.sizes:
            measure_and_write(num_envs, early, args)


if __name__ == "__main__":
    main()
