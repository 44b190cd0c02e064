"""Dynamic populations: inner and outer steps, the schedule, who learns when, and what it learns."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import marlx
from marlx.algos.population.config import PopulationConfig
from marlx.algos.population.games import choice_loss, games_of, layout_of
from marlx.algos.population.learner import dynamic_population
from marlx.algos.population.meta import adapt, meta_loss
from marlx.algos.population.networks import Listener
from marlx.algos.population.schedule import LISTEN, SEED, SPEAK, phase_of, speaker_of
from marlx.analysis.languages import language_of
from marlx.envs.signal import Signal, compositional
from marlx.learning.part_rates import with_factors
from marlx.loop.rollout import rollout, start
from marlx.testing import check_learner
from marlx.types import Transition

SMALL = {"properties": 2, "values": 3, "length": 2, "vocabulary": 6, "candidates": 4}
GAME = Signal(**SMALL, lessons=5, split="train")
TINY = {"population": 2, "hidden": 8, "seed_updates": 0, "phase_updates": 1, "inner_steps": 1}


def table_loss(games):
    """The loss of a listener that is a table [message, choice], by the weights of games."""
    message, answer = games

    def loss(table, weight):
        return choice_loss(table[message], jax.nn.one_hot(answer, 2), weight)

    return loss


MESSAGE = jnp.array([[0, 1, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
ANSWER = jnp.array([[0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
WHO = jnp.broadcast_to(jnp.array([0, 1, 0]), (4, 3))
HALF = (jnp.arange(4) < 2)[:, None]
TABLE = jnp.array([[0.3, -0.2], [0.1, 0.4]])


def slope(function, x, size=1e-3):
    """The gradient of a function of a 2 x 2 table by central differences."""
    steps = size * np.eye(4).reshape(4, 2, 2)
    return np.array([(function(x + s) - function(x - s)) / (2 * size) for s in steps]).reshape(2, 2)


def test_inner_and_outer_steps_against_finite_differences():
    loss = table_loss((MESSAGE, ANSWER))
    whole = jnp.ones((4, 3))
    adapted = adapt(loss, TABLE, whole, 0.5, 1, False)
    by_hand = TABLE - 0.5 * slope(lambda x: loss(x, whole), TABLE)
    np.testing.assert_allclose(adapted, by_hand, atol=1e-3)

    def outer(table, second_order):
        return meta_loss(
            loss, table, WHO, 2, 2, rate=0.5, steps=2, second_order=second_order
        )  # fmt: skip

    exact = jax.grad(lambda x: outer(x, True))(TABLE)
    np.testing.assert_allclose(exact, slope(lambda x: outer(x, True), TABLE), atol=1e-3)
    # first order: the gradient at the adapted table, as if the steps were constants
    first = sum(
        slope(lambda x, n=n, rest=rest: loss(x, rest), adapt(loss, TABLE, inner, 0.5, 2, False))
        for n in (0, 1)
        for inner, rest in [((WHO == n) & HALF, (WHO == n) & ~HALF)]
    )
    np.testing.assert_allclose(jax.grad(lambda x: outer(x, False))(TABLE), first / 2, atol=1e-3)
    assert not np.allclose(exact, first / 2, atol=1e-3)


def test_without_inner_steps_it_is_a_listener_of_many_speakers_bit_for_bit():
    loss = table_loss((MESSAGE, ANSWER))

    def many(table):
        later = (WHO == jnp.arange(3)[:, None, None]) & ~HALF
        each = jax.vmap(loss, (None, 0))(table, later.astype(jnp.float32))
        return jnp.where(jnp.arange(3) < 2, each, 0).sum() / jnp.int32(2)

    def met(table):
        return meta_loss(loss, table, WHO, jnp.int32(2), 3, rate=0.5, steps=0, second_order=False)

    both = [jax.jit(jax.value_and_grad(f))(TABLE) for f in (many, met)]
    jax.tree.map(np.testing.assert_array_equal, *both)


def test_lessons_are_what_language_0_says_of_the_objects_that_are_taught():
    env = GAME
    spec, params = env.spec(), env.default_params
    assert env.taught.sum() == 5 and set(np.flatnonzero(env.taught)) <= set(env.members.tolist())
    language, parts = compositional(0, 2, 3, 6), dict(spec.state_parts)
    first = spec.state_size - sum(parts[name] for name in ("answer", "lesson", "taught"))
    for target in env.members.tolist():
        others = [x for x in env.members.tolist() if x != target][:3]
        state = env.make_state(target, candidates=[*others[:2], target, others[2]])
        private = np.asarray(env.observe(state, params).global_state)[first:]
        assert private[:4].tolist() == [0, 0, 1, 0]
        said = private[4:16].reshape(2, 6).argmax(-1)
        values = np.array([target // 3, target % 3])
        np.testing.assert_array_equal(said, language.messages(values))
        assert private[16] == env.taught[target]
    plain = Signal(**SMALL, split="train")
    whole = jax.jit(env.reset)(jax.random.key(0), params)[0]
    same = jax.jit(plain.reset)(jax.random.key(0), plain.default_params)[0]
    np.testing.assert_array_equal(whole.global_state[:first], same.global_state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lessons": 9}, "lessons is 9; there are 8 train objects"),
        ({"lessons": 2, "length": 3}, "length is 3; with lessons it must be 2"),
        ({"lessons": 2, "vocabulary": 5}, "needs 6 symbols"),
    ],
)
def test_lessons_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Signal(**{**SMALL, **settings})


def test_games_without_lessons_are_refused():
    with pytest.raises(ValueError, match=r"no part 'answer'.*--env.lessons 1 or more"):
        dynamic_population(marlx.make("signal/lewis-5")[0].spec())
    env = Signal(**SMALL, lessons=2, order="sequence")
    with pytest.raises(ValueError, match="order must be 'parallel'"):
        dynamic_population(env.spec())


def test_the_schedule():
    config = PopulationConfig(population=2, seed_updates=2, phase_updates=2)
    phases = [jax.device_get(phase_of(config, jnp.int32(u))) for u in range(14)]
    assert [int(p.kind) for p in phases] == [
        *[SEED] * 2, *[LISTEN] * 2, *[SPEAK] * 2, *[LISTEN] * 2, *[SPEAK] * 2, *[LISTEN] * 4
    ]  # fmt: skip
    assert [int(p.newest) for p in phases] == [0] * 4 + [1] * 4 + [2] * 6
    assert [u for u, p in enumerate(phases) if p.begins] == [4, 8]
    alone = dataclasses.replace(config, growing=False)
    assert {int(phase_of(alone, jnp.int32(u)).newest) for u in range(14)} == {0}
    envs = jnp.arange(4)
    assert speaker_of(phase_of(config, jnp.int32(6)), envs).tolist() == [0, 1, 0, 1]
    assert speaker_of(phase_of(config, jnp.int32(8)), envs).tolist() == [2] * 4


def trained(learner, updates, seed=0):
    """The states before the first update and after each, and the rollouts they learned from."""
    params, nothing = GAME.default_params, Transition(*[None] * 8)
    actors = start(GAME, params, learner, jax.random.key(seed), 8)

    @jax.jit
    def play(policy, actors, key):
        return rollout(GAME, params, learner, policy, actors, key, 8)[:2]

    state = learner.init(jax.random.key(seed), nothing._replace(terminated=jnp.zeros((8, 8), bool)))
    states, rollouts, update = [state], [], jax.jit(learner.update)
    for n in range(updates):
        actors, t = play(learner.policy(state), actors, jax.random.key(n))
        state, _ = update(learner.observe(state, t), jax.random.key(n))
        states.append(state)
        rollouts.append(t)
    return states, rollouts


def same(one, other):
    """Whether all arrays of two trees are the same."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def speaker(state, number):
    return jax.tree.map(lambda x: x[number], state.speakers)


