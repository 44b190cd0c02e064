"""MANSA: a switch decides at each step whether an independent or a centralised learner acts.

It combines any two learners. The switch (`switch.py`), a third one, reads the global state; a step
of the centralised learner, a call, has a price. Each learner trains on its own view of the rollout
(`views.py`). docs/mansa.md lists what the paper says and what it leaves open.

Source: Mguni et al. 2023, MANSA: Learning Fast and Slow in Multi-Agent Systems.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos import ppo, q_learning
from marlx.algos.last_action import refuse_last_action
from marlx.algos.switching.acting import (
    MansaPolicy,
    Parts,
    act,
    describe,
    empty_extras,
    initial_memory,
    switch_key,
)
from marlx.algos.switching.config import CallConfig, MansaConfig, MansaPPOConfig
from marlx.algos.switching.switch import NO_LIMIT, switch_learner
from marlx.algos.switching.views import (
    call_metrics,
    centralised_view,
    independent_view,
    switch_view,
)
from marlx.learner import Learner, drawn_by_parts, judged_as
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Transition, Tree


class MansaState(NamedTuple):
    """Everything carried from one update to the next."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls: Array  # int32 [], centralised calls in training so far
    samples: Array  # int32 [], steps in the gradients of the centralised learner so far
    rollout_size: Array  # int32 [], environment steps of one rollout, all environments together
    call_metrics: dict[str, Array]  # of the last rollout


def mansa(
    spec: EnvSpec,
    independent: Learner,
    centralised: Learner,
    switch: Learner,
    config: CallConfig,
    *,
    warmup: int | None = None,
) -> Learner:
    """Returns the learner that switches between two learners.

    At every step and in each environment `switch` chooses g: `independent` acts where g is 0,
    `centralised` where g is 1. Each learner gets the whole rollout, with a weight of 0 at the steps
    that it does not train on, and bootstraps on its own values.

    Args:
      spec: the environment's.
      independent: acts where g is 0.
      centralised: acts where g is 1. It must read `Transition.weight`, and so must `independent`
        if `il_trains_on` is `g0`.
      switch: a learner for `switch_spec(spec)`, see `switch_learner`.
      config: when calls are made, and which steps are trained on.
      warmup: environment steps before the first update; by default the largest of the three
        learners' own.

    Source: Mguni et al. 2023 (MANSA), in the reading of docs/mansa.md.
    """
    parts = Parts(independent, centralised, switch)
    if warmup is None:
        warmup = max(independent.warmup, centralised.warmup, switch.warmup)
    acting, judged = partial(act, spec, config, parts), judged_as(independent, centralised)
    return Learner(
        init=partial(init, spec, config, parts),
        memory=partial(initial_memory, parts),
        policy=partial(acting_policy, config, parts),
        act=acting,
        observe=partial(observe, spec, config, parts),
        update=partial(update, parts),
        warmup=warmup,
        config=config,
        describe=partial(describe, config, parts),
        totals=totals,
        extras=partial(empty_extras, parts),
        judged=judged,
        act_drawn=None if judged == "greedy" else drawn_by_parts(acting),
    )


def init(
    spec: EnvSpec, config: CallConfig, parts: Parts, key: Array, example: Transition
) -> MansaState:
    """Returns the first state; `example` has the shapes of a rollout [T, B, ...]."""
    metrics = jax.eval_shape(partial(call_metrics, config), example)
    return MansaState(
        parts.independent.init(key, jax.eval_shape(partial(independent_view, config), example)),
        parts.centralised.init(key, jax.eval_shape(partial(centralised_view, config), example)),
        parts.switch.init(
            switch_key(key), jax.eval_shape(partial(switch_view, spec, config), example)
        ),
        calls=jnp.int32(0),
        samples=jnp.int32(0),
        rollout_size=jnp.int32(example.terminated.size),
        call_metrics={name: jnp.float32(jnp.nan) for name in metrics},
    )


