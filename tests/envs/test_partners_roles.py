"""Environments with partners: draws are fair and hidden, and partners follow their policy."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.foraging import Foraging
from marlx.envs.partners import Partner, with_partners
from marlx.learning.returns import uniform_legal
from marlx.loop.vector import vector_reset, vector_step
from marlx.testing import Constant, check_env
from marlx.types import EnvSpec, Observation, Subgoals


@flax.struct.dataclass
class EchoState(EnvState):
    start: Any  # f32 []
    last: Any  # f32 [4], what was done last


@dataclasses.dataclass(frozen=True, kw_only=True)
class Echo(Environment[EchoState, EnvParams]):
    """Four agents in two groups of different widths observe the last actions; never terminates.

    Agents 0 and 2 see 6 numbers and have 3 actions, agents 1 and 3 see 5 and have 2. Each is paid
    10 to the power of its index times its action (continuous: the sum of its components).
    """

    continuous: bool = False
    horizon: int = 6

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        return EnvSpec(
            id="test/echo",
            num_agents=4,
            num_actions=3,
            obs_size=6,
            state_size=5,
            horizon=self.horizon,
            groups=(("wide", (0, 2)), ("narrow", (1, 3))),
            obs_sizes=(6, 5, 6, 5),
            action_sizes=(3, 2, 3, 2),
            continuous=self.continuous,
            scale=3.0,
            optimum=99.0,
        )

    def reset_env(self, key: Any, params: EnvParams) -> EchoState:
        return EchoState(time=jnp.int32(0), start=jax.random.uniform(key), last=jnp.zeros(4))

    def step_env(self, key: Any, state: EchoState, action: Any, params: EnvParams) -> Any:
        done = action.sum(-1) if self.continuous else action.astype(jnp.float32)
        after = state.replace(time=state.time + 1, last=done)
        powers = jnp.array([1.0, 10, 100, 1000])
        return after, powers * done, jnp.bool_(False), {"noise": jax.random.uniform(key)}

    def observe(self, state: EchoState, params: EnvParams) -> Observation:
        common = jnp.append(state.last, state.start)
        wide = jnp.append(common, state.time)
        narrow = jnp.append(common, 0.0)
        mask = jnp.array([[True, True, True], [True, True, False]])
        return Observation(
            jnp.stack([wide, narrow, wide, narrow]).astype(jnp.float32),
            mask[jnp.array([0, 1, 0, 1])],
            common,
        )

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        agents = jnp.arange(4)
        return Subgoals(
            names=("even", "odd"),
            requires=((), ()),
            achieved=lambda state: jnp.stack([agents % 2 == 0, agents % 2 == 1], 1),
            available=lambda state: jnp.ones((4, 2), bool) & (state.time >= 0),
            choices=lambda local: jnp.stack([local[:, 5] >= 0, local[:, 5] >= 0], 1),
        )


ECHO = Echo()
LEGAL = jnp.array([3, 2, 3, 2])


def count_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    """Deterministic and recurrent: `policy` plus the steps so far."""
    return ((policy + memory) % LEGAL).astype(jnp.int32), memory + 1


def zero() -> Any:
    return jnp.int32(0)


def counter(name: str, offset: int) -> Partner:
    return Partner(name, zero, count_act, jnp.int32(offset))


def dice_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    """Random, depending on what is seen and remembered."""
    noise = jax.random.normal(key, obs.action_mask.shape)
    wish = noise + obs.local @ policy + memory[:, None]
    return jnp.where(obs.action_mask, wish, -9e9).argmax(-1).astype(jnp.int32), memory + wish[:, 0]


def no_wish() -> Any:
    return jnp.zeros(4)


def dice(seed: int) -> Partner:
    weights = np.random.default_rng(seed).normal(size=(6, 3)).astype(np.float32)
    return Partner(f"dice{seed}", no_wish, dice_act, weights)


def apart(partner: Partner) -> Partner:
    """The same partner, made so that it cannot be stacked."""
    return partner._replace(act=functools.partial(partner.act))


COUNTERS = (counter("a", 0), counter("b", 1), counter("c", 2))
POOL = (*COUNTERS, dice(0), dice(1))


def play(env: Any, key: Any, steps: int, num_envs: int) -> Any:
    """Infos [T, B, ...], observations, actions and rewards of random legal play."""
    params = env.default_params

    def step(carry: Any, key: Any) -> Any:
        obs, state = carry
        key_act, key_step = jax.random.split(key)
        action = uniform_legal(key_act, obs.action_mask)
        after, state, reward, *_, info = vector_step(env, params, key_step, state, action)
        return (after, state), (info, obs, action, reward)

    @jax.jit
    def run(key: Any) -> Any:
        key, key_reset = jax.random.split(key)
        start = vector_reset(env, params, key_reset, num_envs)
        return jax.lax.scan(step, start, jax.random.split(key, steps))[1]

    return jax.tree.map(np.asarray, run(key))


@pytest.fixture(scope="module")
def played() -> Any:
    """Three episodes of 6 steps in 400 environments, partners a, b, c for agents 1, 2, 3."""
    return play(with_partners(ECHO, COUNTERS), jax.random.key(0), 18, 400)


# ---------------------------------------------------------------- the draw


def test_draws_are_uniform_fixed_in_an_episode_and_made_anew_after_it(played: Any) -> None:
    draws = played[0]["partner"]
    assert draws.dtype == np.int32
    episodes = draws.reshape(3, 6, 400)
    np.testing.assert_array_equal(episodes, np.broadcast_to(episodes[:, :1], episodes.shape))
    first, second, third = episodes[:, 0]
    for draw in (first, second, third):  # a multinomial of 400: sd below 0.024
        np.testing.assert_allclose(np.bincount(draw, minlength=3) / 400, 1 / 3, atol=0.09)
    for one, other in ((first, second), (second, third)):  # independent: 1/3 by chance
        assert abs((one == other).mean() - 1 / 3) < 0.09


def test_weights() -> None:
    env = with_partners(ECHO, COUNTERS, weights=(1, 0, 3))
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 2000))[1]
    share = np.bincount(states.draw, minlength=3) / 2000
    np.testing.assert_allclose(share, [0.25, 0, 0.75], atol=0.04)
    assert share[1] == 0


def test_the_draw_is_not_to_be_seen() -> None:
    env = with_partners(ECHO, POOL, ego=(1, 2))
    params = env.default_params
    inner = ECHO.reset_env(jax.random.key(0), params)
    shown = [env.observe(env.make_state(inner, draw), params) for draw in range(5)]
    for other in shown[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, shown[0])
    # Nor does the way an episode begins tell it: the environment's draw is independent of ours.
    obs, states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(2), 3000))
    start = np.asarray(obs.local[:, 0, 4])
    means = [start[np.asarray(states.draw) == draw].mean() for draw in range(5)]
    np.testing.assert_allclose(means, 0.5, atol=0.06)  # sd 0.012


# ---------------------------------------------------------------- what partners do


def test_partners_do_what_their_policy_says_and_forget_between_episodes(played: Any) -> None:
    """A counter's actions are known at every step, only if its memory starts at 0 each episode."""
    info, obs, action, reward = played
    step = np.arange(18)[:, None] % 6
    count = (info["partner"] + step)[..., None] % np.array([2, 3, 2])
    assert info["partner_action"].shape == (18, 400, 3)
    assert info["partner_action"].dtype == np.int32
    np.testing.assert_array_equal(info["partner_action"], count)
    # Everyone's actions reach the environment in their places, and the ego is paid for its own.
    joint = np.concatenate([action, count], -1)
    np.testing.assert_array_equal(info["final_observation"].global_state[..., :4], joint)
    np.testing.assert_array_equal(reward, action)
    # What the partners acted on: their rows of the environment's observation, padding and all.
    seen = info["partner_observation"]
    assert seen.shape == (18, 400, 3, 6) and seen.dtype == np.float32
    np.testing.assert_array_equal(
        seen[..., :5], np.broadcast_to(obs.local[..., :5], (18, 400, 3, 5))
    )
    np.testing.assert_array_equal(seen[..., 1, 5], np.broadcast_to(step, (18, 400)))
    assert not seen[..., ::2, 5].any()


