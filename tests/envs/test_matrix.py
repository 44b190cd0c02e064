import dataclasses
import functools
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.cli.options import with_settings
from marlx.envs.matrix import FAMILY, MatrixGame, make
from marlx.testing import check_env

CLIMBING = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
CLIMBING_3P = [
    [[11, -30, 0], [-30, 0, 0], [0, 0, 0]],
    [[-30, 0, 0], [0, 7, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 6, 5]],
]
COMMON = {
    "climbing": CLIMBING,
    "climbing-3p": CLIMBING_3P,
    "penalty-0": [[0, 0, 10], [0, 2, 0], [10, 0, 0]],
    "penalty-25": [[-25, 0, 10], [0, 2, 0], [10, 0, -25]],
    "penalty-7.5": [[-7.5, 0, 10], [0, 2, 0], [10, 0, -7.5]],
    "trivial": [[11, 8, 0], [8, 7, 0], [0, 0, 0]],
    "linear": [[1, 4, 2], [0, 3, 1], [2, 5, 3]],
    "nonlinear": [[0, 3, 1], [0, 0, 0], [0, 6, 2]],
    "linear-2p": [[1, 5], [5, 9]],
    "nonlinear-2p": [[0, 0], [0, 10]],
    "pdilemma": [[-1, -3], [-3, -2]],
    "qtran": [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]],
    "qplex-hard": [[8, -12, -12], [-12, 6, 0], [-12, 0, 6]],
    "coordination": [[1, 0], [0, 1]],
    "coordination-3-graded": [[1, 0, 0], [0, 2, 0], [0, 0, 3]],
}
PAIRS = {  # the cells' (agent 0, agent 1), row by row
    "prisoners_dilemma": [(-1, -1), (-3, 0), (0, -3), (-2, -2)],
    "stag_hunt": [(4, 4), (1, 3), (3, 1), (2, 2)],
    "battle_of_the_sexes": [(3, 2), (0, 0), (0, 0), (2, 3)],
    "matching_pennies": [(1, -1), (-1, 1), (-1, 1), (1, -1)],
    "rock_paper_scissors": [
        (0, 0),
        (-1, 1),
        (1, -1),
        (1, -1),
        (0, 0),
        (-1, 1),
        (-1, 1),
        (1, -1),
        (0, 0),
    ],
    "nonconflict-1": [(4, 4), (3, 3), (2, 2), (1, 1)],
    "nonconflict-19": [(4, 4), (1, 3), (3, 1), (2, 2)],
    "nonconflict-21": [(4, 4), (1, 2), (2, 1), (3, 3)],
    "conflict-1": [(3, 3), (4, 2), (2, 4), (1, 1)],
    "conflict-27": [(3, 3), (4, 1), (2, 2), (1, 4)],
    "conflict-57": [(2, 2), (3, 1), (4, 3), (1, 4)],
}
TABLES = {name: np.repeat(np.array(p)[..., None], np.ndim(p), -1) for name, p in COMMON.items()}
TABLES |= {
    name: np.array(pairs).reshape(*[math.isqrt(len(pairs))] * 2, 2) for name, pairs in PAIRS.items()
}


@functools.cache
def compiled(env):
    def step(state, action):
        after, reward, end, _ = env.step_env(None, state, action, env.default_params)
        return reward, end, env.observe(after, env.default_params), after

    return jax.jit(step)


def play(env, actions):
    """Rewards, ends, observations and states of one episode, without resets."""
    state = env.make_state()
    found = []
    for action in actions:
        found.append(compiled(env)(state, jnp.array(action)))
        state = found[-1][-1]
    return found


@pytest.mark.parametrize("name", TABLES)
def test_every_joint_action_pays_what_the_table_says(name):
    env, table = make(f"matrix/{name}"), TABLES[name]
    joint = np.array(list(np.ndindex(table.shape[:-1])))
    state = env.make_state()
    pay = jax.vmap(compiled(env), (None, 0))(state, joint)[0]
    assert pay.dtype == jnp.float32
    np.testing.assert_array_equal(pay, table.reshape(-1, table.shape[-1]))


