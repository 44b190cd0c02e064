"""Rewards against the partners, the team that can be led astray, and what an attack can reach."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs import partners
from marlx.envs.matrix import MatrixGame, best_attack, last_actions, value_against
from marlx.envs.partners import heuristics, majority_chances, with_partners
from marlx.loop.vector import vector_reset, vector_step
from marlx.testing import Leaving, Unequal
from marlx.testing.checks import require_types


def paid(env: Any, steps: int, action: Any) -> Any:
    """Rewards of the first steps of an episode, f32 [steps, ego]."""
    _, state = env.reset(jax.random.key(0))
    found = []
    for key in jax.random.split(jax.random.key(1), steps):
        state, reward, _, _ = env.step_env(key, state, action, env.default_params)
        found.append(reward)
    return np.array(found)


def test_against_pays_minus_the_team_reward_of_the_others() -> None:
    payoff = np.arange(24.0).reshape(3, 2, 2, 2)  # for each of three agents a table
    game = MatrixGame(payoff=payoff.tolist(), per_agent=True)
    pool = [heuristics(game)["always_1"]]
    for ego, action in ((1,), (0,)), ((2, 0), (1, 0)):
        did = np.ones(3, int)
        did[list(ego)] = action
        others = [i for i in range(3) if i not in ego]
        theirs = payoff[(others, *did)].mean()  # the team's reward is a mean in matrix games
        env = with_partners(game, pool, ego, reward="against")
        np.testing.assert_allclose(paid(env, 2, jnp.array(action)), -theirs)
        spec = env.spec()
        assert float(spec.team_reward(jnp.full(len(ego), -theirs))) == pytest.approx(-theirs)
        assert spec.common_reward and spec.reward_aggregation == "mean"
        own = with_partners(game, pool, ego)
        assert paid(own, 1, jnp.array(action))[0].tolist() == payoff[(list(ego), *did)].tolist()
    with pytest.raises(ValueError, match="reward is 'theirs'; it must be 'own' or 'against'"):
        with_partners(game, pool, reward="theirs")  # type: ignore[arg-type]


def test_an_attacker_that_is_gone_is_still_paid() -> None:
    """Agents stay 2, 4 and 3 steps and are paid 1 while they do; a team's reward is their sum."""
    leaving = Leaving()
    env = with_partners(leaving, [partners.random(leaving)], (0,), reward="against")
    assert paid(env, 4, jnp.array([1]))[:, 0].tolist() == [-2, -2, -2, -1]
    assert not env.spec().active_mask
    assert env.reset(jax.random.key(0))[0].active is None
    require_types(env, env.default_params)
    unequal = Unequal()
    some = with_partners(
        unequal, [partners.random(unequal)], (2,), privileged=True, reward="against"
    )
    assert some.spec().partner_actions == (3, 3)
    require_types(some, some.default_params)


def test_other_parameters_for_the_only_partner() -> None:
    game = MatrixGame(payoff=[[1, 2], [3, 4]])
    habits = heuristics(game)
    env = with_partners(game, [habits["always_0"]], (0,))

    def play(policy: Any) -> Any:
        params = env.params_with(policy)
        _, state = vector_reset(env, params, jax.random.key(0), 3)
        return vector_step(env, params, jax.random.key(1), state, jnp.ones((3, 1), int))[2]

    found = jax.jit(jax.vmap(play))((jnp.array([0, 1]), jnp.array([1.0, 1.0])))
    assert found[..., 0].tolist() == [[3] * 3, [4] * 3]
    assert paid(env, 1, jnp.array([1]))[0, 0] == 3
    with pytest.raises(ValueError, match="the pool has 2 partners"):
        with_partners(game, [habits["always_0"], habits["always_1"]]).params_with(0)


