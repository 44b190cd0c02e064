"""HAPPO and HAA2C: agents with networks of their own, updated one after another.

PPO's objective takes all other agents as they were. When all policies move at once, each may
improve for itself while the team gets worse. Here each agent's advantages are multiplied by the
probability ratios of the agents that were updated before it, so it improves on what they have
become. With one agent it is PPO, bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.last_action import with_last_action
from marlx.algos.ppo import PPOState, ppo_learner, prepare
from marlx.algos.ppo_batch import Sequences, sequences
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_epochs import Trained, epochs, learning_rate
from marlx.algos.ppo_losses import entropy_weight
from marlx.algos.ppo_metrics import rollout_metrics
from marlx.algos.ppo_networks import ActorCritic, actor_critic
from marlx.algos.sequential_parts import (
    data_of,
    one_agent,
    trained_back,
    trained_of,
    without_critic,
)
from marlx.algos.sequential_ppo_config import HAA2CConfig, HAPPOConfig
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec


def next_factor(factor: Array | None, new: Array, old: Array, active: Array | None) -> Array:
    """Returns the factor of the agents that are still to come, f32 [...].

    `M' = M pi_new(a | o) / pi_old(a | o)`; agents that are not there have a ratio of 1.

    Args:
      factor: f32 [...], M, the product of the ratios so far; None for the first agent: 1.
      new: f32 [...], log-probability of the agent's action after its update.
      old: f32 [...], under the policy that acted.
      active: bool [...], whether the agent is there; None: always.

    Source: Zhong et al. 2024 (HARL), HAPPO's algorithm; Kuba et al. 2022, section 4.
    """
    ratio = jnp.exp(new - old)
    ratio = ratio if active is None else jnp.where(active, ratio, 1.0)
    return ratio if factor is None else factor * ratio


def turn_order(order: Literal["random", "fixed"], num_agents: int, key: Array) -> Array:
    """Returns int32 [N], the agents in the order of their turns.

    Nothing is drawn for one agent, so that its program is PPO's.
    """
    agents = jnp.arange(num_agents)
    if order == "fixed" or num_agents == 1:
        return agents
    return jax.random.permutation(key, agents)


class Turn(NamedTuple):
    """State of an update between the turns of two agents."""

    trained: Trained
    factor: Array | None  # f32 [window, S, 1], see `next_factor`; None: 1


def take_turn(
    config: PPOConfig,
    nets: ActorCritic,
    data: Sequences,
    rate: Array,
    count: Array,
    turn: Turn,
    agent: Array,
    key: Array,
    *,
    critic: bool,
) -> tuple[Turn, dict[str, Array]]:
    """Returns the state after all epochs of one agent, and metrics.

    Args:
      config: settings.
      nets: of one agent.
      data: the rollout's sequences, of all agents.
      rate: f32 [], step size.
      count: int32 [], gradient steps of each agent before this update.
      turn: what the agents before left.
      agent: int32 [], whose turn it is.
      key: consumed.
      critic: whether the critic is trained too.
    """
    own = data_of(data, agent, turn.factor)
    alone = without_critic(nets, turn.trained.params.critic)
    start = trained_of(turn.trained, agent, critic, count)
    new, metrics = epochs(config, nets if critic else alone, own, rate, start, key)
    batch = own.batch
    outputs, _ = alone.unroll(new.params, own.memory, batch.obs, batch.done, batch.old.raw)
    log_prob = nets.distribution.log_prob(outputs, batch.obs.action_mask, batch.old.raw)
    factor = next_factor(turn.factor, log_prob, batch.old.log_prob, batch.obs.active)
    return Turn(trained_back(turn.trained, agent, critic, new), factor), metrics


def take_turns(
    config: PPOConfig,
    nets: ActorCritic,
    data: Sequences,
    rate: Array,
    trained: Trained,
    order: Array,
    key: Array,
) -> tuple[Trained, dict[str, Array]]:
    """Returns parameters after the turns of all agents, in `order` int32 [N], and mean metrics.

    The critic is trained in the first turn, whose gradient norm is that of actor and critic.
    """
    count = trained.optimiser[1].count
    step = functools.partial(take_turn, config, nets, data, rate, count)
    turn, first = step(Turn(trained, None), order[0], key, critic=True)
    if len(order) == 1:
        return turn.trained, first
    keys = jax.random.split(jax.random.fold_in(key, 1), len(order) - 1)
    turn, others = jax.lax.scan(
        lambda turn, chosen: step(turn, *chosen, critic=False), turn, (order[1:], keys)
    )
    metrics = {k: (first[k] + x.sum(0)) / len(order) for k, x in others.items()}
    return turn.trained, metrics | {"value_loss": first["value_loss"]}


def update(
    spec: EnvSpec,
    config: HAPPOConfig,
    team: ActorCritic,
    one: ActorCritic,
    state: PPOState,
    key: Array,
) -> tuple[PPOState, dict[str, Array]]:
    """Returns the state after the turns of all agents on the last rollout, and metrics."""
    plain = dataclasses.replace(config, entropy=entropy_weight(config, state.steps))
    state, batch, memory = prepare(spec, plain, team, state)
    data = sequences(plain, batch, memory, state.rollout.weight)
    rate = learning_rate(plain, state.steps)
    order = turn_order(config.order, spec.num_agents, jax.random.fold_in(key, 0))
    trained = Trained(state.params, state.optimiser)
    trained, metrics = take_turns(plain, one, data, rate, trained, order, key)
    state = state._replace(params=trained.params, optimiser=trained.optimiser)
    metrics = {**metrics, **rollout_metrics(spec, plain, state.rollout, batch, state.returns)}
    return state, {**metrics, "lr": jnp.asarray(rate, jnp.float32)}


def sequential_learner(spec: EnvSpec, config: HAPPOConfig) -> Learner:
    """Returns the learner that `happo` and `haa2c` are settings of.

    Source: Zhong et al. 2024, "Heterogeneous-Agent Reinforcement Learning" (HAPPO, HAA2C). Differs
    from: its code, where the critic is trained after the actors and clipped by a norm of its own.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(sequential_learner, config=plain)
        return with_last_action(spec, build)._replace(config=config)
    team = actor_critic(spec, config, central=True)
    learn = functools.partial(update, spec, config, team, one_agent(spec, config))
    return ppo_learner(spec, config, central=True)._replace(update=learn)


def happo(spec: EnvSpec, config: HAPPOConfig | None = None, **settings: Any) -> Learner:
    """PPO of heterogeneous agents, one after another (Zhong et al. 2024; Kuba et al. 2022)."""
    return sequential_learner(spec, dataclasses.replace(config or HAPPOConfig(), **settings))


def haa2c(spec: EnvSpec, config: HAA2CConfig | None = None, **settings: Any) -> Learner:
    """Advantage actor-critic of heterogeneous agents, one after another (Zhong et al. 2024)."""
    return sequential_learner(spec, dataclasses.replace(config or HAA2CConfig(), **settings))


ALGORITHMS = (
    Algorithm("happo", "PPO, agents updated one after another", HAPPOConfig, happo, preset="ppo"),
    Algorithm("haa2c", "A2C, agents updated one after another", HAA2CConfig, haa2c, preset="a2c"),
)
