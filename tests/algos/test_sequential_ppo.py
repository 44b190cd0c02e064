"""HAPPO: with one agent it is PPO; the joint surrogate rises with every agent's turn."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.ppo import mappo
from marlx.algos.ppo_batch import Batch, Sequences
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_epochs import Trained, adam, epochs
from marlx.algos.ppo_networks import Memories, PPOExtras, actor_critic
from marlx.algos.sequential_parts import data_of, one_agent
from marlx.algos.sequential_ppo import Turn, haa2c, happo, next_factor, take_turn, turn_order
from marlx.algos.sequential_ppo_config import HAPPOConfig
from marlx.environment import EnvParams
from marlx.learner import example_rollout
from marlx.loop.rollout import rollout, start
from marlx.testing import Recall
from marlx.types import EnvSpec, Observation

LIMITED = EnvParams(max_steps_in_episode=4)  # the longest episodes are cut
SMALL = {"hidden": 8, "minibatches": 2, "epochs": 2, "window": 4}


def updated(learner, env, updates=2):
    """The state after some updates on rollouts of its own, and their metrics."""
    actors = start(env, LIMITED, learner, jax.random.key(0), 4)
    roll = jax.jit(functools.partial(rollout, env, LIMITED, learner, length=8))
    update, state, seen = jax.jit(learner.update), None, []
    for key in jax.random.split(jax.random.key(1), updates):
        if state is None:
            state = learner.init(jax.random.key(2), example_rollout(env.spec(), learner, 8, 4))
        actors, taken, _ = roll(learner.policy(state), actors, key)
        state, metrics = update(learner.observe(state, taken), key)
        seen.append(metrics)
    return state, seen


@pytest.mark.parametrize("recurrent", [False, True])
def test_with_one_agent_it_is_ppo_bit_for_bit(recurrent):
    env = Recall(num_agents=1, shortest=1, longest=4)
    settings = SMALL | {"recurrent": recurrent}
    of_ppo = mappo(env.spec(LIMITED), sharing="none", agent_id=False, **settings)
    ours, theirs = updated(happo(env.spec(LIMITED), **settings), env), updated(of_ppo, env)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert ours[1][0]["kl"] != 0


def test_the_first_factor_is_a_ratio():
    new, old = jnp.log(jnp.array([0.5])), jnp.log(jnp.array([0.25]))
    np.testing.assert_allclose(next_factor(None, new, old, None), [2.0])


def test_factors_by_hand():
    new, old = jnp.log(jnp.array([0.5, 0.2])), jnp.log(jnp.array([0.25, 0.4]))
    np.testing.assert_allclose(next_factor(jnp.array([3.0, 1.0]), new, old, None), [6.0, 0.5])
    absent = next_factor(jnp.array([3.0, 1.0]), new, old, jnp.array([True, False]))
    np.testing.assert_allclose(absent, [6.0, 1.0])


# --- a game of one state: what both do is worth something only if the other does not ---

SPEC = EnvSpec(id="game", num_agents=2, num_actions=2, obs_size=1, state_size=1, horizon=1)
PAYOFF = np.array([[0.0, 1.0], [1.0, -4.0]], np.float32)
JOINT = np.array(list(itertools.product(range(2), repeat=2)), np.int32)
EXACT = HAPPOConfig(
    hidden=8,
    epochs=20,
    minibatches=1,
    clip=1e6,
    entropy=0.0,
    normalise_advantage=False,
    max_grad_norm=float("inf"),
    value_clip=0.0,
)
RATE = jnp.float32(0.1)


def exact_data(nets, params):
    """Each joint action once, weighted by its probability, with the payoff as its advantage."""
    count = len(JOINT)
    obs = Observation(
        jnp.ones((1, count, 2, 1)), jnp.ones((1, count, 2, 2), bool), jnp.ones((1, count, 1)), None
    )
    memory = Memories(jnp.zeros((count, 2, 0)), jnp.zeros((count, 1, 0)))
    done = jnp.ones((1, count), bool)
    raw = jnp.array(JOINT)[None]
    outputs, value = nets.unroll(params, memory, obs, done, raw)
    log_prob = nets.distribution.log_prob(outputs, obs.action_mask, raw)
    worth = jnp.array([PAYOFF[tuple(u)] for u in JOINT])[None, :, None]
    advantage = jnp.broadcast_to(worth, (1, count, 2))
    weight = jnp.broadcast_to(jnp.exp(log_prob.sum(-1))[..., None], (1, count, 2))
    old = PPOExtras(raw, log_prob)
    batch = Batch(obs, done, old, value, advantage, advantage, weight, weight)
    return Sequences(batch, memory, None)


def worth(nets, params):
    """The expected payoff; up to a constant it is the joint surrogate of a game of one state."""
    outputs, _ = nets.policy(params.actor, jnp.zeros((1, 2, 0)), one_state())
    one, other = np.asarray(jax.nn.softmax(outputs[0]))
    return float(one @ PAYOFF @ other)


def one_state():
    return Observation(jnp.ones((1, 2, 1)), jnp.ones((1, 2, 2), bool), jnp.ones((1, 1)), None)


@pytest.fixture(scope="module")
def game():
    nets, one = actor_critic(SPEC, EXACT, central=True), one_agent(SPEC, EXACT)
    params = nets.init(jax.random.key(0))
    bias = params.actor["params"]["readout"]["bias"]  # both mostly choose 0, and 1 pays either
    params.actor["params"]["readout"]["bias"] = bias.at[:, 0].set(2.0)
    return nets, one, Trained(params, adam(EXACT).init(params))


def test_the_joint_surrogate_never_falls_with_a_turn(game):
    """Exact expectations; our reading of the published monotone improvement, without its KL."""
    nets, one, trained = game

    def one_turn(data, turn, count, agent, critic):
        key = jax.random.key(0)
        return take_turn(EXACT, one, data, RATE, count, turn, agent, key, critic=critic)[0]

    step, make = jax.jit(one_turn, static_argnums=4), jax.jit(functools.partial(exact_data, nets))
    values = [worth(nets, trained.params)]
    for number in range(4):
        data, count = make(trained.params), trained.optimiser[1].count
        turn = Turn(trained, None)
        for place, agent in enumerate((number % 2, 1 - number % 2)):
            turn = step(data, turn, count, jnp.int32(agent), place == 0)
            values.append(worth(nets, turn.trained.params))
        trained = turn.trained
    assert (np.diff(values) >= -1e-6).all(), values
    assert values[-1] > max(values[0], 0.9)


def test_updates_at_the_same_time_make_that_team_worse(game):
    nets, _, trained = game
    data, first = exact_data(nets, trained.params), worth(nets, trained.params)
    trained, _ = jax.jit(functools.partial(epochs, EXACT, nets))(
        data, RATE, trained, jax.random.key(0)
    )
    assert worth(nets, trained.params) < first


def test_a_turn_changes_one_agent_and_the_critic_in_the_first_alone(game):
    nets, one, trained = game
    data = exact_data(nets, trained.params)
    turn = Turn(trained, jnp.full((1, len(JOINT), 1), 2.0))
    batch = data_of(data, jnp.int32(1), turn.factor).batch
    np.testing.assert_array_equal(batch.old.raw[0, :, 0], JOINT[:, 1])
    np.testing.assert_array_equal(batch.factor, 2.0)
    for critic in (True, False):
        step = functools.partial(
            take_turn, EXACT, one, data, RATE, jnp.int32(0), turn, critic=critic
        )
        new, _ = jax.jit(step)(jnp.int32(1), jax.random.key(0))
        for before, after in zip(
            (trained.params, trained.optimiser[1].mu),
            (new.trained.params, new.trained.optimiser[1].mu),
            strict=True,
        ):
            rows = zip(*map(jax.tree.leaves, (before.actor, after.actor)), strict=True)
            changed = np.array([[(x[i] != y[i]).any() for i in (0, 1)] for x, y in rows])
            assert not changed[:, 0].any() and changed[:, 1].any()
            same = jax.tree.map(lambda x, y: bool((x == y).all()), before.critic, after.critic)
            assert all(jax.tree.leaves(same)) is not critic
        assert new.trained.optimiser[1].count == EXACT.epochs


def test_the_order_is_drawn_anew_or_fixed():
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = np.asarray(jax.vmap(lambda key: turn_order("random", 3, key))(keys))
    assert {tuple(row) for row in drawn.tolist()} == {*itertools.permutations(range(3))}
    np.testing.assert_array_equal(turn_order("fixed", 3, keys[0]), range(3))


def test_haa2c_makes_one_pass():
    assert haa2c(SPEC).config.epochs == haa2c(SPEC).config.minibatches == 1
    assert isinstance(haa2c(SPEC).config, PPOConfig)


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"sharing": "all"}, "sharing is 'all'; it must be 'none'"),
        ({"reward": "own"}, "reward is 'own'; it must be 'team'"),
        ({"agent_id": True}, "agent_id is True; it must be false: agents share no parameters"),
    ],
)
def test_impossible_settings_are_refused(settings, answer):
    with pytest.raises(ValueError, match=answer):
        happo(SPEC, **settings)
