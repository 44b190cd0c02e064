"""Options and each level's view of a rollout against hand computations; the choice of subgoals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config
from marlx.algos.subgoals.config import GMAHConfig
from marlx.algos.subgoals.goals import choose_goal, rare_goal, scripted_goal, uniform_goal
from marlx.algos.subgoals.metrics import count_options, option_metrics
from marlx.algos.subgoals.options import (
    ActiveOption,
    SubgoalExtras,
    Termination,
    intrinsic_reward,
)
from marlx.algos.subgoals.regions import Regions
from marlx.algos.subgoals.views import high_view, low_view, with_hindsight
from marlx.algos.td_credit import apply_credit
from marlx.algos.td_equations import TDTerms, td_targets
from marlx.loop.evaluation import random_learner
from marlx.loop.rollout import rollout, start
from marlx.types import Observation, SubgoalLayout, Transition

GAMMA = 0.9
LAYOUT = SubgoalLayout(
    ("near", "far"), ((), (0,)), lambda local: jnp.ones((local.shape[0], 2), bool), 1, 1
)
RULE = Termination(LAYOUT, period=3, refresh="achieved")


class Memory:
    """Stands for acting memory of two levels; nothing of it is read here."""

    high = low = ()


def observation(achieved):
    """`achieved` [T, N, G] as what a wrapped environment shows, for one environment."""
    achieved = np.asarray(achieved, np.float32)
    length, agents, goals = achieved.shape
    local = np.concatenate([np.full((length, agents, 1), 7.0), achieved], -1)
    state = np.concatenate([np.full((length, 1), 8.0), np.ones((length, agents * goals))], -1)
    mask = np.ones((length, 1, agents, 3), bool)
    return Observation(jnp.asarray(local)[:, None], jnp.asarray(mask), jnp.asarray(state)[:, None])


def story(goal, clock, started, achieved, reward, terminated, truncated, reached=None):
    """One environment's rollout [T, 1, ...]; `achieved` [T, N, G] is after each step."""
    goal, clock, started = (np.asarray(x)[:, None] for x in (goal, clock, started))
    reached = np.zeros(goal.shape, bool) if reached is None else np.asarray(reached)[:, None]
    after = observation(achieved)
    return Transition(
        obs=observation(np.zeros_like(achieved)),
        action=jnp.zeros(goal.shape, jnp.int32),
        reward=jnp.asarray(reward, jnp.float32)[:, None],
        terminated=jnp.asarray(terminated, bool)[:, None],
        truncated=jnp.asarray(truncated, bool)[:, None],
        next_obs=after,
        memory=Memory,
        extras=SubgoalExtras(
            ActiveOption(jnp.asarray(goal), jnp.asarray(clock), jnp.asarray(reached, bool)),
            jnp.asarray(started, bool),
            (),
            (),
        ),
    )


# One agent, seven steps: `far` is given up after three steps, `near` achieved after two, `far` cut
# by a time limit after one, and one begun at the rollout's end, of which the end is not seen.
ALONE = story(
    goal=[[1], [1], [1], [0], [0], [1], [0]],
    clock=[[0], [1], [2], [0], [1], [0], [0]],
    started=[[1], [0], [0], [1], [0], [1], [1]],
    achieved=[[[0, 0]], [[1, 0]], [[0, 0]], [[0, 0]], [[1, 0]], [[0, 0]], [[0, 0]]],
    reward=[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]],
    terminated=[0, 0, 0, 0, 0, 0, 0],
    truncated=[0, 0, 0, 0, 0, 1, 0],
)
NEXT = np.array([10.0, 20, 30, 40, 50, 60, 70], np.float32)  # values of each step's next_obs


