"""PPO: equations against hand computations, updates against its own acting, known values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import ppo
from marlx.algos.ppo_batch import (
    Batch,
    GAEInputs,
    agent_rewards,
    gae_inputs,
    loss_weights,
    minibatch,
    minibatches,
    sequences,
)
from marlx.algos.ppo_config import A2CConfig, PPOConfig
from marlx.algos.ppo_losses import (
    Values,
    advantages,
    denormalise,
    entropy_weight,
    kl_estimate,
    loss,
    normalise,
    normalise_advantages,
    ppo_loss,
    value_loss,
    value_scale,
    weighted_mean,
)
from marlx.algos.ppo_networks import Memories, PPOExtras, actor_critic
from marlx.data.minibatches import permutations
from marlx.environment import EnvParams
from marlx.learning.running_moments import extend, moments
from marlx.loop.program import loop
from marlx.loop.settings import TrainConfig
from marlx.testing import Constant, Masked, Recall
from marlx.training import train
from marlx.types import Credit, Observation, Transition

TINY = PPOConfig(hidden=16, recurrent=True, window=5, minibatches=1, epochs=1)
RECALL = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=4)  # the longest episodes of RECALL are cut


def by_hand(reward, discount, value, next_value, done, lambda_):
    """GAE's advantages [T], written as the sum of discounted errors."""
    advantage = np.zeros_like(reward)
    for t in range(len(reward)):
        weight = 1.0
        for k in range(t, len(reward)):
            error = reward[k] + discount[k] * next_value[k] - value[k]
            advantage[t] += weight * error
            if done[k]:
                break
            weight *= discount[k] * lambda_
    return advantage


def test_advantages_equal_a_loop_through_ends_and_time_limits():
    rng = np.random.default_rng(0)
    length, num_envs, agents = 12, 3, 2
    reward = rng.normal(size=(length, num_envs, agents)).astype(np.float32)
    value = rng.normal(size=(length, num_envs, agents)).astype(np.float32)
    terminated = rng.random((length, num_envs)) < 0.15
    truncated = rng.random((length, num_envs)) < 0.15
    done = terminated | truncated
    assert (truncated & ~terminated)[:-1].any() and terminated[:-1].any()
    # the next value is that of the next step, except where an episode ends: there it is its own
    next_value = rng.normal(size=value.shape).astype(np.float32)
    next_value[:-1] = np.where(done[:-1, :, None], next_value[:-1], value[1:])
    discount = np.where(terminated, 0.0, 0.9).astype(np.float32)
    steps = GAEInputs(*map(jnp.asarray, (reward, discount, done, np.float32(0.8))))
    advantage, returns = advantages(Values(value, next_value), steps)
    np.testing.assert_allclose(returns, advantage + value, atol=1e-6)
    for b in range(num_envs):
        for i in range(agents):
            hand = by_hand(
                reward[:, b, i],
                discount[:, b],
                value[:, b, i],
                next_value[:, b, i],
                done[:, b],
                0.8,
            )
            np.testing.assert_allclose(advantage[:, b, i], hand, atol=1e-5)


def test_returns_stop_and_weigh_as_the_transition_says():
    """Credit and weight of a composite learner, and the episode's ends without them."""
    ends = jnp.array([[False], [True], [False]])
    obs = Observation(jnp.zeros((3, 1, 2, 1)), jnp.ones((3, 1, 2, 1), bool), jnp.zeros((3, 1, 1)))
    reward = jnp.ones((3, 1, 2))
    t = Transition(obs, jnp.zeros((3, 1, 2)), reward, ends, jnp.zeros_like(ends), obs, (), ())
    config = PPOConfig(gamma=0.9, lambda_=0.5)
    spec = Constant(num_agents=2).spec()
    plain = gae_inputs(spec, config, t)
    np.testing.assert_allclose(plain.discount, [[0.9], [0.0], [0.9]])
    np.testing.assert_array_equal(plain.ended, ends)
    assert plain.lambda_ == 0.5 and loss_weights(t) is None

    by_agent = jnp.array([[[True, False]], [[False, False]], [[False, True]]])
    credit = Credit(0.5 * by_agent, terminated=by_agent, ended=~by_agent, held=by_agent)
    found = gae_inputs(spec, config, t._replace(credit=credit))
    np.testing.assert_allclose(found.discount, jnp.where(by_agent, 0.0, 0.9))
    np.testing.assert_array_equal(found.ended, ~by_agent)
    np.testing.assert_allclose(found.lambda_, jnp.where(by_agent, 1.0, 0.5))
    weight = jnp.array([[2.0], [2.0], [0.0]])
    np.testing.assert_allclose(loss_weights(t._replace(credit=credit)), 0.5 * by_agent)
    np.testing.assert_allclose(
        loss_weights(t._replace(credit=credit, weight=weight)), weight[..., None] * 0.5 * by_agent
    )


