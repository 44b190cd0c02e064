"""Vault: its optimum and what partners' errors make of it, by playing every choice."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs.vault import EAST, STAY, WEST, Vault
from marlx.testing import check_env

TEAM = Vault(num_agents=3, small=0.6, alarm=-2.0)


@pytest.fixture(scope="module")
def play():
    """Return of an episode of TEAM: agent 0 walks to a door, then all to levers (1 is east)."""

    def episode(door, levers, sign):
        params = TEAM.default_params
        state = TEAM.make_state([TEAM.half] * 3)
        state = state.replace(sign=sign)

        def step(carry, _):
            state, total, over = carry
            walk = jnp.where(state.inside, levers, door)
            after, reward, ends, _ = TEAM.step_env(
                jax.random.key(0), state, jnp.where(walk == 1, EAST, WEST), params
            )
            total += jnp.where(over, 0.0, reward.mean())
            return (after, total, over | ends), None

        (_, total, over), _ = jax.lax.scan(step, (state, 0.0, False), None, length=2 * TEAM.half)
        return total, over

    return jax.jit(jax.vmap(episode))


def test_every_plan_by_play(play):
    """Of 2 doors, 8 choices of levers and 8 draws of signs, the vault with right levers is best."""
    ways = np.array(list(itertools.product((0, 1), repeat=7)), np.int32)
    door, levers, sign = ways[:, 0], ways[:, 1:4], ways[:, 4:]
    total, over = play(door, levers, sign)
    right = (levers == sign).all(1)
    np.testing.assert_allclose(total, np.where(door == 0, 0.6, np.where(right, 1.0, -2.0)))
    assert over.all() and total.max() == TEAM.spec().optimum == 1
    # a right lever is never worse than a wrong one, whatever the others take: what monotonic mixing
    # can represent
    value = {tuple(way): float(x) for way, x in zip(ways, total, strict=True)}
    for way in ways[door == 1]:
        for i in range(3):
            one = way.copy()
            one[1 + i] = way[4 + i]
            assert value[tuple(one)] >= value[tuple(way)]


@pytest.mark.parametrize("error", [0.0, 0.05, 0.3, 1.0])
def test_what_the_vault_is_worth_beside_partners_who_err(play, error):
    """The mean over their errors, for an agent that takes its own right lever."""
    ways = np.array(list(itertools.product((0, 1), repeat=2)), np.int32)
    levers = np.concatenate([np.ones((4, 1), np.int32), 1 - ways], axis=1)
    total, _ = play(np.ones(4, np.int32), levers, np.ones((4, 3), np.int32))
    chances = np.where(ways == 1, error, 1 - error).prod(1)
    assert TEAM.worth(error) == pytest.approx(float((chances * total).sum()))


def test_the_error_from_which_the_small_room_is_better():
    env, _ = marlx.make("grid/vault-4p")
    assert env.worth(env.tolerated_error) == pytest.approx(env.small)
    # with the preset's share of random choices, 0.1, each partner errs in half of them
    assert env.worth(0.05) < env.small < env.worth(0.01)
    with pytest.raises(ValueError, match="error is 2; it must be between 0 and 1"):
        env.worth(2)


def test_who_may_walk():
    obs = TEAM.observe(TEAM.make_state([1, 2, 2]), TEAM.default_params)
    waits = [True, False, False]
    assert obs.action_mask.tolist() == [[True] * 3, waits, waits]
    inside = TEAM.make_state([0, 1, 2], inside=True, sign=[1, 0, 1])
    obs = TEAM.observe(inside, TEAM.default_params)
    assert obs.action_mask.tolist() == [waits, [True] * 3, [True] * 3]
    assert obs.local.tolist() == [[-2, 1, 1, 1], [-1, 1, -1, 0], [0, 1, 1, 0]]
    assert obs.global_state.tolist() == [1, -2, -1, 0, 1, -1, 1]
    # who has taken a lever stays there, and nothing is paid before all have
    after, reward, ends, _ = TEAM.step_env(
        jax.random.key(0), inside, jnp.array([EAST, STAY, EAST]), TEAM.default_params
    )
    assert after.cell.tolist() == [0, 1, 3] and not ends and not reward.any()


def test_subgoals():
    subgoals = TEAM.subgoals()
    for inside, wanted in (
        (False, [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]),
        (True, [[0, 0, 0, 1, 1]] * 3),
    ):
        state = TEAM.make_state([1, 2, 2], inside)
        local = TEAM.observe(state, TEAM.default_params).local
        for found in (subgoals.choices(local), subgoals.available(state)):
            assert found.astype(int).tolist() == wanted
    at_door = TEAM.make_state([0, 2, 2])
    assert subgoals.achieved(at_door)[:, 1].tolist() == [True, False, False]
    at_levers = subgoals.achieved(TEAM.make_state([0, 4, 2], inside=True)).astype(int)
    assert at_levers.tolist() == [[1, 0, 1, 1, 0], [1, 0, 1, 0, 1], [1, 0, 1, 0, 0]]


def test_it_is_an_environment():
    env, params = marlx.make("grid/vault-2p")
    check_env(env, params)


def test_pictures_show_what_pays():
    first = TEAM.render(TEAM.make_state([2, 2, 2]))
    inside = TEAM.render(TEAM.make_state([2, 2, 2], inside=True))
    other = TEAM.render(TEAM.make_state([2, 2, 2], inside=True, sign=[0, 1, 1]))
    assert first.shape == inside.shape == (176, 228, 3)
    assert (first != inside).any() and (inside != other).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_agents": 1}, "num_agents is 1; it must be 2 or more"),
        ({"small": 1.5}, "small is 1.5; it must be between 0 and 1"),
        ({"alarm": 1.0}, "alarm is 1.0; it must be between -1000 and 0"),
        ({"half": 0}, "half is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Vault(**settings)


def test_states_and_ids_are_checked():
    with pytest.raises(ValueError, match=r"cell is \[5, 2, 2\]; values must be 0 to 4"):
        TEAM.make_state([5, 2, 2])
    assert marlx.make("grid/vault-3p")[0].num_agents == 3
    with pytest.raises(ValueError, match="vault"):
        marlx.make("grid/vault-0p")
