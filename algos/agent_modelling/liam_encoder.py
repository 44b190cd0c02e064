"""LIAM: a model of the partners that learns to say what they see and do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from marlx.algos.agent_modelling.config import LiamConfig
from marlx.algos.agent_modelling.models import Before, Model, Tokens
from marlx.data.minibatches import chosen_of
from marlx.nets.agents import AgentNetwork, unroll_network
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class Recalling(NamedTuple):
    """Acting memory."""

    hidden: Array  # f32 [B, N, H], the GRU's
    vector: Array  # f32 [B, N, E]
    before: Before


class LiamState(NamedTuple):
    """The model."""

    params: Tree  # encoder and decoder
    optimiser: optax.OptState
    rollout: Transition  # the last one, [T, B, ...]


class Decoder(nn.Module):
    """Embeddings to what the partners see and do."""

    hidden: int
    observations: int
    actions: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Observations f32 [..., M * O] and logits f32 [..., M * A] of f32 [..., E]."""
        x = nn.relu(nn.Dense(self.hidden)(x))
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.observations)(x), nn.Dense(self.actions)(x)


def reconstruction(
    seen: Array, logits: Array, observation: Array, action: Array
) -> tuple[Array, Array]:
    """Half the mean squared error of what M partners see, and the mean NLL of what they do.

    Args:
      seen: f32 [P], predicted observations, P = M O.
      logits: f32 [M, A].
      observation: f32 [P].
      action: f32 [M, A], one-hot.

    Source: Papoudakis et al. 2021 (LIAM), arXiv 2006.09447, eq. 3.
    """
    error = 0.5 * ((seen - observation) ** 2).mean()
    return error, -(action * jax.nn.log_softmax(logits)).sum(-1).mean()


def liam(spec: EnvSpec, token: Tokens, size: int, config: LiamConfig) -> Model:
    """A GRU over the agent's own trajectory, trained to reconstruct what the partners see and do.

    What they see and do is told by the environment, and used in training only.

    Args:
      spec: of an environment whose global state has the parts `partner_observation` and
        `partner_action`.
      token: what it reads.
      size: E, of the embedding.
      config: settings.

    Raises:
      ValueError: the environment does not tell, or actions are continuous.

    Source: Papoudakis et al. 2021 (LIAM), arXiv 2006.09447. Differs from: the policy reads the
    embedding of the steps *before* its observation, as it does CLAM's; PPO in the place of A2C, a
    GRU in that of an LSTM.
    """
    if spec.continuous:
        raise ValueError("model 'liam' reconstructs discrete actions; they are continuous here")
    seen_at, did_at = spec.state_part("partner_observation"), spec.state_part("partner_action")
    widths = seen_at.stop - seen_at.start, did_at.stop - did_at.start
    encoder = AgentNetwork(size, config.hidden)
    decoder = Decoder(config.hidden, *widths)
    encode: Callable[..., Any] = encoder.apply
    decode: Callable[..., Any] = decoder.apply
    adam = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.lr))

    def memory(num_envs: int) -> Recalling:
        batch = (num_envs, spec.num_agents)
        return Recalling(
            jnp.zeros((*batch, config.hidden)), jnp.zeros((*batch, size)), token.before(num_envs)
        )

    def push(params: Tree, memory: Recalling, obs: Observation, action: Array) -> Recalling:
        x = token.expand(token.step(memory.before, obs))
        vector, _, hidden = encode(params, memory.hidden, x)
        return Recalling(hidden, vector, token.after(memory.before, obs, action))

    def init(key: Array, example: Transition) -> LiamState:
        num_envs = example.terminated.shape[1]
        if num_envs % config.updates:
            raise ValueError(f"updates is {config.updates}; it must divide num_envs ({num_envs})")
        key_encoder, key_decoder = jax.random.split(key)
        hidden, x = jnp.zeros((1, config.hidden)), jnp.zeros((1, token.width))
        params = {
            "encoder": encoder.init(key_encoder, hidden, x),
            "decoder": decoder.init(key_decoder, jnp.zeros((1, size))),
        }
        rollout = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example._replace(extras=()))
        return LiamState(params, adam.init(params), rollout)

    def loss(params: Tree, t: Transition) -> tuple[Array, dict[str, Array]]:
        x = token.expand(token.step(t.memory.before, t.obs))
        vector, _, _ = unroll_network(encoder, params["encoder"], t.memory.hidden[0], x, t.done)
        seen, logits = decode(params["decoder"], vector)
        # the action taken at a step is told by the observation after it
        observation = t.obs.global_state[..., None, seen_at] / spec.scale
        action = t.next_obs.global_state[..., None, did_at]
        split = (*logits.shape[:-1], -1, spec.num_actions)
        errors = jnp.vectorize(reconstruction, signature="(p),(m,a),(p),(m,a)->(),()")(
            seen,
            logits.reshape(split),
            jnp.broadcast_to(observation, seen.shape),
            jnp.broadcast_to(action, logits.shape).reshape(split),
        )
        error, nll = jax.tree.map(jnp.mean, errors)
        return error + nll, {"reconstruction_error": error, "action_nll": nll}

    def update(state: LiamState, key: Array) -> tuple[LiamState, dict[str, Array]]:
        def one(carry: Tree, chosen: Array) -> tuple[Tree, dict[str, Array]]:
            params, optimiser = carry
            part = chosen_of(state.rollout, chosen, 1)
            gradient, metrics = jax.grad(loss, has_aux=True)(params, part)
            step, optimiser = adam.update(gradient, optimiser, params)
            return (optax.apply_updates(params, step), optimiser), metrics

        order = jax.random.permutation(key, state.rollout.done.shape[1])
        carry, metrics = jax.lax.scan(
            one, (state.params, state.optimiser), order.reshape(config.updates, -1)
        )
        params, optimiser = carry
        return state._replace(params=params, optimiser=optimiser), jax.tree.map(jnp.mean, metrics)

    return Model(
        init=init,
        memory=memory,
        policy=lambda state: state.params["encoder"],
        read=lambda params, memory, obs: memory.vector,
        push=push,
        observe=lambda state, rollout: state._replace(rollout=rollout._replace(extras=())),
        update=update,
    )