def test_who_learns_when_and_a_new_speaker_is_a_copy_of_the_newest():
    """Phases of one update: listener, speaker 1, listener, speaker 2, listener."""
    learner = dynamic_population(GAME.spec(), **TINY)
    states, rollouts = trained(learner, 5)
    for n, (before, after) in enumerate(itertools.pairwise(states)):
        assert same(before.listener, after.listener) == (n % 2 == 1), n
    assert same(speaker(states[1], 1), speaker(states[1], 0))
    assert not same(speaker(states[2], 1), speaker(states[1], 1))
    assert same(speaker(states[3], 2), speaker(states[2], 1))  # the copy, before it learns
    assert same(speaker(states[-1], 0), speaker(states[0], 0))
    assert same(speaker(states[-1], 1), speaker(states[2], 1))
    assert np.unique(rollouts[0].memory).tolist() == list(range(8))
    alone = dynamic_population(GAME.spec(), **TINY, growing=False)
    states, _ = trained(alone, 2)
    assert jax.tree.leaves(states[0].speakers)[0].shape[0] == 1
    assert not same(states[1].speakers, states[2].speakers)


def test_listener_and_speakers_can_be_frozen_apart():
    """Phases of one update: listener, speaker 1. With factors of 1 nothing changes."""
    learner = dynamic_population(GAME.spec(), **TINY)
    states, rollouts = trained(learner, 2)
    begun = with_factors(states[0])
    of_speaker, (*inner, rates) = begun.optimisers
    fixed = (*inner, rates.map(lambda factors: jax.tree.map(jnp.zeros_like, factors)))
    frozen = begun._replace(optimisers=(of_speaker, fixed))
    update = jax.jit(learner.update)
    for n, t in enumerate(rollouts):
        begun, frozen = (
            update(learner.observe(state, t), jax.random.key(n))[0] for state in (begun, frozen)
        )
    for part in ("speakers", "listener"):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, atol=1e-6),
            getattr(begun, part),
            getattr(states[2], part),
        )
    assert same(frozen.listener, states[0].listener)
    assert same(frozen.speakers, begun.speakers)
    assert not same(frozen.listener, begun.listener)


