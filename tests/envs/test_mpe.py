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
from marlx.envs.mpe.world import Particles
from marlx.registry import make_env
from marlx.testing import check_env

GOLDEN = Path(__file__).parent / "golden"


@dataclasses.dataclass(frozen=True)
class Case:
    """A scenario with settings, and mpe2's words for them."""

    id: str
    ours: dict[str, Any] = dataclasses.field(default_factory=dict)
    theirs: dict[str, Any] = dataclasses.field(default_factory=dict)


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
SINGLE, ROLLOUTS, LENGTH = 40, 4, 25
SAMPLES = SINGLE + ROLLOUTS


# ---------------------------------------------------------------- mpe2, step by step


class Batch(NamedTuple):
    """States as NumPy arrays, one row each."""

    pos: np.ndarray
    vel: np.ndarray
    marks: np.ndarray
    comm: np.ndarray
    goal: np.ndarray


def batch_of(env: Particles, seed: int) -> Batch:
    """SAMPLES states: crowded ones with contacts, wide ones that leave the screen."""
    rng = np.random.default_rng(seed)
    agents, marks = len(env.agents), len(env.landmarks)
    spread = rng.choice([0.25, 0.6, 1.0, 1.8], (SAMPLES, 1, 1))
    spread[SINGLE:] = 1.0  # contacts, but not a crowd in which rounding errors grow with each one
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


def actions_of(env: Particles, seed: int) -> np.ndarray:
    """Random actions [LENGTH, SAMPLES, N], or [.., A] of which some are silent."""
    rng = np.random.default_rng(seed)
    spec = env.spec()
    shape = (LENGTH, SAMPLES, spec.num_agents)
    if not spec.continuous:
        return rng.integers(0, spec.action_sizes, shape)
    values = rng.uniform(0, 1, (*shape, spec.num_actions))
    return values * (rng.uniform(size=(*shape, 1)) < 0.8)


@functools.cache
def ours_of(name: str, continuous: bool) -> Particles:
    case = CASES[name]
    env: Any = make_env(case.id, continuous_actions=continuous, **case.ours)
    return env


@functools.cache
def compiled(env: Particles) -> Any:
    """(state, actions [B, ..]) -> state, observation, reward, of a batch."""
    params = env.default_params

    def step(state: Any, action: Any) -> Any:
        state, reward, _, _ = env.step_env(None, state, action, params)
        return state, env.observe(state, params), reward

    return jax.jit(jax.vmap(step))


