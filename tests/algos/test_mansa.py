"""MANSA: exact reductions, budgets that hold, what is learned from what, and a known optimum."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos import ppo, q_learning
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.q_network import q_network
from marlx.algos.q_parts import make_replay
from marlx.algos.q_state import QParams
from marlx.algos.switching import learner as switching_learner
from marlx.algos.switching.config import MansaConfig, MansaPPOConfig, SwitchConfig
from marlx.algos.switching.switch import (
    SwitchPolicy,
    call_price,
    scripted_switch,
    switch_learner,
    switch_observation,
    switch_spec,
)
from marlx.algos.switching.views import (
    call_metrics,
    centralised_view,
    independent_view,
    switch_view,
)
from marlx.environment import EnvParams
from marlx.loop.evaluation import random_learner
from marlx.loop.program import loop
from marlx.loop.rollout import rollout, start
from marlx.loop.settings import TrainConfig
from marlx.testing import Recall
from marlx.types import Observation

ENV = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=4)  # true ends and time limits
SPEC = ENV.spec(LIMITED)
TINY = QConfig(
    hidden=8, mixer_hidden=8, mixer_embed=4, batch=8, window=5, capacity=1_000, warmup=100,
    updates_per_step=1 / 20, target_period=10, lambda_=0.5, reward_scaling="scale",
    epsilon_steps=2_000,
)  # fmt: skip
SWITCH = SwitchConfig(
    hidden=8, batch=8, window=5, capacity=1_000, warmup=100, updates_per_step=1 / 20,
    target_period=10, epsilon_steps=2_000,
)  # fmt: skip
CONFIG = MansaConfig(independent=TINY, centralised=TINY, switch=SWITCH)
TRAIN = TrainConfig(total_steps=1_200, num_envs=4, rollout_length=5, evals=1)


def learner_of(**settings):
    """The switch of `settings` over two learners that play at random and learn nothing."""
    config = dataclasses.replace(CONFIG, **settings)
    idle = random_learner(SPEC)
    switch = switch_learner(SPEC, config, config.switch)
    return switching_learner.mansa(SPEC, idle, idle, switch, config)


def trained(learner, key=0):
    """The state of a run after its one block, and the metrics of that block."""
    run = loop(ENV, LIMITED, learner, TRAIN)
    return run.block(run.warm_up(run.init(jax.random.key(key))))


def assert_same_run(run, inner, other):
    """Same actions all along (the replay holds them), same parameters, same environments."""
    assert int(other.learner.updates) >= 50
    assert int(inner.updates) == int(other.learner.updates)
    stored, expected = (x.replay.ring.items.action for x in (inner, other.learner))
    np.testing.assert_array_equal(stored, expected)
    close = functools.partial(np.testing.assert_allclose, atol=1e-6)
    jax.tree.map(close, inner.params, other.learner.params)
    jax.tree.map(close, inner.target, other.learner.target)
    jax.tree.map(close, run.actors.env_state, other.actors.env_state)


@functools.cache
def alone(name):
    return jax.jit(lambda: trained(getattr(q_learning, name)(SPEC, TINY))[0])()


@functools.cache
def scripted():
    """Runs of a switch that calls never, always, and at random, and their metrics."""
    config = dataclasses.replace(CONFIG, il_trains_on="g0")
    iql, qmix = q_learning.iql(SPEC, TINY), q_learning.qmix(SPEC, TINY)

    def run(rate):
        switch = scripted_switch(rate)
        return trained(switching_learner.mansa(SPEC, iql, qmix, switch, config))

    runs, metrics = jax.jit(jax.vmap(run))(jnp.array([0.0, 1.0, 0.25]))
    return [jax.tree.map(lambda x, i=i: x[i], (runs, metrics)) for i in range(3)]


def test_without_calls_it_is_the_independent_learner():
    run, metrics = scripted()[0]
    assert_same_run(run, run.learner.independent, alone("iql"))
    assert int(metrics["centralised_calls"]) == 0 and int(run.learner.centralised.updates) == 0


def test_with_calls_only_it_is_the_centralised_learner():
    run, metrics = scripted()[1]
    assert_same_run(run, run.learner.centralised, alone("qmix"))
    assert int(run.learner.independent.updates) == 0
    assert int(metrics["centralised_calls"]) == 1_200
    assert metrics["call_rate"] == 1


def test_updates_are_in_proportion_to_calls():
    """A quarter of the steps costs a quarter of the gradients."""
    run, metrics = scripted()[2]
    calls = int(run.learner.calls)
    assert calls == pytest.approx(300, abs=60)  # four standard deviations
    joint, alone_ = int(run.learner.centralised.updates), int(run.learner.independent.updates)
    late = calls * (1 - TINY.warmup / 1_200)
    assert joint == pytest.approx(late * TINY.updates_per_step, abs=4)
    assert joint + alone_ == pytest.approx(1_100 * TINY.updates_per_step, abs=2)
    samples = int(metrics["centralised_samples_total"])
    assert joint * TINY.batch <= samples <= joint * TINY.batch * TINY.window


def test_paced_learning_is_of_every_step_and_costs_as_many_updates_as_there_were_calls():
    """With calls everywhere it is the centralised learner; with few, each update is a whole one."""
    config = dataclasses.replace(CONFIG, cl_trains_on="paced")
    qmix = q_learning.qmix(SPEC, TINY)

    def run(rate):
        switch = scripted_switch(rate)
        return trained(switching_learner.mansa(SPEC, random_learner(SPEC), qmix, switch, config))

    runs, metrics = jax.jit(jax.vmap(run))(jnp.array([1.0, 0.25]))
    full, few = [jax.tree.map(lambda x, i=i: x[i], runs) for i in range(2)]
    assert_same_run(full, full.learner.centralised, alone("qmix"))
    updates, calls = int(few.learner.centralised.updates), int(few.learner.calls)
    late = calls * (1 - TINY.warmup / 1_200)
    assert calls == pytest.approx(300, abs=60)
    assert updates == pytest.approx(late * TINY.updates_per_step, abs=4)
    assert metrics["centralised_samples_total"][1] == updates * TINY.batch * TINY.window


def test_a_budget_of_none_is_the_independent_learner():
    """With a switch that learns, and would like to call: at no cost, whoever it may be."""
    config = dataclasses.replace(CONFIG, budget=0, call_cost=0.0)
    switch = switch_learner(SPEC, config, SWITCH)
    iql = q_learning.iql(SPEC, TINY)
    learner = switching_learner.mansa(SPEC, iql, random_learner(SPEC), switch, config)
    run, metrics = jax.jit(lambda: trained(learner))()
    assert_same_run(run, run.learner.independent, alone("iql"))
    assert int(run.learner.switch.updates) >= 50
    assert int(metrics["centralised_calls"]) == 0 and metrics["budget_left"] == 0


PPO = PPOConfig(hidden=8, epochs=2, minibatches=2, window=5, recurrent=True)


@pytest.mark.slow
def test_a_pair_of_policy_gradient_learners_reduces_to_either():
    """IPPO without calls, MAPPO with nothing else; with some, minibatches in proportion."""
    pair = ppo.ippo(SPEC, PPO), ppo.mappo(SPEC, PPO)
    config = MansaPPOConfig(independent=PPO, centralised=PPO, switch=SWITCH)

    def run(rate):
        return trained(switching_learner.mansa(SPEC, *pair, scripted_switch(rate), config))

    runs, metrics = jax.jit(jax.vmap(run))(jnp.array([0.0, 1.0, 0.25]))
    for i, name in enumerate(("independent", "centralised")):
        alone, _ = jax.jit(lambda part=pair[i]: trained(part))()
        inner = jax.tree.map(lambda x, i=i: x[i], getattr(runs.learner, name))
        close = functools.partial(np.testing.assert_allclose, atol=1e-4)
        np.testing.assert_array_equal(inner.rollout.action, alone.learner.rollout.action)
        jax.tree.map(close, inner.params, alone.learner.params)
    samples = np.asarray(metrics["centralised_samples_total"])
    calls = np.asarray(runs.learner.calls)
    warm = 20  # steps of the first rollout are never learned from, others once per epoch
    assert samples[0] == 0 and samples[1] == 2 * (calls[1] - warm)
    assert samples[2] == pytest.approx(2 * calls[2] * (1 - warm / 1_200), rel=0.1)


@functools.cache
def playing(learner, length=40, num_envs=8):
    """A function of keys: a rollout of a freshly made learner, every network being random."""
    train = dataclasses.replace(TRAIN, num_envs=num_envs, rollout_length=length)
    made = loop(ENV, LIMITED, learner, train).init

    @jax.jit
    def play(key, explore_key):
        policy = learner.policy(made(key).learner)
        actors = start(ENV, LIMITED, learner, key, num_envs)
        return rollout(ENV, LIMITED, learner, policy, actors, explore_key, length)[1]

    return play


def calls_by_episode(called, done):
    """Calls of every episode begun, in order of environments; both bool [T, B]."""
    counts = []
    for env in range(called.shape[1]):
        counts.append(0)
        for t in range(called.shape[0]):
            counts[-1] += int(called[t, env])
            if done[t, env]:
                counts.append(0)
    return counts


@pytest.mark.parametrize("budget", [0, 1, 2])
@pytest.mark.parametrize("switching", ["learned", "always", "random"])
def test_calls_never_exceed_the_budget_of_an_episode(budget, switching):
    """Random networks, exploring, across many resets of episodes of two to four steps."""
    switch = dataclasses.replace(SWITCH, epsilon_start=0.5)
    learner = learner_of(budget=budget, switching=switching, rate=0.9, switch=switch)
    for seed in range(5):
        t = playing(learner)(jax.random.key(seed), jax.random.key(10 + seed))
        counts = calls_by_episode(np.asarray(t.extras.called), np.asarray(t.done))
        assert len(counts) > 80 and max(counts) == budget
        # what the switch sees: nothing is left, and 1 is masked, exactly where it is spent
        before = np.asarray(t.memory.calls)
        seen = switch_observation(
            SPEC, budget, t.obs, t.memory.calls, t.memory.last_choice, t.extras.calls_allowed
        )
        np.testing.assert_array_equal(seen.action_mask[..., 0, 1], before < budget)
        np.testing.assert_allclose(
            seen.local[..., 0, -2], (1 - before / max(1, budget)) * SPEC.scale, rtol=1e-6
        )


@pytest.mark.parametrize(
    ("temperature", "explore", "calls"),
    [(2.0, False, 0.5), (2.0, True, 0.5), (2.0, True, 0.1), (0.0, True, 0.1), (0.0, False, 0.1)],
)
def test_a_switch_draws_in_proportion_to_its_values(temperature, explore, calls):
    """Against the softmax of the greedy switch's own values; what is masked is never drawn."""
    settings = dataclasses.replace(
        SWITCH, temperature=temperature, epsilon_start=0.5, exploratory_calls=calls
    )
    own, count = switch_spec(SPEC), 4_000
    net = q_network(own, settings)
    switch = switch_learner(SPEC, CONFIG, settings)
    params = net.init(jax.random.key(3))
    unit = jnp.float32(3)  # values are in thirds of a return's unit
    policy = SwitchPolicy(QParams(params, ()), jnp.int32(0), unit)
    local = 2.0 * own.scale * jax.random.normal(jax.random.key(4), (own.obs_size,))
    obs = Observation(
        jnp.broadcast_to(local, (count, 1, own.obs_size)),
        jnp.ones((count, 1, 2), bool).at[::2, 0, 1].set(False),
        jnp.zeros((count, 0)),
    )
    memory = net.memory(count)
    action, _, _ = switch.act(policy, memory, obs, jax.random.key(5), explore)
    values = 3 * net.step(params, memory, obs)[0].q[1, 0]
    if temperature:
        expected = float(jax.nn.softmax(values / temperature)[1])
        assert 0.05 < expected < 0.95 and abs(expected - 0.5) > 0.05  # else it shows nothing
    else:
        expected = float(values[1] > values[0])
    if explore:  # half of the choices are random ones
        expected = 0.5 * expected + 0.5 * calls
    assert not action[::2].any()
    assert abs(float(action[1::2].mean()) - expected) < 0.04


