"""Planes and rows that environments declare, held against their own observations and states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.nets.encoders import own_columns, presence, rows_of


def played(env_id, steps=0, count=4):
    """Spec, states and observations of a few episodes after a few random steps."""
    env, params = marlx.make(env_id)

    def one(key):
        state = env.reset_env(key, params)
        for _ in range(steps):
            key, key_step = jax.random.split(key)
            action = jax.random.randint(key_step, (env.spec().num_agents,), 0, 5)
            state = env.step_env(key_step, state, action, params)[0]
        return state, env.observe(state, params)

    options = {"xla_backend_optimization_level": 0}
    play = jax.jit(jax.vmap(one), compiler_options=options)
    return env.spec(), *play(jax.random.split(jax.random.key(0), count))


def rows(spec, obs):
    """Rows [B, N, count, width] by kind, whether they are there [B, N, count], and the rest."""
    found = {kind.name: rows_of(kind, obs.local) for kind in spec.entities}
    there = {kind.name: presence(kind, found[kind.name]) for kind in spec.entities}
    return found, there, obs.local[..., jnp.array(own_columns(spec.entities, spec.obs_size))]


def test_foraging_declares_its_foods_and_agents():
    spec, state, obs = played("Foraging-5x5-3p-2f-v3")
    found, there, own = rows(spec, obs)
    agents = np.concatenate([state.agent_pos, np.asarray(state.agent_level)[..., None]], -1)
    foods = np.concatenate([state.food_pos, np.asarray(state.food_level)[..., None]], -1)
    np.testing.assert_array_equal(own, agents)
    for i in range(3):
        np.testing.assert_array_equal(found["agents"][:, i], np.delete(agents, i, 1))
        for b in range(4):
            listed = np.asarray(found["foods"][b, i][there["foods"][b, i]])
            assert sorted(map(tuple, listed)) == sorted(map(tuple, foods[b][foods[b, :, 2] > 0]))
    assert there["agents"].all() and there["foods"][..., 0].all()


@pytest.mark.parametrize("env_id", ["Foraging-2s-8x8-3p-3f-v3", "Foraging-2s-8x8-3p-3f-v3 levels"])
def test_foraging_out_of_sight_is_absent(env_id):
    name, _, hidden = env_id.partition(" ")
    env, params = marlx.make(name, **({"observe_levels": False} if hidden else {}))
    spec = env.spec(params)
    states = jax.vmap(lambda key: env.reset_env(key, params))(
        jax.random.split(jax.random.key(1), 16)
    )
    obs = jax.vmap(lambda state: env.observe(state, params))(states)
    found, there, own = rows(spec, obs)
    assert own.shape[-1] == found["agents"].shape[-1] == (2 if hidden else 3)
    far = np.abs(states.food_pos[:, None] - states.agent_pos[:, :, None]).max(-1)  # [B, N, F]
    seen = (far <= 2) & (np.asarray(states.food_level)[:, None] > 0)
    np.testing.assert_array_equal(there["foods"].sum(-1), seen.sum(-1))
    missing = np.where(there["agents"][..., None], -1, found["agents"][..., :2])
    assert (missing == -1).all() and (found["agents"][..., :2][there["agents"]] >= 0).all()
    assert 0 < there["agents"].mean() < 1


def test_spread_declares_landmarks_and_agents():
    spec, state, obs = played("mpe/simple_spread_v3", steps=2)
    found, there, own = rows(spec, obs)
    pos = state.agent_pos
    np.testing.assert_allclose(own, np.concatenate([state.agent_vel, pos], -1), atol=1e-6)
    for i in range(3):
        marks = state.landmark_pos - pos[:, i : i + 1]
        np.testing.assert_allclose(found["landmarks"][:, i], marks, atol=1e-6)
        others = np.delete(pos, i, 1) - pos[:, i : i + 1]
        np.testing.assert_allclose(found["agents"][:, i, :, :2], others, atol=1e-6)
    assert not found["agents"][..., 2:].any() and there["agents"].all()


def test_smax_declares_units():
    pytest.importorskip("jaxmarl")
    env, params = marlx.make("jaxmarl/smax/3m")
    spec, state = env.spec(params), env.reset_env(jax.random.key(0), params)
    units = state.inner.state
    alive = units.unit_alive.at[1].set(False)  # an ally dies
    alive, near = alive.at[4].set(False), units.unit_positions.at[3].set(units.unit_positions[0])
    units = units.replace(unit_alive=alive, unit_positions=near + jnp.arange(6)[:, None] * 0.01)
    inner = env._inner
    shown = inner.get_obs(state.inner.replace(state=units))
    obs = state.obs._replace(local=jnp.stack([shown[agent] for agent in inner.agents]))
    found, there, own = rows(spec, obs)
    apart = np.linalg.norm(units.unit_positions[:, None] - units.unit_positions, axis=-1)
    battle = inner._env
    reach = np.asarray(battle.unit_type_sight_ranges)[np.asarray(units.unit_types)]
    sees = (apart < reach[:, None]) & np.asarray(alive) & np.asarray(alive)[:, None]
    for i in (0, 2):
        assert list(there["allies"][i]) == list(np.delete(sees[i, :3], i))
        assert list(there["enemies"][i]) == list(sees[i, 3:])
    assert there["enemies"][0, 0] and not there["enemies"][0, 1]
    assert own.shape[-1] == len(battle.own_features) and not there["enemies"][1].any()
    offset = (units.unit_positions[3] - units.unit_positions[0]) / reach[0]
    np.testing.assert_allclose(found["enemies"][0, 0, 1:3], offset, atol=1e-6)


def test_foraging_grids_are_planes():
    spec, state, obs = played("Foraging-grid-2s-5x5-2p-1f-v3")
    image, rest = spec.planes.split(obs.local)
    assert image.shape == (4, 2, 5, 5, 3) and rest.shape[-1] == 0
    np.testing.assert_array_equal(image[:, :, 2, 2, 0], state.agent_level)
    apart = np.asarray(state.food_pos[:, None, 0] - state.agent_pos)
    for b in range(4):
        for i in range(2):
            row, col = apart[b, i] + 2
            if 0 <= row < 5 and 0 <= col < 5:
                assert image[b, i, row, col, 1] == state.food_level[b, 0]
    assert marlx.make("Foraging-5x5-2p-1f-v3")[0].spec().planes is None


def test_minatar_and_overcooked_are_planes():
    pytest.importorskip("gymnax")
    env, params = marlx.make("gymnax/Breakout-MinAtar")
    state = env.reset_env(jax.random.key(0), params)
    image, rest = env.spec(params).planes.split(env.observe(state, params).local[0])
    np.testing.assert_array_equal(image, env._inner[0].get_obs(state.inner, params.inner))
    assert rest.size == 0 and marlx.make("gymnax/CartPole-v1")[0].spec().planes is None
    pytest.importorskip("jaxmarl")
    assert marlx.make("jaxmarl/overcooked/cramped_room")[0].spec().planes == (4, 5, 26, False)
    pytest.importorskip("jumanji")
    assert marlx.make("jumanji/Snake-v1")[0].spec().planes == (12, 12, 5, False)
    assert marlx.make("jumanji/LevelBasedForaging-v0")[0].spec().planes is None
