"""MANSA's switch: the price of calls, targets of a drawn switch, calls that last, disagreement."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos import ppo
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.q_mixers import mixer_of
from marlx.algos.q_network import q_network
from marlx.algos.switching import learner as switching_learner
from marlx.algos.switching.config import MansaConfig, MansaPPOConfig, SwitchConfig
from marlx.algos.switching.switch import switch_learner, switch_spec
from marlx.algos.switching.views import MansaExtras, MansaMemory, left_after, switch_view
from marlx.learner import example_rollout
from marlx.learning.returns import batched_lambda_returns
from marlx.loop.rollout import rollout, start
from marlx.types import EnvSpec, Observation, Transition

GAPS = jnp.array([0.02, 0.04, 0.06, 0.08])  # what a call gains in each of four kinds of state
SPEC = EnvSpec("gaps", num_agents=1, num_actions=2, obs_size=1, state_size=8, horizon=10)
SETTINGS = SwitchConfig(
    hidden=32, lr=3e-3, gamma=0.0, window=1, batch=64, capacity=640, warmup=0, epsilon_start=1.0,
    updates_per_step=1 / 8, target_period=50,
)  # fmt: skip


def steps(key, paid, shape=(10, 64)):
    """A rollout of random states and decisions, which pays `paid(kind, rich, call)`.

    A state is one-hot: its kind, of four, and whether it pays besides.
    """
    keys = jax.random.split(key, 4)
    kinds = jax.random.randint(keys[0], (2, *shape), 0, 4)
    rich = jax.random.bernoulli(keys[1], 0.5, (2, *shape))
    called = jax.random.bernoulli(keys[2], 0.5, shape)
    zero, none = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool)

    def observe(i):
        state = jax.nn.one_hot(kinds[i] + 4 * rich[i], 8)
        mask = jnp.ones((*shape, 1, 2), bool)
        return Observation(jnp.zeros((*shape, 1, 1)), mask, state)

    memory = MansaMemory((), (), jnp.zeros((*shape, 1, 0)), zero, zero, zero)
    extras = MansaExtras((), (), (), called, ~none, ~none)
    reward = paid(kinds[0], rich[0], called)[..., None]
    return Transition(observe(0), zero[..., None], reward, none, none, observe(1), memory, extras)


def switch_values(config, paid, rounds):
    """Q(s, g) f32 [P, 8, 2] of a switch after each of P phases of rewards, learned in turn."""
    switch = switch_learner(SPEC, config, config.switch)
    net = q_network(switch_spec(SPEC), config.switch)
    local = jnp.concatenate([jnp.eye(8), jnp.ones((8, 1)), jnp.zeros((8, 1))], -1)[:, None]
    seen = Observation(local, jnp.ones((8, 1, 2), bool), jnp.zeros((8, 0)))

    @jax.jit
    def run(key):
        def rollout(state, inputs):
            key, phase = inputs
            t = switch_view(SPEC, config, steps(key, functools.partial(paid, phase)))
            return switch.update(switch.observe(state, t), key)[0], None

        def learn(state, phase):
            keys = jax.random.split(jax.random.fold_in(key, phase), rounds)
            state, _ = jax.lax.scan(rollout, state, (keys, jnp.full(rounds, phase)))
            q = net.step(state.params.agents, jnp.zeros((8, 1, 0)), seen)[0].q[:, 0]
            return state, (q, state.rewards.deviation)

        first = functools.partial(paid, 0)
        example = jax.eval_shape(lambda: switch_view(SPEC, config, steps(key, first)))
        return jax.lax.scan(learn, switch.init(key, example), jnp.arange(2))[1]

    return jax.device_get(run(jax.random.key(0)))


def test_the_price_of_a_call_is_the_same_when_rewards_grow_tenfold():
    """A call pays where it gains more than 0.05, before and after the team's reward has grown.

    The reward's deviation is 0.15 and then 1.5 while a call's gain stays what it is. A cost in
    units of the deviation would be 0.008 at first: calls in every state; and 0.05 later.
    """

    def paid(phase, kind, rich, called):
        return rich * 0.3 * 10.0**phase + called * GAPS[kind]

    settings = dataclasses.replace(SETTINGS, reward_scaling="scale")
    config = MansaConfig(switch=settings, call_cost=0.05)
    values, deviation = switch_values(config, paid, rounds=40)
    assert 0.12 < deviation[0] < 0.2 and deviation[1] > 5 * deviation[0]
    expected = np.tile(np.asarray(GAPS) > 0.05, 2)
    for q in values:
        np.testing.assert_array_equal(q[:, 1] > q[:, 0], expected)


def test_a_drawn_switch_learns_the_value_of_the_policy_that_draws():
    """Calls gain nothing and cost 1, so at temperature 1 it pays 0.27 at every step, for ever.

    With the maximum as its target it would believe to pay nothing after the next step.
    """
    settings = dataclasses.replace(SETTINGS, gamma=0.5, temperature=1.0, target_period=10)
    config = MansaConfig(switch=settings, call_cost=1.0)
    values, _ = switch_values(config, lambda phase, kind, rich, called: 0.0 * kind, rounds=30)
    rate = 1 / (1 + np.exp(1.0))
    following = -rate / (1 - 0.5)  # value of a state: r - rate, discounted by 0.5
    np.testing.assert_allclose(values[-1][:, 0], 0.5 * following, atol=0.06)
    np.testing.assert_allclose(values[-1][:, 1], 0.5 * following - 1.0, atol=0.06)


# --- calls that last ---

CHAIN, PARAMS = marlx.make("matrix/chain-4")
TINY = QConfig(hidden=8, mixer_hidden=8, recurrent=False, window=1, warmup=0, capacity=1_000)


def acted(config, length=15, num_envs=16):
    """Untrained parts under the switch of `config` in episodes of five steps: policy and rollout.

    Also the policy after they have observed the rollout.
    """
    learner = switching_learner.mansa_q(CHAIN.spec(), config)

    @jax.jit
    def play(key):
        state = learner.init(key, example_rollout(CHAIN.spec(), learner, length, num_envs))
        policy = learner.policy(state)
        actors = start(CHAIN, PARAMS, learner, key, num_envs)
        t = rollout(CHAIN, PARAMS, learner, policy, actors, key, length)[1]
        return policy, t, learner.policy(learner.observe(state, t))

    return play(jax.random.key(0))


def test_an_activation_lasts_and_returns_run_through_it():
    """Three steps, unless the episode or its budget ends; then a decision is due."""
    switch = dataclasses.replace(SETTINGS, window=5)
    config = MansaConfig(
        mixer="joint_q", switching="random", rate=0.4, lasts=3, budget=4, call_cost=0.5,
        independent=TINY, centralised=TINY, switch=switch,
    )  # fmt: skip
    _, t, _ = acted(config)
    called, done = np.asarray(t.extras.called), np.asarray(t.done)
    decided, held = np.asarray(t.extras.decided), np.zeros_like(done)
    view = switch_view(CHAIN.spec(), config, t)
    for env in range(called.shape[1]):
        left, calls = 0, 0
        for step in range(len(called)):
            assert decided[step, env] == (left == 0 or calls == 4)
            if decided[step, env]:
                left = 3 if called[step, env] else 0
            assert called[step, env] == (left > 0)
            calls += called[step, env]
            left = max(0, left - 1)
            held[step, env] = left > 0 and calls < 4 and not done[step, env]
            if done[step, env]:
                left, calls = 0, 0
    assert 10 < (called & ~decided).sum() and called[~decided].all()
    np.testing.assert_array_equal(view.credit.held[..., 0], held)
    np.testing.assert_array_equal(view.weight, decided)
    # the target of a call: three rewards less three prices, and the value after the third step
    paid, value = np.asarray(view.reward[..., 0]), np.arange(15.0)[:, None] * np.ones((1, 16))
    discount = np.where(t.terminated, 0.0, 0.9)
    found = batched_lambda_returns(*map(jnp.asarray, (paid, discount, value, done, held * 1.0)))
    whole = (called & decided)[:-2] & ~done[:-2] & ~done[1:-1] & held[:-2] & held[1:-1]
    assert whole.sum() > 5
    three = paid[:-2] + 0.9 * (paid[1:-1] + 0.9 * (paid[2:] + discount[2:] * value[2:]))
    np.testing.assert_allclose(np.asarray(found)[:-2][whole], three[whole], rtol=1e-5)


def test_left_counts_down_from_a_decision():
    config = MansaConfig(lasts=4, switch=dataclasses.replace(SETTINGS, window=5))
    called, decided = jnp.array([True, True, False]), jnp.array([True, False, True])
    assert left_after(config, jnp.array([0, 2, 0]), called, decided).tolist() == [3, 1, 0]


# --- calls on disagreement ---


def test_calls_are_made_where_the_centralised_value_of_its_own_action_is_higher():
    """By brute force over all joint actions, against the action that the other takes greedily.

    Not against the one it takes: it explores. The gap is in units of return.
    """
    config = MansaConfig(
        mixer="joint_q", switching="disagreement", cl_trains_on="all", call_cost=1e-5,
        independent=TINY, centralised=dataclasses.replace(TINY, reward_scaling="scale"),
    )  # fmt: skip
    policy, t, after = acted(config)
    paid = jnp.std(CHAIN.spec().team_reward(t.reward))
    assert float(policy.unit) < 1e-3 and float(after.unit) == pytest.approx(float(paid), rel=1e-3)

    spec, net = CHAIN.spec(), q_network(CHAIN.spec(), TINY)
    mixer = mixer_of("joint_q", spec, TINY)
    obs = jax.tree.map(lambda x: x.reshape(240, *x.shape[2:]), t.obs)
    memory = jnp.zeros((240, 2, 0))
    own = net.step(policy.independent.params.agents, memory, obs)[0].q.argmax(-1)
    central = net.step(policy.centralised.params.agents, memory, obs)[0]
    joint = jnp.stack(jnp.meshgrid(*2 * [jnp.arange(spec.num_actions)], indexing="ij"), -1)
    over = jax.jit(jax.vmap(jax.vmap(mixer.value, (None, None, 0)), (None, 0, None)))
    values = over(policy.centralised.params.mixer, central, joint.reshape(-1, 2))
    best, table = values.max(-1), np.asarray(values).reshape(240, *joint.shape[:2])
    gap = 1e-4 * (best - table[np.arange(240), own[:, 0], own[:, 1]])
    called, clear = np.asarray(t.extras.called).reshape(-1), np.abs(gap - 1e-5) > 1e-7
    np.testing.assert_array_equal(called[clear], (gap > 1e-5)[clear])
    assert 10 < called.sum() < 230


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"switching": "disagreement"}, "cl_trains_on is g1; .* it must be all"),
        ({"lasts": 9}, r"lasts is 9; it must be at most switch.window \(8\)"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        MansaConfig(**settings)


def test_disagreement_needs_values_of_actions():
    with pytest.raises(ValueError, match="mansa_ppo has none"):
        MansaPPOConfig(switching="disagreement", cl_trains_on="all")


# --- critics of two PPO learners ---


@pytest.mark.parametrize("everywhere", [True, False])
def test_critics_are_fitted_where_advantages_bootstrap_from_them(everywhere):
    """Of five stages only the last is learned from by the actor; values of all are bootstrapped.

    Without any such step the actor stays as it is to the last bit, whatever the critic learns.
    """
    config = PPOConfig(hidden=16, epochs=2, minibatches=4, lr=3e-3, entropy=0.0)
    spec = CHAIN.spec()
    learner = ppo.ppo_learner(spec, config, central=True, values_everywhere=everywhere)
    shapes = example_rollout(spec, learner, 10, 16)
    weights = jax.ShapeDtypeStruct((10, 16), jnp.float32)

    @jax.jit
    def learn(key, weighted):
        state = learner.init(key, shapes._replace(weight=weights))
        first = state.params

        def update(state, key):
            actors = start(CHAIN, PARAMS, learner, key, 16)
            policy = learner.policy(state)
            t = rollout(CHAIN, PARAMS, learner, policy, actors, key, 10)[1]
            weight = weighted * t.done.astype(jnp.float32)
            state, metrics = learner.update(learner.observe(state, t._replace(weight=weight)), key)
            return state, metrics["explained_variance"]

        state, explained = jax.lax.scan(update, state, jax.random.split(key, 60))
        return first, state.params, explained[-10:].mean()

    _, _, explained = learn(jax.random.key(0), 1.0)
    first, last, _ = learn(jax.random.key(1), 0.0)
    assert explained > 0.8 if everywhere else explained < 0.6
    jax.tree.map(np.testing.assert_array_equal, first.actor, last.actor)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), first.critic, last.critic)
    assert (max(jax.tree.leaves(moved)) > 0.01) == everywhere
