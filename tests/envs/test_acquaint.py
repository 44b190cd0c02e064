"""Games of getting to know a partner: what any memory is worth, by computation and by play."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs.acquaint import Acquaint, accuracy
from marlx.testing import check_env


@pytest.mark.parametrize(("kinds", "noise", "count"), [(2, 0.3, 4), (3, 0.6, 5), (4, 1.0, 3)])
def test_accuracy_is_that_of_naming_the_likeliest_kind_of_every_sequence(kinds, noise, count):
    """By all sequences of observations, one by one."""
    own, other = 1 - noise + noise / kinds, noise / kinds
    total = 0.0
    for seen in itertools.product(range(kinds), repeat=count):
        likely = [np.prod([own if x == kind else other for x in seen]) for kind in range(kinds)]
        total += max(likely) / kinds
    assert accuracy(kinds, noise, count) == pytest.approx(total)
    assert accuracy(kinds, noise, 0) == pytest.approx(1 / kinds)


def test_what_memories_are_worth_by_hand():
    """Two showings without noise, four steps of nothing, six that pay, five kinds."""
    env, params = marlx.make("acquaint/delay-4")
    assert (env.show, env.pay_from, env.horizon) == (2, 6, 12)
    assert env.spec(params).optimum == env.best_return() == 6
    assert env.best_return(window=1) == pytest.approx(6 / 5)
    # five observations reach back to the showing of step 1 at step 6, and not at step 7
    assert [env.seen(step, 5) for step in (6, 7)] == [1, 0]
    assert env.best_return(window=5) == pytest.approx(1 + 5 / 5)
    assert env.best_return(window=12) == 6
    # a memory that is reset after step 7 still sees, at step 8, what the partner did at step 7
    assert [env.seen(step, reset_every=8) for step in (7, 8)] == [2, 0]
    assert env.best_return(reset_every=8) == pytest.approx(2 + 4 / 5)
    noisy, _ = marlx.make("acquaint/kept-2")
    assert [noisy.seen(step, reset_every=5) for step in (0, 1, 4, 5, 6, 9)] == [0, 1, 4, 1, 2, 5]
    assert noisy.best_return(reset_every=5) < noisy.best_return()
    rare, _ = marlx.make("acquaint/sparse-50")
    assert rare.best_return() == accuracy(4, 0.7, 49) > 0.99


@pytest.mark.parametrize("window", [None, 3, 1])
def test_an_agent_that_names_what_it_saw_most_gets_the_computed_return(window):
    """The best agent of each memory, played in 20,000 episodes."""
    env = Acquaint(kinds=3, show=4, pay_from=1, horizon=6, noise=0.6)
    params, count = env.default_params, 20_000

    def play(key):
        obs, state = env.reset(key)
        shown, total = [], 0.0
        for step in range(6):
            shown.append(obs.local[0, :3])
            last = shown[-window:] if window else shown
            tally = sum(last) + 0.1 * jax.random.uniform(jax.random.fold_in(key, step), (3,))
            action = jnp.argmax(tally)[None].astype(jnp.int32)
            _, state_key = jax.random.split(jax.random.fold_in(key, 100 + step))
            state, reward, _, _ = env.step_env(state_key, state, action, params)
            obs, total = env.observe(state, params), total + reward[0]
        return total

    returns = jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(0), count))
    error = float(returns.std()) / count**0.5
    assert float(returns.mean()) == pytest.approx(env.best_return(window), abs=4 * error)


def test_it_is_an_environment():
    env, params = marlx.make("acquaint/delay-2")
    check_env(env, params)
    spec = env.spec(params)
    obs, state = env.reset(jax.random.key(3))
    assert obs.global_state[spec.state_part("partner")].argmax() == state.kind
    assert not obs.action_mask[0, -1] and obs.local[0, 5] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pay_from": 16}, r"pay_from is 16; it must be less than horizon \(16\)"),
        ({"kinds": 1}, "kinds"),
        ({"noise": 2.0}, "noise"),
    ],
)
def test_impossible_games_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Acquaint(**settings)


def test_ids():
    assert marlx.make("acquaint/kept-3")[0].horizon == 15
    with pytest.raises(ValueError, match="acquaint"):
        marlx.make("acquaint/delay-0")


def test_a_state_can_be_made_and_drawn():
    env, params = marlx.make("acquaint/delay-2")
    state = env.make_state(3, step=1, shown=3)
    assert env.observe(state, params).local[0, 3] == 1
    assert env.render(state).shape == (90, 220, 3) and env.render(state).std() > 0
    with pytest.raises(ValueError, match="kind is 5; it must be 0 to 4"):
        env.make_state(5)
