"""Learning with two levels: each trains on its own view of the rollout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_items import Item
from marlx.algos.q_state import QState
from marlx.algos.subgoals.acting import HierarchicalPolicy, Parts, SourceTrees, termination
from marlx.algos.subgoals.config import HierarchicalConfig
from marlx.algos.subgoals.metrics import OptionCounts, count_options, option_metrics
from marlx.algos.subgoals.options import Termination
from marlx.algos.subgoals.views import high_view, low_view, one_hot_value, with_hindsight
from marlx.types import Array, Transition, Tree


class HierarchicalState(NamedTuple):
    """Everything carried from one update to the next."""

    high: Tree
    low: Tree
    sources: SourceTrees  # states
    counts: OptionCounts  # of the last rollout
    source_metrics: dict[str, Array]  # of the last rollout
    steps: Array  # int32 [], environment steps observed


def source_params(parts: Parts, states: SourceTrees) -> SourceTrees:
    """Returns the parameters of the sources from their states."""
    return SourceTrees(parts.subgoals.policy(states.subgoals), parts.changes.policy(states.novelty))


def acting_policy(parts: Parts, state: HierarchicalState) -> HierarchicalPolicy:
    """Returns the part of the state that acting needs."""
    return HierarchicalPolicy(
        parts.high.policy(state.high),
        parts.low.policy(state.low),
        source_params(parts, state.sources),
        state.steps,
    )


def level_views(
    config: HierarchicalConfig, parts: Parts, rule: Termination, t: Transition
) -> tuple[Transition, Transition]:
    """Returns the rollout [T, B, ...] as the high and as the low level trains on it."""
    external = config.external * parts.spec.team_reward(t.reward, t.obs.active)
    relabelled = with_hindsight(rule, parts.hindsight, t) if parts.hindsight else t
    return (
        high_view(rule, t),
        low_view(rule, one_hot_value(parts.spec), external, relabelled),
    )


def learn_sources(
    parts: Parts, states: SourceTrees, t: Transition
) -> tuple[SourceTrees, dict[str, Array]]:
    """Returns the sources after learning from a rollout's observations, and their metrics.

    Subgoals are also learned from the observation after each step: the last one of an episode comes
    before no step, and rewards are often paid there.
    """
    visited = jnp.concatenate([t.obs.local, t.next_obs.local])
    subgoals, subgoal_metrics = parts.subgoals.learn(states.subgoals, visited)
    novelty, novelty_metrics = parts.changes.learn(states.novelty, t.obs.local)
    return SourceTrees(subgoals, novelty), subgoal_metrics | novelty_metrics


def init(
    config: HierarchicalConfig, parts: Parts, key: Array, example: Transition
) -> HierarchicalState:
    """Returns the first state; `example` has the shapes of a rollout [T, B, ...]."""
    key_high, key_low, key_source, key_changes = jax.random.split(key, 4)
    states = SourceTrees(parts.subgoals.init(key_source), parts.changes.init(key_changes))

    def views(states: SourceTrees, t: Transition) -> tuple[Transition, Transition]:
        rule = termination(config, parts, source_params(parts, states))
        return level_views(config, parts, rule, t)

    example_high, example_low = jax.eval_shape(views, states, example)
    example_high = jax.eval_shape(partial(staged, config, jnp.int32(0)), example_high)
    metrics = jax.eval_shape(partial(learn_sources, parts), states, example)[1]
    return HierarchicalState(
        parts.high.init(key_high, example_high),
        parts.low.init(key_low, example_low),
        states,
        OptionCounts(*jnp.zeros((5, len(parts.layout.names)))),
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics),
        jnp.int32(0),
    )


def observe(
    config: HierarchicalConfig,
    parts: Parts,
    state: HierarchicalState,
    t: Transition,
) -> HierarchicalState:
    """Returns the state after both levels have stored their view of the rollout [T, B, ...]."""
    # with the parameters that the rollout was acted with
    rule = termination(config, parts, source_params(parts, state.sources))
    view_high, view_low = level_views(config, parts, rule, t)
    if config.chooser == "learned":
        view_high = staged(config, state.steps, view_high)
        state = state._replace(high=parts.high.observe(state.high, view_high))
    state = state._replace(low=parts.low.observe(state.low, view_low))
    sources, source_metrics = learn_sources(parts, state.sources, t)
    if parts.subgoals.changed is not None:
        changed = parts.subgoals.changed(state.sources.subgoals, sources.subgoals)
        state = state._replace(
            high=forget(state.high, changed, lambda items: items.action),
            low=forget(state.low, changed, partial(low_goal, len(parts.layout.names))),
        )
    return state._replace(
        sources=sources,
        counts=count_options(rule, t),
        source_metrics=source_metrics,
        steps=state.steps + t.done.size,
    )


def staged(config: HierarchicalConfig, steps: Array, view: Transition) -> Transition:
    """Returns the high level's view with a weight of 0 in the low level's own stage.

    The low level cannot achieve subgoals yet, so what comes of them is no guide to choosing them. A
    weight of the transition, so that windows in which nothing counts are not drawn from the replay
    later.

    Args:
      config: for `low_steps`; with 0 there is no such stage.
      steps: int32 [], environment steps observed before the rollout.
      view: [T, B, ...].
    """
    if not config.low_steps:
        return view
    weight = jnp.broadcast_to(steps >= config.low_steps, view.terminated.shape)
    return view._replace(weight=weight.astype(jnp.float32))


def forget(state: Tree, changed: Array, goal_of: Callable[[Item], Array]) -> Tree:
    """Returns a level's state whose replay gives no weight to steps towards changed subgoals.

    They were chosen for, and paid by, what the subgoal meant then. A level without a replay is
    returned as it is.

    Args:
      state: of the level.
      changed: bool [G].
      goal_of: `(items) -> int32 [..., N]`, the subgoal of each agent at the stored steps.
    """
    if not isinstance(state, QState):
        return state
    ring = state.replay.ring
    items: Item = ring.items
    assert items.credit is not None

    def without(_: Array, weight: Array) -> Array:
        return jnp.where(changed[goal_of(items).astype(jnp.int32)], 0.0, weight)

    # a loop of one iteration or none: a replay is not read where nothing changed
    weight = jax.lax.fori_loop(0, changed.any().astype(jnp.int32), without, items.credit.weight)
    items = items._replace(credit=items.credit._replace(weight=weight))
    return state._replace(replay=state.replay._replace(ring=dataclasses.replace(ring, items=items)))


def low_goal(number: int, items: Item) -> Array:
    """Returns int32 [..., N], the subgoals in stored observations of the low level."""
    return items.obs.local[..., -number:].argmax(-1)


def update(
    config: HierarchicalConfig, parts: Parts, state: HierarchicalState, key: Array
) -> tuple[HierarchicalState, dict[str, Array]]:
    """Returns the state after an update of both levels, and the metrics of all parts."""
    key_high, key_low = jax.random.split(key)
    metrics = option_metrics(parts.layout.names, state.counts) | state.source_metrics
    if config.low_after == "train":
        low, low_metrics = parts.low.update(state.low, key_low)
    else:
        low, low_metrics = update_if(
            state.steps <= config.low_steps, parts.low.update, state.low, key_low
        )
    metrics |= {f"low_{name}": value for name, value in low_metrics.items()}
    state = state._replace(low=low)
    if config.chooser == "learned":
        high, high_metrics = parts.high.update(state.high, key_high)
        metrics |= {f"high_{name}": value for name, value in high_metrics.items()}
        state = state._replace(high=high)
    return state, metrics


def update_if(
    flag: Array,
    update: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]],
    state: Tree,
    key: Array,
) -> tuple[Tree, dict[str, Array]]:
    """Returns `update(state, key)` if `flag` bool [] is True, else `state` and metrics of nan.

    A loop of no or one iteration: `vmap` over seeds turns a `cond` into a `select`, which would
    compute the update for nothing.
    """
    shapes = jax.eval_shape(update, state, key)[1]
    no_metrics = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)
    end: tuple[Tree, dict[str, Array]] = jax.lax.fori_loop(
        0, flag.astype(jnp.int32), lambda _, now: update(now[0], key), (state, no_metrics)
    )
    return end
