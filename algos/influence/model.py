"""The model of what the other agents do next, given the state and what everyone does now."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.influence.config import NextActionConfig
from marlx.algos.influence.equations import action_nll
from marlx.algos.influence.joint import legal, widest, with_each_action
from marlx.algos.ppo_losses import weighted_mean
from marlx.data.minibatches import permutations, take
from marlx.nets.agents import AgentNetwork, unroll_network
from marlx.types import Array, EnvSpec, Tree


class ModelParts(NamedTuple):
    """The fixed parts of the model."""

    spec: EnvSpec
    config: NextActionConfig
    network: AgentNetwork
    optimiser: optax.GradientTransformation


class ModelState(NamedTuple):
    """State of the model."""

    params: Tree
    optimiser: optax.OptState
    memory: Array  # f32 [B, 1, M], before the next rollout


class Examples(NamedTuple):
    """A rollout as the model learns from it."""

    inputs: Array  # f32 [T, B, F]
    action: Array  # int32 [T, B, V], what the others did next
    known: Array  # bool [T, B], whether that is known
    done: Array  # bool [T, B]


class Trained(NamedTuple):
    """The part of the state that gradient steps change."""

    params: Tree
    optimiser: optax.OptState


def model_parts(spec: EnvSpec, config: NextActionConfig, *, recurrent: bool) -> ModelParts:
    """Returns the model's parts; one network with an output for each action of each other agent."""
    outputs = len(spec.partner_actions) * widest(spec)
    network = AgentNetwork(outputs, config.hidden, recurrent)
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    return ModelParts(spec, config, network, optax.chain(clip, optax.adam(config.lr)))


def init(parts: ModelParts, key: Array, inputs: int, num_envs: int) -> ModelState:
    """Returns the first state, for inputs of a width.

    Raises:
      ValueError: the environments cannot be divided among the gradient steps.
    """
    minibatches = parts.config.minibatches
    if num_envs % minibatches:
        raise ValueError(
            f"model.minibatches is {minibatches}; it must divide num_envs ({num_envs})"
        )
    memory = jnp.zeros((num_envs, 1, parts.network.memory_size))
    params = parts.network.init(key, memory[:1], jnp.zeros((1, 1, inputs)))
    return ModelState(params, parts.optimiser.init(params), memory)


def by_agent(spec: EnvSpec, outputs: Array) -> Array:
    """Returns logits f32 [..., V, C], those of actions that an agent never has far below."""
    logits = outputs.reshape(*outputs.shape[:-1], len(spec.partner_actions), -1)
    return jnp.where(legal(spec), logits, -1e9)


def unroll(
    parts: ModelParts, params: Tree, memory: Array, inputs: Array, done: Array
) -> tuple[Array, Array]:
    """Returns logits f32 [T, b, V, C] of the next actions, and memories f32 [T, b, 1, M] before."""
    outputs, _, after = unroll_network(parts.network, params, memory, inputs[:, :, None], done)
    following = jnp.where(done[..., None, None], 0.0, after)
    before = jnp.concatenate([memory[None], following[:-1]])
    return by_agent(parts.spec, outputs[:, :, 0]), before


def after_each_action(parts: ModelParts, params: Tree, before: Array, inputs: Array) -> Array:
    """Returns logits f32 [T, B, N, A, V, C] of the next actions, had an agent done something else.

    Args:
      parts: of the model.
      params: of the network.
      before: f32 [T, B, 1, M], memories before each step.
      inputs: f32 [T, B, F].
    """
    apply: Callable[..., Any] = parts.network.apply
    changed = with_each_action(parts.spec, inputs)
    memory = jnp.broadcast_to(before[..., None, :], (*changed.shape[:-1], before.shape[-1]))
    return by_agent(parts.spec, apply(params, memory, changed)[0])


def loss(
    parts: ModelParts, params: Tree, memory: Array, data: Examples
) -> tuple[Array, dict[str, Array]]:
    """Returns the mean negative log-likelihood f32 [] of what the others did next, and metrics."""
    logits, _ = unroll(parts, params, memory, data.inputs, data.done)
    known = jnp.broadcast_to(data.known[..., None], data.action.shape).astype(jnp.float32)
    nll = weighted_mean(action_nll(logits, data.action), known)
    right = (logits.argmax(-1) == data.action).astype(jnp.float32)
    return nll, {"model_nll": nll, "model_accuracy": weighted_mean(right, known)}


def fit(
    parts: ModelParts, state: ModelState, data: Examples, after: Array, key: Array
) -> tuple[ModelState, dict[str, Array]]:
    """Returns the state after all passes over a rollout, and metrics from before them.

    Args:
      parts: of the model.
      state: before; its memory is that of the rollout's first step.
      data: the rollout. The metrics are of data that the model has not learned from.
      after: f32 [B, 1, M], memory before the next rollout.
      key: consumed.
    """
    gradient_of = jax.grad(functools.partial(loss, parts), has_aux=True)

    def step(trained: Trained, chosen: Array) -> tuple[Trained, None]:
        memory = take(state.memory, chosen, 0)
        gradient, _ = gradient_of(trained.params, memory, take(data, chosen, 1))
        change, optimiser = parts.optimiser.update(gradient, trained.optimiser, trained.params)
        return Trained(optax.apply_updates(trained.params, change), optimiser), None

    _, metrics = loss(parts, state.params, state.memory, data)
    config = parts.config
    orders = permutations(key, config.epochs, len(state.memory))
    orders = orders.reshape(config.epochs * config.minibatches, -1)
    trained, _ = jax.lax.scan(step, Trained(state.params, state.optimiser), orders)
    return ModelState(trained.params, trained.optimiser, after), metrics
