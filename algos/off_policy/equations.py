"""Equations of off-policy actor-critics: values of next states, and losses.

Leading axes are [T, b]: T steps, b windows. A last axis V is the agents' where each has a value,
else of length 1, the team's.
"""

from __future__ import annotations

import jax.numpy as jnp

from marlx.algos.off_policy.policies import Drawn
from marlx.algos.ppo_losses import weighted_mean
from marlx.learning.active import value_exists
from marlx.types import Array


def exists(active: Array, per_agent: bool) -> Array:
    """Returns bool [..., V], whether each value exists; active bool [..., N]."""
    found = value_exists(active, per_agent)
    return found if per_agent else found[..., None]


def soft_value(q: Array, bonus: Array, active: Array | None, per_agent: bool) -> Array:
    """Returns f32 [..., V], values of states where a policy's entropy is worth something.

    `V(s) = Q(s, a) + alpha_i H_i` of an agent's value, and `Q(s, a) + sum_i alpha_i H_i` of a
    team's, with actions of the policies.

    Args:
      q: f32 [..., V].
      bonus: f32 [..., N], temperature times entropy (or its estimate, -log pi); 0 without.
      active: bool [..., N]; agents that are not there have no entropy. None: all are.
      per_agent: whether each agent has a value.

    Source: Haarnoja et al. 2018, eq. 3; of a team's joint policy, Liu et al. 2024 (HASAC), eq. 2.
    """
    bonus = bonus if active is None else jnp.where(active, bonus, 0.0)
    return q + (bonus if per_agent else bonus.sum(-1, keepdims=True))


def critic_loss(values: Array, target: Array, weight: Array | None) -> Array:
    """Returns f32 [], the sum over critics of their mean squared errors.

    Args:
      values: f32 [K, ..., V], of each critic.
      target: f32 [..., V], without gradient.
      weight: f32 [..., V]; 0 leaves a value out. None: all count.
    """
    each = [weighted_mean((value - target) ** 2, weight) for value in values]
    return jnp.stack(each).sum()


def actor_loss(
    q: Array,
    drawn: Drawn,
    temperature: Array | float,
    penalty: Array | float,
    active: Array | None,
) -> Array:
    """Returns `-mean(Q + alpha H) + penalty * mean(outputs^2)`, f32 [].

    Args:
      q: f32 [..., N], of each agent's own action among the others'; or [..., 1], of all at once.
      drawn: the present policies' actions, [..., N].
      temperature: alpha, f32 [N]; 0 where a policy has no use for chance.
      penalty: against outputs that saturate.
      active: bool [..., N]; None: all are.

    Source: Silver et al. 2014, eq. 9, and Haarnoja et al. 2018, eq. 7. The penalty is that of
    Lowe et al.'s code.
    """
    alone = q.shape[-1] == drawn.entropy.shape[-1]
    there = None if active is None else active.astype(q.dtype)
    rows = None if active is None else exists(active, alone).astype(q.dtype)
    gain = weighted_mean(q, rows) + weighted_mean(temperature * drawn.entropy, there)
    return penalty * weighted_mean(drawn.size, there) - gain


def temperature_loss(
    log_temperature: Array, entropy: Array, target: Array, active: Array | None
) -> Array:
    """Returns `mean(log(alpha) (H - target))`, f32 []: alpha falls while a policy is too random.

    Args:
      log_temperature: f32 [N].
      entropy: f32 [..., N], of the policies, without gradient.
      target: f32 [..., N].
      active: bool [..., N]; None: all are.

    Source: Haarnoja et al. 2018b, eq. 18. Differs from: it in the logarithm of alpha in the place
    of alpha, as in the authors' code.
    """
    there = None if active is None else active.astype(entropy.dtype)
    return weighted_mean(log_temperature * (entropy - target), there)
