"""From the outputs of an actor to actions, and to what its gradient passes through.

Critics read actions as numbers: components of a continuous action between -1 and 1, a discrete
action one-hot. Both are 0 for what an agent does not have. Gradients reach the actor through these
numbers: of a deterministic action by the chain rule, of a Gaussian's sample by its mean and
deviation, of a discrete action by the Gumbel-softmax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.last_action import encoded
from marlx.learning.active import zero_inactive
from marlx.learning.distributions import Categorical, Gaussian
from marlx.types import Array, EnvSpec, Observation

CATEGORICAL, SQUASHED = Categorical(), Gaussian(squashed=True)


class Drawn(NamedTuple):
    """Actions for a critic, differentiable in the outputs of the actor."""

    action: Array  # f32 [..., N, A], as critics read them
    entropy: Array  # f32 [..., N], of the policy, or an estimate of it; 0 without chance
    size: Array  # f32 [..., N], mean square of the outputs, against saturation


class Policy(NamedTuple):
    """How outputs f32 [..., N, O] become actions; mask bool [..., N, A].

    Attributes:
      num_outputs: O.
      greedy: `(outputs, mask) -> action` of the environment, without chance.
      explore: `(key, outputs, mask) -> action` of the environment.
      draw: `(key, outputs, mask) -> Drawn`.
    """

    num_outputs: int
    greedy: Callable[[Array, Array], Array]
    explore: Callable[[Array, Array, Array], Array]
    draw: Callable[[Array, Array, Array], Drawn]


def as_read(spec: EnvSpec, obs: Observation, action: Array) -> Array:
    """Returns actions of the environment as critics read them, f32 [..., N, A].

    Agents that are not there do nothing: theirs are 0.

    Args:
      spec: of the environment.
      obs: [...], before the actions.
      action: int32 [..., N], or f32 [..., N, A] in [0, 1].
    """
    shown = encoded(spec, action, obs.active)
    return readable(obs, 2.0 * shown - 1.0) if spec.continuous else shown


def readable(obs: Observation, action: Array) -> Array:
    """Returns `action` f32 [..., N, A] with 0 for what agents lack, and for absent agents."""
    return zero_inactive(jnp.where(obs.action_mask, action, 0.0), obs.active)


# --- discrete ---


def straight_through(key: Array, logits: Array, mask: Array, temperature: float | Array) -> Array:
    """Returns samples of a categorical distribution as one-hot vectors f32 [..., A].

    Their gradient is that of `softmax((logits + g) / temperature)` with the same Gumbel noise g.
    An illegal action is never drawn and gets no gradient.

    Args:
      key: consumed.
      logits: f32 [..., A].
      mask: bool [..., A], legal actions.
      temperature: above 0.

    Source: Jang et al. 2017, section 2.2 (straight-through Gumbel-softmax).
    """
    noisy = (logits + jax.random.gumbel(key, logits.shape)) / temperature
    noisy = jnp.where(mask, noisy, -jnp.inf)
    soft = jax.nn.softmax(noisy, -1)
    hard = jax.nn.one_hot(noisy.argmax(-1), logits.shape[-1])
    return hard + (soft - jax.lax.stop_gradient(soft))


def categorical(spec: EnvSpec, temperature: float | Array) -> Policy:
    """Returns the policy of discrete actions; outputs are logits, exploring draws from them."""

    def draw(key: Array, outputs: Array, mask: Array) -> Drawn:
        action = straight_through(key, outputs, mask, temperature)
        entropy = CATEGORICAL.entropy(outputs, mask, action)
        return Drawn(action, entropy, mean_square(outputs, mask))

    return Policy(spec.num_actions, CATEGORICAL.mode, CATEGORICAL.sample, draw)


# --- continuous ---


def deterministic(spec: EnvSpec, noise: float | Array) -> Policy:
    """Returns the policy `tanh(outputs)`; exploring adds Gaussian noise and clips.

    Args:
      spec: of the environment.
      noise: standard deviation, of actions in [0, 1].
    """

    def greedy(outputs: Array, mask: Array) -> Array:
        return jnp.where(mask, (jnp.tanh(outputs) + 1.0) / 2.0, 0.0)

    def explore(key: Array, outputs: Array, mask: Array) -> Array:
        noisy = greedy(outputs, mask) + noise * jax.random.normal(key, outputs.shape)
        return jnp.where(mask, jnp.clip(noisy, 0.0, 1.0), 0.0)

    def draw(key: Array, outputs: Array, mask: Array) -> Drawn:
        del key
        action = jnp.where(mask, jnp.tanh(outputs), 0.0)
        return Drawn(action, jnp.zeros(outputs.shape[:-1]), mean_square(outputs, mask))

    return Policy(spec.num_actions, greedy, explore, draw)


def gaussian(spec: EnvSpec) -> Policy:
    """Returns the policy of a squashed Gaussian; its entropy is estimated from the one sample.

    Source: Haarnoja et al. 2018, appendix C. The density is that of actions in [0, 1], which is
    twice that of actions in [-1, 1] in every component.
    """
    kind = SQUASHED

    def greedy(outputs: Array, mask: Array) -> Array:
        return kind.action(kind.mode(outputs, mask), mask)

    def explore(key: Array, outputs: Array, mask: Array) -> Array:
        return kind.action(kind.sample(key, outputs, mask), mask)

    def draw(key: Array, outputs: Array, mask: Array) -> Drawn:
        raw = kind.sample(key, outputs, mask)
        action = jnp.where(mask, jnp.tanh(raw), 0.0)
        entropy = -kind.log_prob(outputs, mask, raw)
        return Drawn(action, entropy, mean_square(outputs[..., : spec.num_actions], mask))

    return Policy(kind.num_outputs(spec.num_actions), greedy, explore, draw)


def mean_square(outputs: Array, mask: Array) -> Array:
    """Returns f32 [..., N], the mean square of the outputs f32 [..., N, A] in the mask."""
    return jnp.where(mask, outputs**2, 0.0).sum(-1) / jnp.maximum(mask.sum(-1), 1)


# --- by the kind of actions ---


def without_entropy(spec: EnvSpec, noise: float | Array, temperature: float | Array) -> Policy:
    """Returns the policy of the DDPG kinds: deterministic, or categorical by Gumbel-softmax."""
    return deterministic(spec, noise) if spec.continuous else categorical(spec, temperature)


def with_entropy(spec: EnvSpec, temperature: float | Array) -> Policy:
    """Returns the policy of the SAC kinds: a squashed Gaussian, or categorical."""
    return gaussian(spec) if spec.continuous else categorical(spec, temperature)


def target_entropies(
    spec: EnvSpec, mask: Array, component: float | Array, share: float | Array
) -> Array:
    """Returns the entropies that temperatures are adjusted to, f32 [..., N].

    Args:
      spec: of the environment.
      mask: bool [..., N, A].
      component: of each component of a continuous action, where it lies in [-1, 1]. Its density in
        [0, 1] is twice as high: log 2 is subtracted.
      share: of discrete ones, of the logarithm of the number of legal actions.

    Source: Haarnoja et al. 2018b, section 5 (-1 for each component); Christodoulou 2019 for a share
    of the largest entropy. Differs from: the latter's 0.98; here the actions that are legal count.
    """
    count = mask.sum(-1).astype(jnp.float32)
    if spec.continuous:
        return count * (component - jnp.log(2.0))
    return share * jnp.log(jnp.maximum(count, 1.0))