@pytest.mark.parametrize("name", TABLES)
def test_optimum_is_the_best_cell_times_the_steps_in_one_agents_units(name):
    spec = make(f"matrix/{name}").spec()
    one_step = name in ("qtran", "qplex-hard")
    assert spec.horizon == (1 if one_step else 25)
    assert spec.reward_aggregation == "mean"
    assert spec.optimum == pytest.approx(spec.horizon * TABLES[name].mean(-1).max(), abs=0)
    assert spec.num_agents == TABLES[name].shape[-1]


def test_returns_are_those_of_the_2021_benchmark():
    assert make("matrix/climbing").spec().optimum == 275
    assert make("matrix/penalty-100").spec().optimum == 250
    for cell, episode in (((0, 0), 275), ((1, 1), 175)):
        env = make("matrix/climbing")
        rewards = jnp.stack([step[0] for step in play(env, [cell] * 25)])
        assert env.spec().team_reward(rewards).sum() == episode


def test_two_step():
    env = make("matrix/two_step")
    assert env.spec().optimum == 8
    pays = {0: [[7, 7], [7, 7]], 1: [[0, 1], [1, 8]]}
    first = env.observe(env.make_state(), env.default_params)
    np.testing.assert_array_equal(first.local, [[1, 0, 0]] * 2)
    for a, b, c, d in itertools.product(range(2), repeat=4):
        (reward, end, seen, _), (last, last_end, _, _) = play(env, [(a, b), (c, d)])
        assert not end and last_end
        np.testing.assert_array_equal(reward, [0, 0])
        np.testing.assert_array_equal(last, [pays[a][c][d]] * 2)
        np.testing.assert_array_equal(seen.local, [np.eye(3)[1 + a]] * 2)
        np.testing.assert_array_equal(seen.global_state, np.eye(3)[1 + a])


def test_a_repeated_game_is_truncated_at_its_horizon():
    env = make("matrix/climbing")
    step = jax.jit(env.step)
    _, state = env.reset(jax.random.key(0))
    for time in range(1, 51):
        _, state, _, terminated, truncated, _ = step(jax.random.key(0), state, jnp.array([1, 2]))
        assert not terminated
        assert truncated == (time in (25, 50))
        assert state.time == time % 25


@pytest.mark.parametrize(("end", "terminates"), [("terminated", True), ("truncated", False)])
def test_what_the_horizon_means_is_a_setting(end, terminates):
    env = MatrixGame(payoff=[[1, 0], [0, 2]], horizon=3, end_at_horizon=end)
    assert [bool(step[1]) for step in play(env, [(0, 0)] * 3)] == [False, False, terminates]
    longer = env.default_params.replace(max_steps_in_episode=7)
    assert env.spec(longer).optimum == (6 if terminates else 14)


@pytest.mark.parametrize("game", ["qtran", "qplex-hard"])
def test_one_step_games_end_truly(game):
    env = make(f"matrix/{game}")
    *_, terminated, _, _ = env.step(jax.random.key(0), env.make_state(), jnp.array([1, 2]))
    assert terminated


def test_observation_none_is_a_zero_vector_as_long_as_the_team():
    env = make("matrix/climbing-3p")
    for _, _, seen, _ in play(env, [(0, 1, 2), (2, 2, 2)]):
        np.testing.assert_array_equal(seen.local, np.zeros((3, 3)))
        np.testing.assert_array_equal(seen.global_state, np.zeros(3))


def test_observation_last_action():
    env = MatrixGame(payoff=np.arange(6).reshape(2, 3), observation="last_action")
    first = env.observe(env.make_state(), env.default_params)
    np.testing.assert_array_equal(first.local, np.zeros((2, 5)))
    for _, _, seen, state in play(env, [(0, 2), (1, 0)]):
        action = state.last_action
        expected = [*np.eye(2)[action[0]], *np.eye(3)[action[1]]]
        np.testing.assert_array_equal(seen.local, [expected] * 2)
    np.testing.assert_array_equal(state.last_action, [1, 0])
    assert env.spec().obs_size == 5