def test_weighted_means_by_hand():
    x, weight = jnp.array([[1.0, 2.0], [4.0, 8.0]]), jnp.array([[1.0, 0.0], [3.0, 0.0]])
    assert weighted_mean(x, None) == 3.75 and weighted_mean(x, weight) == 13 / 4
    np.testing.assert_allclose(weighted_mean(x, weight, (0,)), [[13 / 4, 0.0]])
    np.testing.assert_allclose(weighted_mean(x, None, (0,)), [[2.5, 5.0]])


def test_values_are_normalised_by_the_moments_of_returns():
    config, returns = PPOConfig(), extend(moments(), jnp.array([1.0, 3.0]))
    scale = value_scale(config, returns)
    np.testing.assert_allclose(scale, (2.0, 1.0), atol=1e-6)
    value = jnp.array([0.0, 2.0, 5.0])
    np.testing.assert_allclose(normalise(value, scale), [-2.0, 0.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(denormalise(normalise(value, scale), scale), value, atol=1e-6)
    assert value_scale(config, moments()) == (0.0, 1.0)  # nothing seen yet
    assert value_scale(PPOConfig(normalise_value=False), returns) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"reward": "team"}, [[[-1.0, -1.0]], [[-1.0, 3.0]]]),
        ({"reward": "own"}, [[[0.0, -1.0]], [[0.0, 1.0]]]),
        ({"normalise_advantage": False}, [[[1.0, 1.0]], [[1.0, 5.0]]]),
    ],
    ids=str,
)
def test_advantages_have_mean_0_and_deviation_1_over_those_paid_alike(settings, expected):
    advantage = jnp.array([[[1.0, 1.0]], [[1.0, 5.0]]])
    expected = np.array(expected)
    if settings.get("reward") == "team":
        expected = expected / np.sqrt(3)  # mean 2, deviation sqrt(3)
    found = normalise_advantages(PPOConfig(**settings), advantage, None)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_kl_estimate_by_hand():
    old = jnp.log(jnp.array([0.5, 0.5]))
    new = jnp.log(jnp.array([0.5, 0.25]))
    np.testing.assert_allclose(kl_estimate(new, old), [0.0, 0.5 - 1 - np.log(0.5)], atol=1e-6)


def test_the_loss_is_that_of_policy_and_value_less_the_entropy():
    """A uniform policy over two legal actions of three, and a critic that predicts 1."""
    config = PPOConfig(
        normalise_advantage=False, value_clip=0.0, value_weight=0.5, entropy=0.1, bounded="clipped"
    )
    spec = dataclasses.replace(Constant(num_agents=1).spec(), num_actions=3, action_sizes=(3,))
    outputs, value = jnp.zeros((2, 1, 1, 3)), jnp.ones((2, 1, 1))
    nets = actor_critic(spec, config, central=False)
    nets = nets._replace(unroll=lambda *inputs: (outputs, value))
    mask = jnp.broadcast_to(jnp.array([True, True, False]), outputs.shape)
    old = PPOExtras(jnp.array([[[0]], [[1]]]), jnp.log(jnp.array([[[0.5]], [[0.4]]])))
    target, advantage = jnp.array([[[1.0]], [[3.0]]]), jnp.array([[[2.0]], [[1.0]]])
    obs = Observation((), mask, ())
    batch = Batch(obs, (), old, value, target, advantage, None, None)
    total, metrics = loss((), batch, (), config, nets)
    assert metrics["policy_loss"] == pytest.approx(-(2.0 + 1.2) / 2)  # ratio 1.25, clipped at 1.2
    assert metrics["value_loss"] == pytest.approx(0.5 * (0 + 4) / 2)
    assert metrics["entropy"] == pytest.approx(np.log(2))
    assert metrics["clipped"] == 0.5
    assert total == pytest.approx(-1.6 + 0.5 * 1.0 - 0.1 * np.log(2))
    first = jnp.array([[[1.0]], [[0.0]]])
    total, _ = loss((), batch._replace(weight=first, value_weight=first), (), config, nets)
    assert total == pytest.approx(-2.0 - 0.1 * np.log(2))