def test_an_episode_recomputed_by_hand() -> None:
    """Random, recurrent partners: the same key, memory and observation give the same action."""
    env = with_partners(ECHO, POOL, ego=(2,))
    params, others = env.default_params, np.array([0, 1, 3])
    _, step = env.reset_env, jax.jit(env.step_env)
    for draw in (3, 4):
        state = env.make_state(ECHO.reset_env(jax.random.key(draw), params), draw)
        inner, memory = state.env_state, POOL[draw].init()
        for key in jax.random.split(jax.random.key(draw), 6):
            key_env, key_partners = jax.random.split(key)
            obs = ECHO.observe(inner, params)
            action, memory = POOL[draw].act(POOL[draw].policy, memory, obs, key_partners)
            joint = action.at[2].set(1)
            inner, reward, _, noise = ECHO.step_env(key_env, inner, joint, params)
            state, found, _, info = step(key, state, jnp.array([1]), params)
            np.testing.assert_array_equal(info["partner_action"], action[others])
            np.testing.assert_array_equal(info["partner_observation"], obs.local[others])
            np.testing.assert_allclose(info["noise"], noise["noise"])
            np.testing.assert_allclose(found, reward[2:3])
            jax.tree.map(np.testing.assert_array_equal, state.env_state, inner)
        assert int(state.draw) == draw


