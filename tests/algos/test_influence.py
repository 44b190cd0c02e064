"""AMI: influence by hand, what is known of the others, and the model at its best possible rate."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos.influence.config import AMIConfig, NextActionConfig
from marlx.algos.influence.equations import (
    action_nll,
    adversary_reward,
    distances,
    expected_actions,
    penalties,
)
from marlx.algos.influence.joint import (
    joint_inputs,
    next_actions,
    others_actions,
    with_each_action,
)
from marlx.algos.influence.learner import ami, inputs_size
from marlx.algos.influence.oracle import oracle_learner, oracle_rollout, proposals
from marlx.algos.ppo import mappo
from marlx.algos.ppo_config import PPOConfig
from marlx.envs.matrix import last_actions
from marlx.envs.partners import heuristics, majority_chances, with_partners
from marlx.learner import example_rollout
from marlx.loop.program import loop
from marlx.loop.rollout import rollout, start
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.runs.checkpoints import Checkpoints
from marlx.runs.identity import stored_form
from marlx.testing import Unequal, check_learner
from marlx.types import EnvSpec, Observation, Transition

GAME = marlx.make("matrix/consensus")[0]
ENV = with_partners(GAME, [heuristics(GAME)["majority"]], (0,), privileged=True, reward="against")
PARAMS, SPEC = ENV.default_params, ENV.spec()
SMALL = AMIConfig(
    model=NextActionConfig(hidden=16, minibatches=2, epochs=2),
    ppo=PPOConfig(hidden=8, minibatches=2, epochs=2),
)
fast = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def test_influence_by_hand():
    """One own agent with two actions, two others with three.

    After action 0 (probability 0.25) the others are most likely to do 2 and 0, after 1: 2 and 1.
    """
    logits = jnp.array([[[0.0, 1, 2], [3, 1, 0]], [[-1, 0, 4], [0, 5, 1]]])
    expected = expected_actions(jnp.array([0.25, 0.75]), logits)
    np.testing.assert_allclose(expected, [[0, 0, 1], [0.25, 0.75, 0]])
    taken = expected_actions(jnp.array([0.0, 1.0]), logits)
    np.testing.assert_allclose(taken, [[0, 0, 1], [0, 1, 0]])
    target = jnp.array([0, 1])
    wanted = jax.nn.one_hot(target, 3)
    found = {kind: distances(expected, wanted, kind) for kind in ("l1", "l2", "max")}
    np.testing.assert_allclose(found["l1"], [2, 0.5])
    np.testing.assert_allclose(found["l2"], [2**0.5, 0.125**0.5], rtol=1e-6)
    np.testing.assert_allclose(found["max"], [1, 0.25])
    reward = adversary_reward(jnp.array([1.0]), jnp.array([2.5]), 0.1, jnp.float32(4))
    np.testing.assert_allclose(reward, [0], atol=1e-7)
    uniform = action_nll(jnp.zeros((2, 3)), jnp.array([0, 2]))
    np.testing.assert_allclose(uniform, np.log(3), rtol=1e-6)


def test_the_log_distance_is_that_of_the_models_own_probabilities():
    """After action 0 the other does 0 and 1 with 1/2, after action 1 with 1/4 and 3/4."""
    logits = jnp.log(jnp.array([[[0.5, 0.5, 1e-30]], [[0.25, 0.75, 1e-30]]]))[None]
    own, mask = jnp.array([[0.5, 0.5]]), jnp.ones((1, 2), bool)
    config = dataclasses.replace(SMALL, distance="log")
    for target, chance in ((0, 0.375), (1, 0.625), (2, 1e-10)):
        found = penalties(config, own, logits, jnp.array([target]), mask)
        np.testing.assert_allclose(found, [-np.log(chance)], rtol=1e-5)


def test_without_targets_any_change_of_the_others_is_paid():
    """The other does 0 after the own action 0, else 1; the third own action is not legal."""
    config = dataclasses.replace(SMALL, targets="none")
    logits = jnp.array([[[9.0, 0]], [[0, 9]], [[0, 9]]])[None]
    mask = jnp.array([[True, True, False]])
    found = [
        float(penalties(config, jnp.array([own]), logits, jnp.array([0]), mask)[0])
        for own in ([0.5, 0.5, 0], [1.0, 0, 0], [0, 1.0, 0], [0.75, 0.25, 0])
    ]
    np.testing.assert_allclose(found, [0, -1, -1, -0.5], atol=1e-6)
    both = dataclasses.replace(config, distance="log")
    still = penalties(both, jnp.array([[0.5, 0.5, 0]]), logits, jnp.array([0]), mask)
    np.testing.assert_allclose(still, [0], atol=1e-5)


def acted(key=0, envs=16, length=30):
    """A rollout [T, B] of a random adversary."""
    learner = mappo(SPEC, hidden=8)
    example = example_rollout(SPEC, learner, length, envs)

    @fast
    def play(key):
        policy = learner.policy(learner.init(key, example))
        actors = start(ENV, PARAMS, learner, key, envs)
        return rollout(ENV, PARAMS, learner, policy, actors, key, length)[1]

    return play(jax.random.key(key))


def test_actions_of_everyone_in_a_rollout():
    """The others see the last actions, from which what they did can be read independently."""
    t = acted()
    action = others_actions(SPEC, t)
    assert action.shape == (30, 16, 3)
    seen = t.next_obs.local[:, :, 0].reshape(30, 16, 4, 3).argmax(-1)
    np.testing.assert_array_equal(action, seen[..., 1:])
    later, known = next_actions(action, t.done)
    assert not known[24].any() and not known[29].any() and known.sum() == 28 * 16
    np.testing.assert_array_equal(later[:24], seen[1:25, :, 1:])
    inputs = joint_inputs(SPEC, t, action)
    assert inputs.shape[-1] == inputs_size(SPEC) == SPEC.state_size + 3 + 9
    joint = inputs[..., SPEC.state_size :].reshape(30, 16, 4, 3).argmax(-1)
    np.testing.assert_array_equal(joint, seen)
    each = with_each_action(SPEC, inputs[3])[:, 0]  # [B, A, F]
    own = each[..., SPEC.state_size : SPEC.state_size + 3]
    np.testing.assert_array_equal(own, np.broadcast_to(np.eye(3), own.shape))
    taken = jnp.take_along_axis(each, t.action[3, :, :1, None], 1)[:, 0]
    np.testing.assert_array_equal(taken, inputs[3])


def test_two_adversaries_change_their_own_action_only():
    spec = dataclasses.replace(SPEC, num_agents=2, groups=(), obs_sizes=(), action_sizes=())
    x = jnp.arange(SPEC.state_size + 6 + 9.0)
    each = with_each_action(spec, x)
    assert each.shape == (2, 3, len(x))
    first = SPEC.state_size
    for agent in range(2):
        own = slice(first + 3 * agent, first + 3 * agent + 3)
        np.testing.assert_array_equal(each[agent, :, own], np.eye(3))
        rest = np.delete(np.arange(len(x)), np.arange(own.start, own.stop))
        np.testing.assert_array_equal(each[agent][:, rest], np.tile(x[rest], (3, 1)))


def test_the_oracle_is_paid_one_step_later_and_never_across_an_end():
    """Four steps of two environments; in the second one an episode ends at step 1."""
    spec = EnvSpec(
        "toy", 1, 2, 1, 3, 9, state_parts=(("state", 1), ("partner_action", 2)),
        partner_actions=(2,),
    )  # fmt: skip
    state = jnp.arange(8.0).reshape(4, 2, 1) * jnp.ones(3)
    obs = Observation(jnp.zeros((4, 2, 1, 1)), jnp.ones((4, 2, 1, 2), bool), state)
    done = jnp.array([[0, 0], [0, 1], [0, 0], [0, 0]], bool)
    t = Transition(
        obs, jnp.zeros((4, 2, 1), jnp.int32), jnp.zeros((4, 2, 1)), done, jnp.zeros_like(done),
        obs._replace(global_state=state + 0.5), (), (),
    )  # fmt: skip
    action = jnp.array([[1, 0], [0, 1], [1, 1], [0, 0]])[..., None]
    later, known = next_actions(action, done)
    chances = jnp.broadcast_to(jnp.array([0.25, 0.75]), (4, 2, 1, 2))
    reward = jnp.arange(8.0).reshape(4, 2)
    seen = oracle_rollout(spec, t, jnp.zeros((4, 2, 5)), later, chances, reward, known)
    assert seen.reward[..., 0].tolist() == [[2, 3], [4, 5], [6, 7], [0, 0]]
    assert seen.credit.weight[..., 0].tolist() == [[1, 1], [1, 0], [1, 1], [0, 0]]
    assert seen.credit.terminated[..., 0].tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert seen.credit.ended[..., 0].tolist() == [[0, 1], [0, 0], [1, 1], [1, 1]]
    assert seen.obs.global_state[:3, :, 0].tolist() == [[2, 3], [4, 5], [6, 7]]
    assert seen.next_obs.global_state[:3, :, 0].tolist() == [[2.5, 3.5], [4.5, 5.5], [6.5, 7.5]]
    assert seen.extras.raw[:3, 0, 0].tolist() == [0, 1, 0]
    np.testing.assert_allclose(jnp.exp(seen.extras.log_prob[0, :, 0]), [0.25, 0.75], rtol=1e-6)


def test_the_oracle_comes_to_propose_what_was_followed_by_reward():
    """The other agent acts at random; the step in which it does 1 pays 1."""
    spec = EnvSpec(
        "toy", 1, 2, 1, 3, 99, state_parts=(("state", 1), ("partner_action", 2)),
        partner_actions=(2,),
    )  # fmt: skip
    width = inputs_size(spec)
    config = PPOConfig(hidden=8, minibatches=1, epochs=4, lr=1e-2, entropy=0.0, gamma=0.5)
    oracle = oracle_learner(spec, config, width)
    shape = (16, 32)
    obs = Observation(
        jnp.zeros((*shape, 1, 1)), jnp.ones((*shape, 1, 2), bool), jnp.ones((*shape, 3))
    )
    no = jnp.zeros(shape, bool)
    t = Transition(
        obs, jnp.zeros((*shape, 1), jnp.int32), jnp.zeros((*shape, 1)), no, no, obs, (), ()
    )
    inputs = jnp.ones((*shape, width))

    def data(state, key):
        action = jax.random.randint(key, (*shape, 1), 0, 2)
        later, known = next_actions(action, no)
        chances = proposals(spec, oracle, state, inputs)
        return oracle_rollout(spec, t, inputs, later, chances, action[..., 0] * 1.0, known)

    @fast
    def learn(state, key):
        state = oracle.observe(state, data(state, key))
        return oracle.update(state, key)[0]

    example = jax.eval_shape(
        lambda: oracle_rollout(
            spec, t, inputs, t.action, jnp.ones((*shape, 1, 2)), jnp.zeros(shape), no
        )
    )
    state = oracle.init(jax.random.key(0), example)
    for key in jax.random.split(jax.random.key(1), 12):
        state = learn(state, key)
    assert proposals(spec, oracle, state, inputs)[0, 0, 0, 1] > 0.8


TRAIN = TrainConfig(
    total_steps=1_600 * 24, num_envs=32, rollout_length=50, evals=2, eval_episodes=2
)


def trained(learner, blocks):
    """PPO's part of the state after some blocks of 12 updates, and metrics of the last block."""
    run, metrics = loop(ENV, PARAMS, learner, TRAIN), {}
    block = fast(run.block)
    state = fast(lambda key: run.warm_up(run.init(key)))(jax.random.key(3))
    for _ in range(blocks):
        state, metrics = block(state)
    return getattr(state.learner, "ppo", state.learner), metrics