def test_minibatches_hold_every_sequence_once_an_epoch():
    """Sequences are stretches of one environment, with the memory before their first step."""
    config = PPOConfig(recurrent=True, window=3, epochs=2, minibatches=2)
    time, env = jnp.meshgrid(jnp.arange(6), jnp.arange(2), indexing="ij")
    step = 10 * env + time  # [T, B]
    batch = Batch((), step, PPOExtras(step, step), step, step, step, None, None)
    active = (step == 11).astype(jnp.float32)
    data = sequences(config, batch, Memories(step, step), active)
    starts = np.asarray(data.memory.actor)
    assert sorted(starts.tolist()) == [0, 3, 10, 13]
    np.testing.assert_array_equal(data.batch.done, starts + np.arange(3)[:, None])
    np.testing.assert_array_equal(data.active, starts == 10)
    orders = minibatches(jax.random.key(0), config, 4)
    assert orders.shape == (4, 2)
    for epoch in np.asarray(orders).reshape(2, 4):
        assert sorted(epoch) == [0, 1, 2, 3]
    part, memory = minibatch(data, orders[0])
    np.testing.assert_array_equal(part.value[0], memory.critic)
    np.testing.assert_array_equal(memory.critic, starts[orders[0]])


BUILD = {
    "ippo": ppo.ippo,
    "mappo": ppo.mappo,
    "shared": lambda *args, **settings: ppo.ippo(*args, trunk="shared", **settings),
}


@pytest.fixture(
    scope="module", params=["ippo", "mappo", pytest.param("shared", marks=pytest.mark.slow)]
)
def collected(request):
    """A recurrent learner after two updates, with a rollout that it has not learned from."""
    spec = RECALL.spec(LIMITED)
    learner = BUILD[request.param](spec, TINY)
    config = TrainConfig(total_steps=80, num_envs=4, rollout_length=10, evals=1)
    run = loop(RECALL, LIMITED, learner, config)
    state = jax.jit(run.block)(jax.jit(run.init)(jax.random.key(0)))[0]
    state = jax.jit(run.block)(state)[0]
    state = jax.jit(run.warm_up)(state).learner
    assert state.rollout.done.any() and state.rollout.truncated.any()
    return request.param, state, jax.jit(learner.update)


def test_recomputing_a_rollout_gives_the_probabilities_of_acting(collected):
    """So the first ratio of every update is 1; memories that are off by a step must show."""
    _, state, update = collected
    key = jax.random.key(0)
    exact = update(state, key)[1]
    assert exact["kl"] < 0.5 * 1e-5**2 and exact["clipped"] == 0
    shifted = state.rollout._replace(memory=jnp.roll(state.rollout.memory, 1, 0))
    assert update(state._replace(rollout=shifted), key)[1]["kl"] > 1e-8
    ends = state.rollout._replace(truncated=jnp.roll(state.rollout.truncated, 1, 0))
    assert update(state._replace(rollout=ends), key)[1]["kl"] > 1e-8