def test_the_call_is_masked_in_targets_once_the_budget_is_spent():
    """The switch's replay holds a mask of the *next* state that knows of the call just made."""
    learner = learner_of(budget=2, switching="learned")
    run, _ = jax.jit(lambda: trained(learner))()
    items = run.learner.switch.replay.ring.items
    share, called = items.obs.local[..., 0, -2], items.action[..., 0]
    left = np.round(np.asarray(share) * 2).astype(int)
    assert (called <= left).all()
    np.testing.assert_array_equal(items.next_obs.action_mask[..., 0, 1], left - called > 0)
    np.testing.assert_allclose(items.next_obs.local[..., 0, -2], (left - called) / 2)
    np.testing.assert_array_equal(items.next_obs.local[..., 0, -1], called)


def test_calls_of_a_run_never_exceed_its_budget():
    learner = learner_of(switching="always", run_budget=505)
    run, metrics = jax.jit(lambda: trained(learner))()
    assert int(run.learner.calls) == int(metrics["centralised_calls"]) == 500  # 20 in a rollout
    policy, obs, key = learner.policy(run.learner), run.actors.obs, jax.random.key(0)
    for explore, calls in ((True, 0), (False, 4)):  # it is a budget of training
        extras = learner.act(policy, learner.memory(4), obs, key, explore)[2]
        assert extras.called.sum() == calls


