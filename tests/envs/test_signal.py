"""Signalling games: rules, languages, and what a memory of the partner's language is worth."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs.partners import heuristics, with_partners
from marlx.envs.signal import Signal, compositional, holistic, lewis_return, round_accuracy
from marlx.testing import check_env

SMALL = {"properties": 2, "values": 3, "length": 2, "vocabulary": 6, "candidates": 4}


def test_round_accuracy_is_that_of_the_best_guess_over_all_bijections_and_targets():
    """n = 3, three rounds: every language, every sequence of targets, guesses by elimination."""
    n, hits = 3, np.zeros(3)
    for language in itertools.permutations(range(n)):
        for targets in itertools.product(range(n), repeat=3):
            known = {}
            for r, target in enumerate(targets):
                free = [x for x in range(n) if x not in known.values()]
                said = language[target]
                hits[r] += known[said] == target if said in known else 1 / len(free)
                known[said] = target
    assert hits / (6 * 27) == pytest.approx([round_accuracy(n, r) for r in range(3)])


def test_bounds_of_the_specification():
    assert [round(round_accuracy(5, r - 1), 2) for r in (1, 2, 5, 10)] == [0.2, 0.4, 0.79, 0.98]
    assert lewis_return(5, 25) == pytest.approx(22.28, abs=0.005)
    assert lewis_return(10, 25) == pytest.approx(18.0, abs=0.05)
    assert lewis_return(5, 25, remembers=0) == pytest.approx(5)
    assert lewis_return(10, 25, remembers=0) == pytest.approx(2.5)
    # the round before: the same target again, or one of the four others
    assert lewis_return(5, 25, remembers=1) == pytest.approx(0.2 + 24 * (1 / 5 + 4 / 5 / 4))


@pytest.mark.parametrize("env", [marlx.make("signal/lewis-12", rounds=3)[0], Signal(**SMALL)])
def test_pictures_are_as_large_before_a_choice_as_after(env):
    first = env.reset(jax.random.key(0), env.default_params)[1]
    last = first.replace(last_choice=jnp.int32(env.objects - 1), last_target=jnp.int32(0))
    pictures = [env.render(state, env.default_params) for state in (first, last)]
    assert pictures[0].shape == pictures[1].shape
    margins = [picture[:, edge] for picture in pictures for edge in (0, -1)]
    assert all((margin == margin[0]).all() for margin in margins)  # no word is cut


@pytest.mark.parametrize(
    "env",
    [
        marlx.make("signal/lewis-4")[0],
        Signal(**SMALL, rounds=2, feedback=True),
        Signal(**SMALL, order="sequence", split="train"),
    ],
    ids=["lewis", "feedback", "sequence"],
)
def test_it_keeps_the_contract_of_environments(env):
    check_env(env)


def test_a_round_by_hand():
    """Mouths speak, the listener hears and chooses, both are paid, the next round shows it."""
    env = Signal(**SMALL, rounds=2, feedback=True)
    params = env.default_params
    state = env.make_state(5, candidates=[1, 5, 7, 8])  # 5 = (1, 2)
    obs = env.observe(state, params)
    np.testing.assert_array_equal(obs.local[0, :9], [0, 1, 0, 0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(obs.local[1, :9], [0, 1, 0, 0, 0, 1, 0, 1, 1])
    np.testing.assert_array_equal(obs.action_mask.sum(-1), [6, 6, 1])
    assert obs.action_mask[2, 4]  # the listener waits
    key = jax.random.key(0)
    state, reward, end, _ = env.step_env(key, state, jnp.asarray([3, 0, 4]), params)
    assert (reward.tolist(), bool(end)) == ([0, 0, 0], False)
    obs = env.observe(state, params)
    np.testing.assert_array_equal(obs.action_mask.sum(-1), [1, 1, 4])
    heard = obs.local[2, 1:13].reshape(2, 6)
    np.testing.assert_array_equal(heard.argmax(-1), [3, 0])
    state, reward, end, info = env.step_env(key, state, jnp.asarray([6, 6, 1]), params)
    assert (reward.tolist(), bool(end), float(info["success_rate"])) == ([1, 1, 1], False, 1.0)
    assert (int(state.last_target), state.last_message.tolist()) == (5, [3, 0])
    assert len(set(state.candidates.tolist())) == 4
    assert int(state.target) in state.candidates.tolist()
    shown = env.observe(state, params).local[2]
    np.testing.assert_array_equal(shown[-6:], [0, 1, 0, 0, 0, 1])
    state = env.step_env(key, state, jnp.asarray([0, 0, 4]), params)[0]
    wrong = next(i for i, x in enumerate(state.candidates.tolist()) if x != int(state.target))
    state, reward, end, info = env.step_env(key, state, jnp.asarray([6, 6, wrong]), params)
    assert (reward.tolist(), bool(end), float(info["success_rate"])) == ([0, 0, 0], True, 0.5)


def test_mouths_in_sequence_hear_those_before():
    env = Signal(**SMALL, order="sequence")
    state = env.make_state(4, candidates=[4, 1, 2, 3])
    step = lambda state, *a: env.step_env(  # noqa: E731
        jax.random.key(0), state, jnp.asarray(a), env.default_params
    )
    state = step(state, 2, 6, 4)[0]
    assert state.message.tolist() == [2, 6]
    obs = env.observe(state, env.default_params)
    np.testing.assert_array_equal(obs.action_mask.sum(-1), [1, 6, 1])
    assert float(obs.local[1, 9 + 2]) == 1.0  # what the first mouth said
    assert not obs.local[2, 1:13].any()  # the listener hears the whole message alone
    state = step(state, 6, 5, 4)[0]
    assert state.message.tolist() == [2, 5]
    assert step(state, 6, 6, 0)[1].tolist() == [1, 1, 1]


def test_targets_and_candidates_are_uniform_and_stay_in_their_split():
    env = Signal(**SMALL, split="train")
    members = set(env.members.tolist())
    test = set(Signal(**(SMALL | {"candidates": 0}), split="all").members.tolist()) - members
    assert len(test) == 1
    state = jax.vmap(lambda key: env.reset_env(key, env.default_params))(
        jax.random.split(jax.random.key(1), 8000)
    )
    assert set(np.unique(state.candidates).tolist()) == members
    share = np.bincount(state.target, minlength=9)[sorted(members)] / 8000
    np.testing.assert_allclose(share, 1 / 8, atol=0.015)
    often = np.bincount(np.asarray(state.candidates).ravel(), minlength=9)[sorted(members)] / 8000
    np.testing.assert_allclose(often, 4 / 8, atol=0.025)
    place = (state.candidates == state.target[:, None]).argmax(-1)
    np.testing.assert_allclose(np.bincount(place) / 8000, 1 / 4, atol=0.02)


def test_languages():
    """All bijections of a small game, and messages that differ for different objects."""
    words = {tuple(compositional(k, 1, 4, 4).words[0].tolist()) for k in range(24)}
    assert words == set(itertools.permutations(range(4)))
    language = compositional(3, 3, 5, 15)
    objects = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    messages = language.messages(objects)
    assert len({tuple(one) for one in messages.tolist()}) == 125
    # one property changed: one symbol changed, and it is at the place of that property
    changed = language.messages(objects + np.array([0, 0, 1]) * (objects[:, 2:] < 4))
    where = np.nonzero((messages != changed).any(0))[0]
    assert where.tolist() == [language.order[2]]
    table = holistic(0, 125, 3, 15)
    assert len({tuple(one) for one in table.tolist()}) == 125
    assert table.min() >= 0 > table.max() - 15
    assert not np.array_equal(table, holistic(1, 125, 3, 15))
    with pytest.raises(ValueError, match="needs 15 symbols"):
        compositional(0, 3, 5, 14)


@pytest.mark.parametrize("kind", ["language_7", "holistic_2"])
def test_partners_of_one_language_understand_each_other(kind):
    """As speaker and listener of the same language, in every round; of another, they do not."""
    env, params = marlx.make("signal/objects-3x5", rounds=20)

    def play(name, other):
        cast = heuristics(env)
        speaker, listener = cast[name], cast[other]

        @jax.jit
        def run(key):
            def step(carry, _):
                key, obs, state = carry
                key, now = jax.random.split(key)
                said, _ = speaker.act(speaker.policy, (), obs, now)
                chosen, _ = listener.act(listener.policy, (), obs, now)
                action = said.at[-1].set(chosen[-1])
                legal = jnp.take_along_axis(obs.action_mask, action[:, None], 1).all()
                obs, state, reward, *_ = env.step(now, state, action, params)
                return (key, obs, state), (reward[0], legal)

            obs, state = env.reset(key, params)
            return jax.lax.scan(step, (key, obs, state), None, 40)[1]

        reward, legal = run(jax.random.key(0))
        assert legal.all()
        return float(reward.sum())

    assert play(kind, kind) == 20
    assert play(kind, "language_8") < 10


def test_the_best_listener_gets_the_bound_with_all_bijections():
    """Elimination against a partner drawn from all 24 languages, 4,000 episodes of 6 rounds."""
    env, params = marlx.make("signal/lewis-4", rounds=6, feedback=True)
    made = [one for name, one in heuristics(env).items() if name != "random"]
    assert len(made) == 24
    team = with_partners(env, made, (1,))

    @jax.jit
    @jax.vmap
    def play(key):
        obs, state = team.reset(key, params)
        known, total = jnp.full(4, -1), 0.0
        for step in range(12):
            local = obs.local[0]
            message, last, shown = local[1:5], local[5:9], local[9:13]
            known = jnp.where(last.any(), known.at[last.argmax()].set(shown.argmax()), known)
            free = ~(jnp.arange(4)[:, None] == known).any(-1)
            guess = jnp.where(known[message.argmax()] >= 0, known[message.argmax()], free.argmax())
            action = jnp.where(step % 2 == 1, guess, 4)[None].astype(jnp.int32)
            obs, state, reward, *_ = team.step(jax.random.fold_in(key, step), state, action, params)
            total += reward[0]
        return total

    returns = np.asarray(play(jax.random.split(jax.random.key(5), 4000)))
    assert returns.mean() == pytest.approx(lewis_return(4, 6), abs=4 * float(returns.std()) / 63)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"values": 1}, "values is 1"),
        ({"candidates": 1}, "candidates is 1"),
        ({"candidates": 6}, "has 5 objects"),
        ({"properties": 9, "values": 9}, "objects; there must be at most"),
        ({"order": "both"}, "order is 'both'"),
        ({"properties": 5, "values": 9}, "give a number of candidates"),
    ],
)
def test_settings_that_make_no_game_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Signal(**settings)
    with pytest.raises(ValueError, match="did you mean signal/lewis-5"):
        marlx.make("signal/lewis")


def test_a_vocabulary_that_is_too_small_for_languages_is_refused_in_one_line():
    with pytest.raises(ValueError, match="partner 'language_0'"):
        marlx.make("partners/signal/objects-3x5", vocabulary=4, pool=("language_0",))