def test_without_influence_it_is_mappo_and_the_model_is_as_good_as_can_be():
    """With an influence of 1e-20 all parts run, and PPO's rewards are as good as the same.

    The model is as often right as the rule of the others allows, on episodes that it has not seen,
    within two points.
    """
    ppo = dataclasses.replace(SMALL.ppo, minibatches=4)
    plain, _ = trained(mappo(SPEC, ppo), 1)
    none, metrics = trained(ami(SPEC, SMALL, ppo=ppo, influence=0.0), 1)
    assert "model_nll" not in metrics
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(none), strict=True):
        np.testing.assert_array_equal(a, b)
    model = NextActionConfig(hidden=32, minibatches=4, epochs=4, lr=3e-3)
    learner = ami(SPEC, SMALL, ppo=ppo, model=model, influence=1e-20)
    tiny, _ = trained(learner, 1)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(tiny.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)

    later, metrics = trained(learner, 2)
    assert 0 < metrics["influence_penalty"] <= 6
    assert metrics["reward_deviation"] == pytest.approx(0.49, abs=0.04)  # 58% of steps pay 1
    chances, t = majority_chances(GAME), later.rollout
    where = np.zeros((3,) * 4, int)
    for i, row in enumerate(last_actions(GAME)[:-1]):
        where[tuple(row)] = i
    joint = np.concatenate([t.action, others_actions(SPEC, t)], -1)
    best = chances[where[tuple(np.moveaxis(joint, -1, 0))]][..., 1:, :].max(-1)  # [T, B, V]
    known = np.asarray(next_actions(others_actions(SPEC, t), t.done)[1])
    assert best[known].mean() < 0.9
    assert metrics["model_accuracy"] > best[known].mean() - 0.02