def test_the_first_calls_are_counted():
    run, _ = jax.jit(lambda: trained(learner_of(switching="first", first=300)))()
    assert int(run.learner.calls) == 300
    policy = switch_learner(SPEC, MansaConfig(switching="first", first=300), SWITCH).policy
    assert policy(jnp.int32(299)) == 1 and policy(jnp.int32(300)) == 0


def test_execution_may_be_decentralised():
    learner = switching_learner.mansa_q(SPEC, CONFIG, switching="always", execution="independent")
    iql = q_learning.iql(SPEC, TINY)
    state = loop(ENV, LIMITED, learner, TRAIN).init(jax.random.key(0))
    policy, obs = learner.policy(state.learner), state.actors.obs
    key = jax.random.key(1)
    action, memory, extras = learner.act(policy, learner.memory(4), obs, key, False)
    expected, _, _ = iql.act(policy.independent, iql.memory(4), obs, key, False)
    np.testing.assert_array_equal(action, expected)
    assert not extras.called.any() and not memory.calls.any()
    assert learner.act(policy, learner.memory(4), obs, key, True)[2].called.all()


def test_a_call_has_a_price_and_a_change_to_it_another():
    config = MansaConfig(call_cost=0.5, switch_cost=2.0)
    choice, last_choice = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(call_price(config, choice, last_choice), [0, 0, 2.5, 0.5])


