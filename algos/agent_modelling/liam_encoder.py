"""LIAM's agent model: a recurrent encoder trained to reconstruct the partners' steps.

The partners' observations and actions are in the global state, and are used in training only.

Source: Papoudakis et al. 2021 (LIAM), arXiv 2006.09447. Differs from: the policy reads the
embedding of the steps *before* its observation, as it does CLAM's; PPO instead of A2C, a GRU
instead of an LSTM.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from marlx.algos.agent_modelling.config import LiamConfig
from marlx.algos.agent_modelling.models import AgentModel
from marlx.algos.agent_modelling.tokens import PreviousStep, Tokenizer
from marlx.algos.ppo_losses import weighted_mean
from marlx.data.minibatches import take
from marlx.learning.part_rates import with_part_rates
from marlx.nets.agents import AgentNetwork, unroll_network
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class LiamMemory(NamedTuple):
    """Acting memory."""

    hidden: Array  # f32 [B, N, H], the GRU's
    embedding: Array  # f32 [B, N, E]; 0 at first
    previous: PreviousStep


class LiamParams(NamedTuple):
    """Trained parameters."""

    decoder: Tree
    encoder: Tree


class LiamState(NamedTuple):
    """State of the model."""

    params: LiamParams
    optimiser: optax.OptState
    rollout: Transition  # the last one, [T, B, ...]


class Trained(NamedTuple):
    """The part of the state that gradient steps change."""

    params: LiamParams
    optimiser: optax.OptState


class Decoder(nn.Module):
    """MLP from embeddings to the observations and actions of M partners."""

    hidden: int
    observations: int
    actions: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Returns observations f32 [..., M O] and logits f32 [..., M A] from f32 [..., E]."""
        x = nn.relu(nn.Dense(self.hidden)(x))
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.observations)(x), nn.Dense(self.actions)(x)


class Parts(NamedTuple):
    """The fixed parts of the model."""

    spec: EnvSpec
    config: LiamConfig
    tokenizer: Tokenizer
    encoder: AgentNetwork
    decoder: Decoder
    optimiser: optax.GradientTransformation


def reconstruction_loss(
    predicted: Array, logits: Array, observation: Array, action: Array
) -> tuple[Array, Array]:
    """Returns half the mean squared error of observations and the mean NLL of actions, f32 [].

    Args:
      predicted: f32 [P], the M partners' observations, P = M O.
      logits: f32 [M, A], of their actions.
      observation: f32 [P].
      action: f32 [M, A], one-hot.

    Source: Papoudakis et al. 2021 (LIAM), arXiv 2006.09447, eq. 3.
    """
    error = 0.5 * ((predicted - observation) ** 2).mean()
    return error, -(action * jax.nn.log_softmax(logits)).sum(-1).mean()


def loss(parts: Parts, params: LiamParams, t: Transition) -> tuple[Array, dict[str, Array]]:
    """Returns the mean reconstruction loss f32 [] over a rollout [T, b, ...], and metrics.

    Steps at which an agent is inactive are left out.
    """
    spec, tokenizer = parts.spec, parts.tokenizer
    observations, actions = _partner_parts(spec)
    decode: Callable[..., Any] = parts.decoder.apply
    tokens = tokenizer.unpack(tokenizer.pack(t.memory.previous, t.obs))
    embedding, _, _ = unroll_network(
        parts.encoder, params.encoder, t.memory.hidden[0], tokens, t.done
    )
    predicted, logits = decode(params.decoder, embedding)
    # the action of a step is in the global state after it
    observation = t.obs.global_state[..., None, observations] / spec.scale
    action = t.next_obs.global_state[..., None, actions]
    by_partner = (*logits.shape[:-1], -1, spec.num_actions)
    errors = jnp.vectorize(reconstruction_loss, signature="(p),(m,a),(p),(m,a)->(),()")(
        predicted,
        logits.reshape(by_partner),
        jnp.broadcast_to(observation, predicted.shape),
        jnp.broadcast_to(action, logits.shape).reshape(by_partner),
    )
    active = t.obs.active
    weight = None if active is None else active.astype(jnp.float32)
    error, nll = (weighted_mean(x, weight) for x in errors)
    return error + nll, {"reconstruction_error": error, "action_nll": nll}