def test_a_critic_s_memory_runs_on_from_rollout_to_rollout(collected):
    """Its value at a step must be the one it would have had, had it been asked at every step."""
    name, state, update = collected
    after, _ = update(state, jax.random.key(0))
    settings = dataclasses.replace(TINY, trunk="shared" if name == "shared" else "separate")
    nets = actor_critic(RECALL.spec(LIMITED), settings, central=name == "mappo")
    if name == "shared":  # one network, so one memory: the one that acting has
        np.testing.assert_allclose(state.memory, state.rollout.memory[0], atol=1e-5)
    memory = state.memory
    for t in range(len(state.rollout.done)):
        obs = jax.tree.map(lambda x, t=t: x[t : t + 1], state.rollout.obs)
        none = jnp.zeros_like(state.rollout.done[:1])
        _, memories = nets.values(state.params, memory, obs, none)
        memory = jnp.where(state.rollout.done[t, :, None, None], 0.0, memories[0])
    np.testing.assert_allclose(after.memory, memory, atol=1e-5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uneven(Constant):
    """Agent 1 sees one number less and has one action less; agents are paid 1, 2 and 3."""

    num_agents: int = 3

    def spec(self, params=None):
        return dataclasses.replace(
            super().spec(params),
            num_actions=3,
            obs_size=2,
            groups=(("wide", (0, 2)), ("narrow", (1,))),
            obs_sizes=(2, 1, 2),
            action_sizes=(3, 2, 3),
        )

    def observe(self, state, params):
        obs = super().observe(state, params)
        local = jnp.array([[1.0, 0.5], [1.0, 0.0], [1.0, 0.5]])
        mask = jnp.array([[True] * 3, [True, True, False], [True] * 3])
        return obs._replace(local=local, action_mask=mask)

    def step_env(self, key, state, action, params):
        after, _, *rest = super().step_env(key, state, action, params)
        return after, jnp.array([1.0, 2.0, 3.0]), *rest


@pytest.mark.parametrize(
    ("reward", "paid"), [("team", [2, 2, 2]), ("group", [2, 2, 2]), ("own", [1, 2, 3])]
)
def test_agents_are_paid_as_the_setting_says(reward, paid):
    each = jnp.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(agent_rewards(Uneven().spec(), reward, each), [paid])
    summed = dataclasses.replace(Uneven().spec(), reward_aggregation="sum")
    expected = {"team": [6, 6, 6], "group": [4, 2, 4], "own": [1, 2, 3]}[reward]
    np.testing.assert_allclose(agent_rewards(summed, reward, each), [expected])


def test_padding_reaches_no_loss():
    """The narrow agent's own network: what its missing input and action touch never moves."""
    env = Uneven()
    learner = ppo.ippo(env.spec(), hidden=8, sharing="none", agent_id=False, entropy=0.1)
    run = loop(
        env,
        env.default_params,
        learner,
        TrainConfig(total_steps=64, num_envs=4, rollout_length=4, evals=1),
    )
    before = jax.jit(run.init)(jax.random.key(0))
    after = jax.jit(run.block)(before)[0]
    old, new = (x.learner.params.actor["params"] for x in (before, after))
    moved = jax.tree.map(lambda a, b: np.asarray(a != b), old, new)
    assert moved["encoder"]["kernel"][1, 0].any() and not moved["encoder"]["kernel"][1, 1].any()
    assert moved["encoder"]["kernel"][0, 1].any()
    assert not moved["readout"]["kernel"][1, :, 2].any() and not moved["readout"]["bias"][1, 2]
    assert moved["readout"]["kernel"][0, :, 2].any()


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_values_go_through_a_time_limit(build):
    env = Constant(horizon=4)
    learner = build(env.spec(), gamma=0.9, lr=3e-3, hidden=16)
    config = TrainConfig(
        total_steps=12_000, num_envs=8, rollout_length=16, evals=2, eval_episodes=4
    )
    history = train(env, learner, config=config).history
    assert history[-1].metrics["value"] == pytest.approx(10, abs=0.3)  # 1 / (1 - 0.9)


PROBES = {
    "legal actions": (Masked(), {}, 12.0),
    "memory": (Recall(shortest=1, longest=2, cues=2), {"recurrent": True, "window": 8}, 0.97),
}


@pytest.mark.parametrize("name", ["legal actions", pytest.param("memory", marks=pytest.mark.slow)])
def test_probes_are_solved(name):
    env, settings, enough = PROBES[name]
    learner = ppo.mappo(env.spec(), lr=3e-3, hidden=32, **settings)
    config = TrainConfig(
        total_steps=30_000, num_envs=16, rollout_length=16, evals=1, eval_episodes=128
    )
    result = train(env, learner, config=config)
    assert result.returns.mean() > enough


@pytest.mark.parametrize("count", [8, 6])
def test_orders_are_permutations_and_uniform(count):
    number = 20_000
    orders = np.asarray(permutations(jax.random.key(0), number, count))
    assert (np.sort(orders) == np.arange(count)).all()
    for place in range(count):
        share = np.bincount(orders[:, place], minlength=count) / number
        np.testing.assert_allclose(share, 1 / count, atol=0.012)  # four deviations
    follows = ((orders[:, 1] - orders[:, 0]) % count == 1).mean()  # nothing of the old order stays
    assert follows == pytest.approx(1 / (count - 1), abs=0.012)


def test_many_sequences_are_ordered_without_ties():
    (order,) = np.asarray(permutations(jax.random.key(0), 1, 70_000))
    assert (np.sort(order) == np.arange(70_000)).all() and (order[:-1] < order[1:]).mean() < 0.52


def test_a_critic_of_the_state_cannot_share_the_actor_s_network():
    answer = "trunk is 'shared'; it must be 'separate' where the critic reads the global state"
    with pytest.raises(ValueError, match=answer):
        ppo.mappo(Constant().spec(), trunk="shared")


def test_a2c_is_one_unclipped_pass():
    """The loss of PPO at ratio 1 has the gradient of `-log_prob * advantage`."""
    assert A2CConfig().epochs == A2CConfig().minibatches == 1
    advantage = jnp.array([1.0, -2.0, 0.5])
    gradient = jax.grad(lambda new: ppo_loss(new, jnp.zeros(3), advantage, 0.2).sum())
    np.testing.assert_allclose(gradient(jnp.zeros(3)), -advantage)


def test_clipping_takes_gradient_away_on_one_side_only():
    old, ratio = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4])), jnp.array([1.3, 1.3, 0.7, 0.7])
    advantage, new = jnp.array([1.0, -1.0, 1.0, -1.0]), old + jnp.log(ratio)
    found, gradient = jax.vjp(lambda new: ppo_loss(new, old, advantage, 0.2), new)
    np.testing.assert_allclose(found, [-1.2, 1.3, -0.7, 0.8], rtol=1e-6)
    (gradient,) = gradient(jnp.ones(4))
    np.testing.assert_array_equal(gradient != 0, [False, True, True, False])
    value, old = jnp.array([1.0, 1.0]), jnp.array([0.0, 2.0])
    loss = value_loss(value, old, jnp.zeros(2), 0.5)
    np.testing.assert_allclose(loss, [0.5, 0.5 * 1.5**2])
    np.testing.assert_allclose(value_loss(value, old, jnp.zeros(2), 0.0), 0.5)