def test_stacked_partners_are_the_partners_one_by_one() -> None:
    """One evaluation with parameters picked, a switch, and a pool of one all act alike."""
    stacked = with_partners(ECHO, POOL)
    assert [kind.size for kind in stacked.cast.kinds] == [3, 2]
    switched = with_partners(ECHO, [apart(partner) for partner in POOL])
    assert [kind.size for kind in switched.cast.kinds] == [1] * 5
    inner = ECHO.reset_env(jax.random.key(0), ECHO.default_params)
    keys = jax.random.split(jax.random.key(1), 6)

    def episode(env: Any, draw: Any) -> Any:
        state = env.make_state(inner, 0).replace(draw=draw)

        def step(state: Any, key: Any) -> Any:
            state, reward, _, info = env.step_env(key, state, jnp.array([2]), env.default_params)
            return state, (reward, info["partner_action"], info["partner_observation"])

        return jax.lax.scan(step, state, keys)[1]

    draws = jnp.arange(5)
    found = jax.jit(jax.vmap(functools.partial(episode, stacked)))(draws)
    other = jax.jit(jax.vmap(functools.partial(episode, switched)))(draws)
    jax.tree.map(np.testing.assert_array_equal, found, other)
    for draw in range(5):
        alone = jax.jit(functools.partial(episode, with_partners(ECHO, [POOL[draw]])))(0)
        jax.tree.map(lambda a, b, d=draw: np.testing.assert_array_equal(a[d], b), found, alone)
    assert len({np.asarray(found[1][draw]).tobytes() for draw in range(5)}) == 5


def test_teams_give_each_agent_a_policy_of_its_own() -> None:
    teams = [(0, 3, 2), (1, 1, 0), (4, 2, 4)]
    env = with_partners(ECHO, POOL, ego=(1,), teams=teams)
    assert env.cast.names == ("a + dice0 + c", "b + b + a", "dice1 + c + dice1")
    params = env.default_params
    inner = ECHO.reset_env(jax.random.key(0), params)
    step = jax.jit(env.step_env)
    for draw, team in enumerate(teams):
        state = env.make_state(inner, draw)
        memory = [POOL[p].init() for p in team]
        for key in jax.random.split(jax.random.key(draw), 4):
            obs = ECHO.observe(state.env_state, params)
            keys = jax.random.split(jax.random.split(key)[1], 3)
            wanted = []
            for seat, (agent, p) in enumerate(zip((0, 2, 3), team, strict=True)):
                act = POOL[p].act
                action, memory[seat] = act(POOL[p].policy, memory[seat], obs, keys[seat])
                wanted.append(int(action[agent]))
            state, _, _, info = step(key, state, jnp.array([0]), params)
            assert info["partner_action"].tolist() == wanted
            assert int(info["partner"]) == draw
    drawn = jax.vmap(env.reset_env, (0, None))(jax.random.split(jax.random.key(5), 900), params)
    np.testing.assert_allclose(np.bincount(drawn.draw) / 900, 1 / 3, atol=0.06)


# ---------------------------------------------------------------- the contract


def test_the_spec_is_the_learners() -> None:
    env = with_partners(ECHO, COUNTERS, ego=(3, 0))
    spec = env.spec()
    assert spec.id == "partners/test/echo" and spec.num_agents == 2
    assert (spec.obs_size, spec.num_actions, spec.state_size) == (6, 3, 5)
    assert (spec.obs_sizes, spec.action_sizes) == ((5, 6), (2, 3))
    assert spec.groups == (("wide", (1,)), ("narrow", (0,)))
    assert (spec.scale, spec.horizon, spec.optimum) == (3.0, 6, None)
    narrow = with_partners(ECHO, COUNTERS, ego="narrow")
    assert narrow.cast.ego == (1, 3) and narrow.cast.others == (0, 2)
    assert (narrow.spec().obs_size, narrow.spec().num_actions) == (5, 2)
    assert narrow.spec().groups == (("narrow", (0, 1)),)


