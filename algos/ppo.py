"""Proximal policy optimisation for teams: IPPO, MAPPO, IA2C and MAA2C.

IPPO's critic reads each agent's own observation, MAPPO's the global state. With one epoch over one
minibatch all ratios are 1 and nothing is clipped: that is advantage actor-critic (A2C).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.inspecting import Inspect, inspect_ppo
from marlx.algos.last_action import with_last_action
from marlx.algos.ppo_auxiliary import Auxiliary, first_params
from marlx.algos.ppo_batch import (
    Batch,
    gae_inputs,
    loss_weights,
    sequences,
    value_weights,
)
from marlx.algos.ppo_config import A2CConfig, PolicyGradientConfig, PPOConfig
from marlx.algos.ppo_epochs import Trained, adam, epochs, learning_rate
from marlx.algos.ppo_losses import (
    Values,
    advantages,
    denormalise,
    entropy_weight,
    normalise,
    value_scale,
)
from marlx.algos.ppo_metrics import rollout_metrics
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOParams, act, actor_critic, extras
from marlx.data.minibatches import check_windows
from marlx.learner import Act, Learner
from marlx.learning.running_moments import Moments, extend, moments
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Transition


class PPOState(NamedTuple):
    """Learner state."""

    params: PPOParams
    optimiser: optax.OptState
    rollout: Transition  # the last one, [T, B, ...]
    memory: Array  # f32 [B, N or 1, M], the critic's before that rollout
    returns: Moments
    steps: Array  # int32 [], environment steps observed


def prepare(
    spec: EnvSpec, config: PolicyGradientConfig, nets: ActorCritic, state: PPOState
) -> tuple[PPOState, Batch, Memories]:
    """Returns the state for the next rollout, this rollout's batch, and memories [T, B, ...]."""
    t = state.rollout
    value, after = nets.values(state.params, state.memory, t.obs, t.done)
    next_value = nets.value(state.params, after, t.next_obs)
    scale = value_scale(config, state.returns)
    values = Values(denormalise(value, scale), denormalise(next_value, scale))
    steps = gae_inputs(spec, config, t, team_value=nets.team_value)
    advantage, target = advantages(values, steps)
    returns = extend(state.returns, target, keep=0.99, counted=t.obs.active)
    scale = value_scale(config, returns)
    batch = Batch(
        obs=t.obs,
        done=t.done,
        old=t.extras,
        value=normalise(values.now, scale),
        target=normalise(target, scale),
        advantage=advantage,
        weight=loss_weights(t),
        value_weight=value_weights(t, nets.values_everywhere),
    )
    following = jnp.where(t.done[..., None, None], 0.0, after)  # 0 where the next episode starts
    before = jnp.concatenate([state.memory[None], following[:-1]])
    state = state._replace(memory=following[-1], returns=returns)
    return state, batch, Memories(t.memory, before)


def update(
    spec: EnvSpec,
    config: PolicyGradientConfig,
    nets: ActorCritic,
    state: PPOState,
    key: Array,
    *,
    auxiliary: Auxiliary | None = None,
) -> tuple[PPOState, dict[str, Array]]:
    """Returns the state after all epochs on the last rollout, and metrics."""
    config = dataclasses.replace(config, entropy=entropy_weight(config, state.steps))
    state, batch, memory = prepare(spec, config, nets, state)
    data = sequences(config, batch, memory, state.rollout.weight)
    rate = learning_rate(config, state.steps)
    trained = Trained(state.params, state.optimiser)
    trained, metrics = epochs(config, nets, data, rate, trained, key, auxiliary)
    state = state._replace(params=trained.params, optimiser=trained.optimiser)
    metrics = {**metrics, **rollout_metrics(spec, config, state.rollout, batch, state.returns)}
    return state, {**metrics, "lr": jnp.asarray(rate, jnp.float32)}


def init(
    config: PolicyGradientConfig,
    nets: ActorCritic,
    key: Array,
    example: Transition,
    *,
    auxiliary: Auxiliary | None = None,
) -> PPOState:
    """Returns the first state.

    Raises:
      ValueError: rollouts cannot be cut into windows and minibatches of equal size.
    """
    length, num_envs = example.terminated.shape
    sequence = config.sequence if nets.remembers else 1
    check_windows(length, num_envs, sequence, config.minibatches)
    params = first_params(nets, auxiliary, key)
    rollout = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example)
    memory = nets.critic_memory(num_envs)
    return PPOState(params, adam(config).init(params), rollout, memory, moments(), jnp.int32(0))