def acting_policy(config: CallConfig, parts: Parts, state: MansaState) -> MansaPolicy:
    """Returns the three policies, and whether calls are allowed in the next rollout.

    They are not once the next rollout could exceed `run_budget`.
    """
    limit = NO_LIMIT if config.run_budget is None else config.run_budget
    return MansaPolicy(
        parts.independent.policy(state.independent),
        parts.centralised.policy(state.centralised),
        parts.switch.policy(state.switch),
        calls_allowed=state.calls <= limit - state.rollout_size,
    )


def observe(
    spec: EnvSpec, config: CallConfig, parts: Parts, state: MansaState, t: Transition
) -> MansaState:
    """Returns the state after each learner has stored its view of the rollout [T, B, ...]."""
    return state._replace(
        independent=parts.independent.observe(state.independent, independent_view(config, t)),
        centralised=parts.centralised.observe(state.centralised, centralised_view(config, t)),
        switch=parts.switch.observe(state.switch, switch_view(spec, config, t)),
        calls=state.calls + t.extras.called.sum(dtype=jnp.int32),
        call_metrics=call_metrics(config, t),
    )


def update(parts: Parts, state: MansaState, key: Array) -> tuple[MansaState, dict[str, Array]]:
    """Returns the state after an update of each learner, and the metrics of all three."""
    independent, independent_metrics = parts.independent.update(state.independent, key)
    centralised, centralised_metrics = parts.centralised.update(state.centralised, key)
    switch, switch_metrics = parts.switch.update(state.switch, switch_key(key))
    metrics = {
        **state.call_metrics,
        **{f"independent_{name}": value for name, value in independent_metrics.items()},
        **{f"centralised_{name}": value for name, value in centralised_metrics.items()},
        **{f"switch_{name}": value for name, value in switch_metrics.items()},
    }
    samples = centralised_metrics.get("samples", jnp.float32(0)).astype(jnp.int32)
    state = state._replace(
        independent=independent,
        centralised=centralised,
        switch=switch,
        samples=state.samples + samples,
    )
    return state, metrics


def totals(state: MansaState) -> dict[str, Array]:
    """Returns the counts since training began."""
    return {"centralised_calls": state.calls, "centralised_samples_total": state.samples}


# --- MANSA over learners of this library ---


def mansa_q(spec: EnvSpec, config: MansaConfig | None = None, **settings: Any) -> Learner:
    """Returns MANSA over independent Q-learning and a centralised Q-learner."""
    c = dataclasses.replace(config or MansaConfig(), **settings)
    centralised = getattr(q_learning, c.mixer)(spec, c.centralised)
    return with_switch(spec, c, q_learning.iql(spec, c.independent), centralised)


def mansa_ppo(spec: EnvSpec, config: MansaPPOConfig | None = None, **settings: Any) -> Learner:
    """Returns MANSA over IPPO and MAPPO, each with an actor of its own."""
    c = dataclasses.replace(config or MansaPPOConfig(), **settings)
    return with_switch(spec, c, ppo.ippo(spec, c.independent), ppo.mappo(spec, c.centralised))


def with_switch(
    spec: EnvSpec,
    config: MansaConfig | MansaPPOConfig,
    independent: Learner,
    centralised: Learner,
) -> Learner:
    """Returns MANSA over two learners with the switch of `config`.

    Where only one of the learners ever acts, the warm-up is its own: the other's does not delay it.

    Raises:
      ValueError: a part is to read its last action.
    """
    refuse_last_action(
        independent=config.independent.last_action,
        centralised=config.centralised.last_action,
        switch=config.switch.last_action,
    )
    warmup = {"never": independent.warmup, "always": centralised.warmup}.get(config.switching)
    switch = switch_learner(spec, config, config.switch)
    return mansa(spec, independent, centralised, switch, config, warmup=warmup)


ALGORITHMS = (
    Algorithm(
        "mansa",
        "IQL, and a centralised Q-learner where a switch calls it",
        MansaConfig,
        mansa_q,
        parts=(("independent", "iql"), ("centralised", "qmix")),
    ),
    Algorithm(
        "mansa_ppo",
        "IPPO, and MAPPO where a switch calls it",
        MansaPPOConfig,
        mansa_ppo,
        parts=(("independent", "ippo"), ("centralised", "mappo")),
    ),
)