@pytest.mark.slow
def test_stopped_half_way_and_resumed_it_ends_with_the_same_bits(tmp_path):
    """All parts learn, with memories: policy, model, oracle, and the deviation of the reward."""
    recurrent = dataclasses.replace(SMALL.ppo, recurrent=True, window=4)
    learner = ami(SPEC, SMALL, ppo=recurrent)
    config = TrainConfig(total_steps=4 * 32, num_envs=4, rollout_length=8, evals=4, eval_episodes=2)
    alone, resumed = (Run(ENV, PARAMS, learner, config) for _ in range(2))
    blocks, store = alone.blocks(), Checkpoints(tmp_path, seconds=0)
    history = [next(blocks) for _ in range(2)]
    assert store.save(alone, history)
    rest = [progress.steps for progress in blocks]
    store.restore(resumed, store.newest())
    assert [progress.steps for progress in resumed.blocks()] == rest and rest

    def bits(run):
        leaves = jax.tree.leaves(jax.tree.map(stored_form, run.snapshot()[0]))
        return [(x.dtype, x.shape, np.asarray(x).tobytes()) for x in leaves]

    assert bits(alone) == bits(resumed) and len(bits(alone)) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "others",
    [
        {"targets": "shuffled", "influence_of": "taken", "distance": "l2"},
        {"targets": "none", "distance": "log"},
    ],
)
def test_it_keeps_the_contract_of_a_learner(others):
    """With masks, groups, unequal actions, a GRU, and every other setting."""
    unequal = Unequal()
    env = with_partners(
        unequal, [heuristics(unequal)["random"]], (1, 2), privileged=True, reward="against"
    )
    recurrent = dataclasses.replace(SMALL.ppo, recurrent=True, window=8)
    config = dataclasses.replace(SMALL, ppo=recurrent, **others)
    check_learner(lambda spec: ami(spec, config), env, others=(), absent=None, eager=False)


@pytest.mark.parametrize(
    ("spec", "settings", "answer"),
    [
        (GAME.spec(), {}, "ami needs the others' actions in the global state.*privileged"),
        (dataclasses.replace(SPEC, continuous=True), {}, "ami models discrete actions"),
        (SPEC, {"ppo": PPOConfig(last_action=True)}, "ppo.last_action is true"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(spec, settings, answer):
    with pytest.raises(ValueError, match=answer) as error:
        ami(spec, SMALL, **settings)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"model.minibatches is 2; it must divide num_envs \(3\)"):
        learner = ami(SPEC, SMALL)
        learner.init(jax.random.key(0), example_rollout(SPEC, learner, 4, 3))