def test_rewards_and_observations_keep_the_order_of_ego() -> None:
    env = with_partners(ECHO, COUNTERS, ego=(3, 0))
    params = env.default_params
    state = env.make_state(ECHO.reset_env(jax.random.key(0), params), "c")
    state, reward, _, _ = env.step_env(jax.random.key(0), state, jnp.array([1, 2]), params)
    assert reward.tolist() == [1000, 2]
    assert state.env_state.last.tolist() == [2, 0, 2, 1]  # agents 1 and 2 by c: 2 of 2, 2 of 3
    obs = env.observe(state, params)
    assert obs.action_mask.sum(-1).tolist() == [2, 3]
    assert obs.local[:, 5].tolist() == [0, 1]


def continuous_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    return jnp.where(obs.action_mask, jax.random.uniform(key, (4, 3)), 0.0), memory


CHECKED = {
    "one": with_partners(ECHO, POOL, ego=(2,)),
    "group": with_partners(ECHO, COUNTERS, ego="narrow", weights=(1, 2, 3)),
    "teams": with_partners(ECHO, POOL, ego=(3, 0), teams=[(0, 1), (4, 2), (3, 3)]),
    "continuous": with_partners(
        Echo(continuous=True), [Partner("noise", tuple, continuous_act)], ego="narrow"
    ),
}


@pytest.mark.parametrize("which", CHECKED)
def test_environments_with_partners_keep_the_contract(which: str) -> None:
    check_env(CHECKED[which])


@pytest.mark.parametrize(
    "env",
    [
        marlx.make("partners/Foraging-2s-5x5-2p-1f-v3", pool=("h1", "random"))[0],
        marlx.make("partners/matrix/two_step")[0],
    ],
    ids=["foraging", "matrix"],
)
def test_environments_by_name_keep_the_contract(env: Any) -> None:
    check_env(env)


def test_continuous_actions_find_their_agents() -> None:
    env = CHECKED["continuous"]
    params = env.default_params
    state = env.reset_env(jax.random.key(0), params)
    action = jnp.array([[0.25, 0.5], [1.0, 0.0]])
    state, reward, _, info = env.step_env(jax.random.key(1), state, action, params)
    np.testing.assert_allclose(reward, [7.5, 1000.0])
    assert info["partner_action"].shape == (2, 3)
    np.testing.assert_allclose(state.env_state.last[::2], info["partner_action"].sum(-1), 1e-6)


def test_subgoals_are_the_learners() -> None:
    env = with_partners(ECHO, COUNTERS, ego=(1, 2))
    subgoals = env.subgoals()
    state = env.reset_env(jax.random.key(0), env.default_params)
    assert subgoals is not None and subgoals.names == ("even", "odd")
    assert subgoals.achieved(state).tolist() == [[False, True], [True, False]]
    assert subgoals.choices(env.observe(state, env.default_params).local).shape == (2, 2)
    assert with_partners(Constant(), [_stay()]).subgoals() is None


def _stay() -> Partner:
    def act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
        return jnp.zeros(obs.local.shape[0], jnp.int32), memory

    return Partner("stay", tuple, act)


def test_pictures_name_the_partner() -> None:
    inner = Foraging()
    env = with_partners(inner, [_stay(), _stay()._replace(name="go")])
    board = inner.reset_env(jax.random.key(0), inner.default_params)
    pictures = [env.render(env.make_state(board, name)) for name in ("stay", "go")]
    own = inner.render(board)
    assert pictures[0].dtype == np.uint8
    assert pictures[0].shape == (own.shape[0] + 22, own.shape[1], 3)
    for picture in pictures:
        np.testing.assert_array_equal(picture[: own.shape[0]], own)
    assert (pictures[0] != pictures[1]).any()
    assert env.partner_name(env.make_state(board, 1)) == "go"


# ---------------------------------------------------------------- bad input


def short_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    return jnp.zeros(3, jnp.int32), memory


