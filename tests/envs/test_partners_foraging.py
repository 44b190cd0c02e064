"""Heuristic partners for foraging against the originals, decision by decision."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs import foraging, partners
from marlx.envs.foraging import Foraging

SETTINGS = {
    "8x8-2p-2f": Foraging(),
    "2s-8x8-3p-2f": Foraging(sight=2, num_agents=3),
    "1s-6x9-4p-3f": Foraging(sight=1, size=(6, 9), num_agents=4, num_food=3),
    "hidden-3s-8x8-3p-2f": Foraging(sight=3, num_agents=3, observe_levels=False),
    "grid-8x8-3p-3f": Foraging(observation="grid", num_agents=3, num_food=3),
}
BOARDS = 400


# ---------------------------------------------------------------- the original


@pytest.fixture
def originals(monkeypatch: pytest.MonkeyPatch) -> Any:
    """lbforaging's heuristics, whose `random.choice` gives the set that it would choose from.

    The package imports its environment by a name that does not exist, and modules that it does not
    depend on; so it is entered past its `__init__`.
    """
    package = pytest.importorskip("lbforaging")
    agents = types.ModuleType("lbforaging.agents")
    agents.__path__ = [f"{package.__path__[0]}/agents"]
    monkeypatch.setitem(sys.modules, "lbforaging.agents", agents)
    for name in ("foraging", "foraging.environment"):
        original = importlib.import_module(f"lbforaging.{name}")
        monkeypatch.setitem(sys.modules, name, original)
    module = importlib.import_module("lbforaging.agents.heuristic_agent")
    monkeypatch.setattr(module, "random", types.SimpleNamespace(choice=frozenset))
    return module


def reference(env: Foraging) -> Any:
    """lbforaging's environment with the same board, sight and numbers."""
    module = pytest.importorskip("lbforaging.foraging.environment")
    ref = module.ForagingEnv(
        players=env.num_agents,
        min_player_level=1,
        max_player_level=2,
        min_food_level=1,
        max_food_level=None,
        field_size=env.size,
        max_num_food=env.num_food,
        sight=env.view,
        max_episode_steps=50,
        force_coop=False,
    )
    ref.reset(seed=0)
    return ref


def decisions(originals: Any, ref: Any, state: foraging.ForagingState, env: Foraging) -> list[Any]:
    """For h1 to h4 and each agent: an action, or the set of those it draws from."""
    ref.field = np.asarray(env.food_grid(state), np.int32)
    for player, pos, level in zip(ref.players, state.agent_pos, state.agent_level, strict=True):
        player.position, player.level = (int(pos[0]), int(pos[1])), int(level)
    ref._gen_valid_moves()
    rows = []
    for name in ("H1", "H2", "H3", "H4"):
        row = []
        for player in ref.players:
            choice = getattr(originals, name)(player)._step(ref._make_obs(player))
            row.append(
                {int(action.value) for action in choice}
                if isinstance(choice, frozenset)
                else int(choice.value)
            )
        rows.append(row)
    return rows


def crowded(env: Foraging, rng: np.random.Generator, apart: bool) -> foraging.ForagingState:
    """A board with the agents near the foods; `apart` keeps two from sharing a cell."""
    rows, cols = env.size
    while True:
        grid = np.zeros(env.size, int)
        for _ in range(rng.integers(0, env.num_food + 1)):
            r, c = rng.integers(1, rows - 1), rng.integers(1, cols - 1)
            if all(abs(r - a) + abs(c - b) > 2 for a, b in np.argwhere(grid)):
                grid[r, c] = rng.integers(1, 5)
        foods = np.argwhere(grid)
        pos: list[tuple[int, int]] = []
        while len(pos) < env.num_agents:
            r, c = rng.integers(rows), rng.integers(cols)
            if len(foods) and rng.random() < 0.7:
                r, c = foods[rng.integers(len(foods))] + rng.integers(-3, 4, 2)
            free = 0 <= r < rows and 0 <= c < cols and not grid[r, c]
            if free and not (apart and (r, c) in pos):
                pos.append((int(r), int(c)))
        return env.make_state(pos, rng.integers(1, 3, env.num_agents), grid)


