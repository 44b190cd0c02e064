"""Tokens: a step of an agent's trajectory as the vector that encoders read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.config import TokenKind
from marlx.learning.active import zero_inactive
from marlx.types import Array, EnvSpec, Observation


class PackedStep(NamedTuple):
    """A token in few bytes, for storage."""

    obs: Array  # [N, K], components of the observation or of its change, as `EnvSpec.storage`
    last_action: Array  # int8 or int32 [N], -1 at first; f32 [N, A] where continuous
    partner_action: Array  # int8 or f32 [N, P], the partners' last, one-hot; P is 0 for most kinds


class PreviousStep(NamedTuple):
    """The part of a token that comes from the step before."""

    action: Array  # int32 [B, N], -1 at an episode's start; f32 [B, N, A] where continuous
    obs: Array  # f32 [B, N, K], components of the observation; K is 0 unless tokens hold changes
    started: Array  # bool [B], False at an episode's start


class Tokenizer(NamedTuple):
    """Tokens as functions of observations and actions.

    Attributes:
      width: F, of a token.
      start: `(B) -> PreviousStep`, at an episode's start.
      pack: `(PreviousStep, obs) -> PackedStep`.
      advance: `(PreviousStep, obs, action) -> PreviousStep`.
      unpack: `(PackedStep [...]) -> f32 [..., N, F]`, the tokens.
    """

    width: int
    start: Callable[[int], PreviousStep]
    pack: Callable[[PreviousStep, Observation], PackedStep]
    advance: Callable[[PreviousStep, Observation, Array], PreviousStep]
    unpack: Callable[[PackedStep], Array]


def tokenizer(spec: EnvSpec, kind: TokenKind, inputs: tuple[int, ...] = ()) -> Tokenizer:
    """Returns the tokenizer of an agent's own trajectory: its observations and last actions.

    Both are 0 while the agent is inactive (`Observation.active`).

    Args:
      spec: the environment's.
      kind: `own`: observation and last action. `observation`: that alone. `change`: the observation
        is replaced by its change since the step before, 0 at first. `code`: the agent's last action
        is replaced by the partners', which the global state must have.
      inputs: components of the observation to read; none given: all.

    Raises:
      ValueError: a component that does not exist, or a global state without the partners' actions.

    Source: Ma et al. 2024 (CLAM), arXiv 2401.00132: the agent's own trajectory; `code` is what its
    authors' repository reads.
    """
    if not all(0 <= i < spec.obs_size for i in inputs):
        raise ValueError(f"inputs are {inputs}; observations have numbers 0 to {spec.obs_size - 1}")
    components = jnp.array(inputs or range(spec.obs_size))
    actions = spec.num_actions
    change = kind == "change"
    partner = spec.state_part("partner_action") if kind == "code" else slice(0, 0)
    partner_width = partner.stop - partner.start
    own_width = 0 if kind in ("code", "observation") else actions
    obs_type = jnp.dtype("int16" if spec.storage != "float32" and change else spec.storage)
    partner_type = jnp.dtype("float32" if spec.continuous else "int8")
    action_type = jnp.dtype("int8" if actions <= 127 else "int32")

    start = functools.partial(_before_first, spec, len(components) if change else 0)

    def pack(previous: PreviousStep, obs: Observation) -> PackedStep:
        own = zero_inactive(obs.local[..., components].astype(jnp.float32), obs.active)
        if change:
            own = jnp.where(previous.started[..., None, None], own - previous.obs, 0.0)
        last = previous.action if spec.continuous else previous.action.astype(action_type)
        others = obs.global_state[..., None, partner]
        others = jnp.broadcast_to(others, (*own.shape[:-1], partner_width))
        return PackedStep(own.astype(obs_type), last, others.astype(partner_type))

    def advance(previous: PreviousStep, obs: Observation, action: Array) -> PreviousStep:
        own = previous.obs
        if change:
            own = zero_inactive(obs.local[..., components].astype(jnp.float32), obs.active)
        if obs.active is not None:  # an agent that is not there chooses nothing
            there = obs.active[..., None] if spec.continuous else obs.active
            action = jnp.where(there, action, start(1).action)
        return PreviousStep(action, own, jnp.ones_like(previous.started))

    def unpack(step: PackedStep) -> Array:
        last = step.last_action
        last = last if spec.continuous else jax.nn.one_hot(last, actions)
        own = step.obs.astype(jnp.float32) / spec.scale
        others = step.partner_action.astype(jnp.float32)
        return jnp.concatenate([own, last[..., :own_width], others], -1)

    width = len(components) + own_width + partner_width
    return Tokenizer(width, start, pack, advance, unpack)


def _before_first(spec: EnvSpec, width: int, num_envs: int) -> PreviousStep:
    """Returns what stands for the step before an episode's first.

    Args:
      spec: the environment's.
      width: of the observation that is kept.
      num_envs: batch size.
    """
    agents = spec.num_agents
    action = jnp.full((num_envs, agents), -1, jnp.int32)
    if spec.continuous:
        action = jnp.zeros((num_envs, agents, spec.num_actions))
    obs = jnp.zeros((num_envs, agents, width))
    return PreviousStep(action, obs, jnp.zeros(num_envs, bool))