def targets(t, next_value, gamma=GAMMA, lambda_=0.0):
    """TD targets of the high level's view of a rollout, and the mask of the loss."""
    view, per_agent = high_view(RULE, t), next_value.ndim == 3
    terms = TDTerms(
        reward=view.reward if per_agent else view.reward.sum(-1),
        discount=jnp.full(t.done.shape, gamma),
        ended=t.done,
        trace=lambda_,
        mask=jnp.ones_like(next_value),
    )
    terms = apply_credit(terms, view.credit, per_agent, gamma, lambda_)
    found = td_targets(terms.reward, terms.discount, next_value, terms.ended, terms.trace)
    return np.asarray(found), np.asarray(terms.mask)


def test_a_choice_is_worth_its_rewards_and_what_follows_it():
    """sum_k gamma^k r_k + gamma^tau v, through a time limit, and not across a rollout's end."""
    found, counted = targets(ALONE, jnp.asarray(NEXT)[:, None])
    g = GAMMA
    by_hand = {
        0: 1 + g * 2 + g**2 * 3 + g**3 * 30,  # given up after c = 3 steps
        3: 4 + g * 5 + g**2 * 50,  # achieved after two
        5: 6 + g * 60,  # the episode's time was up: its last state still has a value
    }
    np.testing.assert_array_equal(counted[:, 0], [1, 0, 0, 1, 0, 1, 0])
    for step, value in by_hand.items():
        assert found[step, 0] == pytest.approx(value, rel=1e-6)


def test_a_true_end_inside_a_choice_ends_its_return():
    ended = ALONE._replace(terminated=ALONE.terminated.at[1].set(True))
    found, counted = targets(ended, jnp.asarray(NEXT)[:, None])
    assert found[0, 0] == pytest.approx(1 + GAMMA * 2, rel=1e-6)
    assert counted[0, 0] == 1


# Two agents: the first chooses at steps 0 and 2, the second at 0 and 1.
TEAM = story(
    goal=[[1, 0], [1, 1], [0, 1], [0, 1]],
    clock=[[0, 0], [1, 0], [0, 1], [1, 2]],
    started=[[1, 1], [0, 1], [1, 0], [0, 0]],
    achieved=[[[0, 0], [1, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]],
    reward=[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]],
    terminated=[0, 0, 0, 0],
    truncated=[0, 0, 0, 0],
)


def test_a_team_decides_whenever_anyone_does_and_the_others_keep_theirs():
    found, counted = targets(TEAM, jnp.asarray(NEXT[:4])[:, None])
    np.testing.assert_array_equal(counted[:, 0], [1, 1, 1, 0])
    g = GAMMA
    by_hand = [11 + g * 10, 22 + g * 20, 33 + g * 44 + g**2 * 40]
    np.testing.assert_allclose(found[:3, 0], by_hand, rtol=1e-6)
    view = high_view(RULE, TEAM)
    free, held = [True, True], [[True, False], [False, True]]
    masks = np.asarray(view.next_obs.action_mask[:, 0])
    np.testing.assert_array_equal(masks[0], [held[1], free])  # the first is busy with `far`
    np.testing.assert_array_equal(masks[1], [free, held[1]])
    np.testing.assert_array_equal(masks[2], [held[0], held[1]])
    np.testing.assert_array_equal(masks[3], [free, free])  # and the second's time is up
    np.testing.assert_array_equal(view.obs.action_mask[1, 0], [held[1], free])
    assert view.obs.local.shape[-1] == 1 and view.obs.global_state.shape[-1] == 1


def test_agents_that_choose_for_themselves_have_choices_of_their_own():
    next_value = jnp.asarray(NEXT[:4])[:, None, None] + jnp.asarray([0.0, 100.0])
    found, counted = targets(TEAM, next_value)
    np.testing.assert_array_equal(counted[:, 0], [[1, 1], [0, 1], [1, 0], [0, 0]])
    g = GAMMA
    assert found[0, 0, 0] == pytest.approx(1 + g * 2 + g**2 * 20, rel=1e-6)
    assert found[0, 0, 1] == pytest.approx(10 + g * 110, rel=1e-6)
    assert found[1, 0, 1] == pytest.approx(20 + g * 30 + g**2 * 40 + g**3 * 140, rel=1e-6)
    assert found[2, 0, 0] == pytest.approx(3 + g * 4 + g**2 * 40, rel=1e-6)