def test_a_majority_follows_what_most_others_did() -> None:
    """Exact chances by hand, and the shares of actions that the partner takes."""
    env, _ = marlx.make("matrix/consensus")
    chances = majority_chances(env)
    where = {tuple(row): i for i, row in enumerate(last_actions(env).tolist())}
    assert chances.shape == (82, 4, 3)
    often, seldom = 0.9 + 0.1 / 3, 0.1 / 3
    np.testing.assert_allclose(chances[where[-1, -1, -1, -1]], 1 / 3, rtol=1e-6)
    split = chances[where[0, 0, 1, 2]]  # the others of agent 0 did 0, 1, 2; those of agent 2: 0 0 2
    np.testing.assert_allclose(split[0], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(split[2], [often, seldom, seldom], rtol=1e-5)
    np.testing.assert_allclose(chances[where[0, 0, 1, 1]][0], [seldom, often, seldom], rtol=1e-5)
    partner = heuristics(env)["majority"]
    for last in ((0, 0, 1, 2), (2, 1, 1, 0)):
        obs = env.observe(env.make_state(1, last), env.default_params)
        keys = jax.random.split(jax.random.key(0), 20_000)
        act = jax.vmap(lambda key, obs=obs: partner.act(partner.policy, (), obs, key)[0])
        share = jax.nn.one_hot(jax.jit(act)(keys), 3).mean(0)
        np.testing.assert_allclose(share, chances[where[last]], atol=0.012)
    named, _ = marlx.make("partners/matrix/consensus", pool=("majority",), reward="against")
    assert named.partner_names == ("majority",)
    assert "majority" not in marlx.make("partners/matrix/consensus")[0].partner_names
    assert "majority" not in heuristics(marlx.make("matrix/climbing")[0])


def test_agents_with_fewer_actions_follow_with_what_they_have() -> None:
    game = MatrixGame(payoff=np.zeros((2, 3, 3)).tolist(), observation="last_action")
    chances = majority_chances(game)
    where = {tuple(row): i for i, row in enumerate(last_actions(game).tolist())}
    np.testing.assert_allclose(chances[where[0, 2, 2]][0], [0.5, 0.5, 0], rtol=1e-6)
    assert (chances[:, 0, 2] == 0).all()


def test_the_best_attack_is_the_best_of_all() -> None:
    """Two steps of a game of two agents: every plan of the first one, tried out."""
    game = MatrixGame(
        payoff=[[3, 1], [0, 2]], observation="last_action", horizon=2, end_at_horizon="terminated"
    )
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(2), (5, 2))  # after each joint action and at first, two agents
    pay = np.array([[3, 1], [0, 2]])
    values = []
    for first, *later in itertools.product(range(2), repeat=5):
        value = 0.0
        for theirs, p in enumerate(chances[4, 1]):
            joint = 2 * first + theirs
            second = later[joint]
            value += p * (pay[first, theirs] + chances[joint, 1] @ pay[second])
        values.append(value)
    assert best_attack(game, 0, chances).value == pytest.approx(min(values))
    uniform = value_against(game, 0, chances, np.full(2, 0.5))
    assert uniform == pytest.approx(np.mean(values))
    with pytest.raises(ValueError, match="attacker is 2; it must be 0 to 1"):
        best_attack(game, 2, chances)


def test_what_an_attack_on_a_consensus_can_reach() -> None:
    """The sparse values are those computed apart from this code; a simulation agrees."""
    sparse, dense = (marlx.make(f"matrix/consensus{x}")[0] for x in ("-sparse", ""))
    chances = majority_chances(sparse).astype(float)
    plays = {"rule": chances[:, 0], "random": np.full(3, 1 / 3), "constant": np.eye(3)[1]}
    found = {name: value_against(sparse, 0, chances, rule) for name, rule in plays.items()}
    found["best"] = best_attack(sparse, 0, chances).value
    wanted = {"rule": 0.741, "random": 0.628, "constant": 0.803, "best": 0.386}
    assert {name: round(value, 3) for name, value in found.items()} == wanted
    attack = best_attack(dense, 0, chances)
    assert attack.value == pytest.approx(9.427, abs=1e-3)
    assert dense.spec().optimum == 25 and sparse.spec().optimum == 1

    env = with_partners(dense, [heuristics(dense)["majority"]], (0,), reward="against")
    table, powers = jnp.asarray(attack.policy[:, 0]), 3 ** np.arange(3, -1, -1)

    def episode(key: Any) -> Any:
        def step(state: Any, key: Any) -> Any:
            last = state.env_state.last_action
            seen = jnp.where(last[0] < 0, 81, (last * powers).sum())
            action = table[state.time, seen][None]
            state, reward, _, _ = env.step_env(key, state, action, env.default_params)
            return state, reward[0]

        _, state = env.reset(key)
        return jax.lax.scan(step, state, jax.random.split(key, 25))[1].sum()

    returns = np.array(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 4000)))
    error = returns.std() / np.sqrt(len(returns))
    assert -returns.mean() == pytest.approx(attack.value, abs=4 * error)
    assert error < 0.1