def test_learning_rate_falls_to_nothing():
    env = Constant()
    learner = ppo.ippo(env.spec(), hidden=8, lr=1e-3, lr_steps=500)
    config = TrainConfig(total_steps=1_000, num_envs=4, rollout_length=8, evals=4, eval_episodes=4)
    rates = [float(p.metrics["lr"][0]) for p in train(env, learner, config=config).history[1:]]
    assert rates == sorted(rates, reverse=True) and 0 < rates[0] < 1e-3 and rates[-1] == 0


def test_the_entropy_bonus_falls_to_its_end():
    config = PPOConfig(entropy=0.01, entropy_end=0.002, entropy_steps=100)
    weights = [float(entropy_weight(config, jnp.int32(steps))) for steps in (0, 50, 100, 500)]
    np.testing.assert_allclose(weights, [0.01, 0.006, 0.002, 0.002], rtol=1e-6)
    assert entropy_weight(PPOConfig(entropy=0.01), jnp.int32(7)) == 0.01


BAD = [
    ({"clip": 0.0}, "clip is 0.0; it must be above 0"),
    ({"reward": "mine"}, "reward is 'mine'; it must be 'team' or 'group' or 'own'"),
    ({"lambda_": 2.0}, "lambda_ is 2.0; it must be between 0 and 1"),
    ({"recurrent": True, "window": 7}, r"window is 7; it must divide the rollout length \(16\)"),
    ({"minibatches": 3}, r"minibatches is 3; it must divide the 512 sequences of a rollout"),
]


@pytest.mark.parametrize(("settings", "answer"), BAD, ids=[str(one) for one, _ in BAD])
def test_impossible_settings_are_refused(settings, answer):
    env = Constant()
    with pytest.raises(ValueError, match=answer):
        learner = ppo.ippo(env.spec(), **settings)
        jax.eval_shape(
            loop(env, env.default_params, learner, TrainConfig()).init, jax.random.key(0)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reach(Constant):
    """Continuous: paid 1 less the distance of each component from 0.75."""

    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), continuous=True, optimum=None)

    def step_env(self, key, state, action, params):
        after, _, *rest = super().step_env(key, state, action, params)
        return after, 1 - jnp.abs(action - 0.75).mean(-1), *rest


@pytest.mark.parametrize("bounded", ["clipped", "squashed"])
def test_continuous_actions_are_learned(bounded):
    env = Reach()
    learner = ppo.ippo(env.spec(), lr=3e-3, hidden=16, bounded=bounded, entropy=0.0, gamma=0.9)
    config = TrainConfig(
        total_steps=20_000, num_envs=16, rollout_length=16, evals=1, eval_episodes=4
    )
    result = train(env, learner, config=config)
    assert result.returns.mean() > 9.5 > 8 > result.random_returns.mean()
