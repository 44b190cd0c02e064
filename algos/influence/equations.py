"""Equations of AMI: what the others are expected to do next, and how far that is from a target.

Source: Li et al. 2023 (AMI), arXiv 2302.03322; the authors' code (DIG-Beihang/AMI) where the text
leaves it open.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.algos.influence.config import Distance
from marlx.types import Array


def expected_actions(probability: Array, logits: Array) -> Array:
    """Returns the others' most likely next actions, averaged over the own action, f32 [..., V, C].

    Args:
      probability: f32 [..., A], of the own actions; one-hot for the action that was taken.
      logits: f32 [..., A, V, C], of the next action of each of V others after each own action,
        what the others do now held fixed.

    Differs from: the authors' code, which draws ten actions; the sum over all is exact.
    """
    likely = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1])
    return jnp.einsum("...a,...avc->...vc", probability, likely)


def distances(expected: Array, target: Array, kind: Distance) -> Array:
    """Returns how far each other agent is from doing its target, f32 [..., V].

    Args:
      expected: f32 [..., V, C], probabilities of what it does next.
      target: int32 [..., V], what it should do.
      kind: `l1` (0 to 2), `l2` (0 to the root of 2) or `max` (0 to 1).
    """
    gap = jnp.abs(expected - jax.nn.one_hot(target, expected.shape[-1]))
    if kind == "l1":
        return gap.sum(-1)
    return gap.max(-1) if kind == "max" else jnp.sqrt((gap**2).sum(-1))


def adversary_reward(reward: Array, penalty: Array, weight: float, deviation: Array) -> Array:
    """Returns the rewards f32 [..., N] that the adversary learns from.

    The penalty is measured in deviations of the reward, so that `weight` means the same in every
    environment. PPO's results do not depend on the scale of the sum.

    Args:
      reward: f32 [..., N], of the environment.
      penalty: f32 [..., N], the sum of `distances`.
      weight: lambda.
      deviation: f32 [], of the team reward of one step.
    """
    return reward - weight * deviation * penalty


def action_nll(logits: Array, action: Array) -> Array:
    """Returns the negative log-likelihood f32 [..., V] of actions int32 [..., V]."""
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, action[..., None], -1)[..., 0]
