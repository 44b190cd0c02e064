"""Particle environments against mpe2, step by step, and against hand computation."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.envs import mpe
from marlx.envs.mpe import core
from marlx.registry import make_env
from marlx.testing import check_env

GOLDEN = Path(__file__).parent / "golden"


class Case(NamedTuple):
    """A scenario with settings, and mpe2's words for them."""

    id: str
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}


CASES = {
    "simple": Case("mpe/simple_v3"),
    "spread": Case("mpe/simple_spread_v3"),
    "spread 5": Case(
        "mpe/simple_spread_v3",
        {"num_agents": 5, "local_ratio": 0.2},
        {"N": 5, "local_ratio": 0.2},
    ),
    "reference": Case("mpe/simple_reference_v3"),
    "speaker listener": Case("mpe/simple_speaker_listener_v4"),
    "tag": Case("mpe/simple_tag_v3"),
    "tag 2 on 2": Case(
        "mpe/simple_tag_v3",
        *[{"num_good": 2, "num_adversaries": 2, "num_obstacles": 3}] * 2,
    ),
    "adversary": Case("mpe/simple_adversary_v3"),
    "adversary 4": Case("mpe/simple_adversary_v3", {"num_good": 4}, {"N": 4}),
    "crypto": Case("mpe/simple_crypto_v3"),
    "push": Case("mpe/simple_push_v3"),
    "world comm": Case("mpe/simple_world_comm_v3"),
    "world comm, other numbers": Case(
        "mpe/simple_world_comm_v3",
        *[
            {
                "num_good": 1,
                "num_adversaries": 2,
                "num_obstacles": 2,
                "num_food": 1,
                "num_forests": 3,
            }
        ]
        * 2,
    ),
}
SINGLE, ROLLOUTS, LENGTH = 60, 6, 25
SAMPLES = SINGLE + ROLLOUTS


# ---------------------------------------------------------------- mpe2, step by step


class Batch(NamedTuple):
    """States as plain arrays, one row each."""

    pos: np.ndarray
    vel: np.ndarray
    marks: np.ndarray
    comm: np.ndarray
    goal: np.ndarray


def batch_of(env: core.Particles, seed: int) -> Batch:
    """SAMPLES states: crowded ones with contacts, wide ones that leave the screen."""
    rng = np.random.default_rng(seed)
    agents, marks = len(env.agents), len(env.landmarks)
    spread = rng.choice([0.25, 0.6, 1.0, 1.8], (SAMPLES, 1, 1))
    spread[SINGLE:] = rng.choice([0.6, 1.0], (ROLLOUTS, 1, 1))
    comm = rng.uniform(0, 1, (SAMPLES, len(env.speakers), env.DIM_C))
    comm[::3] = 0
    return Batch(
        rng.uniform(-1, 1, (SAMPLES, agents, 2)) * spread,
        rng.normal(0, 0.6, (SAMPLES, agents, 2)),
        rng.uniform(-1, 1, (SAMPLES, marks, 2)) * np.maximum(spread, 0.4),
        comm,
        np.stack([rng.integers(0, size, SAMPLES) for size in env.goals], -1)
        if env.goals
        else np.zeros((SAMPLES, 0), int),
    )


def actions_of(env: core.Particles, seed: int) -> np.ndarray:
    """Random actions [LENGTH, SAMPLES, N], or [.., A] of which some are silent."""
    rng = np.random.default_rng(seed)
    spec = env.spec()
    shape = (LENGTH, SAMPLES, spec.num_agents)
    if not spec.continuous:
        return rng.integers(0, spec.action_sizes, shape)
    values = rng.uniform(0, 1, (*shape, spec.num_actions))
    return values * (rng.uniform(size=(*shape, 1)) < 0.8)


@functools.cache
def ours_of(name: str, continuous: bool) -> core.Particles:
    case = CASES[name]
    env: Any = make_env(case.id, continuous_actions=continuous, **case.ours)
    return env


@functools.cache
def compiled(env: core.Particles) -> Any:
    """(state, actions [B, ..]) -> state, observation, reward, of a batch."""
    params = env.default_params

    def step(state: Any, action: Any) -> Any:
        state, reward, _, _ = env.step_env(None, state, action, params)
        return state, env.observe(state, params), reward

    return jax.jit(jax.vmap(step))


