"""Learners of two levels: a high level chooses subgoals, a low level acts towards them (GMAH).

`hierarchical` combines two learners. The high level chooses a subgoal for each agent; values of
subgoals are mixed. The low level chooses actions, observes the agent's subgoal, and is rewarded for
achieving it. A subgoal is followed for several steps, as an option (`options.py`). Each level
trains on its own view of the rollout (`views.py`).

Source: GMAH, arXiv 2408.11416; Sutton, Precup & Singh 1999 for options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from marlx.algos.last_action import refuse_last_action
from marlx.algos.ppo import ippo
from marlx.algos.q_config import QConfig
from marlx.algos.q_learning import iql, qmix
from marlx.algos.subgoals.acting import (
    Parts,
    act,
    describe,
    empty_extras,
    initial_memory,
    inspect,
)
from marlx.algos.subgoals.config import GMAHConfig, GMAHQConfig, HierarchicalConfig
from marlx.algos.subgoals.novelty import change_detector, no_detector
from marlx.algos.subgoals.regions import learned_regions
from marlx.algos.subgoals.sources import Layout, declared_subgoals
from marlx.algos.subgoals.training import acting_policy, init, observe, update
from marlx.algos.subgoals.views import high_spec, low_spec
from marlx.learner import Learner, drawn_by_parts, judged_as
from marlx.registry import Algorithm
from marlx.subgoals import with_declared
from marlx.types import EnvSpec


def hierarchical(
    spec: EnvSpec,
    config: HierarchicalConfig,
    high: Callable[[EnvSpec], Learner],
    low: Callable[[EnvSpec], Learner],
    *,
    hindsight: float = 0.0,
) -> Learner:
    """Returns the learner of two levels; `gmah` is an instance.

    Args:
      spec: of an environment; for declared subgoals, one wrapped by `marlx.subgoals.with_subgoals`.
      config: when options terminate, who chooses, and which level learns when; settings of the
        levels in it are not read.
      high: builds the level that chooses subgoals, from a spec whose actions are subgoals.
      low: builds the level that acts, from a spec whose observations include subgoals.
      hindsight: share of the environments whose failed options the low level learns from as if they
        had been for the subgoals that they achieved; only for an off-policy low level.

    Raises:
      ValueError: subgoals are to be declared ones, and the spec has none.

    Source: GMAH, arXiv 2408.11416, of which abstract and code were read; Sutton, Precup & Singh
    1999 for options. Differs from: GMAH's code, where the high level is PPO, trained on every step
    as if a subgoal lasted for one; see docs/gmah.md.
    """
    subgoals = (
        declared_subgoals(spec)
        if config.subgoals == "declared"
        else learned_regions(spec, number=config.regions)
    )
    params = jax.eval_shape(lambda key: subgoals.policy(subgoals.init(key)), jax.random.key(0))
    layout: Layout = subgoals.bind(params)
    changes = (
        change_detector(spec, layout.obs_size, quantile=config.quantile)
        if config.refresh == "changed"
        else no_detector()
    )
    upper, lower = high(high_spec(spec, layout)), low(low_spec(spec, layout))
    parts = Parts(spec, upper, lower, subgoals, changes, layout, hindsight)
    acting, judged = partial(act, config, parts), judged_as(upper, lower)
    return Learner(
        init=partial(init, config, parts),
        memory=partial(initial_memory, config, parts),
        policy=partial(acting_policy, parts),
        act=acting,
        observe=partial(observe, config, parts),
        update=partial(update, config, parts),
        warmup=lower.warmup,
        config=config,
        describe=partial(describe, parts),
        extras=partial(empty_extras, config, parts),
        judged=judged,
        act_drawn=None if judged == "greedy" else drawn_by_parts(acting),
        inspect=partial(inspect, config, parts),
    )


# --- GMAH over learners of this library ---


def high_level(config: HierarchicalConfig, high: QConfig) -> Callable[[EnvSpec], Learner]:
    """Returns the builder of the high level; its schedules start where the low level's stage ends.

    Raises:
      ValueError: a window of the replay may be too short to hold an option, or the level is to read
        its last action.
    """
    refuse_last_action(high=high.last_action)
    high = dataclasses.replace(
        high,
        warmup=config.low_steps + high.warmup,
        epsilon_delay=config.low_steps + high.epsilon_delay,
        mixing_delay=config.low_steps + config.unmixed_steps
        if config.unmixed_steps
        else high.mixing_delay,
    )
    if high.window - high.burn_in < config.period:
        raise ValueError(
            f"high.window is {high.window} with a burn_in of {high.burn_in}, and period "
            f"{config.period}; to see where a subgoal ends, a window must be as long as the period"
        )
    return lambda spec: (qmix if config.mixing else iql)(spec, high)


def gmah(spec: EnvSpec, config: GMAHConfig | None = None, **settings: Any) -> Learner:
    """Returns subgoal QMIX: mixed values of subgoals above goal-conditioned PPO (GMAH)."""
    c = dataclasses.replace(config or GMAHConfig(), **settings)
    refuse_last_action(low=c.low.last_action)
    low = dataclasses.replace(c.low, reward="own")
    return hierarchical(spec, c, high_level(c, c.high), lambda spec: ippo(spec, low))


def gmah_q(spec: EnvSpec, config: GMAHQConfig | None = None, **settings: Any) -> Learner:
    """Returns subgoal QMIX above goal-conditioned independent Q-learning."""
    c = dataclasses.replace(config or GMAHQConfig(), **settings)
    refuse_last_action(low=c.low.last_action)
    low = dataclasses.replace(c.low, reward="own")
    high = high_level(c, c.high)
    return hierarchical(spec, c, high, lambda spec: iql(spec, low), hindsight=c.hindsight)


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