def test_agents_with_different_numbers_of_actions_are_masked():
    env = MatrixGame(payoff=np.arange(24).reshape(2, 3, 4))
    assert (env.spec().num_agents, env.spec().num_actions) == (3, 4)
    legal = env.observe(env.make_state(), env.default_params).action_mask
    np.testing.assert_array_equal(legal, [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    for action in np.ndindex(2, 3, 4):
        np.testing.assert_array_equal(
            play(env, [action])[0][0], [np.ravel_multi_index(action, (2, 3, 4))] * 3
        )


def test_one_agent_is_a_bandit():
    env = MatrixGame(payoff=[0.5, 0.25], horizon=4)
    assert env.spec().optimum == 2
    np.testing.assert_array_equal(play(env, [(1,)])[0][0], [0.25])


@pytest.mark.parametrize(
    ("name", "best"),
    [("chain-2", [4, 4, 11]), ("chain-4", [4, 4, 4, 4, 11]), ("stages", [4, 11, 4, 8])],
)
def test_games_in_turn_are_each_played_once(name, best):
    """Whatever is done, the next one follows, and after the last a true end."""
    env = make(f"matrix/{name}")
    if name == "stages":
        check_env(env)
    assert env.spec().optimum == sum(best) and env.spec().horizon == len(best)
    for actions in ([0, 0], [2, 1]):
        state, paid = env.make_state(), []
        for i in range(len(best)):
            np.testing.assert_array_equal(
                env.observe(state, env.default_params).global_state, np.eye(len(best))[i]
            )
            reward, end, _, state = compiled(env)(state, jnp.array(actions))
            paid.append(float(reward[0]))
            assert bool(end) == (i == len(best) - 1)
        zeros = actions == [0, 0]
        if name == "stages":
            assert paid == ([0, 11, 4, 8] if zeros else [3, 6, 1, 0])
        else:
            assert paid[:-1] == [0 if zeros else 3] * (len(best) - 1)
            assert paid[-1] == (11 if zeros else 6)


def test_optimum_of_a_staged_game_is_that_of_trying_every_plan():
    rng = np.random.default_rng(0)
    for _ in range(5):
        payoff = rng.integers(-9, 9, (3, 2, 2, 2))
        following = rng.integers(-1, 3, (3, 2, 2))
        env = MatrixGame(payoff=payoff, per_agent=True, transition=following, horizon=4)

        def best(stage, steps, payoff=payoff, following=following):
            if stage < 0 or not steps:
                return 0.0
            return max(
                payoff[stage, :, a, b].mean() + best(following[stage, a, b], steps - 1)
                for a in range(2)
                for b in range(2)
            )

        assert env.spec().optimum == pytest.approx(best(0, 4))
        stage = 0
        for action in [(1, 0), (0, 0), (1, 1), (0, 1)]:
            reward, end, _, ended = compiled(env)(env.make_state(stage=stage), jnp.array(action))
            np.testing.assert_array_equal(reward, payoff[(stage, slice(None), *action)])
            assert end == (following[(stage, *action)] < 0)
            stage = stage if end else int(following[(stage, *action)])
            assert ended.stage == stage


def ordinal_class(cells):
    """The same for games that differ by the order of rows, columns or players."""
    same = []
    for rows, columns in itertools.product((1, -1), repeat=2):
        turned = cells[::rows, ::columns]
        same += [turned, turned.transpose(1, 0, 2)[..., ::-1]]
    return min(tuple(game.ravel()) for game in same)


def test_the_ordinal_games_are_all_there_are_and_each_once():
    ranks = [np.reshape(p, (2, 2)) for p in itertools.permutations(range(1, 5))]
    every = {ordinal_class(np.stack(pair, -1)) for pair in itertools.product(ranks, ranks)}
    assert len(every) == 78

    found = {}
    for kind, count in (("nonconflict", 21), ("conflict", 57)):
        for i in range(1, count + 1):
            env = make(f"matrix/{kind}-{i}")
            cells = np.moveaxis(np.array(eval(env.payoff)), 0, -1)
            agreed = (cells == 4).all(-1).any()
            assert agreed == (kind == "nonconflict")
            found[ordinal_class(cells)] = env.name
    assert set(found) == every


def test_tables_from_text_lists_and_arrays_are_one_game():
    games = [
        MatrixGame(payoff=table)
        for table in (CLIMBING, tuple(map(tuple, CLIMBING)), np.array(CLIMBING), str(CLIMBING))
    ]
    games.append(MatrixGame(payoff=jnp.array(CLIMBING)))
    assert len(set(games)) == 1
    assert dataclasses.replace(games[0], horizon=3).spec().optimum == 33


def test_a_custom_game_from_the_command_line():
    words = ["--env.payoff", "[[1, 0], [0, 2.5]]", "--env.horizon", "2"]
    env = with_settings(make("matrix/custom"), words)
    assert env.spec().id == "matrix/custom"
    assert env.spec().optimum == 5
    with pytest.raises(ValueError, match="matrix/custom has no payoff"):
        make("matrix/custom").spec()


def test_make_state():
    env = make("matrix/two_step")
    state = env.make_state(step=1, last_action=[1, 0], stage=2, played=0)
    assert (state.time, state.stage, state.played) == (1, 2, 0)
    fresh = env.reset_env(jax.random.key(0), env.default_params)
    jax.tree.map(np.testing.assert_array_equal, fresh, env.make_state())
    for wrong in ({"last_action": [0]}, {"last_action": [0, 2]}, {"stage": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            env.make_state(**wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"payoff": 3}, r"payoff has shape \(\); it must be"),
        ({"payoff": [[1, 2], [3]]}, "rows of equal length"),
        ({"payoff": "[[1, 2], [3"}, "rows of equal length"),
        ({"payoff": "__import__('os')"}, "table of numbers"),
        ({"payoff": []}, "table of numbers"),
        ({"payoff": [["a", "b"]]}, "table of numbers"),
        ({"payoff": [[1.0, float("nan")]]}, "not finite"),
        ({"payoff": [[1.0, float("inf")]]}, "not finite"),
        ({"payoff": [[1, 2], [3, 4]], "per_agent": True}, "with per_agent it must be"),
        ({"payoff": [1, 2], "transition": [0, 0]}, r"it must be \[K\]"),
        ({"payoff": [[1, 2]], "transition": [0, 0]}, r"transition has shape \(2,\)"),
        ({"payoff": [[1, 2]], "transition": [[0, 1]]}, r"stages 0\.\.0, or -1"),
        ({"payoff": [[1, 2]], "transition": [[0, -2]]}, r"stages 0\.\.0, or -1"),
        ({"payoff": [[1, 2]], "horizon": 0}, "horizon is 0"),
        ({"payoff": [[1, 2]], "observation": "all"}, "observation is 'all'"),
        ({"payoff": [[1, 2]], "end_at_horizon": "never"}, "end_at_horizon is 'never'"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        MatrixGame(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("climbin", "matrix/climbing"),
        ("penalty25", "matrix/penalty-25"),
        ("twostep", "matrix/two_step"),
        ("conflict-58", "matrix/conflict-5"),
        ("coordination-0", "matrix/coordination"),
        ("zzz", "matrix/climbing"),
    ],
)
def test_an_unknown_game_is_answered_with_near_ones(wrong, near):
    with pytest.raises(ValueError, match=f"unknown matrix game matrix/{wrong}; nearest: .*{near}"):
        make(f"matrix/{wrong}")


def test_family_lists_games_that_it_can_make():
    for name in FAMILY.examples:
        assert re.fullmatch(FAMILY.pattern, name)
        env = FAMILY.make(name)
        assert hash(env) == hash(FAMILY.make(name))
        if name != "matrix/custom":
            assert env.spec().id == name


@pytest.mark.parametrize("name", ["climbing", "climbing-3p", "two_step", "prisoners_dilemma"])
def test_render_frames_the_last_joint_action(name, like_golden):
    env = make(f"matrix/{name}")
    team = env.spec().num_agents
    first = env.render(env.make_state())
    assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3

    def frames(picture):
        return (picture == (0x1C, 0x1C, 0x24)).all(-1).sum()

    other = env.render(env.make_state(step=1, last_action=[1] * team))
    assert first.shape == other.shape
    assert frames(first) == 0 < frames(other)
    like_golden(f"matrix_{name}", other)


def test_render_of_a_bandit():
    env = MatrixGame(payoff=[1, 2, 3])
    assert env.render(env.make_state(last_action=[2])).dtype == np.uint8
