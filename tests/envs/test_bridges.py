"""Bridges against the libraries themselves: the same keys give the same numbers."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config, registry
from marlx.config import yaml_text
from marlx.envs.bridges import (
    from_gymnax,
    from_jaxmarl,
    from_jumanji,
    register_in_gymnax,
    to_gymnax,
    to_jaxmarl,
    to_pettingzoo,
)
from marlx.envs.bridges._common import agent_names, group_by_name
from marlx.envs.foraging import Foraging
from marlx.learning.returns import uniform_action
from marlx.testing import Constant, check_env
from marlx.training import train

# The libraries' own calls of JAX are theirs to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FORAGING = Foraging(size=(5, 5), num_food=1, horizon=6)


def play(env, steps, key=0, actions=None):
    """Random legal play of one episode after another, everything stacked by time."""
    params = env.default_params
    spec = env.spec(params)

    @jax.jit
    def run(key):
        key_reset, key_play = jax.random.split(key)
        obs, state = env.reset(key_reset, params)

        def step(carry, key):
            obs, state = carry
            key_action, key_step = jax.random.split(key)
            action = uniform_action(key_action, spec, obs.action_mask)
            after, state, *rest = env.step(key_step, state, action, params)
            return (after, state), (obs, action, *rest)

        return jax.lax.scan(step, (obs, state), jax.random.split(key_play, steps))[1]

    return jax.device_get(run(jax.random.key(key)))


def play_original(reset, step, actions, key=0):
    """The library's own calls, from the same keys and with the same actions."""

    @jax.jit
    def run(key, actions):
        key_reset, key_play = jax.random.split(key)
        keys = jax.random.split(key_play, actions.shape[0])

        def advance(carry, inputs):
            obs, state = carry
            key, action = inputs
            key_step = jax.random.split(key)[1]
            after, state, *rest = step(key_step, state, action)
            return (after, state), (obs, *rest)

        return jax.lax.scan(advance, reset(key_reset), (keys, actions))[1]

    return jax.device_get(run(jax.random.key(key), jnp.asarray(actions)))


