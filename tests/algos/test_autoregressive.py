"""MAT and Sable: acting in turn against one pass, the order of agents, and known answers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos.autoregressive import model as team
from marlx.algos.autoregressive.config import MATConfig, SableConfig
from marlx.algos.autoregressive.learner import autoregressive_learner
from marlx.algos.autoregressive.mat_networks import transformer
from marlx.algos.autoregressive.sable_networks import retainer
from marlx.algos.ppo import learner_on
from marlx.algos.ppo_networks import Memories, PPOParams, act
from marlx.environment import EnvParams
from marlx.learner import example_rollout
from marlx.loop.rollout import rollout, start
from marlx.loop.settings import TrainConfig
from marlx.testing import Leaving, Recall
from marlx.training import train
from marlx.types import Observation

SIZES = {"hidden": 8, "heads": 2, "blocks": 2, "minibatches": 1, "epochs": 1}
MODELS = {
    "mat": (transformer, MATConfig(**SIZES)),
    "sable": (retainer, SableConfig(**SIZES, window=5, decay=0.9)),
    "sable-step": (retainer, SableConfig(**SIZES, recurrent=False)),
}
LIMITED = EnvParams(max_steps_in_episode=3)  # the longest episodes are cut
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def lively(params):
    """Parameters whose heads are no longer near 0, so that outputs differ."""
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(9), x.shape), params)


def collected(name, env, params=LIMITED, length=10, num_envs=4):
    """Networks, a learner, its state, and a rollout that begins within episodes."""
    make, config = MODELS[name]
    spec = env.spec(params)
    model = make(spec, config)
    learner = autoregressive_learner(spec, config, model)
    state = learner.init(jax.random.key(0), example_rollout(spec, learner, length, num_envs))
    state = state._replace(params=lively(state.params))

    @_jit
    def play(policy):
        actors = start(env, params, learner, jax.random.key(1), num_envs)
        roll = functools.partial(rollout, env, params, learner, policy, length=length)
        actors, _, _ = roll(actors, jax.random.key(2))
        return roll(actors, jax.random.key(3))[1]

    nets = team.networks(spec, config, model)
    return nets, learner, state, play(learner.policy(state))


@pytest.fixture(scope="module", params=["mat", "sable"])
def played(request):
    return request.param, *collected(request.param, Recall(num_agents=3, shortest=1, longest=4))


def recomputed(nets, state, taken, raw=None, memory=None):
    """Outputs and values of a rollout in one pass, from the memory before its first step."""
    raw = taken.extras.raw if raw is None else raw
    memory = taken.memory[0] if memory is None else memory
    return nets.unroll(state.params, Memories(memory, memory), taken.obs, taken.done, raw)


def test_one_pass_gives_the_probabilities_of_acting_in_turn(played):
    name, nets, _, state, taken = played
    assert taken.terminated.any() and taken.truncated.any() and not taken.obs.action_mask.all()
    outputs, _ = recomputed(nets, state, taken)
    mask, drawn = taken.obs.action_mask, taken.extras
    log_prob = nets.distribution.log_prob(outputs, mask, drawn.raw)
    np.testing.assert_allclose(log_prob, drawn.log_prob, atol=1e-5)
    assert np.take_along_axis(np.asarray(mask), np.asarray(taken.action)[..., None], -1).all()
    assert np.std(drawn.log_prob) > 0.1
    other = recomputed(nets, state, taken, memory=taken.memory[0] + 1.0)[0]
    remembers = np.abs(other - outputs).max((1, 2, 3)) > 1e-4
    assert remembers[0] == (name == "sable")


def test_values_over_steps_are_those_of_single_steps(played):
    """And the value of the next state, from the memory after a step, is that of the next step."""
    _, nets, _, state, taken = played
    memory = taken.memory[0, ..., : state.memory.shape[-1]]
    values, after = nets.values(state.params, memory, taken.obs, taken.done)
    np.testing.assert_allclose(values, recomputed(nets, state, taken)[1], atol=1e-5)
    following = nets.value(state.params, after, taken.next_obs)
    runs_on = np.asarray(~taken.done[:-1])
    np.testing.assert_allclose(following[:-1][runs_on], values[1:][runs_on], atol=1e-5)
    inside = taken.memory[1:, ..., : memory.shape[-1]]
    np.testing.assert_allclose(after[:-1][runs_on], inside[runs_on], atol=1e-4)
    assert (taken.memory[1:][~runs_on] == 0).all()


def test_an_agent_knows_the_actions_before_it_and_no_others(played):
    _, nets, _, state, taken = played
    step = jax.tree.map(lambda x: x[:1], taken)
    outputs, _ = recomputed(nets, state, step)
    for agent in range(3):
        raw = step.extras.raw.at[..., agent].add(1) % step.obs.action_mask.shape[-1]
        change = jnp.abs(recomputed(nets, state, step, raw)[0] - outputs).max((0, 1, 3))
        assert (change[: agent + 1] == 0).all()
        assert (change[agent + 1 :] > 0).all()


@pytest.mark.parametrize("name", ["mat", pytest.param("sable", marks=pytest.mark.slow)])
def test_one_agent_learns_by_ppo(name):
    """Networks that never read an action, in the learner of `ippo`, make the same update."""
    env = Recall(num_agents=1, shortest=1, longest=4)
    nets, learner, state, taken = collected(name, env)
    make, config = MODELS[name]
    model = make(env.spec(LIMITED), config)

    def unroll(params, memory, obs, done, raw):
        token = team.first_token(env.spec(LIMITED))
        token = jnp.broadcast_to(token, (*raw.shape, len(token)))
        return model.unroll(params.actor, memory.actor, obs, done, token)

    plain = nets._replace(unroll=unroll)
    acting = functools.partial(act, plain)
    ppo = learner_on(env.spec(LIMITED), config, plain, act=acting, inspect=None)
    state = learner.observe(state, taken)
    found, metrics = _jit(learner.update)(state, jax.random.key(0))
    wanted, same = _jit(ppo.update)(state, jax.random.key(0))
    assert metrics.keys() == same.keys()
    for x, y in zip(
        jax.tree.leaves((found, metrics)), jax.tree.leaves((wanted, same)), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
    assert metrics["kl"] < 1e-8 and metrics["grad_norm"] > 0
    raw = ppo.act(state.params.actor, taken.memory[0], jax.tree.map(lambda x: x[0], taken.obs),
                  jax.random.key(0), False)[0]  # fmt: skip
    first = jax.tree.map(lambda x: x[0], taken.obs)
    mine = learner.act(state.params.actor, taken.memory[0], first, jax.random.key(0), False)[0]
    np.testing.assert_array_equal(raw, mine)


@pytest.mark.parametrize("name", ["mat", "sable", "sable-step"])
def test_an_absent_agent_is_as_if_there_was_none(name):
    """What the others do, and what they are worth, is what a team without it does."""
    make, config = MODELS[name]
    config = dataclasses.replace(config, agent_id=False)
    three = Leaving(stay=(4, 4, 4)).spec()
    two = dataclasses.replace(three, num_agents=2, groups=(), obs_sizes=(), action_sizes=())
    local = jax.random.normal(jax.random.key(0), (1, 3, three.obs_size))
    mask = jnp.ones((1, 3, 3), bool)
    params = lively(make(three, config).init(jax.random.key(1)))

    def drawn(spec, obs):
        model = make(spec, config)
        nets = team.networks(spec, config, model)
        memory = nets.actor_memory(1)
        both = []
        for _ in range(2):  # the second step reads what the first has left behind
            both.append(nets.value(PPOParams(params, ()), memory, obs))
            outputs, memory = nets.policy(params, memory, obs)
            both.append(outputs)
        return both

    for absent in range(3):
        others = [i for i in range(3) if i != absent]
        there = jnp.arange(3)[None] != absent
        found = drawn(three, Observation(local, mask, jnp.zeros((1, three.state_size)), there))
        left = Observation(local[:, others], mask[:, :2], jnp.zeros((1, two.state_size)),
                           jnp.ones((1, 2), bool))  # fmt: skip
        for x, y in zip(found, drawn(two, left), strict=True):
            np.testing.assert_allclose(x[:, others], y, atol=1e-5)


def update_cost(agents):
    """FLOPs and temporary bytes of an update of Sable, from the compiler."""
    spec = dataclasses.replace(
        Recall(num_agents=2).spec(), num_agents=agents, groups=(), obs_sizes=(), action_sizes=()
    )
    config = SableConfig(hidden=8, heads=2, epochs=1, minibatches=1, window=4, agent_id=False)
    learner = autoregressive_learner(spec, config, retainer(spec, config))
    state = jax.eval_shape(learner.init, jax.random.key(0), example_rollout(spec, learner, 4, 2))
    compiled = _jit(learner.update).lower(state, jax.random.key(0)).compile()
    return compiled.cost_analysis()["flops"], compiled.memory_analysis().temp_size_in_bytes


def test_an_update_of_sable_costs_each_agent_the_same():
    few, many = update_cost(64), update_cost(256)
    assert many[0] / few[0] < 4.4 and many[1] / few[1] < 4.4


def test_agents_that_act_in_turn_coordinate_while_they_draw():
    """Two agents are paid 1 for the same action of two, and c for the entropy of each one's policy.

    Independent ones stay uniform for c above 1/2. In turn, the first one is uniform and the second
    does the same with probability 1 / (1 + exp(-1 / c)).
    """
    env, params = marlx.make("matrix/custom", payoff=((1.0, 0.0), (0.0, 1.0)), horizon=1)
    config = TrainConfig(
        total_steps=20_000, num_envs=64, rollout_length=4, evals=1, eval_episodes=2_048
    )
    same = {"hidden": 16, "lr": 5e-3, "minibatches": 1, "entropy": 0.7}
    same |= {"normalise_advantage": False, "normalise_value": False}

    def trained(name, **settings):
        learner = marlx.algorithm(name)(env.spec(params), **same, **settings)
        return train(env, learner, params, config=config).history[-1].metrics["return"][0]

    assert trained("mat", heads=2) == pytest.approx(1 / (1 + np.exp(-1 / 0.7)), abs=0.05)
    assert trained("ippo") == pytest.approx(0.5, abs=0.05)