def test_without_lessons_and_speakers_it_is_a_plain_listener_of_a_fixed_speaker():
    """T = 0, mu = 0, no inner steps: Adam on the cross-entropy of choices of the later rounds."""
    settings = {**TINY, "population": 0, "supervised": 0.0, "inner_steps": 0, "lr": 1e-2}
    learner = dynamic_population(GAME.spec(), **settings)
    states, (t, _) = trained(learner, 2)
    assert same(states[0].speakers, states[2].speakers)
    games, layout = games_of(t), layout_of(GAME.spec())
    network = Listener(8, 4)
    obs = jax.tree.map(lambda x: x[2:], games.heard)  # the later two rounds of four

    def loss(params):
        logits = network.apply(params, layout.message(obs), layout.candidates(obs))
        return choice_loss(logits, layout.part(obs, "answer"), games.chooses[2:])

    plain = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-2, eps=1e-5))
    before = states[0].listener
    change, _ = plain.update(jax.grad(loss)(before), plain.init(before))
    wanted = optax.apply_updates(before, change)
    # a thousandth of a step: where a gradient is 0 but for rounding, Adam makes that of it
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), states[1].listener, wanted
    )


def test_games_are_read_from_a_rollout():
    learner = dynamic_population(GAME.spec(), **TINY)
    _, (t,) = trained(learner, 1)
    games, layout = games_of(t), layout_of(GAME.spec())
    assert (games.speaks == 1).all() and (games.chooses == 1).all()
    # a listener that heard the message and chose the answer was paid
    answer = layout.part(games.heard, "answer").argmax(-1)
    np.testing.assert_array_equal(games.hit, t.action[1::2, :, -1] == answer)
    heard = layout.message(games.heard).reshape(4, 8, 2, 6).argmax(-1)
    np.testing.assert_array_equal(heard, games.said)
    target = layout.part(games.heard, "target")
    shown = jnp.take_along_axis(layout.candidates(games.heard), answer[..., None, None], -2)
    np.testing.assert_array_equal(shown[..., 0, :], target)


@pytest.mark.slow
def test_it_keeps_the_contract():
    build = functools.partial(dynamic_population, **TINY)
    check_learner(build, GAME, others=(), absent=None, eager=False)


def test_it_learns_a_language_from_lessons():
    env = Signal(**SMALL, lessons=8, split="train")
    learner = dynamic_population(
        env.spec(), hidden=32, lr=1e-2, seed_updates=200, population=0, phase_updates=10
    )
    result = marlx.train(
        env, learner, total_steps=200 * 128, num_envs=16, rollout_length=8, evals=1,
        eval_episodes=256,
    )  # fmt: skip
    assert float(result.history[-1].metrics["return"].mean()) > 0.9
    found = language_of(
        env, env.default_params, learner, jax.tree.map(lambda x: x[0], result.policies)
    )
    language = compositional(0, 2, 3, 6).messages(found.values)
    assert found.agreement(language) == 1.0