def states_of(env: core.Particles, batch: Batch) -> Any:
    rows = [env.make_state(*row) for row in zip(*batch, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def theirs_of(name: str, continuous: bool) -> Any:
    """mpe2's environment, without its wrappers."""
    case = CASES[name]
    module: Any = importlib.import_module(case.id.replace("mpe/", "mpe2."))
    env = module.env(continuous_actions=continuous, **case.theirs)
    env.reset(seed=0)
    return env.unwrapped


def inject(theirs: Any, env: core.Particles, row: Batch) -> None:
    """Make mpe2's world the given state."""
    world = theirs.world
    for agent, pos, vel in zip(world.agents, row.pos, row.vel, strict=True):
        agent.state.p_pos, agent.state.p_vel = pos.copy(), vel.copy()
        agent.state.c = np.zeros(world.dim_c)
    for i, said in zip(env.speakers, row.comm, strict=True):
        world.agents[i].state.c = said.copy()
    for mark, pos in zip(world.landmarks, row.marks, strict=True):
        mark.state.p_pos = pos.copy()
    goals = [world.landmarks[k] for k in row.goal]
    kind = type(env)
    if kind is mpe.Reference:
        world.agents[0].goal_b, world.agents[1].goal_b = goals
    elif kind is mpe.SpeakerListener:
        world.agents[0].goal_b = goals[0]
    elif kind is mpe.Crypto:
        world.agents[2].key = goals[1].color
    if kind in (mpe.Adversary, mpe.Crypto, mpe.Push):
        for agent in world.agents:
            agent.goal_a = goals[0]
    if kind is mpe.Push:
        world.agents[1].color = np.array([0.25, 0.25, 0.25])
        world.agents[1].color[1 + row.goal[0]] += 0.5


def advance(theirs: Any, env: core.Particles, action: np.ndarray) -> None:
    """One step of mpe2's world, all agents at once."""
    sizes = env.spec().action_sizes
    theirs.current_actions = [
        a[:size].copy() if theirs.continuous_actions else int(a)
        for a, size in zip(action, sizes, strict=True)
    ]
    theirs._execute_world_step()


def shown(theirs: Any, env: core.Particles) -> np.ndarray:
    """[N, O], mpe2's observations in double precision, padded."""
    local = np.zeros((len(env.agents), env.spec().obs_size))
    for i, agent in enumerate(theirs.world.agents):
        seen = theirs.scenario.observation(agent, theirs.world)
        assert len(seen) == env.spec().obs_sizes[i]
        local[i, : len(seen)] = seen
    return local


def paid(theirs: Any) -> list[float]:
    return [theirs.rewards[name] for name in theirs.agents]


def compare(name: str, continuous: bool, single: float, rollout: float) -> None:
    """Assert that single steps and 25-step rollouts from injected states are mpe2's."""
    env, theirs = ours_of(name, continuous), theirs_of(name, continuous)
    batch, actions = batch_of(env, 0), actions_of(env, 1)
    params, step = env.default_params, compiled(env)
    state = states_of(env, batch)
    local = jax.jit(jax.vmap(lambda state: env.observe(state, params).local))(state)
    found = []
    for action in actions:
        state, obs, reward = step(state, action if continuous else action.astype(np.int32))
        found.append(jax.tree.map(np.asarray, (state, obs.local, reward)))
    for k in range(SAMPLES):
        inject(theirs, env, Batch(*(field[k] for field in batch)))
        np.testing.assert_allclose(local[k], shown(theirs, env), rtol=0, atol=single)
        for t in range(LENGTH if k >= SINGLE else 1):
            advance(theirs, env, actions[t, k])
            state, seen, reward = found[t]
            atol = single if t == 0 else rollout
            close = functools.partial(
                np.testing.assert_allclose, rtol=0, atol=atol, err_msg=f"sample {k}, step {t}"
            )
            close(seen[k], shown(theirs, env))
            close(reward[k], paid(theirs))
            world = theirs.world
            close(state.agent_pos[k], [agent.state.p_pos for agent in world.agents])
            close(state.agent_vel[k], [agent.state.p_vel for agent in world.agents])
            close(state.comm[k], np.reshape(
                [world.agents[i].state.c for i in env.speakers], state.comm[k].shape
            ))  # fmt: skip


@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_mpe2(name: str, continuous: bool) -> None:
    pytest.importorskip("mpe2")
    compare(name, continuous, single=1e-5, rollout=1e-4)


def test_in_double_precision_steps_are_those_of_mpe2_to_ten_digits() -> None:
    pytest.importorskip("mpe2")
    root = Path(__file__).parents[2]
    env = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": f"{root}"}
    run = subprocess.run(
        [sys.executable, __file__], env=env, cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines()[-1] == f"{2 * len(CASES)} the same"


if __name__ == "__main__":
    assert jax.config.read("jax_enable_x64")
    for _name in CASES:
        for _continuous in (False, True):
            compare(_name, _continuous, single=1e-10, rollout=1e-10)
    print(f"{2 * len(CASES)} the same")
