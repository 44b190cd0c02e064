"""Training data of PPO: per-agent rewards, returns and weights, cut into windows and minibatches.

In an environment alone, returns stop at the episode's end and all steps weigh the same. A learner
that is made of several others (`marlx.algos.switching`, `marlx.algos.subgoals`) may say otherwise
in `Transition.weight` and `Transition.credit`; that is read here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.ppo_config import PolicyGradientConfig, RewardOf
from marlx.algos.ppo_networks import Memories, PPOExtras
from marlx.data.minibatches import permutations, take, windows
from marlx.learning.active import value_exists, zero_inactive
from marlx.nets.contract import has_memory
from marlx.types import Array, EnvSpec, Observation, Transition


class GAEInputs(NamedTuple):
    """Rewards of a rollout, and how returns run through it."""

    reward: Array  # f32 [T, B, N]
    discount: Array  # f32 [T, B] or [T, B, N]: gamma, 0 where nothing of value follows
    ended: Array  # bool [T, B] or [T, B, N], where returns stop
    lambda_: Array  # f32 [] or [T, B, N]


class Batch(NamedTuple):
    """Inputs of the loss; leading axes [T, b]."""

    obs: Observation
    done: Array  # bool []
    old: PPOExtras  # of the policy that acted
    value: Array  # f32 [N], predicted before the update, normalised
    target: Array  # f32 [N], lambda-return, normalised
    advantage: Array  # f32 [N]
    weight: Array | None  # f32 [N], in the means of policy and entropy; None: equal
    value_weight: Array | None  # f32 [N], in the mean of the value loss; None: equal
    factor: Array | None = None  # f32 [N], on the normalised advantage; None: 1


class Sequences(NamedTuple):
    """The S windows of a rollout."""

    batch: Batch  # [window, S, ...]
    memory: Memories  # [S, ...], before the first step
    active: Array | None  # bool [S], has a step of `Transition.weight` above 0; None: all


def gae_inputs(
    spec: EnvSpec, config: PolicyGradientConfig, rollout: Transition, *, team_value: bool = False
) -> GAEInputs:
    """Returns the inputs of `marlx.algos.ppo_losses.advantages` from a rollout [T, B, ...].

    Args:
      spec: the environment's.
      config: settings.
      rollout: [T, B, ...].
      team_value: whether the critic has one value for all agents, which goes on where an agent
        becomes inactive and others do not.
    """
    reward = agent_rewards(spec, config.reward, rollout.reward, rollout.obs.active)
    credit = rollout.credit
    if credit is None:
        discount = jnp.where(rollout.terminated, 0.0, config.gamma)
        discount = _ends_with_agents(discount, rollout.next_obs.active, team_value)
        return GAEInputs(reward, discount, rollout.done, jnp.float32(config.lambda_))
    discount = jnp.where(credit.terminated, 0.0, config.gamma)
    discount = _ends_with_agents(discount, rollout.next_obs.active, team_value)
    return GAEInputs(reward, discount, credit.ended, jnp.where(credit.held, 1.0, config.lambda_))


def _ends_with_agents(discount: Array, active: Array | None, team_value: bool) -> Array:
    """Returns `discount` [T, B] or [T, B, N], 0 where the value of the next state does not exist.

    Args:
      discount: of rewards.
      active: bool [T, B, N], `next_obs.active`.
      team_value: see `gae_inputs`.
    """
    if active is None:
        return discount
    exists = value_exists(active, not team_value)
    if discount.ndim < exists.ndim:
        discount = discount[..., None]
    elif exists.ndim < discount.ndim:
        exists = exists[..., None]
    return jnp.where(exists, discount, 0.0)


def agent_rewards(
    spec: EnvSpec, reward: RewardOf, rewards: Array, active: Array | None = None
) -> Array:
    """Returns the reward that each agent learns from, f32 [..., N].

    Args:
      spec: the environment's.
      reward: `own`, `team`, or `group`: that of all agents of its group.
      rewards: f32 [..., N], from the environment.
      active: bool [..., N], agents that were active before the step, whose rewards count; None:
        all.
    """
    if reward == "own":
        return zero_inactive(rewards[..., None], active)[..., 0]
    if reward == "team":
        return jnp.broadcast_to(spec.team_reward(rewards, active)[..., None], rewards.shape)
    groups = [next(group for _, group in spec.groups if i in group) for i in range(spec.num_agents)]

    def of(group: tuple[int, ...]) -> Array:
        there = None if active is None else active[..., list(group)]
        return spec.team_reward(rewards[..., list(group)], there)

    return jnp.stack([of(group) for group in groups], -1)


def loss_weights(rollout: Transition) -> Array | None:
    """Returns each step's weight in the losses of each agent, f32 [T, B, N]; None: equal.

    It is 0 where the agent is inactive before the step: nothing of it is in any mean.
    """
    credit = None if rollout.credit is None else rollout.credit.weight
    if rollout.obs.active is not None:
        credit = rollout.obs.active.astype(jnp.float32) * (1.0 if credit is None else credit)
    if rollout.weight is None:
        return credit
    weight = jnp.broadcast_to(rollout.weight[..., None], rollout.reward.shape)
    return weight * (1.0 if credit is None else credit)


def value_weights(rollout: Transition, everywhere: bool) -> Array | None:
    """Returns each step's weight in the value loss, f32 [T, B, N]; None: equal.

    Args:
      rollout: [T, B, ...].
      everywhere: whatever `Transition.weight`, values are fitted on all steps. Advantages bootstrap
        from the values of all steps, also where few of them are learned from.
    """
    return loss_weights(rollout._replace(weight=None) if everywhere else rollout)


def sequences(
    config: PolicyGradientConfig, batch: Batch, memory: Memories, weight: Array | None
) -> Sequences:
    """Returns a rollout cut into windows; of a single step where nothing has a memory.

    Args:
      config: settings.
      batch: [T, B, ...].
      memory: [T, B, ...], before each step.
      weight: f32 [T, B], `Transition.weight`.
    """
    window = config.sequence if has_memory(memory) else 1
    count = batch.done.size // window
    return Sequences(
        jax.tree.map(lambda x: windows(x, window), batch),
        jax.tree.map(lambda x: x[::window].reshape(count, *x.shape[2:]), memory),
        None if weight is None else windows(weight > 0, window).any(0),
    )


def minibatches(key: Array, config: PolicyGradientConfig, count: int) -> Array:
    """Returns indices of sequences, int32 [epochs * minibatches, count / minibatches].

    Every epoch is a random permutation of all `count` sequences.
    """
    orders = permutations(key, config.epochs, count)
    return orders.reshape(config.epochs * config.minibatches, -1)


def minibatch(data: Sequences, chosen: Array) -> tuple[Batch, Memories]:
    """Returns the sequences int32 [b] `chosen`: batch [window, b, ...] and memories [b, ...]."""
    return take(data.batch, chosen, 1), take(data.memory, chosen, 0)
