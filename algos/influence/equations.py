"""Equations of AMI: what the others are expected to do next, and how far that is from a target.

Source: Li et al. 2023 (AMI), arXiv 2302.03322; the authors' code (DIG-Beihang/AMI) where the text
leaves it open.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from marlx.algos.influence.config import AMIConfig, Distance
from marlx.types import Array

LEAST = 1e-10
"""Probabilities are at least this where their logarithm is taken."""


def expected_actions(probability: Array, logits: Array, *, soft: bool = False) -> Array:
    """Returns the others' most likely next actions, averaged over the own action, f32 [..., V, C].

    Args:
      probability: f32 [..., A], of the own actions; one-hot for the action that was taken.
      logits: f32 [..., A, V, C], of the next action of each of V others after each own action,
        what the others do now held fixed.
      soft: average the probabilities of all their actions in place of the most likely ones.

    Differs from: the authors' code, which draws ten actions; the sum over all is exact.
    """
    likely = jax.nn.softmax(logits)
    if not soft:
        likely = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1])
    return jnp.einsum("...a,...avc->...vc", probability, likely)


def distances(expected: Array, wanted: Array, kind: Distance) -> Array:
    """Returns how far each other agent is from what is wanted of it, f32 [..., V].

    Args:
      expected: f32 [..., V, C], probabilities of what it does next.
      wanted: f32 [..., V, C], the same as they should be; one-hot for a target.
      kind: `l1` (0 to 2), `l2` (0 to the root of 2), `max` (0 to 1), or `log`: the divergence from
        `expected` to `wanted`, for a target minus its log-probability (0 to 23).
    """
    if kind == "log":
        logs = jnp.log(jnp.maximum(expected, LEAST))
        divergence: Array = optax.losses.kl_divergence(logs, wanted)
        return divergence
    gap = jnp.abs(expected - wanted)
    if kind == "l1":
        return gap.sum(-1)
    return gap.max(-1) if kind == "max" else jnp.sqrt((gap**2).sum(-1))


def penalties(
    config: AMIConfig, probability: Array, logits: Array, target: Array, mask: Array
) -> Array:
    """Returns how far the others are expected to be from their targets, f32 [..., N].

    Without targets it is minus how far the own actions move the others from what they do where own
    actions are uniformly random (our reading of an untargeted attack).

    Args:
      config: whose `targets` and `distance` count.
      probability: f32 [..., N, A], of the own actions.
      logits: f32 [..., N, A, V, C], see `expected_actions`.
      target: int32 [..., V], what each of the others should do next.
      mask: bool [..., N, A], legal own actions.
    """
    soft = config.distance == "log"  # the most likely action alone has no logarithm
    expected = expected_actions(probability, logits, soft=soft)
    if config.targets == "none":
        uniform = mask / mask.sum(-1, keepdims=True)
        unmoved = expected_actions(uniform, logits, soft=soft)
        return -distances(expected, unmoved, config.distance).sum(-1)
    wanted = jax.nn.one_hot(target, logits.shape[-1])[..., None, :, :]
    return distances(expected, wanted, config.distance).sum(-1)


def adversary_reward(reward: Array, penalty: Array, weight: float, deviation: Array) -> Array:
    """Returns the rewards f32 [..., N] that the adversary learns from.

    The penalty is measured in deviations of the reward, so that `weight` means the same in every
    environment. PPO's results do not depend on the scale of the sum.

    Args:
      reward: f32 [..., N], of the environment.
      penalty: f32 [..., N], see `penalties`.
      weight: lambda.
      deviation: f32 [], of the team reward of one step.
    """
    return reward - weight * deviation * penalty


def action_nll(logits: Array, action: Array) -> Array:
    """Returns the negative log-likelihood f32 [..., V] of actions int32 [..., V]."""
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, action[..., None], -1)[..., 0]