def test_each_learner_trains_on_the_steps_that_it_acted_in():
    """Or on all of them; `paced` gives every step the share of calls as its weight."""
    t = playing(learner_of(switching="random", rate=0.3))(jax.random.key(0), jax.random.key(1))
    called = np.asarray(t.extras.called, np.float32)
    assert 0.1 < called.mean() < 0.5

    def weight(view, **settings):
        return view(MansaConfig(**settings), t).weight

    assert weight(independent_view, il_trains_on="all") is None
    assert weight(centralised_view, cl_trains_on="all") is None
    np.testing.assert_array_equal(weight(independent_view, il_trains_on="g0"), 1 - called)
    np.testing.assert_array_equal(weight(centralised_view, cl_trains_on="g1"), called)
    paced = np.asarray(weight(centralised_view, cl_trains_on="paced"))
    np.testing.assert_allclose(paced, np.full_like(called, called.mean()), rtol=1e-6)


def test_the_switch_trains_on_its_decisions_and_the_reward_of_the_team():
    """What it observes next knows of the decision just made, until the episode is reset."""
    learner = learner_of(switching="random", rate=0.5, budget=2)
    t = playing(learner)(jax.random.key(0), jax.random.key(1))
    view = switch_view(SPEC, learner.config, t)
    np.testing.assert_array_equal(view.action[..., 0], t.extras.called)
    price = learner.config.call_cost * t.extras.called
    np.testing.assert_allclose(view.reward[..., 0], SPEC.team_reward(t.reward) - price, rtol=1e-6)
    goes_on = ~np.asarray(t.done[:-1])
    after, before = np.asarray(view.next_obs.local[:-1]), np.asarray(view.obs.local[1:])
    np.testing.assert_array_equal(after[goes_on], before[goes_on])
    start = np.asarray(view.obs.local[1:])[~goes_on]
    np.testing.assert_allclose(start[:, 0, -2:], [[SPEC.scale, 0.0]] * len(start), rtol=1e-6)


def test_metrics_of_calls_are_of_steps_and_of_episodes_that_ended():
    learner = learner_of(switching="random", rate=0.5, budget=2)
    t = playing(learner)(jax.random.key(0), jax.random.key(1))
    called, done = np.asarray(t.extras.called), np.asarray(t.done)
    ended = [
        calls_by_episode(called[:, [env]], done[:, [env]])[:-1] for env in range(called.shape[1])
    ]
    mean = np.mean(np.concatenate(ended))
    metrics = call_metrics(learner.config, t)
    assert metrics["call_rate"] == pytest.approx(called.mean())
    assert metrics["calls_per_episode"] == pytest.approx(mean)
    assert metrics["budget_left"] == pytest.approx(2 - mean)