def observe(env: Foraging, state: foraging.ForagingState) -> Any:
    return env.observe(state, env.default_params)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(which, marks=[pytest.mark.slow] * which.startswith(("2s", "grid")))
        for which in SETTINGS
    ],
)
def test_foraging_heuristics_decide_as_the_originals(which: str, originals: Any) -> None:
    env, rng = SETTINGS[which], np.random.default_rng(0)
    ref = reference(env)
    boards = [crowded(env, rng, apart=env.observation == "grid") for _ in range(BOARDS)]
    wanted = [decisions(originals, ref, board, env) for board in boards]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *boards)
    names = ("h1", "h2", "h3", "h4") if env.observe_levels else ("h1", "h2")
    pool = [partners.heuristics(env)[name] for name in names]
    tastes = jax.tree.map(lambda *leaves: jnp.asarray(leaves), *[p.policy for p in pool])

    @jax.jit
    def decide(batch: Any, keys: Any) -> Any:  # int32 [keys, boards, heuristics, N]
        obs = jax.vmap(functools.partial(observe, env))(batch)

        def one(taste: Any, obs: Any, key: Any) -> Any:
            return pool[0].act(taste, (), obs, key)[0]

        each = jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, 0))
        return jax.vmap(each, (None, None, 0))(tastes, obs, keys)

    keys = jax.random.split(jax.random.key(0), (60, BOARDS))
    found = np.asarray(decide(batch, keys))
    random = 0
    for b in range(BOARDS):
        for h in range(len(names)):
            for i in range(env.num_agents):
                want, have = wanted[b][h][i], set(found[:, b, h, i].tolist())
                if isinstance(want, set):
                    random += 1
                    assert have <= want and len(have) >= min(3, len(want)), (b, h, i)
                else:
                    assert have == {want}, (names[h], b, i)
    total = BOARDS * len(names) * env.num_agents
    assert 0.02 * total < random < 0.9 * total  # both kinds of decision were met


def test_random_choices_are_uniform_over_what_is_legal() -> None:
    env = Foraging(sight=2)
    grid = np.zeros(env.size, int)
    grid[5, 5] = 4  # out of sight
    state = env.make_state([(0, 0), (0, 3)], [1, 1], grid)
    obs = observe(env, state)
    keys = jax.random.split(jax.random.key(0), 3000)
    for name in ("h1", "random"):
        partner = partners.heuristics(env)[name]
        play = jax.jit(jax.vmap(lambda key, p=partner: p.act(p.policy, (), obs, key)[0]))
        actions = np.asarray(play(keys))
        for i in range(2):
            legal = np.flatnonzero(obs.action_mask[i])
            share = np.bincount(actions[:, i], minlength=6) / len(keys)
            np.testing.assert_allclose(share[legal], 1 / len(legal), atol=0.04)
            assert share[legal].sum() == 1
        assert abs(np.corrcoef(actions.T)[0, 1]) < 0.08  # agents draw apart


def test_rounding_is_numpys() -> None:
    totals, counts = np.mgrid[0:60, 1:9].reshape(2, -1)
    found = partners.foraging.round_half_even(jnp.asarray(totals), jnp.asarray(counts))
    np.testing.assert_array_equal(found, np.rint(totals / counts))


def test_heuristics_that_need_levels_are_left_out_where_levels_are_hidden() -> None:
    assert list(partners.heuristics(Foraging())) == ["h1", "h2", "h3", "h4", "random"]
    assert list(partners.heuristics(Foraging(observe_levels=False))) == ["h1", "h2", "random"]
    push, _ = marlx.make("mpe/simple_push_v3")
    assert list(partners.heuristics(push)) == ["random"]
