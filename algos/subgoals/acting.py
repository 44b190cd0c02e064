"""Acting with two levels: terminate options, choose subgoals, act towards them."""

from __future__ import annotations

from typing import NamedTuple

import jax

from marlx.algos.subgoals.config import HierarchicalConfig
from marlx.algos.subgoals.goals import choose_goal
from marlx.algos.subgoals.options import ActiveOption, SubgoalExtras, Termination
from marlx.algos.subgoals.sources import Layout, Source
from marlx.algos.subgoals.views import one_hot_value, with_goals
from marlx.learner import Learner, draws
from marlx.types import Array, EnvSpec, Observation, Tree


class Parts(NamedTuple):
    """The parts of a learner of two levels."""

    spec: EnvSpec  # the environment's
    high: Learner  # chooses subgoals
    low: Learner  # acts
    subgoals: Source
    changes: Source  # detects changes of the world
    layout: Layout  # of the subgoals before training: for names and sizes only
    hindsight: float  # share of the environments that the low level's view relabels


class SourceTrees(NamedTuple):
    """States, or parameters, of the source of subgoals and of the detector of changes."""

    subgoals: Tree
    novelty: Tree


class HierarchicalMemory(NamedTuple):
    """Acting memory of both levels, and the options of the agents."""

    high: Tree
    low: Tree
    option: ActiveOption  # as it is when the next observation arrives


class HierarchicalPolicy(NamedTuple):
    """Parameters that acting needs."""

    high: Tree
    low: Tree
    sources: SourceTrees  # parameters
    steps: Array  # int32 [], environment steps observed


def termination(config: HierarchicalConfig, parts: Parts, params: SourceTrees) -> Termination:
    """Returns the termination rule for the sources' present parameters."""
    return Termination(
        parts.subgoals.bind(params.subgoals),
        config.period,
        config.refresh,
        parts.changes.bind(params.novelty),
    )


def act(
    config: HierarchicalConfig,
    parts: Parts,
    policy: HierarchicalPolicy,
    memory: HierarchicalMemory,
    obs: Observation,
    key: Array,
    explore: bool,
    drawn: bool = False,
) -> tuple[Array, HierarchicalMemory, SubgoalExtras]:
    """Returns the actions of the low level towards subgoals that are chosen where options end.

    The high level is asked at every step, so that a recurrent one observes everything; agents whose
    option goes on have a mask that leaves them only their present subgoal. With `drawn` and without
    `explore`, the levels that are judged by drawn actions draw, and the rest is greedy.
    """
    key_high, key_goal, key_low = jax.random.split(key, 3)
    rule = termination(config, parts, policy.sources)
    # terminate
    outcome = rule.outcome(memory.option, obs)
    goal_mask = rule.goal_mask(memory.option, outcome.terminates, obs)
    # choose
    seen = rule.layout.plain(obs)._replace(action_mask=goal_mask)
    proposed, memory_high, extras_high = parts.high.act(
        policy.high, memory.high, seen, key_high, explore or draws(parts.high, drawn)
    )
    goal = choose_goal(
        config, rule.layout, proposed, goal_mask, obs, policy.steps, key_goal, explore
    )
    option = rule.next_option(memory.option, outcome, goal, obs)
    # act
    seen = with_goals(rule, one_hot_value(parts.spec), obs, goal)
    action, memory_low, extras_low = parts.low.act(
        policy.low,
        memory.low,
        seen,
        key_low,
        explore or not config.low_greedy or draws(parts.low, drawn),
    )
    extras = SubgoalExtras(option, outcome.terminates, extras_high, extras_low)
    return action, HierarchicalMemory(memory_high, memory_low, option.after_step()), extras


def initial_memory(config: HierarchicalConfig, parts: Parts, num_envs: int) -> HierarchicalMemory:
    """Returns the acting memory at the start of an episode."""
    rule = Termination(parts.layout, config.period, config.refresh)
    return HierarchicalMemory(
        parts.high.memory(num_envs),
        parts.low.memory(num_envs),
        rule.no_option(num_envs, parts.spec.num_agents),
    )


def empty_extras(config: HierarchicalConfig, parts: Parts, num_envs: int) -> SubgoalExtras:
    """Returns arrays of the shapes that `act` adds to a transition."""
    option = initial_memory(config, parts, num_envs).option
    return SubgoalExtras(
        option, option.reached, parts.high.extras(num_envs), parts.low.extras(num_envs)
    )


def describe(parts: Parts, memory: HierarchicalMemory, extras: SubgoalExtras) -> str:
    """Returns the caption of a step: the subgoal of each agent."""
    del memory
    goals = enumerate(extras.option.goal.tolist())
    return "   ".join(f"{agent}: {parts.layout.names[goal]}" for agent, goal in goals)
