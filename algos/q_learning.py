"""Recurrent Q-learning for teams: IQL, VDN, QMIX, QPLEX and a joint-action Q.

The five algorithms are one learner and differ in the mixer only (`marlx.nets.mixers`). Read on in
this order: the loss of a batch of windows (its equations are in `marlx.algos.td_equations`), a
gradient step, the learner.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from marlx.algos.inspecting import inspect_q
from marlx.algos.last_action import with_last_action
from marlx.algos.q_config import QConfig
from marlx.algos.q_items import check_window, pack, unpack
from marlx.algos.q_metrics import METRICS, loss_metrics, update_metrics
from marlx.algos.q_mixers import mixer_of
from marlx.algos.q_network import unroll_after
from marlx.algos.q_next import Unrolled, next_utilities
from marlx.algos.q_parts import Loss, QParts, act, make_parts
from marlx.algos.q_schedules import exploration, moved_target
from marlx.algos.q_state import LossInfo, QParams, QPolicy, QState
from marlx.algos.td_credit import Adjust, adjusted_terms, num_learned
from marlx.algos.td_equations import (
    Backup,
    masked_td_loss,
    next_values,
    td_targets,
    td_terms,
    window_priority,
)
from marlx.data.replay import Sample
from marlx.data.ring import Rollout
from marlx.learner import Learner
from marlx.learning.running_moments import extend, moments
from marlx.learning.schedule import due_updates, repeat_updates
from marlx.nets.mixers import Mixer, mixed_after, window_values
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Transition

# --- the loss of a batch of windows ---


def td_loss(
    params: QParams, parts: QParts, state: QState, sample: Sample
) -> tuple[Array, LossInfo]:
    """Returns the TD loss of a batch of windows, f32 [].

    The value of a next state is that of the step's own `next_obs`, with the memory after that step
    (`marlx.algos.q_next`). So a time limit is bootstrapped through, and the state after a reset
    reaches no target.
    """
    c, net, items, old = parts.config, parts.net, unpack(sample.items), state.target
    mixer = mixed_after(parts.mixer, c.mixing_delay, state.steps)
    windows = sample.start, items.obs, items.done
    online, memory = unroll_after(net, params.agents, *windows, burn_in=c.burn_in)
    value = window_values(mixer, params.mixer, online, items.action)  # [T, b] or [T, b, N]

    unrolled = (
        Unrolled(params.agents, online, memory),
        Unrolled(old.agents, *net.unroll(old.agents, *windows)),
    )
    next_, old_next = next_utilities(net, unrolled, items)
    both = (params.mixer, next_), (old.mixer, old_next)
    next_value = next_values(c, parts.backup, mixer, *both, state.rewards)

    terms = td_terms(c, items, state.rewards, value)
    terms = adjusted_terms(c, parts.adjust, items, terms, mixer.per_agent)
    error = value - td_targets(terms.reward, terms.discount, next_value, terms.ended, terms.trace)
    loss = masked_td_loss(error, terms.mask, sample.importance)
    metrics = loss_metrics(
        parts.mixer, params.mixer, online, items.action, value, error, terms.mask
    )
    priority = window_priority(error, terms.mask, c.burn_in)
    return loss, LossInfo(priority, {"loss": loss, **metrics})


def gradient_step(parts: QParts, state: QState, key: Array) -> tuple[QState, dict[str, Array]]:
    """Returns the state after a gradient step on a batch of windows, and `METRICS`."""
    sample = parts.replay.sample(state.replay, key)
    gradient, info = jax.grad(parts.loss, has_aux=True)(state.params, parts, state, sample)
    step, optimiser = parts.optimiser.update(gradient, state.optimiser, state.params)
    params = optax.apply_updates(state.params, step)
    updates = state.updates + 1
    new = state._replace(
        params=params,
        target=moved_target(parts.config, params, state.target, updates),
        optimiser=optimiser,
        replay=parts.replay.update_priorities(state.replay, sample.indices, info.priority),
        updates=updates,
    )
    return new, {**info.metrics, "grad_norm": optax.tree.norm(gradient)}


# --- the learner ---


def initial_state(parts: QParts, key: Array, example: Rollout) -> QState:
    """Returns the state before the first rollout; `example` has the shapes of what is stored."""
    key_agents, key_mixer = jax.random.split(key)
    params = QParams(parts.net.init(key_agents), parts.mixer.init(key_mixer))
    return QState(
        params=params,
        target=jax.tree.map(jnp.copy, params),  # own buffers, so that the state can be donated
        optimiser=parts.optimiser.init(params),
        replay=parts.replay.init(example),
        rewards=moments(),
        steps=jnp.int32(0),
        updates=jnp.int32(0),
        pending=jnp.float32(0),
    )


def observe(parts: QParts, rollout: Rollout, state: QState, t: Transition) -> QState:
    """Returns the state with `t` [T, B, ...] in the replay, as `rollout`, and its updates due."""
    c = parts.config
    counted = t.obs.active if c.reward == "own" else None
    new = jnp.where(state.steps >= c.warmup, num_learned(t) * c.updates_per_step, 0)
    return state._replace(
        replay=parts.replay.add(state.replay, rollout),
        rewards=extend(state.rewards, rollout.items.reward, counted=counted),
        steps=state.steps + t.done.size,
        pending=state.pending + new,
    )


def update(parts: QParts, state: QState, key: Array) -> tuple[QState, dict[str, Array]]:
    """Returns the state after the gradient steps that are due, and their mean metrics."""
    due, pending = due_updates(state.pending)
    step = functools.partial(gradient_step, parts)
    state, sums = repeat_updates(step, state, key, due, METRICS)
    epsilon = exploration(parts.config, state.steps)
    metrics = update_metrics(parts.config, state, sums, due, epsilon)
    return state._replace(pending=pending), metrics


def q_learner(
    spec: EnvSpec,
    config: QConfig,
    mixer: Mixer,
    adjust: Adjust | None = None,
    backup: Backup | None = None,
    loss: Loss = td_loss,
) -> Learner:
    """Returns the Q-learner that `iql`, `vdn`, `qmix`, `qplex` and `joint_q` are instances of.

    Args:
      spec: of the environment.
      config: settings.
      mixer: combines the agents' utilities into the value that is learned.
      adjust: changes the terms of the TD error, for learners that are part of a composite.
      backup: values next states, for learners whose policy is not greedy; None: by double Q.
      loss: of a batch of windows; it calls `adjust` and `backup`.

    Raises:
      ValueError: the actions are continuous, or settings do not go with the mixer.

    Source: Hausknecht & Stone 2015 (recurrent replay), van Hasselt et al. 2016 (double Q),
    Kapturowski et al. 2019 (stored memory and burn-in); Papoudakis et al. 2021 for the settings.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(
            q_learner, config=plain, mixer=mixer, adjust=adjust, backup=backup, loss=loss
        )
        return with_last_action(spec, build)._replace(config=config)
    c, parts = config, make_parts(spec, config, mixer, loss, adjust, backup)
    store = functools.partial(pack, spec, c, mixer.uses_state)

    def init(key: Array, example: Transition) -> QState:
        check_window(c.window, example.terminated.shape[0])
        return initial_state(parts, key, jax.eval_shape(store, example))

    return Learner(
        init=init,
        memory=parts.net.memory,
        policy=lambda state: QPolicy(state.params, state.steps),
        act=functools.partial(act, parts.net, mixer, functools.partial(exploration, c)),
        observe=lambda state, t: observe(parts, store(t), state, t),
        update=functools.partial(update, parts),
        warmup=c.warmup,
        config=c,
        inspect=inspect_q(parts.net),
    )