def ppo_learner(
    spec: EnvSpec,
    config: PPOConfig,
    *,
    central: bool,
    values_everywhere: bool = False,
    auxiliary: Auxiliary | None = None,
) -> Learner:
    """Returns the learner that `ippo`, `mappo`, `ia2c` and `maa2c` are settings of.

    Args:
      spec: the environment's.
      config: settings.
      central: whether the critic reads the global state.
      values_everywhere: whether the critic learns from steps of `Transition.weight` 0 too, which
        only composite learners give.
      auxiliary: a loss that is added to that of every minibatch. With `config.last_action` it sees
        the observations that the actor does, those of `marlx.algos.last_action.wider_spec`.

    Raises:
      ValueError: a shared trunk for a critic of the global state, or of all steps; an auxiliary
        loss beside `values_everywhere`.

    Source: Schulman et al. 2017 (PPO) and 2016 (GAE); Yu et al. 2022 (MAPPO: value normalisation,
    clipped values, recurrent chunks). Differs from: MAPPO's code, which computes a central critic
    for every agent; see also `marlx.algos.ppo_losses.value_scale`.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(
            ppo_learner,
            config=plain,
            central=central,
            values_everywhere=values_everywhere,
            auxiliary=auxiliary,
        )
        return with_last_action(spec, build)._replace(config=config)
    if values_everywhere and config.trunk == "shared":
        raise ValueError("trunk is 'shared'; it must be 'separate' for a critic of all steps")
    if values_everywhere and auxiliary is not None:
        raise ValueError("values_everywhere is True; it must be False with an auxiliary loss")
    nets = actor_critic(spec, config, central=central)._replace(values_everywhere=values_everywhere)
    acting, shown = functools.partial(act, nets), inspect_ppo(spec, nets)
    return learner_on(spec, config, nets, act=acting, inspect=shown, auxiliary=auxiliary)


def learner_on(
    spec: EnvSpec,
    config: PolicyGradientConfig,
    nets: ActorCritic,
    *,
    act: Act,
    inspect: Inspect | None,
    auxiliary: Auxiliary | None = None,
) -> Learner:
    """Returns the learner that trains `nets` by PPO.

    Args:
      spec: the environment's.
      config: settings.
      nets: policy and values.
      act: how the learner acts; its extras are `PPOExtras`, its memory is that of `nets`.
      inspect: see `Learner.inspect`.
      auxiliary: see `ppo_learner`.
    """
    return Learner(
        init=functools.partial(init, config, nets, auxiliary=auxiliary),
        memory=nets.actor_memory,
        policy=lambda state: state.params.actor,
        act=act,
        observe=lambda state, rollout: state._replace(
            rollout=rollout, steps=state.steps + rollout.done.size
        ),
        update=functools.partial(update, spec, config, nets, auxiliary=auxiliary),
        config=config,
        extras=functools.partial(extras, spec, nets),
        judged="drawn",
        inspect=inspect,
    )


def _learner(
    kind: type[PPOConfig], spec: EnvSpec, config: PPOConfig | None, settings: Any, central: bool
) -> Learner:
    return ppo_learner(spec, dataclasses.replace(config or kind(), **settings), central=central)


def ippo(spec: EnvSpec, config: PPOConfig | None = None, **settings: Any) -> Learner:
    """Independent PPO: each agent's critic sees what the agent sees (de Witt et al. 2020)."""
    return _learner(PPOConfig, spec, config, settings, central=False)


def mappo(spec: EnvSpec, config: PPOConfig | None = None, **settings: Any) -> Learner:
    """Multi-agent PPO: the critic sees the global state (Yu et al. 2022)."""
    return _learner(PPOConfig, spec, config, settings, central=True)


def ia2c(spec: EnvSpec, config: A2CConfig | None = None, **settings: Any) -> Learner:
    """Independent advantage actor-critic (Mnih et al. 2016, as in Papoudakis et al. 2021)."""
    return _learner(A2CConfig, spec, config, settings, central=False)


def maa2c(spec: EnvSpec, config: A2CConfig | None = None, **settings: Any) -> Learner:
    """Multi-agent advantage actor-critic: the critic sees the global state."""
    return _learner(A2CConfig, spec, config, settings, central=True)


ALGORITHMS = tuple(
    Algorithm(name, summary, config, build, preset=preset)
    for name, summary, config, build, preset in (
        ("ippo", "independent PPO", PPOConfig, ippo, "ppo"),
        ("mappo", "PPO with a critic of the global state", PPOConfig, mappo, "ppo"),
        ("ia2c", "independent advantage actor-critic", A2CConfig, ia2c, "a2c"),
        ("maa2c", "actor-critic with a critic of the global state", A2CConfig, maa2c, "a2c"),
    )
)