def test_the_switch_pays_per_call_and_per_change_before_scaling():
    """With gamma 0 the target is the team reward less what the choice cost, both scaled."""
    settings = dataclasses.replace(
        SWITCH, gamma=0.0, reward_scaling="scale", warmup=0, updates_per_step=1 / 200, batch=40
    )
    config = MansaConfig(switch=settings, call_cost=0.5, switch_cost=2.0, il_trains_on="all")
    learner = learner_of(switch=settings, call_cost=0.5, switch_cost=2.0)
    t = playing(learner)(jax.random.key(0), jax.random.key(1))
    state = learner.init(jax.random.key(2), t)
    switch = switch_learner(SPEC, config, settings)
    state = learner.observe(state, t).switch._replace(pending=jnp.float32(1))
    _, metrics = switch.update(state, jax.random.key(3))
    source = make_replay(settings)
    items = source.sample(state.replay, jax.random.fold_in(jax.random.key(3), 0)).items
    net = q_network(switch_spec(SPEC), settings)
    memory = jnp.zeros((*items.done.shape, 1, 0))
    q = net.step(state.params.agents, memory, items.obs)[0].q
    q = np.take_along_axis(np.asarray(q), np.asarray(items.action[..., None], int), -1)[..., 0, 0]
    g, last = np.asarray(items.action[..., 0], float), np.asarray(items.obs.local[..., 0, -1])
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} == set(zip(g.ravel(), last.ravel(), strict=True))
    paid = switch_view(SPEC, config, t).reward[..., 0]
    price = call_price(config, t.extras.called, t.memory.last_choice)
    np.testing.assert_allclose(paid, SPEC.team_reward(t.reward) - price, rtol=1e-6)
    target = np.asarray(items.reward) / np.std(np.asarray(paid))
    assert float(metrics["td_error"]) == pytest.approx(np.abs(q - target).mean(), rel=1e-4)


@pytest.mark.parametrize("name", [pytest.param("iql", marks=pytest.mark.slow), "qmix"])
def test_steps_of_weight_zero_reach_no_gradient(name):
    """Changing their rewards changes no parameter; changing another step's does."""
    config = dataclasses.replace(
        TINY, warmup=0, updates_per_step=0.2, lambda_=0.0, reward_scaling="none"
    )
    learner = getattr(q_learning, name)(SPEC, config)
    t = playing(learner)(jax.random.key(0), jax.random.key(1))
    weight = (jax.random.uniform(jax.random.key(2), t.done.shape) < 0.1).astype(jnp.float32)
    weight = weight.at[:, 0].set(0.0)  # an environment in which nothing is learned
    assert 20 < weight.sum() < 50

    @jax.jit
    def learn(t):
        state = learner.init(jax.random.key(0), t)
        return learner.update(learner.observe(state, t), jax.random.key(1))

    def with_reward(more):
        return learn(t._replace(weight=weight, reward=t.reward + more[..., None]))

    (state, metrics), (same, _), (other, _) = map(
        with_reward, (jnp.zeros_like(weight), 5.0 * (1 - weight), 5.0 * weight)
    )
    assert int(state.updates) == int(weight.sum() * 0.2)
    windows = weight.reshape(8, 5, -1).sum(1)
    per_window = float(windows.sum() / (windows > 0).sum())  # only windows with weight are drawn
    drawn = int(state.updates) * config.batch
    assert float(metrics["samples"]) == pytest.approx(drawn * per_window, rel=0.3)
    jax.tree.map(np.testing.assert_array_equal, state.params, same.params)
    differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.params, other.params)
    assert max(jax.tree.leaves(differences)) > 1e-4


def test_pictures_say_which_mode_is_on():
    learner = learner_of(switching="always", budget=2)
    t = playing(learner)(jax.random.key(0), jax.random.key(1))
    captions = [
        learner.describe(*jax.tree.map(lambda x, at=at: x[at, 0], (t.memory, t.extras)))
        for at in range(3)
    ]
    assert captions[0].startswith("CENTRALISED") and "of 2" in captions[0]
    assert {caption.count("\n") for caption in captions} == {0}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget": -1}, "budget is -1; it must be 0 or more, or none"),
        ({"rate": 1.5}, "rate is 1.5; it must be between 0 and 1"),
        ({"call_cost": -0.1}, "call_cost is -0.1; it must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        MansaConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1}, "temperature is -1; it must be 0 or more"),
        ({"exploratory_calls": 2}, "exploratory_calls is 2; it must be between 0 and 1"),
    ],
)
def test_wrong_settings_of_the_switch_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        SwitchConfig(**settings)