# --- algorithms ---


def _learner(name: str, spec: EnvSpec, config: QConfig | None, settings: Any) -> Learner:
    c = dataclasses.replace(config or QConfig(), **settings)
    return q_learner(spec, c, mixer_of(name, spec, c))


def iql(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """Independent Q-learning on the team reward (Tan 1993)."""
    return _learner("iql", spec, config, settings)


def vdn(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """Value decomposition: the team value is the sum of the agents' (Sunehag et al. 2018)."""
    return _learner("vdn", spec, config, settings)


def qmix(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """QMIX: the team value is monotonic in each agent's (Rashid et al. 2018)."""
    return _learner("qmix", spec, config, settings)


def qplex(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """QPLEX: duplex duelling, every value function that satisfies IGM (Wang et al. 2021)."""
    return _learner("qplex", spec, config, settings)


def joint_q(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """One Q over joint actions, centralised in training and acting: the upper bound."""
    learner = _learner("joint_q", spec, config, settings)
    return learner._replace(inspect=None)  # an agent has no values of its own


ALGORITHMS = tuple(
    Algorithm(name, summary, QConfig, build, preset="q_learning")
    for name, summary, build in (
        ("iql", "independent Q-learning", iql),
        ("vdn", "value decomposition: sum of utilities", vdn),
        ("qmix", "monotonic mixing of utilities", qmix),
        ("qplex", "duplex duelling mixer, all of IGM", qplex),
        ("joint_q", "one Q over joint actions (centralised bound)", joint_q),
    )
)
