"""Agent models: an embedding of the partners per agent, beside its observation.

`AgentModel` is the contract. `marlx.algos.agent_modelling.learner` puts a model beside PPO, which
reads observation and embedding and sends no gradient back. The models here are bounds and controls
and do not learn; `clam_encoder` and `liam_encoder` have those that do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class AgentModel(NamedTuple):
    """An agent model as pure functions over a state, for a batch of environments `[B]`.

    Attributes:
      init: `(key, example) -> state`; `example` is as for `Learner.init`, with this model's memory.
      memory: `(B) -> memory`, at an episode's start.
      params: `(state) -> params`, the part of the state that acting needs.
      embed: `(params, memory, obs) -> f32 [B, N, E]`, the embeddings to act with.
      advance: `(params, memory, obs, action) -> memory`, after `action` was chosen in `obs`.
      observe: `(state, rollout) -> state`.
      update: `(state, key) -> state, metrics`.
    """

    init: Callable[[Array, Transition], Tree]
    memory: Callable[[int], Tree]
    params: Callable[[Tree], Tree]
    embed: Callable[[Tree, Tree, Observation], Array]
    advance: Callable[[Tree, Tree, Observation, Array], Tree]
    observe: Callable[[Tree, Transition], Tree]
    update: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]


def partner_part(spec: EnvSpec) -> tuple[slice, int]:
    """Returns where the global state has the partner's one-hot index, and the number of partners.

    Raises:
      ValueError: the global state does not have it.
    """
    part = spec.state_part("partner")
    return part, part.stop - part.start


def zeros(spec: EnvSpec, size: int) -> AgentModel:
    """Returns a control whose embeddings are 0: PPO with networks of the same size, no model."""
    return _stateless(spec, size, lambda empty, obs: empty)


def oracle(spec: EnvSpec, size: int) -> AgentModel:
    """Returns an upper bound: the partner's index, one-hot, from the first step on.

    Raises:
      ValueError: the global state does not have it, or there are more partners than `size`.
    """
    part, count = partner_part(spec)
    if count > size:
        raise ValueError(f"embedding is {size}; an oracle of {count} partners needs {count}")

    def index(empty: Array, obs: Observation) -> Array:
        return empty.at[..., :count].set(obs.global_state[..., None, part])

    return _stateless(spec, size, index)


def shuffled(model: AgentModel) -> AgentModel:
    """Returns a control: `model` with the embeddings of the next environment in the batch.

    With a single environment they are its own.
    """

    def embed(params: Tree, memory: Tree, obs: Observation) -> Array:
        return jnp.roll(model.embed(params, memory, obs), 1, axis=0)

    return model._replace(embed=embed)


def untrained(model: AgentModel) -> AgentModel:
    """Returns a control: `model` with its initial parameters throughout."""

    def update(state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
        del key
        return state, {}

    return model._replace(observe=lambda state, rollout: state, update=update)


def _stateless(
    spec: EnvSpec, size: int, embed: Callable[[Array, Observation], Array]
) -> AgentModel:
    """Returns a model without state, from `(zeros f32 [B, N, size], obs) -> embeddings`."""

    def embed_zeros(params: Tree, memory: Tree, obs: Observation) -> Array:
        del params, memory
        return embed(jnp.zeros((len(obs.local), spec.num_agents, size)), obs)

    return AgentModel(
        init=lambda key, example: (),
        memory=lambda num_envs: (),
        params=lambda state: (),
        embed=embed_zeros,
        advance=lambda params, memory, obs, action: (),
        observe=lambda state, rollout: (),
        update=lambda state, key: ((), {}),
    )