def update(parts: Parts, state: LiamState, key: Array) -> tuple[LiamState, dict[str, Array]]:
    """Returns the state after `updates` gradient steps, each on some of the environments."""

    def step(trained: Trained, chosen: Array) -> tuple[Trained, dict[str, Array]]:
        batch = take(state.rollout, chosen, 1)
        gradient, metrics = jax.grad(functools.partial(loss, parts), has_aux=True)(
            trained.params, batch
        )
        change, optimiser = parts.optimiser.update(gradient, trained.optimiser, trained.params)
        return Trained(optax.apply_updates(trained.params, change), optimiser), metrics

    order = jax.random.permutation(key, state.rollout.done.shape[1])
    trained = Trained(state.params, state.optimiser)
    trained, metrics = jax.lax.scan(step, trained, order.reshape(parts.config.updates, -1))
    state = state._replace(params=trained.params, optimiser=trained.optimiser)
    return state, jax.tree.map(jnp.mean, metrics)


def init(parts: Parts, key: Array, example: Transition) -> LiamState:
    """Returns the first state.

    Raises:
      ValueError: the environments cannot be divided among the gradient steps.
    """
    updates, num_envs = parts.config.updates, example.terminated.shape[1]
    if num_envs % updates:
        raise ValueError(f"updates is {updates}; it must divide num_envs ({num_envs})")
    key_encoder, key_decoder = jax.random.split(key)
    hidden, x = jnp.zeros((1, parts.config.hidden)), jnp.zeros((1, parts.tokenizer.width))
    params = LiamParams(
        encoder=parts.encoder.init(key_encoder, hidden, x),
        decoder=parts.decoder.init(key_decoder, jnp.zeros((1, parts.encoder.num_outputs))),
    )
    rollout = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example._replace(extras=()))
    return LiamState(params, parts.optimiser.init(params), rollout)


def advance(
    parts: Parts, params: Tree, memory: LiamMemory, obs: Observation, action: Array
) -> LiamMemory:
    """Returns the acting memory after one more step."""
    tokenizer = parts.tokenizer
    token = tokenizer.unpack(tokenizer.pack(memory.previous, obs))
    encode: Callable[..., Any] = parts.encoder.apply
    embedding, _, hidden = encode(params, memory.hidden, token)
    return LiamMemory(hidden, embedding, tokenizer.advance(memory.previous, obs, action))


def reconstruction_model(
    spec: EnvSpec, tokenizer: Tokenizer, size: int, config: LiamConfig
) -> AgentModel:
    """Returns LIAM's agent model.

    Args:
      spec: of an environment whose global state has the parts `partner_observation` and
        `partner_action`.
      tokenizer: of the encoder's input.
      size: E, of the embedding.
      config: settings.

    Raises:
      ValueError: the global state lacks these parts, or actions are continuous.
    """
    if spec.continuous:
        raise ValueError("model 'liam' reconstructs discrete actions; they are continuous here")
    widths = [part.stop - part.start for part in _partner_parts(spec)]
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    parts = Parts(
        spec,
        config,
        tokenizer,
        AgentNetwork(size, config.hidden),
        Decoder(config.hidden, *widths),
        with_part_rates(optax.chain(clip, optax.adam(config.lr))),
    )

    def memory(num_envs: int) -> LiamMemory:
        batch = (num_envs, spec.num_agents)
        hidden, embedding = jnp.zeros((*batch, config.hidden)), jnp.zeros((*batch, size))
        return LiamMemory(hidden, embedding, tokenizer.start(num_envs))

    return AgentModel(
        init=functools.partial(init, parts),
        memory=memory,
        params=lambda state: state.params.encoder,
        embed=lambda params, memory, obs: memory.embedding,
        advance=functools.partial(advance, parts),
        observe=lambda state, rollout: state._replace(rollout=rollout._replace(extras=())),
        update=functools.partial(update, parts),
    )


def _partner_parts(spec: EnvSpec) -> tuple[slice, slice]:
    """Returns where the global state has the partners' observations and last actions."""
    return spec.state_part("partner_observation"), spec.state_part("partner_action")