def test_the_low_level_is_paid_for_what_it_was_given_and_ends_there():
    view = low_view(RULE, 5.0, jnp.full((4, 1), 0.25), TEAM)
    paid = np.asarray(view.reward[:, 0])
    first, second = 1 - 0.5 * 1 / 3, 1 - 0.5 * 2 / 3  # after one step and after two, of three
    by_hand = [[0, first], [second, 0], [0, 0], [second, 0]]
    np.testing.assert_allclose(paid, np.array(by_hand) + 0.25, rtol=1e-6)
    np.testing.assert_array_equal(view.credit.terminated[:, 0], np.array(by_hand) > 0)
    # given up at the last step, which is no true end
    np.testing.assert_array_equal(view.credit.ended[:, 0], [[0, 1], [1, 0], [0, 0], [1, 1]])
    assert not view.credit.held.any() and (view.credit.weight == 1).all()
    np.testing.assert_array_equal(view.obs.local[1, 0], [[7, 0, 5], [7, 0, 5]])
    np.testing.assert_array_equal(
        view.next_obs.local[0, 0], [[7, 0, 5], [7, 5, 0]]
    )  # still its own
    np.testing.assert_array_equal(view.obs.global_state[2, 0], [8, 5, 0, 0, 5])


def test_with_a_fixed_period_what_is_achieved_is_held_on_to_and_not_paid_twice():
    rule = RULE._replace(refresh="fixed")
    held = story(
        goal=[[0], [0], [0]], clock=[[0], [1], [2]], started=[[1], [0], [0]],
        achieved=[[[1, 0]], [[1, 0]], [[1, 0]]], reward=[[1.0], [1.0], [1.0]],
        terminated=[0, 0, 0], truncated=[0, 0, 0], reached=[[0], [1], [1]],
    )  # fmt: skip
    low = low_view(rule, 1.0, jnp.zeros((3, 1)), held)
    np.testing.assert_allclose(low.reward[:, 0, 0], [1 - 0.5 / 3, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(low.credit.weight[:, 0, 0], [1, 0, 0])
    counts = count_options(rule, held)
    np.testing.assert_array_equal(
        [counts.ended, counts.achieved, counts.duration], [[1, 0], [1, 0], [3, 0]]
    )
    high = high_view(rule, held)
    np.testing.assert_array_equal(high.credit.held[:, 0, 0], [1, 1, 0])


def test_with_options_a_subgoal_is_held_on_to_until_others_can_be_chosen():
    """Achieved or not: after the second step, `far` cannot be chosen any more."""

    def choices(local):
        there = local[:, 0] > 5
        return jnp.stack([jnp.ones_like(there), there], -1)

    rule = Termination(SubgoalLayout(LAYOUT.names, ((), (0,)), choices, 1, 1), 3, "options")
    held = story(
        goal=[[0], [0], [0]], clock=[[0], [1], [0]], started=[[1], [0], [1]],
        achieved=[[[1, 0]], [[1, 0]], [[0, 0]]], reward=[[1.0], [1.0], [1.0]],
        terminated=[0, 0, 0], truncated=[0, 0, 0], reached=[[0], [1], [0]],
    )  # fmt: skip
    options = jnp.array([[1, 1], [1, 1], [1, 0]], bool)[:, None, None]
    known = held.extras.option._replace(choices=options)
    seen = held.next_obs.local.at[1:, ..., 0].set(0.0)
    held = held._replace(
        extras=held.extras._replace(option=known), next_obs=held.next_obs._replace(local=seen)
    )
    high = high_view(rule, held)
    np.testing.assert_array_equal(high.credit.held[:, 0, 0], [1, 0, 1])
    np.testing.assert_array_equal(high.next_obs.action_mask[1, 0, 0], [1, 0])
    low = low_view(rule, 1.0, jnp.zeros((3, 1)), held)
    np.testing.assert_allclose(low.reward[:, 0, 0], [1 - 0.5 / 3, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(low.credit.weight[:, 0, 0], [1, 0, 1])


def test_chance_sends_a_share_of_the_teams_to_one_place():
    """The first 3 environments of 4; where nothing can be had by all, each agent has its own."""
    options = jnp.ones((4, 2, 2), bool).at[2].set(jnp.array([[1, 0], [0, 1]], bool))
    obs = Observation(jnp.zeros((4, 2, 3)), jnp.ones((4, 2, 3), bool), jnp.ones((4, 1 + 4)))
    seen = set()
    for seed in range(40):
        goal = np.asarray(uniform_goal(LAYOUT, jax.random.key(seed), obs, options, 0.75))
        assert goal[0, 0] == goal[0, 1] and goal[1, 0] == goal[1, 1]
        assert goal[2].tolist() == [0, 1]
        seen |= {(0, goal[0, 0]), (1, goal[0, 0] == goal[1, 0]), (3, *goal[3].tolist())}
    assert {(0, 0), (0, 1), (1, True), (1, False)} <= seen
    assert {(3, i, j) for i in (0, 1) for j in (0, 1)} <= seen


def test_hindsight_relabels_a_failure_with_what_it_achieved():
    """`far` fails, but achieves `near`: its first two steps are relabelled, nothing else is."""
    relabelled = with_hindsight(RULE, 1.0, ALONE)
    np.testing.assert_array_equal(relabelled.extras.option.goal[:, 0, 0], [0, 0, 1, 0, 0, 1, 0])
    view = low_view(RULE, 1.0, jnp.zeros((7, 1)), relabelled)
    paid = 1 - 0.5 * 2 / 3
    np.testing.assert_allclose(view.reward[:, 0, 0], [0, paid, 0, 0, paid, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(view.credit.ended[:, 0, 0], [0, 1, 1, 0, 1, 1, 0])
    same = with_hindsight(RULE, 0.4, ALONE)  # no whole environment
    np.testing.assert_array_equal(same.extras.option.goal, ALONE.extras.option.goal)


def test_counts_and_metrics_of_options():
    counts = count_options(RULE, ALONE)
    np.testing.assert_array_equal(counts.steps, [3, 4])
    np.testing.assert_array_equal(counts.ended, [1, 2])
    np.testing.assert_array_equal(counts.achieved, [1, 0])
    np.testing.assert_array_equal(counts.duration, [2, 4])
    np.testing.assert_allclose(counts.reward, [1 - 0.5 * 2 / 3, 0], rtol=1e-6)
    metrics = option_metrics(("near by", "far"), counts)
    by_hand = {
        "low_return": (1 - 0.5 * 2 / 3) / 3, "achieved": 1 / 3, "duration": 2.0,
        "goal_near_by": 3 / 7, "achieved_near_by": 1.0, "duration_near_by": 2.0,
        "goal_far": 4 / 7, "achieved_far": 0.0, "duration_far": 2.0,
    }  # fmt: skip
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(by_hand)


def test_the_reward_for_achieving_falls_from_nearly_one_to_a_half():
    rewards = intrinsic_reward(jnp.array([1, 2, 4]), 4)
    np.testing.assert_allclose(rewards, [0.875, 0.75, 0.5])


def test_who_chooses_a_subgoal():
    """The script, chance, or the high level; while exploring, chance and rare regions too."""
    key, mask = jax.random.key(3), jnp.ones((8, 2, 2), bool)
    local = jnp.tile(jnp.array([[0.0, 1, 0], [0, 0, 0]]), (8, 1, 1))  # the first achieved `near`
    obs = Observation(local, jnp.ones((8, 2, 3), bool), jnp.ones((8, 1 + 4)))
    proposed = jnp.zeros((8, 2), jnp.int32)

    def chosen(explore, steps=0, layout=LAYOUT, **settings):
        config = GMAHConfig(low_steps=10, **settings)
        return choose_goal(
            config, layout, proposed, mask, obs, jnp.int32(steps), key, explore
        ).tolist()

    uniform = uniform_goal(LAYOUT, key, obs, mask).tolist()
    assert uniform != proposed.tolist()
    for explore in (False, True):
        script = scripted_goal(LAYOUT, obs, mask).tolist()
        assert chosen(explore, chooser="scripted") == script == [[1, 1]] * 8
        assert chosen(explore, chooser="uniform") == uniform
    assert chosen(False) == chosen(True, steps=10) == proposed.tolist()
    assert chosen(True, steps=9) == uniform

    regions = Regions(("a", "b"), 1, 1, lambda local: jnp.zeros(local.shape[:-1], int), jnp.ones(2))
    rare = rare_goal(regions.usage, key, mask).tolist()
    assert rare[:4] != [[0, 0]] * 4
    for curiosity, count in ((0.0, 0), (0.5, 4), (1.0, 8)):
        goal = chosen(True, 10, regions, curiosity=curiosity)
        assert goal == rare[:count] + proposed.tolist()[count:]


def test_the_script_takes_the_deepest_that_is_available_and_not_achieved():
    layout = LAYOUT._replace(names=("key", "door", "goal"), requires=((), (0,), (1,)))
    assert layout.depth.tolist() == [0, 1, 2]

    def choose(available, achieved, options=(True, True, True)):
        local = jnp.asarray([[0.0, *achieved]], jnp.float32)
        state = jnp.asarray([0.0, *available], jnp.float32)
        obs = Observation(local, jnp.ones((1, 3), bool), state)
        return int(scripted_goal(layout, obs, jnp.asarray([options]))[0])

    assert choose([1, 0, 0], [0, 0, 0]) == 0
    assert choose([0, 1, 0], [1, 0, 0]) == 1
    assert choose([1, 1, 1], [0, 0, 0]) == 2
    assert choose([1, 1, 1], [0, 0, 1]) == 1
    assert choose([0, 0, 0], [0, 0, 0]) == 0
    assert choose([1, 0, 0], [0, 0, 0], [False, False, True]) == 2  # busy


@pytest.mark.parametrize(
    "env_id",
    ["Foraging-2s-5x5-2p-2f-v3", pytest.param("grid/doorkey-5x5-2p", marks=pytest.mark.slow)],
)
def test_bits_are_what_the_environment_declares_and_the_rest_what_it_shows(env_id):
    bare, params = marlx.make(env_id)
    env, declared = marlx.with_subgoals(bare), bare.subgoals()
    spec = env.spec(params)
    layout, learner = spec.subgoals, random_learner(spec)
    actors = start(env, params, learner, jax.random.key(0), 4)
    actors, t, _ = rollout(env, params, learner, (), actors, jax.random.key(1), 20)
    state = actors.env_state
    shown = jax.vmap(env.observe, (0, None))(state, params)
    plain = jax.vmap(bare.observe, (0, None))(state, params)
    jax.tree.map(np.testing.assert_array_equal, layout.plain(shown), plain)
    np.testing.assert_array_equal(layout.achieved(shown), jax.vmap(declared.achieved)(state))
    np.testing.assert_array_equal(layout.available(shown), jax.vmap(declared.available)(state))
    np.testing.assert_array_equal(layout.choices(shown), jax.vmap(declared.choices)(plain.local))
    assert layout.achieved(t.next_obs).any() and layout.choices(t.obs).shape[:2] == (20, 4)
    assert shown.local.shape[1:] == (spec.num_agents, spec.obs_size)
    assert shown.global_state.shape[1:] == (spec.state_size,)
    assert marlx.with_subgoals(env) is env


def test_without_declared_subgoals_there_is_one_line():
    env, _ = marlx.make("matrix/climbing")
    with pytest.raises(ValueError, match=r"matrix/climbing declares no subgoals; Foraging-"):
        marlx.with_subgoals(env)
    with pytest.raises(ValueError, match=r"climbing declares no subgoals: .* 'learned'"):
        config.experiment("gmah", "matrix/climbing").build()
    config.experiment("gmah", "matrix/climbing", learner={"subgoals": "learned"}).build()
