"""Time and memory of MAT and Sable per agent, for teams of 2 to 256 agents.

    python benchmarks/studies/agents_cost.py                  # minutes on two cores
    python benchmarks/studies/agents_cost.py --agents 2 16 --only sable

The task is generated: every agent sees a digit and has to name it. A line has microseconds per
environment step and agent, of acting and of an update (one pass), and the bytes of temporary arrays
per environment step and agent that the compiler plans for the update. Where a learner is linear in
agents they stay the same, or fall.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

import marlx
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


def measured(name: str, agents: int) -> tuple[float, float, float]:
    """Returns microseconds of acting and of an update, and bytes, per step and agent."""
    env = Digits(num_agents=agents)
    params = env.default_params
    spec = env.spec(params)
    learner = marlx.algorithm(name)(spec, epochs=1, minibatches=1, agent_id=False)
    state = learner.init(jax.random.key(0), example_rollout(spec, learner, STEPS, ENVS))
    actors = start(env, params, learner, jax.random.key(1), ENVS)
    policy = learner.policy(state)
    play = jax.jit(functools.partial(rollout, env, params, learner, length=STEPS))
    _, taken, _ = play(policy, actors, jax.random.key(2))
    state = learner.observe(state, taken)
    update = jax.jit(learner.update).lower(state, jax.random.key(3)).compile()
    share = STEPS * ENVS * agents
    return (
        1e6 * seconds(lambda: play(policy, actors, jax.random.key(2))) / share,
        1e6 * seconds(lambda: update(state, jax.random.key(3))) / share,
        update.memory_analysis().temp_size_in_bytes / share,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", nargs="*", type=int, default=[2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--only", nargs="*", default=["mat", "sable"])
    args = parser.parse_args()
    print("learner  agents  act us  update us  bytes  (each per step and agent)")
    for name in args.only:
        for agents in args.agents:
            acting, updating, size = measured(name, agents)
            print(f"{name:8} {agents:6}  {acting:6.1f}  {updating:9.1f}  {size:5.0f}", flush=True)


if __name__ == "__main__":
    main()
