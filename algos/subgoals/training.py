"""Learning with two levels: each trains on its own view of the rollout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

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
    """Returns the sources after learning from a rollout's observations, and their metrics."""
    subgoals, subgoal_metrics = parts.subgoals.learn(states.subgoals, t.obs.local)
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
        # in its own stage the low level cannot achieve subgoals yet: no guide to choosing them
        credit = view_high.credit
        assert credit is not None
        weight = credit.weight * (state.steps >= config.low_steps)
        view_high = view_high._replace(credit=credit._replace(weight=weight))
        state = state._replace(high=parts.high.observe(state.high, view_high))
    sources, source_metrics = learn_sources(parts, state.sources, t)
    return state._replace(
        low=parts.low.observe(state.low, view_low),
        sources=sources,
        counts=count_options(rule, t),
        source_metrics=source_metrics,
        steps=state.steps + t.done.size,
    )


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