def states_of(env: Particles, batch: Batch) -> Any:
    rows = [env.make_state(*row) for row in zip(*batch, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def theirs_of(name: str, continuous: bool) -> Any:
    """mpe2's environment, without its wrappers."""
    case = CASES[name]
    module: Any = importlib.import_module(case.id.replace("mpe/", "mpe2."))
    env = module.env(continuous_actions=continuous, **case.theirs)
    env.reset(seed=0)
    return env.unwrapped


def inject(theirs: Any, env: Particles, row: Batch) -> None:
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


def advance(theirs: Any, env: Particles, action: np.ndarray) -> None:
    """One step of mpe2's world, all agents at once."""
    sizes = env.spec().action_sizes
    theirs.current_actions = [
        a[:size].copy() if theirs.continuous_actions else int(a)
        for a, size in zip(action, sizes, strict=True)
    ]
    theirs._execute_world_step()


def shown(theirs: Any, env: Particles) -> np.ndarray:
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


@pytest.mark.slow
def test_in_double_precision_steps_are_those_of_mpe2_to_ten_digits() -> None:
    pytest.importorskip("mpe2")
    root = Path(__file__).parents[2]
    env = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": f"{root}"}
    run = subprocess.run(
        [sys.executable, __file__], env=env, cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines()[-1] == f"{2 * len(CASES)} the same"


# ---------------------------------------------------------------- LIAM, recorded


@pytest.mark.parametrize("scenario", ["predator_prey", "speaker_listener"])
def test_steps_are_those_of_liam(scenario: str) -> None:
    """Against steps of LIAM's scenarios on the fork that it used, by walls and corners too."""
    golden = np.load(GOLDEN / "liam.npz")
    then = {key.split("/")[1]: golden[key] for key in golden if key.startswith(scenario)}
    env: Any = mpe.make(f"mpe/liam_{scenario}")
    fields = [then[key].astype(float) for key in ("pos", "vel", "marks", "comm")]
    state = states_of(env, Batch(*fields, then["goal"]))
    state, obs, reward = compiled(env)(state, then["action"].astype(np.int32))
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    close(state.agent_pos, then["next_pos"])
    close(state.agent_vel, then["next_vel"])
    close(obs.local, then["local"])
    close(reward, then["reward"])


def test_liams_walls_stop_agents_and_leave_the_corners_open() -> None:
    env = mpe.LiamPredatorPrey()
    far = [[9.0, 9.0]] * 2
    state = env.make_state([[1.2, 0], [1.2, 1.2], [0, -1.2], [-0.5, 0]], np.zeros((4, 2)), far)
    state = compiled(env)(jax.tree.map(lambda x: x[None], state), jnp.zeros((1, 4), int))[0]
    push = 100 * 0.02 * 0.1  # the agent reaches 0.12 towards a wall 0.1 away
    vel = np.asarray(state.agent_vel[0])
    np.testing.assert_allclose(vel[0], [-push, 0], atol=1e-4)
    np.testing.assert_allclose(vel[1], [0, 0], atol=1e-4)
    np.testing.assert_allclose(vel[2], [0, push], atol=1e-4)


# ---------------------------------------------------------------- settings, by hand


def one_step(env: Particles, state: Any, action: Any) -> tuple[Any, Any, Any]:
    """The state, local observations and rewards after one step of a single episode."""
    batch = jax.tree.map(lambda leaf: leaf[None], state)
    state, obs, reward = compiled(env)(batch, jnp.asarray(action)[None])
    return jax.tree.map(lambda leaf: leaf[0], state), obs.local[0], reward[0]


@pytest.mark.parametrize(
    ("integrator", "moved"),
    # vel 0.4, push 5: vel becomes 0.75 * 0.4 + 0.5 = 0.8; the step moves by the old or the new
    [("mpe2", 0.04), ("openai", 0.08)],
)
def test_integrators_move_by_the_old_or_the_new_velocity(integrator: Any, moved: float) -> None:
    env = mpe.Simple(integrator=integrator)
    state, _, _ = one_step(env, env.make_state([[0, 0]], [[0.4, 0]], [[1, 1]]), [2])
    np.testing.assert_allclose(state.agent_vel, [[0.8, 0]], atol=1e-6)
    np.testing.assert_allclose(state.agent_pos, [[moved, 0]], atol=1e-6)


@pytest.mark.parametrize("integrator", ["mpe2", "openai"])
def test_speed_is_limited_before_openais_move(integrator: Any) -> None:
    env = mpe.Tag(integrator=integrator, num_adversaries=1, num_obstacles=0)
    state = env.make_state([[0, 0], [5, 5]], [[1.2, 1.6], [0, 0]], np.zeros((0, 2)))
    state, _, _ = one_step(env, state, [0, 0])  # 0.75 * (1.2, 1.6) has length 1.5; the limit is 1
    np.testing.assert_allclose(state.agent_vel[0], [0.6, 0.8], atol=1e-6)
    moved = [0.12, 0.16] if integrator == "mpe2" else [0.06, 0.08]
    np.testing.assert_allclose(state.agent_pos[0], moved, atol=1e-6)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize(("signs", "sign"), [("mpe2", 1), ("openai", -1)])
def test_signs_of_actions(signs: Any, sign: int, continuous: bool) -> None:
    env = mpe.Simple(action_signs=signs, continuous_actions=continuous)
    rest = env.make_state([[0, 0]], [[0, 0]], [[1, 1]])
    for k, way in enumerate([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]):
        action = np.eye(5, dtype=np.float32)[[k]] if continuous else np.array([k])
        state, _, _ = one_step(env, rest, action)
        np.testing.assert_allclose(state.agent_vel, [[0.5 * sign * x for x in way]], atol=1e-6)


def test_continuous_actions_are_clipped_and_opposite_ones_subtracted() -> None:
    env = mpe.Simple(continuous_actions=True)
    rest = env.make_state([[0, 0]], [[0, 0]], [[1, 1]])
    state, _, _ = one_step(env, rest, np.array([[9, -3, 7, 0.8, 0.3]], np.float32))
    np.testing.assert_allclose(state.agent_vel, [[0.5, -0.25]], atol=1e-6)


def test_bodies_at_the_same_place_do_not_push_each_other() -> None:
    env = mpe.Spread(num_agents=2)
    state, local, reward = one_step(
        env, env.make_state([[0, 0], [0, 0]], np.zeros((2, 2)), [[1, 0], [0, 0]]), [2, 0]
    )
    np.testing.assert_allclose(state.agent_vel, [[0.5, 0], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(reward, [-1, -1], atol=1e-6)  # 0.5 * (1 + 0), and 0.5 for touching
    assert np.isfinite(local).all()


def test_messages_are_heard_one_step_later_and_cleared_at_reset() -> None:
    env = mpe.SpeakerListener()
    params = env.default_params.replace(max_steps_in_episode=2)
    obs, state = env.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(obs.local[1, 8:], [0, 0, 0])
    for said, ends in ((2, False), (1, True)):
        obs, state, _, terminated, truncated, info = env.step(
            jax.random.key(1), state, jnp.array([said, 0]), params
        )
        final = info["final_observation"].local[1, 8:]
        np.testing.assert_array_equal(final, np.eye(3)[said])
        assert bool(truncated) is ends and not terminated
    np.testing.assert_array_equal(obs.local[1, 8:], [0, 0, 0])


def test_episodes_end_when_mpe2s_do() -> None:
    pytest.importorskip("mpe2")
    module: Any = importlib.import_module("mpe2.simple_spread_v3")
    theirs = module.parallel_env()
    theirs.reset(seed=0)
    env = mpe.Spread()
    ends = []
    while theirs.agents:
        ends.append(theirs.step(dict.fromkeys(theirs.agents, 0))[3]["agent_0"])
    assert len(ends) == env.spec().horizon == 25 and ends[-1] and not any(ends[:-1])
    assert mpe.LiamPredatorPrey().spec().horizon == 50


@pytest.mark.parametrize("name", ["spread", "tag", "reference"])
def test_episodes_begin_as_those_of_mpe2(name: str) -> None:
    """Ranges and means of every number; places and goals that do not depend on each other."""
    env, count = ours_of(name, False), 4000
    keys = jax.random.split(jax.random.key(0), count)
    state = jax.jit(jax.vmap(lambda key: env.reset_env(key, env.default_params)))(keys)
    assert not state.agent_vel.any() and not state.comm.any() and not state.time.any()
    bound = np.repeat([1.0, env.LANDMARK_RANGE], [2 * len(env.agents), 2 * len(env.landmarks)])
    places = [state.agent_pos.reshape(count, -1), state.landmark_pos.reshape(count, -1)]
    unit = np.concatenate(places, 1) / bound  # uniform in [-1, 1)
    assert (abs(unit) <= 1).all() and (abs(unit).max(0) > 0.99).all()
    assert env.LANDMARK_RANGE == (0.9 if name == "tag" else 1.0)
    np.testing.assert_allclose(unit.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(unit.T @ unit / count, np.eye(len(bound)) / 3, atol=0.04)
    for k, size in enumerate(env.goals):
        share = np.bincount(state.goal[:, k], minlength=size) / count
        np.testing.assert_allclose(share, 1 / size, atol=0.04)


def test_global_state_tells_everything() -> None:
    """Two states that differ in anything but the clock have different global states."""
    for name in ("reference", "adversary", "world comm", "crypto"):
        env = ours_of(name, False)
        params = env.default_params
        one = env.reset_env(jax.random.key(0), params)
        shown = jax.jit(lambda state, env=env, params=params: env.observe(state, params))
        base = np.asarray(shown(one).global_state)
        for field in ("agent_pos", "agent_vel", "landmark_pos", "comm", "goal"):
            size = getattr(one, field).size
            for k in range(size):
                flat = getattr(one, field).reshape(-1)
                new = flat[k] + 0.125 if field != "goal" else (flat[k] + 1) % env.goals[k]
                changed = one.replace(**{field: flat.at[k].set(new).reshape(
                    getattr(one, field).shape
                )})  # fmt: skip
                assert (np.asarray(shown(changed).global_state) != base).any(), (name, field, k)


# ---------------------------------------------------------------- contract, ids, pictures


TALL = ("simple_world_comm_v3", "liam_predator_prey", "simple_push_v3")
"""Scenarios that take long to compile."""


@pytest.mark.parametrize(
    "id",
    [
        pytest.param(id, marks=[pytest.mark.slow] if id.removeprefix("mpe/") in TALL else [])
        for id in mpe.FAMILY.examples
    ],
)
def test_contract(id: str) -> None:
    check_env(make_env(id))


SHAPES = ("simple_v3", "simple_speaker_listener_v4", "simple_reference_v3", "simple_crypto_v3")
"""One scenario for each kind of continuous action there is; the other scenarios take time."""


@pytest.mark.parametrize(
    "id",
    [
        pytest.param(id, marks=[] if id.removeprefix("mpe/") in SHAPES else [pytest.mark.slow])
        for id in mpe.FAMILY.examples
    ],
)
def test_contract_with_continuous_actions(id: str) -> None:
    check_env(make_env(id, continuous_actions=True))


def test_ids_are_mpe2s() -> None:
    pytest.importorskip("mpe2")
    known = importlib.import_module("mpe2.all_modules").mpe_environments
    ours = {id for id in mpe.FAMILY.examples if "liam" not in id}
    assert len(ours) == 9 and ours <= set(known)
    for id in mpe.FAMILY.examples:
        assert re.fullmatch(mpe.FAMILY.pattern, id)
        assert mpe.FAMILY.make(id).spec().id == id
    with pytest.raises(ValueError, match="'mpe/simple_tag_v2' is not a particle environment"):
        mpe.make("mpe/simple_tag_v2")


def test_spaces_are_mpe2s() -> None:
    pytest.importorskip("mpe2")
    for name in ("speaker listener", "reference", "world comm", "crypto"):
        for continuous in (False, True):
            spec, theirs = ours_of(name, continuous).spec(), theirs_of(name, continuous)
            boxes = [theirs.action_spaces[agent] for agent in theirs.agents]
            sizes = tuple(box.shape[0] if continuous else box.n for box in boxes)
            assert spec.action_sizes == sizes and spec.continuous is continuous
            seen = [theirs.observation_spaces[agent].shape[0] for agent in theirs.agents]
            assert spec.obs_sizes == tuple(seen)
            env = ours_of(name, continuous)
            _, state = env.reset(jax.random.key(0))
            mask = env.observe(state, env.default_params).action_mask
            assert mask.sum(-1).tolist() == list(sizes)


def test_groups() -> None:
    groups = dict(mpe.WorldComm(num_adversaries=3, num_good=1).spec().groups)
    assert groups == {"leader": (0,), "adversaries": (1, 2), "good": (3,)}
    assert dict(mpe.Tag().spec().groups) == {"adversaries": (0, 1, 2), "good": (3,)}


def test_a_subgoal_of_spread_is_reached_within_a_tenth_of_its_landmark() -> None:
    env = mpe.Spread()
    marks = [[0, 0], [1, 0], [0, 1]]
    state = env.make_state([[0.07, 0.06], [1, 0.11], [0, 0.95]], np.zeros((3, 2)), marks)
    subgoals = env.subgoals()
    assert subgoals.names == ("landmark 0", "landmark 1", "landmark 2")
    want = [[True, False, False], [False, False, False], [False, False, True]]
    np.testing.assert_array_equal(subgoals.achieved(state), want)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (mpe.Simple, {"integrator": "euler"}, "integrator is 'euler'; it must be 'mpe2' or "),
        (mpe.Simple, {"action_signs": "+"}, "action_signs is '+'; it must be 'mpe2' or 'openai'"),
        (mpe.Simple, {"horizon": 0}, "horizon is 0; it must be 1 or more"),
        (mpe.Spread, {"num_agents": 0}, "num_agents is 0; it must be 1 or more"),
        (mpe.Spread, {"local_ratio": 1.5}, "local_ratio is 1.5; it must be between 0 and 1"),
        (mpe.Reference, {"local_ratio": -1}, "local_ratio is -1; it must be between 0 and 1"),
        (mpe.Tag, {"num_good": 0}, "num_good is 0; it must be 1 or more"),
        (mpe.Tag, {"num_obstacles": -1}, "num_obstacles is -1; it must be 0 or more"),
        (mpe.Adversary, {"num_good": 0}, "num_good is 0; it must be 1 or more"),
        (mpe.WorldComm, {"num_food": 0}, "num_food is 0; it must be 1 or more"),
        (mpe.WorldComm, {"num_adversaries": 0}, "num_adversaries is 0; it must be 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        kind(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agent_pos": np.zeros((3, 2))}, "agent_pos has shape (3, 2); it must be (2, 2)"),
        ({"agent_vel": np.zeros(4)}, "agent_vel has shape (4,); it must be (2, 2)"),
        ({"landmark_pos": [[0, 0]]}, "landmark_pos has shape (1, 2); it must be (3, 2)"),
        ({"comm": np.zeros((2, 3))}, "comm has shape (2, 3); it must be (1, 3)"),
        ({"agent_pos": [["a", "b"]] * 2}, "agent_pos holds <U1 values; it must hold numbers"),
        ({"agent_pos": [[0, np.nan]] * 2}, "agent_pos holds numbers that are not finite"),
        ({"goal": [3]}, "goal is [3]; it must hold integers from 0 and below [3]"),
        ({"goal": [-1]}, "goal is [-1]; it must hold integers from 0"),
        ({"goal": [0.5]}, "goal is [0.5]; it must hold integers from 0"),
        ({"goal": [0, 0]}, "goal has shape (2,); it must be (1,)"),
        ({"step": -1}, "step is -1; it must be 0 or more"),
    ],
)
def test_states_that_cannot_be_are_refused(arguments: Any, message: str) -> None:
    good = {"agent_pos": np.zeros((2, 2)), "agent_vel": np.zeros((2, 2)),
            "landmark_pos": np.zeros((3, 2))}  # fmt: skip
    with pytest.raises(ValueError, match=re.escape(message)):
        mpe.SpeakerListener().make_state(**{**good, **arguments})


def test_make_state_makes_what_reset_does() -> None:
    for id in mpe.FAMILY.examples:
        env: Any = mpe.make(id)
        fresh = env.reset_env(jax.random.key(1), env.default_params)
        made = env.make_state(
            fresh.agent_pos, fresh.agent_vel, fresh.landmark_pos, fresh.comm, fresh.goal
        )
        alike = jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), fresh, made)
        assert all(jax.tree.leaves(alike)), id


def scene(id: str) -> tuple[Any, Any]:
    """An environment and a state of it that shows all it can show."""
    env: Any = mpe.make(id)
    rng = np.random.default_rng(5)
    comm = np.zeros((len(env.speakers), env.DIM_C))
    comm[:1, 1:2] = 1
    state = env.make_state(
        rng.uniform(-1, 1, (len(env.agents), 2)),
        rng.uniform(-0.8, 0.8, (len(env.agents), 2)),
        rng.uniform(-0.9, 0.9, (len(env.landmarks), 2)),
        comm,
        [size - 1 for size in env.goals],
        step=7,
    )
    return env, state


@pytest.mark.parametrize("id", mpe.FAMILY.examples)
def test_pictures(id: str, like_golden: Any) -> None:
    env, state = scene(id)
    name = id.replace("/", "_")
    like_golden(name, env.render(state), limit=0.3)
    away = state.replace(agent_pos=state.agent_pos + 0.3)
    with pytest.raises(AssertionError):  # the limit is narrow enough
        like_golden(name, env.render(away), limit=0.3)


if __name__ == "__main__":
    assert jax.config.read("jax_enable_x64")
    for _name in CASES:
        for _continuous in (False, True):
            compare(_name, _continuous, single=1e-10, rollout=1e-10)
    print(f"{2 * len(CASES)} the same")
