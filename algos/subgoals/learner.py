"""Two levels: agents choose subgoals by values that are mixed, and act towards them (GMAH).

`hierarchical` makes one learner of two. The high one chooses a subgoal for each agent, the low one
an action, knowing the agent's subgoal. Each is given its own account of the same rollout
(`marlx.algos.subgoals.options`) and neither knows of the other: the high one is a Q-learner whose
actions are subgoals and last several steps, the low one a learner that is paid for achieving what
it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.ppo import ippo
from marlx.algos.q_config import QConfig
from marlx.algos.q_learning import iql, qmix
from marlx.algos.subgoals.config import GMAHConfig, GMAHQConfig, HierarchicalConfig
from marlx.algos.subgoals.options import (
    Chosen,
    Pursuit,
    Rules,
    Tally,
    by_chance,
    high_view,
    hindsight,
    low_view,
    rarest,
    scripted,
    tally,
    with_goals,
)
from marlx.algos.subgoals.sources import Layout, Regions, declared, novelty, regions, unwatched
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.subgoals import with_declared
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class HierarchicalMemory(NamedTuple):
    """Acting memory of both levels, and what is pursued."""

    high: Tree
    low: Tree
    pursuit: Pursuit


class Sources(NamedTuple):
    """States, or parameters, of what tells subgoals and changes of the world."""

    subgoals: Tree
    novelty: Tree


class HierarchicalPolicy(NamedTuple):
    """What acting needs."""

    high: Tree
    low: Tree
    sources: Sources
    steps: Array  # int32 [], environment steps observed


class HierarchicalState(NamedTuple):
    """Everything the learner carries from one update to the next."""

    high: Tree
    low: Tree
    sources: Sources
    tally: Tally
    told: dict[str, Array]  # what the sources had to tell of the last rollout
    steps: Array  # int32 [], environment steps observed


def hierarchical(
    spec: EnvSpec,
    config: HierarchicalConfig,
    high: Callable[[EnvSpec], Learner],
    low: Callable[[EnvSpec], Learner],
    *,
    relabelled: float = 0.0,
) -> Learner:
    """A learner of two levels; `gmah` is an instance.

    The high level chooses a subgoal where the last one is over and is asked at every step, so that
    a recurrent one sees everything, but with a mask that leaves busy agents only what they pursue.
    The low level is asked at every step.

    Args:
      spec: of an environment; for declared subgoals, one wrapped by `marlx.subgoals.with_subgoals`.
      config: when subgoals end, who chooses, and who learns when; the parts' settings are not read.
      high: makes the level that chooses subgoals, given a spec whose actions are subgoals.
      low: makes the level that acts, given a spec whose observations hold subgoals.
      relabelled: the share of environments in which failures are told to the low level as pursuits
        of what they achieved; only for one that learns from any behaviour.

    Raises:
      ValueError: the spec tells of no subgoals, and they are not to be learned.

    Source: GMAH, arXiv 2408.11416, of which abstract and code were read; Sutton, Precup & Singh
    1999 for choices that last. Differs from: GMAH's code, where the high level is PPO, trained on
    every step as if a subgoal lasted for one; see docs/gmah.md.
    """
    c = config
    source = declared(spec) if c.subgoals == "declared" else regions(spec, number=c.regions)
    first = jax.eval_shape(lambda key: source.policy(source.init(key)), jax.random.key(0))
    shape: Layout = source.bind(first)
    count, num_agents = len(shape.names), spec.num_agents
    changes = unwatched()
    if c.refresh == "changed":
        changes = novelty(spec, shape.obs_size, quantile=c.quantile)
    mark = spec.scale if spec.storage == "float32" else max(1.0, float(int(spec.scale)))
    own = dataclasses.replace(spec, subgoals=None)
    upper = high(
        dataclasses.replace(
            own,
            num_actions=count,
            action_sizes=(),
            continuous=False,
            obs_size=shape.obs_size,
            obs_sizes=(),
            state_size=shape.state_size,
        )
    )
    lower = low(
        dataclasses.replace(
            own,
            obs_size=shape.obs_size + count,
            obs_sizes=(),
            state_size=shape.state_size + num_agents * count,
        )
    )

    def rules_of(params: Sources) -> Rules:
        subgoals, changed = source.bind(params.subgoals), changes.bind(params.novelty)
        return Rules(subgoals, c.period, c.refresh, changed)

    def bound(state: Sources) -> Sources:
        return Sources(source.policy(state.subgoals), changes.policy(state.novelty))

    def views(rules: Rules, t: Transition) -> tuple[Transition, Transition]:
        paid = c.external * spec.team_reward(t.reward)
        given = hindsight(rules, relabelled, t) if relabelled else t
        return high_view(rules, t), low_view(rules, mark, paid, given)

    def init(key: Array, example: Transition) -> HierarchicalState:
        key_high, key_low, key_source, key_changes = jax.random.split(key, 4)
        sources = Sources(source.init(key_source), changes.init(key_changes))
        example_high, example_low = jax.eval_shape(
            lambda sources, t: views(rules_of(bound(sources)), t), sources, example
        )
        told = jax.eval_shape(learned, sources, example)[1]
        return HierarchicalState(
            upper.init(key_high, example_high),
            lower.init(key_low, example_low),
            sources,
            Tally(*jnp.zeros((5, count))),
            jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), told),
            jnp.int32(0),
        )

    def learned(sources: Sources, t: Transition) -> tuple[Sources, dict[str, Array]]:
        subgoals, told = source.learn(sources.subgoals, t.obs.local)
        seen, more = changes.learn(sources.novelty, t.obs.local)
        return Sources(subgoals, seen), told | more

    def memory(num_envs: int) -> HierarchicalMemory:
        axes = (num_envs, num_agents)
        # as if the time for a subgoal were over, so that the first step begins with a choice
        none = jnp.zeros((*axes, count), bool) if c.refresh == "options" else ()
        idle = Pursuit(
            jnp.zeros(axes, jnp.int32), jnp.full(axes, c.period), jnp.zeros(axes, bool), none
        )
        return HierarchicalMemory(upper.memory(num_envs), lower.memory(num_envs), idle)

    def extras(num_envs: int) -> Chosen:
        pursuit = memory(num_envs).pursuit
        return Chosen(pursuit, pursuit.reached, upper.extras(num_envs), lower.extras(num_envs))

    def policy(state: HierarchicalState) -> HierarchicalPolicy:
        high, low = upper.policy(state.high), lower.policy(state.low)
        return HierarchicalPolicy(high, low, bound(state.sources), state.steps)

    def act(
        policy: HierarchicalPolicy,
        memory: HierarchicalMemory,
        obs: Observation,
        key: Array,
        explore: bool,
    ) -> tuple[Array, HierarchicalMemory, Chosen]:
        key_high, key_chance, key_low = jax.random.split(key, 3)
        rules = rules_of(policy.sources)
        layout = rules.layout
        begin, achieved = rules.begin(memory.pursuit, obs)
        options = rules.options(memory.pursuit, begin, obs)
        seen = layout.plain(obs)._replace(action_mask=options)
        goal, memory_high, extras_high = upper.act(
            policy.high, memory.high, seen, key_high, explore
        )
        if c.chooser == "scripted":
            goal = scripted(layout, obs, options)
        elif c.chooser == "uniform":
            goal = by_chance(layout, key_chance, obs, options, c.together)
        elif explore:
            if isinstance(layout, Regions):
                rare = rarest(layout.usage, key_chance, options)
                curious = jnp.arange(len(goal)) < round(c.curiosity * len(goal))
                goal = jnp.where(curious[:, None], rare, goal)
            # the low level's stage
            drawn = by_chance(layout, key_chance, obs, options, c.together)
            goal = jnp.where(policy.steps < c.low_steps, drawn, goal)
        pursuit = Pursuit(
            goal,
            jnp.where(begin, 0, memory.pursuit.clock),
            ~begin & (memory.pursuit.reached | achieved),
            jnp.where(begin[..., None], layout.choices(obs), memory.pursuit.options)
            if c.refresh == "options"
            else (),
        )
        action, memory_low, extras_low = lower.act(
            policy.low,
            memory.low,
            with_goals(rules, mark, obs, goal),
            key_low,
            explore or not c.low_greedy,
        )
        chosen = Chosen(pursuit, begin, extras_high, extras_low)
        after = pursuit._replace(clock=pursuit.clock + 1)
        return action, HierarchicalMemory(memory_high, memory_low, after), chosen

    def observe(state: HierarchicalState, t: Transition) -> HierarchicalState:
        rules = rules_of(bound(state.sources))  # as they were while acting
        for_high, for_low = views(rules, t)
        if c.chooser == "learned":
            # what the low level's stage shows is no guide to choosing: it cannot yet do as told
            credit = for_high.credit
            assert credit is not None
            weight = credit.weight * (state.steps >= c.low_steps)
            for_high = for_high._replace(credit=credit._replace(weight=weight))
            state = state._replace(high=upper.observe(state.high, for_high))
        sources, told = learned(state.sources, t)
        return state._replace(
            low=lower.observe(state.low, for_low),
            sources=sources,
            tally=tally(rules, t),
            told=told,
            steps=state.steps + t.done.size,
        )

    def update(state: HierarchicalState, key: Array) -> tuple[HierarchicalState, dict[str, Array]]:
        key_high, key_low = jax.random.split(key)
        metrics = _told(shape.names, state.tally) | state.told
        if c.low_after == "train":
            after, told = lower.update(state.low, key_low)
        else:
            after, told = _where(state.steps <= c.low_steps, lower.update, state.low, key_low)
        metrics |= {f"low_{name}": value for name, value in told.items()}
        state = state._replace(low=after)
        if c.chooser == "learned":
            after, told = upper.update(state.high, key_high)
            metrics |= {f"high_{name}": value for name, value in told.items()}
            state = state._replace(high=after)
        return state, metrics

    def describe(memory: HierarchicalMemory, chosen: Chosen) -> str:
        del memory
        goals = enumerate(chosen.pursuit.goal.tolist())
        return "   ".join(f"{agent}: {shape.names[goal]}" for agent, goal in goals)

    return Learner(
        init,
        memory,
        policy,
        act,
        observe,
        update,
        lower.warmup,
        config,
        describe=describe,
        extras=extras,
    )


def _where(
    flag: Array,
    update: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]],
    state: Tree,
    key: Array,
) -> tuple[Tree, dict[str, Array]]:
    """`update(state, key)` where `flag` bool [], else `state` as it is and metrics that are nan.

    A loop of no or one turn: unlike a branch, it is not computed for nothing when seeds are
    `vmap`ped and none of them takes it.
    """
    shapes = jax.eval_shape(update, state, key)[1]
    nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)
    start = state, nothing
    end: tuple[Tree, dict[str, Array]] = jax.lax.fori_loop(
        0, flag.astype(jnp.int32), lambda _, now: update(now[0], key), start
    )
    return end


def _told(names: tuple[str, ...], t: Tally) -> dict[str, Array]:
    """Metrics of a tally; what is asked of subgoals that did not occur is nan."""
    metrics = {
        "low_return": t.intrinsic.sum() / t.over.sum(),
        "achieved": t.achieved.sum() / t.over.sum(),
        "duration": t.duration.sum() / t.over.sum(),
    }
    for g, name in enumerate(names):
        word = name.replace(" ", "_")
        metrics[f"goal_{word}"] = t.held[g] / t.held.sum()
        metrics[f"achieved_{word}"] = t.achieved[g] / t.over[g]
        metrics[f"duration_{word}"] = t.duration[g] / t.over[g]
    return metrics


def _high(c: HierarchicalConfig, high: QConfig) -> Callable[[EnvSpec], Learner]:
    """The level that chooses, its clocks set to begin where the low level's stage ends."""
    high = dataclasses.replace(
        high,
        warmup=c.low_steps + high.warmup,
        epsilon_delay=c.low_steps + high.epsilon_delay,
        mixing_delay=c.low_steps + c.unmixed_steps if c.unmixed_steps else high.mixing_delay,
    )
    if high.window - high.burn_in < c.period:
        raise ValueError(
            f"high.window is {high.window} with a burn_in of {high.burn_in}, and period "
            f"{c.period}; to see where a subgoal ends, a window must be as long as the period"
        )
    return lambda spec: (qmix if c.mixing else iql)(spec, high)