def float_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    return jnp.zeros(4), memory


def growing_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    return jnp.zeros(4, jnp.int32), (memory, memory)


def broken_act(policy: Any, memory: Any, obs: Observation, key: Any) -> Any:
    raise KeyError("nothing here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": ()}, "policies is empty"),
        ({"ego": ()}, "ego is empty"),
        ({"ego": (4,)}, r"ego is \(4,\); it must hold different agents from 0 to 3"),
        ({"ego": (-1,)}, r"ego is \(-1,\); it must hold"),
        ({"ego": (1, 1)}, r"ego is \(1, 1\); it must hold different"),
        ({"ego": (0, 1, 2, 3)}, "all agents of test/echo; leave one"),
        ({"ego": "narow"}, "unknown group 'narow' in test/echo; did you mean narrow"),
        ({"teams": ()}, "teams is empty"),
        ({"teams": [(0, 1)]}, r"teams holds \(0, 1\); a team gives each of the 3 other agents"),
        ({"teams": [(0, 1, 3)]}, r"an index from 0 to 2"),
        ({"weights": (1, 2)}, r"weights is \(1, 2\); it must hold 3 numbers"),
        ({"weights": (0, 0, 0)}, "not all 0"),
        ({"weights": (1, 1, -1)}, "of 0 or more"),
        ({"weights": (1, 1, float("nan"))}, "of 0 or more"),
        (
            {"policies": [Partner("x", zero, short_act)]},
            r"'x' gives actions int32\(3,\); .*int32\(4",
        ),
        ({"policies": [Partner("x", zero, float_act)]}, r"'x' gives actions float32\(4,\)"),
        ({"policies": [Partner("x", zero, growing_act)]}, "'x' changes the structure"),
        ({"policies": [Partner("x", zero, broken_act)]}, "'x' cannot act in test/echo: 'nothing"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        with_partners(ECHO, **{"policies": COUNTERS, **arguments})
    assert "\n" not in str(caught.value)


def test_states_of_partners_that_are_not_there_are_refused() -> None:
    env = with_partners(ECHO, COUNTERS)
    inner = ECHO.reset_env(jax.random.key(0), ECHO.default_params)
    with pytest.raises(ValueError, match="unknown partner 'd'"):
        env.make_state(inner, "d")
    with pytest.raises(ValueError, match="partner is 3; it must be 0 to 2"):
        env.make_state(inner, 3)


def test_the_privileged_state_has_the_partners_of_the_same_step() -> None:
    """Partner, present observations and last actions of the partners; local views do not change."""
    env = with_partners(Echo(), [counter("a", 0), counter("b", 1)], ego=(2, 0), privileged=True)
    plain = with_partners(Echo(), [counter("a", 0), counter("b", 1)], ego=(2, 0))
    spec = env.spec()
    assert spec.state_part("state") == slice(0, 5)
    assert [name for name, _ in spec.state_parts][1:] == [
        "partner",
        "partner_observation",
        "partner_action",
    ]
    key = jax.random.key(5)
    (obs, state), (plain_obs, _) = env.reset(key), plain.reset(key)
    step = jax.jit(env.step)
    did = np.zeros((2, 3))
    for t in range(8):
        whole = np.asarray(obs.global_state)
        part = {name: whole[spec.state_part(name)] for name, _ in spec.state_parts}
        inner = env.cast.env.observe(state.env_state, env.default_params)
        np.testing.assert_array_equal(part["state"], inner.global_state)
        np.testing.assert_array_equal(part["partner"], np.eye(2)[int(state.draw)])
        seen = inner.local[np.array([1, 3])].reshape(-1)
        np.testing.assert_array_equal(part["partner_observation"], seen)
        np.testing.assert_array_equal(part["partner_action"].reshape(2, 3), did)
        obs, state, _, _, truncated, info = step(jax.random.key(t), state, jnp.array([1, 0]))
        did = np.zeros((2, 3)) if truncated else np.eye(3)[np.asarray(info["partner_action"])]
        last = np.asarray(info["final_observation"].global_state)[spec.state_part("partner_action")]
        np.testing.assert_array_equal(
            last.reshape(2, 3), np.eye(3)[np.asarray(info["partner_action"])]
        )
    np.testing.assert_array_equal(plain_obs.local, env.reset(key)[0].local)
    with pytest.raises(ValueError, match="has no part 'partner'"):
        plain.spec().state_part("partner")