# --- a known optimum ---

CHAIN, CHAIN_PARAMS = marlx.make("matrix/chain-4")
GAMES = QConfig(
    recurrent=False, hidden=32, lr=2e-3, window=1, batch=64, updates_per_step=0.125,
    capacity=10_000, warmup=500, target_period=50, epsilon_steps=20_000, gamma=1.0,
)  # fmt: skip
DECIDER = SwitchConfig(**{**dataclasses.asdict(GAMES), "capacity": 5_000})


def chain_learner(cost):
    """IQL and joint-action Q under a switch whose cost may be traced, and the two of them.

    IQL learns from its own steps: from those of the other it would learn to coordinate too, and
    there would be no gap left.
    """
    spec, config = CHAIN.spec(), MansaConfig(il_trains_on="g0", call_cost=cost)
    switch = switch_learner(spec, config, DECIDER)
    parts = q_learning.iql(spec, GAMES), q_learning.joint_q(spec, GAMES)
    return switching_learner.mansa(spec, *parts, switch, config), parts


def optimal_switch(alone, joint, cost):
    """Bool [K], g*, from the fixed point of the switch's Bellman operator.

    Args:
      alone: f64 [K], what the independent learner's joint action pays in each stage.
      joint: f64 [K], what the centralised learner's pays.
      cost: per call.

    `T V(s) = max(R_joint(s) - cost + V(s'), R_alone(s) + V(s'))`; stage s' = s + 1, and V = 0 at
    the end.
    """
    value = np.zeros(len(alone) + 1)
    for _ in range(len(alone)):
        value[:-1] = np.maximum(joint - cost + value[1:], alone + value[1:])
    return joint - cost + value[1:] > alone + value[1:]


@pytest.mark.slow
def test_the_learned_switch_is_the_optimal_one():
    """It calls in the coordination stage alone if a call costs less than the gap, else never."""
    costs, seeds, stages = jnp.array([0.5, 1.5, 8.0]), 2, 5
    train = TrainConfig(total_steps=40_000, num_envs=16, rollout_length=stages, evals=1)

    def run(key, cost):
        learner, parts = chain_learner(cost)
        one = loop(CHAIN, CHAIN_PARAMS, learner, train)
        state, metrics = one.block(one.warm_up(one.init(key)))
        policy = learner.policy(state.learner)
        actors = start(CHAIN, CHAIN_PARAMS, learner, key, 1)
        _, t, _ = rollout(CHAIN, CHAIN_PARAMS, learner, policy, actors, key, stages, explore=False)
        states = jax.vmap(lambda i: dataclasses.replace(CHAIN.make_state(), stage=i))
        obs = jax.vmap(CHAIN.observe, (0, None))(states(jnp.arange(stages)), CHAIN_PARAMS)
        actions = [
            part.act(params, part.memory(stages), obs, key, False)[0]
            for part, params in zip(parts, policy[:2], strict=True)
        ]
        return t.extras.called[:, 0], actions, metrics["call_rate"]

    keys = jax.random.split(jax.random.key(0), seeds)
    grid = jax.jit(jax.vmap(jax.vmap(run, (0, None)), (None, 0)))
    called, actions, rates = jax.device_get(grid(keys, costs))  # [costs, seeds, ...]
    table, agree = CHAIN._payoff[..., 0], []
    for i, j in np.ndindex(len(costs), seeds):
        alone, joint = (table[(np.arange(stages), *chosen[i, j].T)] for chosen in actions)
        assert joint[-1] == 11 and alone[-1] <= 7
        best = optimal_switch(alone, joint, float(costs[i]))
        assert best[-1] == (costs[i] < joint[-1] - alone[-1])
        agree.append(called[i, j] == best)
    assert np.mean(agree) >= 0.95
    assert called[:2, :, -1].all() and not called[2].any()
    assert (np.diff(rates.mean(1)) <= 0.02).all()  # costlier calls are no more frequent