def gmah(spec: EnvSpec, config: GMAHConfig | None = None, **settings: Any) -> Learner:
    """Subgoal QMIX: mixed values of subgoals above goal-conditioned PPO (GMAH)."""
    c = dataclasses.replace(config or GMAHConfig(), **settings)
    low = dataclasses.replace(c.low, reward="own")
    return hierarchical(spec, c, _high(c, c.high), lambda spec: ippo(spec, low))


def gmah_q(spec: EnvSpec, config: GMAHQConfig | None = None, **settings: Any) -> Learner:
    """Subgoal QMIX with goal-conditioned independent Q-learning below."""
    c = dataclasses.replace(config or GMAHQConfig(), **settings)
    low = dataclasses.replace(c.low, reward="own")
    high = _high(c, c.high)
    return hierarchical(spec, c, high, lambda spec: iql(spec, low), relabelled=c.hindsight)


ALGORITHMS = (
    Algorithm(
        "gmah",
        "subgoals chosen by mixed values, pursued by PPO",
        GMAHConfig,
        gmah,
        parts=(("high", "qmix"), ("low", "ippo")),
        prepare=with_declared,
    ),
    Algorithm(
        "gmah_q",
        "subgoals chosen by mixed values, pursued by Q-learning",
        GMAHQConfig,
        gmah_q,
        parts=(("high", "qmix"), ("low", "iql")),
        prepare=with_declared,
    ),
)