# ---------------------------------------------------------------- gymnax


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Catch-bsuite"])
def test_gymnax_is_reproduced(name):
    import gymnax

    original, params = gymnax.make(name)
    if name == "CartPole-v1":
        params = params.replace(max_steps_in_episode=20)
    env = from_gymnax(name, params)
    obs, action, reward, terminated, truncated, info = play(env, 200)

    def step(key, state, action):
        chosen = action[0] if not env.spec().continuous else -2.0 + 4.0 * action[0]  # torque +-2
        return original.step(key, state, chosen, params)

    theirs = play_original(lambda key: original.reset(key, params), step, action)
    seen, gain, ended, limited, more = theirs
    np.testing.assert_allclose(obs.local[:, 0], seen.reshape(200, -1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(obs.global_state, obs.local[:, 0])
    np.testing.assert_allclose(reward[:, 0], gain, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(terminated, ended)
    np.testing.assert_array_equal(truncated, limited)
    final = info["final_observation"].local[:, 0]
    np.testing.assert_allclose(
        final, more["final_observation"].reshape(200, -1), rtol=1e-5, atol=1e-5
    )
    if name == "CartPole-v1":
        assert terminated.any() and truncated.any()


def test_cartpole_stopped_by_the_clock_has_not_fallen():
    """Upright after 500 steps: a time limit, not an end. Fallen at the same time: an end."""
    env = from_gymnax("CartPole-v1")
    params = env.default_params
    assert params.max_steps_in_episode == 500 == env.spec().horizon
    state = env.reset_env(jax.random.key(0), params)
    late = dataclasses.replace(
        state, time=jnp.int32(499), inner=state.inner.replace(time=jnp.int32(499))
    )
    fallen = dataclasses.replace(late, inner=late.inner.replace(theta=jnp.float32(0.3)))
    for start, falls in ((late, False), (fallen, True)):
        _, _, _, terminated, truncated, _ = env.step(jax.random.key(1), start, jnp.array([0]))
        assert bool(truncated) and bool(terminated) == falls


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_gymnax_keeps_the_contract(name):
    check_env(from_gymnax(name))


def test_gymnax_settings_reach_it():
    env = registry.make_env(
        "gymnax/CartPole-v1", horizon=9, parameters='{"max_steps_in_episode": 7, "gravity": 1.5}'
    )
    assert env.default_params.max_steps_in_episode == 9
    assert env.default_params.inner.gravity == 1.5
    assert registry.make_env("gymnax/DeepSea-bsuite", kwargs='{"size": 5}').spec().obs_size == 25
    with pytest.raises(ValueError, match=r"'CartPol-v1' in gymnax; did you mean CartPole-v1"):
        from_gymnax("CartPol-v1")
    with pytest.raises(ValueError, match="'gravty' in gymnax/CartPole-v1; did you mean gravity"):
        from_gymnax("CartPole-v1", parameters='{"gravty": 1}')
    with pytest.raises(ValueError, match="kwargs is '3'; it must be a JSON object"):
        from_gymnax("CartPole-v1", kwargs="3")
    for text, said in (
        ('{"size": 2147483647}', "kwargs.size is 2147483647; it must be at most 10000"),
        ('{"a": [{"b": -1e9}]}', r"kwargs.a\[0\].b is -1000000000.0; it must be at most 10000"),
        ('{"size": NaN}', "kwargs.size is nan"),
        ('{"max_steps": 1e9}', "kwargs.max_steps is 1000000000.0; it must be at most 100000"),
        ('{"size": 1' + "0" * 4000 + "}", "kwargs.size is 1000.* 0+; it must be at most 10000"),
    ):
        with pytest.raises(ValueError, match=said):
            from_gymnax("DeepSea-bsuite", kwargs=text)
    with pytest.raises(ValueError, match="horizon is 0"):
        from_gymnax("CartPole-v1", horizon=0)


def test_gymnax_finds_a_team_of_ours():
    import gymnax

    env_id = "Foraging-5x5-2p-1f-v3"
    assert register_in_gymnax(env_id) == register_in_gymnax(env_id) == [f"marlx/{env_id}"]
    env, params = gymnax.make(f"marlx/{env_id}", horizon=6)
    ours = marlx.make(env_id, horizon=6)[0]
    keys = jax.random.split(jax.random.key(0), 3)
    obs, state = jax.jit(jax.vmap(env.reset, (0, None)))(keys, params)
    assert obs.local.shape == (3, 2, ours.spec().obs_size)
    sample = jax.vmap(env.action_space(params).sample)
    step = jax.jit(jax.vmap(env.step, (0, 0, 0, None)))
    expected = jax.jit(jax.vmap(ours.step, (0, 0, 0, None)))
    for t in range(7):
        action = sample(jax.random.split(jax.random.key(t), 3))
        assert action.shape == (3, 2) and env.action_space(params).contains(action[0])
        wanted = expected(keys, state, action, params)
        found = step(keys, state, action, params)
        _, state, reward, _, truncated, _ = found
        assert reward.shape == (3, 2)
        np.testing.assert_array_equal(truncated, t == 5)
        for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-6)
    assert env.action_mask(jax.tree.map(lambda x: x[0], state), params).shape == (2, 6)


def test_gymnax_finds_one_agent_of_ours_in_its_own_shapes():
    env = to_gymnax(Constant(num_agents=1, horizon=3))
    params = env.default_params
    obs, state = env.reset(jax.random.key(0), params)
    assert obs.shape == (1,) and env.num_actions == env.action_space(params).n == 2
    assert env.observation_space(params).shape == (1,)
    obs, state, reward, terminated, truncated, _ = env.step(jax.random.key(1), state, 1, params)
    assert reward.shape == () and reward == 1 and not terminated and not truncated
    assert env.action_mask(state, params).shape == (2,)
    assert env.get_obs(state).shape == (1,)


def test_every_example_of_ours_can_be_registered_in_gymnax():
    import gymnax

    names = register_in_gymnax()
    assert "marlx/matrix/climbing" in names and not any("gymnax" in name for name in names)
    assert set(names) <= set(gymnax.registered_envs)
    with pytest.raises(ValueError, match="unknown environment"):
        register_in_gymnax("nothing-like-it")


# ---------------------------------------------------------------- JaxMARL

JAXMARL = [
    pytest.param(
        "MPE_simple_speaker_listener_v4", {"max_steps": 7}, id="speakers", marks=pytest.mark.slow
    ),
    pytest.param("overcooked", {"max_steps": 15}, id="overcooked"),
    pytest.param("switch_riddle", {}, id="switch_riddle"),
    pytest.param(
        "HeuristicEnemySMAX", {"num_allies": 2, "num_enemies": 1, "max_steps": 30}, id="smax"
    ),
]


@pytest.mark.parametrize(("name", "kwargs"), JAXMARL)
def test_jaxmarl_is_reproduced(name, kwargs):
    import jaxmarl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = jaxmarl.make(name, **kwargs)
    env = from_jaxmarl(name, **kwargs)
    spec, agents = env.spec(), original.agents
    steps = 64
    obs, action, reward, terminated, truncated, _ = play(env, steps)

    def step(key, state, action):
        chosen = {agent: action[i] for i, agent in enumerate(agents)}
        shown, after, reward, done, _ = original.step(key, state, chosen)
        return shown, after, jnp.stack([reward[agent] for agent in agents]), done["__all__"]

    seen, gain, done = play_original(original.reset, step, action)
    flat = [np.asarray(seen[agent], np.float32).reshape(steps, -1) for agent in agents]
    for i, rows in enumerate(flat):
        assert rows.shape[1] == spec.obs_sizes[i]
        np.testing.assert_allclose(obs.local[:, i, : rows.shape[1]], rows, rtol=1e-5, atol=1e-5)
        assert not obs.local[:, i, rows.shape[1] :].any()
    state = seen.get("world_state", np.concatenate(flat, -1))
    np.testing.assert_allclose(obs.global_state, state, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reward, gain, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(terminated | truncated, done)
    assert done.any()


def test_speaker_and_listener_keep_their_widths_and_groups():
    spec = from_jaxmarl("MPE_simple_speaker_listener_v4").spec()
    assert (spec.obs_sizes, spec.action_sizes) == ((3, 11), (3, 5))
    assert spec.groups == (("speaker", (0,)), ("listener", (1,)))
    assert (spec.state_size, spec.horizon, spec.reward_aggregation) == (14, 26, "sum")


def test_a_riddle_solved_in_the_last_step_has_truly_ended():
    """switch_riddle ends when an agent announces, or is truncated after `max_steps`."""
    env = from_jaxmarl("switch_riddle")
    params, keys = env.default_params, jax.random.split(jax.random.key(0), 9)
    step = jax.jit(env.step)
    for tells_at in (2, 6, None):
        _, state = env.reset(keys[0], params)
        for t in range(1, 7):
            # Only the agent that is in the room acts; all of them say it, so somebody does.
            tells = jnp.full(3, 2 if t == tells_at else 0)
            _, state, _, terminated, truncated, _ = step(keys[t], state, tells, params)
            assert bool(terminated) == (t == tells_at)
            assert bool(truncated) == (t == 6)
            if terminated or truncated:
                break


@pytest.fixture(scope="module")
def battle():
    """Two marines against one, and its step, compiled once."""
    env = from_jaxmarl("HeuristicEnemySMAX", num_allies=2, num_enemies=1, max_steps=30)
    state = env.reset_env(jax.random.key(0), env.default_params)
    return env, state, jax.jit(env.step_env)


@pytest.mark.slow
def test_a_battle_won_in_the_last_step_has_truly_ended(battle):
    env, state, step = battle
    params = env.default_params
    assert params.max_steps_in_episode == 31  # its clock is read before it advances
    assert env.spec().reward_aggregation == "mean"
    over = state.inner.state.replace(step=jnp.int32(30))
    won = over.replace(unit_health=over.unit_health.at[2].set(0.0))
    for now, ends in ((over, False), (won, True)):
        late = dataclasses.replace(state, time=jnp.int32(30), inner=state.inner.replace(state=now))
        after, reward, terminated, info = step(jax.random.key(1), late, jnp.full(2, 4), params)
        assert after.inner.state.done  # what JaxMARL says either way
        assert bool(info["win_rate"]) == ends
        assert bool(terminated) == ends and after.time == params.max_steps_in_episode
        np.testing.assert_allclose(reward, 1.0 if ends else 0.0, atol=1e-6)


def test_a_battle_is_won_by_allies_that_live_over_enemies_that_do_not():
    env = from_jaxmarl("HeuristicEnemySMAX", num_allies=2, num_enemies=1, max_steps=30)
    assert env.spec().outcomes == ("win_rate",) and env.spec().common_reward

    def won(*alive):
        return bool(env._won(SimpleNamespace(unit_alive=jnp.array(alive))))

    assert won(True, False, False) and won(True, True, False)
    assert not won(True, True, True) and not won(False, False, True)
    assert not won(False, False, False)
    assert from_jaxmarl("switch_riddle").spec().outcomes == ()


@pytest.mark.slow
def test_smax_masks_are_its_own(battle):
    """Nobody is in range at first, so moving and stopping is all; the dead may only stop."""
    env, state, step = battle
    params = env.default_params
    assert env.observe(state, params).action_mask.tolist() == [[True] * 5 + [False]] * 2
    now = state.inner.state
    close = now.replace(
        unit_positions=now.unit_positions.at[2].set(now.unit_positions[0] + 1.0),
        unit_health=now.unit_health.at[1].set(0.0),
    )
    state = dataclasses.replace(state, inner=state.inner.replace(state=close))
    after = step(jax.random.key(1), state, jnp.full(2, 4), params)[0]
    mask = env.observe(after, params).action_mask
    assert mask.tolist() == [[True] * 6, [False] * 4 + [True, False]]
    assert env.spec().active_mask  # and are inactive
    assert env.observe(state, params).active.tolist() == [True, True]
    assert env.observe(after, params).active.tolist() == [True, False]


@pytest.mark.parametrize(
    "name",
    [pytest.param("MPE_simple_speaker_listener_v4", marks=pytest.mark.slow), "switch_riddle"],
)
def test_jaxmarl_keeps_the_contract(name):
    check_env(from_jaxmarl(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smax/3m", "overcooked/cramped_room", "coin_game"])
def test_larger_jaxmarl_keeps_the_contract(name):
    check_env(from_jaxmarl(name))


def test_jaxmarl_maps_layouts_and_mistakes():
    spec = registry.make_env("jaxmarl/smax/3m").spec()
    assert (spec.num_agents, spec.num_actions, spec.horizon) == (3, 8, 101)
    assert spec.groups == (("ally", (0, 1, 2)),)
    assert registry.make_env("jaxmarl/overcooked/cramped_room").spec().horizon == 400
    short = registry.make_env("jaxmarl/MPE_simple_v3", kwargs='{"max_steps": 9}', horizon=4)
    assert short.spec().horizon == 4
    assert from_jaxmarl("coin_game").spec().horizon == 100
    with pytest.raises(ValueError, match="'3n' in jaxmarl/smax; did you mean 3m"):
        from_jaxmarl("smax/3n")
    with pytest.raises(ValueError, match="must give a dictionary of observations"):
        from_jaxmarl("storm")
    with pytest.raises(ValueError, match="ends after 26 steps"):
        from_jaxmarl("MPE_simple_v3", horizon=30)
    with pytest.raises(ValueError, match=r"cannot be made: TypeError.*max_stebs"):
        from_jaxmarl("switch_riddle", max_stebs=30)
    with pytest.raises(ValueError, match="only numbers, text, lists"):
        from_jaxmarl("HeuristicEnemySMAX", scenario=object())


def test_jaxmarl_plays_ours():
    """Its own reset, step, LogWrapper and CTRolloutManager, jitted, batched and scanned."""
    from jaxmarl.wrappers.baselines import CTRolloutManager, LogWrapper, get_space_dim

    env = to_jaxmarl(FORAGING)
    spec = FORAGING.spec()
    assert env.agents == ["agent_0", "agent_1"] and env.name == spec.id
    assert env.agent_classes == {"agents": env.agents}
    assert get_space_dim(env.action_space("agent_0")) == 6
    assert get_space_dim(env.observation_space("agent_0")) == spec.obs_size
    manager = CTRolloutManager(LogWrapper(env), batch_size=4)
    obs, state = manager.batch_reset(jax.random.key(0))
    assert obs["agent_0"].shape == (4, spec.obs_size + 2)  # with the agents' one-hot names
    assert obs["__all__"].shape == (4, 2 * spec.obs_size)
    legal = jax.vmap(env.get_avail_actions)(state.env_state)
    assert legal["agent_1"].shape == (4, 6) and legal["agent_1"].dtype == jnp.uint8

    def step(state, key):
        keys = zip(env.agents, jax.random.split(key, 2), strict=True)
        actions = {agent: manager.batch_sample(draw, agent) for agent, draw in keys}
        _, state, reward, done, info = manager.batch_step(key, state, actions)
        return state, (reward["__all__"], done["__all__"], info)

    _, (reward, done, info) = jax.jit(
        lambda state: jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 200))
    )(state)
    assert info["terminated"].any() and info["truncated"].any()
    np.testing.assert_array_equal(
        np.asarray(done), np.asarray((info["terminated"] | info["truncated"])[..., 0])
    )
    ended = np.asarray(info["returned_episode"])
    np.testing.assert_array_equal(ended[..., 0], done)
    lengths = np.asarray(info["returned_episode_lengths"])[ended]
    assert lengths.max() == 6 and lengths.min() >= 1
    returns = np.asarray(info["returned_episode_returns"]).sum(-1)[np.asarray(done)]
    first = np.cumsum(np.asarray(reward), 0)
    assert returns.max() <= 1 + 1e-5 and first[-1].max() > 1


def test_jaxmarl_and_back_is_the_same():
    """Foraging through both bridges is foraging."""
    there = from_jaxmarl(to_jaxmarl(FORAGING))
    spec, wanted = there.spec(), FORAGING.spec()
    assert (spec.obs_size, spec.num_actions, spec.horizon, spec.state_size) == (
        wanted.obs_size,
        wanted.num_actions,
        wanted.horizon,
        wanted.state_size,
    )
    found, direct = play(there, 40), play(FORAGING, 40)
    for left, right in zip(found[:3], direct[:3], strict=True):
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_jaxmarl_takes_no_continuous_actions_of_ours():
    with pytest.raises(ValueError, match="continuous actions"):
        to_jaxmarl(from_gymnax("Pendulum-v1"))


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("jaxmarl/overcooked/cramped_room", True),
        ("jumanji/Connector-v3", True),
        ("jaxmarl/coin_game", False),
        ("gymnax/CartPole-v1", False),
    ],
)
def test_pictures_of_a_bridged_environment_or_one_line(name, drawn, monkeypatch):
    monkeypatch.setenv("DISPLAY", "")  # no window is ever opened
    env, params = marlx.make(name)
    state = env.reset_env(jax.random.key(0), params)
    if not drawn:
        with pytest.raises(ValueError, match=rf"^{name} has no pictures: ") as error:
            env.render(state, params)
        assert "\n" not in str(error.value)
        return
    picture = env.render(state, params)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert min(picture.shape[:2]) > 90 and len(np.unique(picture)) > 2
    moving = jax.jit(env.step_env)
    for i in range(10):
        legal = np.asarray(env.observe(state, params).action_mask)
        action = jax.numpy.asarray([np.flatnonzero(row)[i % row.sum()] for row in legal])
        state = moving(jax.random.key(i), state, action, params)[0]
    later = env.render(state, params)
    assert later.shape == picture.shape and (later != picture).any()


# ---------------------------------------------------------------- jumanji

JUMANJI = [
    pytest.param(
        "LevelBasedForaging-v0", {"time_limit": 20}, id="foraging", marks=pytest.mark.slow
    ),
    pytest.param("Cleaner-v0", {"time_limit": 12}, id="cleaner"),
    pytest.param("Snake-v1", {}, id="snake"),
]


@pytest.mark.parametrize(("name", "kwargs"), JUMANJI)
def test_jumanji_is_reproduced(name, kwargs):
    """One episode. Cleaner's ends with dirty tiles: no true end, though its discount says so."""
    import json

    import jumanji

    original = jumanji.make(name, **kwargs)
    env = from_jumanji(name, kwargs=json.dumps(kwargs))
    params, spec = env.default_params, env.spec()
    theirs, ours = jax.jit(original.step), jax.jit(env.step_env)
    draw = jax.jit(lambda key, mask: uniform_action(key, spec, mask))
    key = jax.random.key(3)
    state, shown = jax.jit(original.reset)(key)
    mine = env.reset_env(key, params)
    for t in range(params.max_steps_in_episode):
        obs = env.observe(mine, params)
        mask = np.asarray(shown.observation.action_mask).reshape(spec.num_agents, -1)
        stuck = ~mask.any(-1, keepdims=True)  # a snake that has nowhere to go
        np.testing.assert_array_equal(obs.action_mask, mask | stuck)
        fields = shown.observation._asdict()
        del fields["action_mask"]
        own = np.asarray(fields.pop("agents_view", np.zeros((spec.num_agents, 0))))
        common = np.concatenate([np.asarray(x, np.float32).ravel() for x in fields.values()])
        np.testing.assert_allclose(obs.local[:, : own.shape[1]], own, rtol=1e-6)
        for i in range(spec.num_agents):
            np.testing.assert_allclose(obs.local[i, own.shape[1] :], common, rtol=1e-6)
        everything = np.concatenate([own.ravel(), common])
        np.testing.assert_allclose(obs.global_state, everything, rtol=1e-6)
        action = draw(jax.random.key(t), obs.action_mask)
        state, shown = theirs(state, action if original.action_spec.shape else action[0])
        mine, reward, terminated, _ = ours(key, mine, action, params)
        truncated = mine.time >= params.max_steps_in_episode
        wanted = np.broadcast_to(shown.reward, spec.num_agents)
        np.testing.assert_allclose(reward, wanted, rtol=1e-6)
        assert bool(terminated | truncated) == bool(shown.last())
        if shown.last():
            break
    assert shown.last()
    if name == "Snake-v1":
        assert terminated and not truncated
    else:
        left = np.asarray(shown.discount).max()  # Foraging's discount is above 0 at limits
        assert truncated and not terminated and left == (name == "LevelBasedForaging-v0")


@pytest.mark.slow
def test_jumanji_keeps_the_contract():
    check_env(from_jumanji("LevelBasedForaging-v0"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RobotWarehouse-v0", "Connector-v3", "Cleaner-v0", "Snake-v1"])
def test_larger_jumanji_keeps_the_contract(name):
    check_env(from_jumanji(name))


def test_jumanji_environments_without_a_fitting_mask_are_refused():
    spec = from_jumanji("LevelBasedForaging-v0").spec()
    assert (spec.num_agents, spec.num_actions, spec.horizon) == (2, 6, 100)
    assert spec.reward_aggregation == "sum"
    with pytest.raises(ValueError, match=r"action_mask is \[4, 10\].*the mask must be \[A\]"):
        from_jumanji("Tetris-v0")
    with pytest.raises(ValueError, match="'Snak-v1' in jumanji; did you mean"):
        from_jumanji("Snak-v1")


# ---------------------------------------------------------------- PettingZoo


@pytest.mark.parametrize("mask_in_observation", [False, True])
def test_pettingzoo_finds_nothing_wrong(mask_in_observation):
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    def make():
        return to_pettingzoo(FORAGING, mask_in_observation=mask_in_observation)

    parallel_api_test(make(), num_cycles=40)
    parallel_seed_test(make, num_cycles=10)


def test_pettingzoo_gives_our_numbers():
    env = to_pettingzoo(FORAGING, render_mode="rgb_array")
    obs, infos = env.reset(seed=4)
    key, first = jax.random.split(jax.random.key(4))
    shown, state = FORAGING.reset(first)
    params = FORAGING.default_params
    done = False
    while not done:
        for i, agent in enumerate(env.possible_agents):
            np.testing.assert_array_equal(obs[agent], shown.local[i])
            np.testing.assert_array_equal(infos[agent]["action_mask"], shown.action_mask[i])
        np.testing.assert_array_equal(env.state(), shown.global_state)
        np.testing.assert_array_equal(env.render(), FORAGING.render(state, params))
        action = {a: int(np.argmax(infos[a]["action_mask"][1:])) + 1 for a in env.agents}
        obs, rewards, ends, limits, infos = env.step(action)
        key, key_step = jax.random.split(key)
        state, reward, terminated, _ = FORAGING.step_env(
            key_step, state, jnp.array(list(action.values())), params
        )
        shown = FORAGING.observe(state, params)
        np.testing.assert_allclose(list(rewards.values()), reward, rtol=1e-6)
        assert set(ends.values()) == {bool(terminated)}
        done = any(ends.values()) or any(limits.values())
    assert env.agents == [] and set(limits.values()) == {int(state.time) == 6}
    with pytest.raises(ValueError, match="call reset first"):
        env.step(action)
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        to_pettingzoo(FORAGING, render_mode="human")


@pytest.mark.parametrize("action", [2, np.int64(2), np.array(2), np.array([2]), [2]])
def test_pettingzoo_takes_the_actions_that_libraries_give(action):
    env = to_pettingzoo(registry.make_env("matrix/climbing"))
    env.reset(seed=0)
    _, rewards, *_ = env.step(dict.fromkeys(env.agents, action))
    assert set(rewards.values()) == {5.0}


@pytest.mark.parametrize("action", [99, -1, 2.7, 2.0, True, None, "2", [0, 1], np.nan])
def test_pettingzoo_refuses_actions_outside_the_space(action):
    env = to_pettingzoo(registry.make_env("matrix/climbing"))
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"of agent_1 is .*; it must be a whole number from 0 to 2"
    ):
        env.step({"agent_0": 0, "agent_1": action})


@pytest.mark.parametrize("action", [np.zeros(2), np.full(5, 1.5), np.full(5, np.nan), "x", None])
def test_pettingzoo_refuses_vectors_outside_the_space(action):
    env = to_pettingzoo(registry.make_env("mpe/simple_spread_v3", continuous_actions=True))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"of agent_0 is .*; it must be 5 numbers from 0 to 1"):
        env.step({agent: action for agent in env.agents})
    with pytest.raises(ValueError, match="unknown agent 'agent_7'"):
        env.step({"agent_7": action})


def test_pettingzoo_environments_can_be_pickled():
    env = to_pettingzoo(FORAGING, mask_in_observation=True, render_mode="rgb_array")
    assert pickle.loads(pickle.dumps(env)).agents == []  # before the first episode
    env.reset(seed=4)
    env.step(dict.fromkeys(env.agents, 0))
    again = pickle.loads(pickle.dumps(env))
    for one in (env, again):
        one.result = one.step(dict.fromkeys(one.agents, 1))
    jax.tree.map(np.testing.assert_array_equal, env.result, again.result)
    np.testing.assert_array_equal(env.render(), again.render())


def test_agents_are_named_by_group():
    spec = dataclasses.replace(
        Constant(num_agents=4).spec(), groups=(("adversaries", (1, 2)), ("agents", (0, 3)))
    )
    assert agent_names(spec) == ["agent_0", "adversary_0", "adversary_1", "agent_1"]
    alike = group_by_name(["a_0", "b_0", "a_1", "a_2"], [(3,), (3,), (3,), (4,)])
    assert [members for _, members in alike] == [(0, 2), (1,), (3,)]
    assert len({name for name, _ in alike}) == 3


# ---------------------------------------------------------------- all of them


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, marlx.envs, marlx.envs.bridges, marlx.cli\n"
        "marlx.cli.run(['list'])\n"
        "found = {'gymnax', 'jaxmarl', 'jumanji', 'pettingzoo', 'gymnasium'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("gymnax/CartPole-v1", "jaxmarl/smax/3m", "jumanji/LevelBasedForaging-v0"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("gymnax", lambda: from_gymnax("CartPole-v1")),
        ("jaxmarl", lambda: registry.make_env("jaxmarl/smax/3m")),
        ("jumanji", lambda: from_jumanji("Snake-v1")),
        ("pettingzoo", lambda: to_pettingzoo(FORAGING)),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(package, use, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    source = package if package == "gymnax" else "'marlx[peers]'"
    with pytest.raises(ValueError) as caught:
        use()
    wanted = f"this environment needs {package}, which is not installed: pip install {source}"
    assert str(caught.value) == wanted


def test_stdout_survives_importing_jaxmarl():
    """JaxMARL 0.2.0 prints on import, and replaces `sys.stdout` by the process' first one."""
    code = (
        "import io, sys\n"
        "sys.stdout = mine = io.StringIO()\n"
        "from marlx.envs.bridges._common import library\n"
        "library('jaxmarl')\n"
        "assert sys.stdout is mine and not mine.getvalue()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_settings_written_are_settings_read(tmp_path):
    first = config.experiment("iql", "jaxmarl/MPE_simple_v3", env={"kwargs": '{"max_steps": 9}'})
    (tmp_path / "config.yaml").write_text(yaml_text.dump(first.settings()))
    again = config.experiment(file=tmp_path / "config.yaml")
    assert again.env.spec() == first.env.spec() and again.env.spec().horizon == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "random", "least"), [("gymnax/CartPole-v1", 22, 150), ("jaxmarl/smax/3m", 0.16, 0.8)]
)
def test_independent_learners_learn_in_other_libraries(env_id, random, least):
    """A fifth of the presets' steps; SMAX pays 1 for all damage done and 1 for winning."""
    experiment = config.experiment("iql", env_id, seeds=2, total_steps=60_000, evals=1)
    env, params, learner = experiment.build()
    result = train(env, learner, params, config=experiment.train)
    assert result.random_returns.mean() == pytest.approx(random, rel=0.3)
    assert result.returns.mean() > least
