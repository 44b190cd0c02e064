"""Actors with a gated hidden layer: a policy under each of a few masks, and their mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.regularisation_config import CoachRegConfig
from marlx.learning.distributions import log_probabilities
from marlx.nets.agents import feature_width, sharing
from marlx.nets.makers import agents_network
from marlx.types import Array, EnvSpec, Observation, Tree


class GatedActor(NamedTuple):
    """Choices of masks and policies under each, as functions of parameters and observations.

    Mask logits are f32 [..., N, K], those of actions f32 [..., N, K, A].

    Attributes:
      init: `(key) -> params`.
      memory: `(B) -> f32 [B, N, M]`, at an episode's start.
      step: `(params, memory [..., N, M], obs) -> mask logits, action logits, memory`.
      unroll: `(params, memory [b, N, M], obs, done) -> mask logits, action logits`, a sequence.
    """

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    step: Callable[[Tree, Array, Observation], tuple[Array, Array, Array]]
    unroll: Callable[[Tree, Array, Observation, Array], tuple[Array, Array]]


class GatedParams(NamedTuple):
    """Parameters, [G, ...] stacked by parameter set."""

    trunk: Tree  # with the choice of masks as its head
    head: Tree


def gates(width: int, masks: int) -> np.ndarray[Any, Any]:
    """Returns f32 [K, width], the masks: number k leaves on the units k, k + K, k + 2 K, ..."""
    on: np.ndarray[Any, Any] = np.arange(width) % masks == np.arange(masks)[:, None]
    return on.astype(np.float32)


def mixture(masks: Array, logits: Array, legal: Array) -> Array:
    """Returns log-probabilities f32 [..., N, A] of actions of which nobody knows the mask.

    `log sum_k e_k pi_k(a)`; large and negative where illegal.

    Args:
      masks: f32 [..., N, K], logits of e.
      logits: f32 [..., N, K, A], of the policies under each mask.
      legal: bool [..., N, A].
    """
    each = log_probabilities(logits, legal[..., None, :])
    return jax.nn.logsumexp(jax.nn.log_softmax(masks)[..., None] + each, -2)


def of_mask(logits: Array, legal: Array, action: Array) -> Array:
    """Returns log-probabilities f32 [..., N, K] of actions int32 [..., N] under each mask.

    The other arguments are those of `mixture`.
    """
    each = log_probabilities(logits, legal[..., None, :])
    index = jnp.broadcast_to(action[..., None, None], (*each.shape[:-1], 1))
    return jnp.take_along_axis(each, index, -1)[..., 0]


def chosen_masks(mask_of: Literal["own", "random", "other"], masks: Array) -> Array:
    """Returns mask logits f32 [..., N, K] that agents act under; see `CoachRegConfig.mask_of`."""
    if mask_of == "random":
        return jnp.zeros_like(masks)
    return masks if mask_of == "own" else jnp.roll(masks, -1, axis=-2)


class Head(nn.Module):
    """Logits of actions under each mask, from features."""

    masks: int
    hidden: int
    num_actions: int

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Returns f32 [..., K, A] from f32 [..., H]."""
        gated = features[..., None, :] * gates(features.shape[-1], self.masks)
        small = nn.initializers.variance_scaling(0.01**2, "fan_in", "truncated_normal")
        x = nn.relu(nn.Dense(self.hidden)(gated))
        logits: Array = nn.Dense(self.num_actions, kernel_init=small)(x)
        return logits


def gated_actor(spec: EnvSpec, config: CoachRegConfig) -> GatedActor:
    """Returns the actor of CoachReg: the network that `config.network` names, then gates, a layer.

    What the network remembers does not depend on the mask, so that a mixture over masks is exact
    with a memory too.

    Source: Roy et al. 2020, section 4.2. Differs from: it, where the first layer is gated; here it
    is the features of any network, and the choice of a mask is read from them.
    """
    trunk = agents_network(spec, config, config.masks, head_scale=0.01)
    shared = sharing(config.sharing, spec)
    head = Head(config.masks, config.hidden, spec.num_actions)

    def flat(params: Tree, features: Array) -> Array:
        logits: Array = head.apply(params, features)  # type: ignore[assignment]
        return logits.reshape(*logits.shape[:-2], -1)

    def logits_of(params: Tree, features: Array) -> Array:
        logits: Array = shared.apply(flat, params, features)
        return logits.reshape(*logits.shape[:-1], config.masks, spec.num_actions)

    def init(key: Array) -> GatedParams:
        key_trunk, key_head = jax.random.split(key)
        features = jnp.zeros(feature_width(trunk, spec))
        heads = shared.init(lambda key: head.init(key, features), key_head)
        return GatedParams(trunk.init(key_trunk), heads)

    def step(params: GatedParams, memory: Array, obs: Observation) -> tuple[Array, Array, Array]:
        masks, features, memory = trunk.step(params.trunk, memory, obs)
        return masks, logits_of(params.head, features), memory

    def unroll(
        params: GatedParams, memory: Array, obs: Observation, done: Array
    ) -> tuple[Array, Array]:
        masks, features, _ = trunk.unroll(params.trunk, memory, obs, done)
        return masks, logits_of(params.head, features)

    return GatedActor(init, trunk.memory, step, unroll)
