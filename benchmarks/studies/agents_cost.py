"""Time and memory of MAT and Sable per agent, for teams of 2 to 256 agents.

    python benchmarks/studies/agents_cost.py                  # minutes on two cores
    python benchmarks/studies/agents_cost.py --agents 2 16 --only sable

The task is generated: every agent sees a digit and has to name it. A line has microseconds per
environment step and agent, of acting and of an update (one pass), and the bytes of temporary arrays
per environment step and agent that the compiler plans for the update. Where a learner is linear in
agents they stay the same, or fall. The lines are rows of the study `speed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import _study
import flax.struct
import jax
import jax.numpy as jnp

import marlx
from marlx.analysis import make_rows, result_rows
from marlx.environment import Environment, EnvParams, EnvState
from marlx.learner import example_rollout
from marlx.loop.rollout import rollout, start
from marlx.types import Array, EnvSpec, Observation

DIGITS, STEPS, ENVS = 4, 16, 4


@flax.struct.dataclass
class DigitState(EnvState):
    """Time, and each agent's digit int32 [N]."""

    digits: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(Environment[DigitState, EnvParams]):
    """Digits to name: every agent is paid 1 where its action is the digit that it sees."""

    num_agents: int = 2

    @property
    def default_params(self) -> EnvParams:
        """Episodes of eight steps."""
        return EnvParams(max_steps_in_episode=8)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Four digits, one-hot, and as many actions."""
        return EnvSpec(
            "bench/digits", self.num_agents, DIGITS, DIGITS, 1, 8, reward_aggregation="mean"
        )

    def reset_env(self, key: Array, params: EnvParams) -> DigitState:
        """Returns random digits."""
        return DigitState(time=jnp.int32(0), digits=self._drawn(key))

    def _drawn(self, key: Array) -> Array:
        return jax.random.randint(key, (self.num_agents,), 0, DIGITS)

    def step_env(
        self, key: Array, state: DigitState, action: Array, params: EnvParams
    ) -> tuple[DigitState, Array, Array, dict[str, Any]]:
        """Pays right names and draws other digits."""
        reward = (action == state.digits).astype(jnp.float32)
        return (
            DigitState(time=state.time + 1, digits=self._drawn(key)),
            reward,
            jnp.bool_(False),
            {},
        )

    def observe(self, state: DigitState, params: EnvParams) -> Observation:
        """Shows each agent its digit."""
        seen = jax.nn.one_hot(state.digits, DIGITS)
        return Observation(seen, jnp.ones(seen.shape, bool), jnp.zeros(1))


def seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Returns the shortest time of a call, after a first one."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - before)
    return min(times)


def measured(name: str, agents: int) -> dict[str, float]:
    """Returns microseconds of acting and of an update, and bytes, per step and agent."""
    env = Digits(num_agents=agents)
    params = env.default_params
    spec = env.spec(params)
    learner = marlx.algorithm(name)(spec, epochs=1, minibatches=1, agent_id=False)
    example = example_rollout(spec, learner, STEPS, ENVS)
    state = jax.jit(lambda key: learner.init(key, example))(jax.random.key(0))
    actors = jax.jit(lambda key: start(env, params, learner, key, ENVS))(jax.random.key(1))
    policy = learner.policy(state)
    play = jax.jit(functools.partial(rollout, env, params, learner, length=STEPS))
    _, taken, _ = play(policy, actors, jax.random.key(2))
    state = learner.observe(state, taken)
    update = jax.jit(learner.update).lower(state, jax.random.key(3)).compile()
    share = STEPS * ENVS * agents
    acting = seconds(lambda: play(policy, actors, jax.random.key(2)))
    updating = seconds(lambda: update(state, jax.random.key(3)))
    return {
        "act_us": round(1e6 * acting / share, 3),
        "update_us": round(1e6 * updating / share, 3),
        "bytes": round(update.memory_analysis().temp_size_in_bytes / share, 1),
    }


def store(name: str, agents: int, found: dict[str, float]) -> None:
    """Adds a row to the study `speed`; one of the same case and device is replaced."""
    about = _study.about()
    settings = {
        "script": "agents_cost",
        "learner": name,
        "agents": agents,
        "steps": STEPS,
        "environments": ENVS,
        "device": result_rows.device_text(about["device"]),
    }
    rows, record = make_rows.measured_rows(
        settings,
        [found],
        study="speed",
        comparison="agents_cost",
        arm=f"{name}, {agents} agents",
        about=about,
        algorithm=name,
    )
    _study.add(rows, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", nargs="*", type=int, default=[2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--only", nargs="*", default=["mat", "sable"])
    args = parser.parse_args()
    print("learner  agents  act us  update us  bytes  (each per step and agent)")
    for name in args.only:
        for agents in args.agents:
            found = measured(name, agents)
            act, update, size = found.values()
            print(f"{name:8} {agents:6}  {act:6.1f}  {update:9.1f}  {size:5.0f}", flush=True)
            store(name, agents, found)


if __name__ == "__main__":
    main()
