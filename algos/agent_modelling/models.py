"""What an agent makes of those it plays with: a vector per agent, beside its observation.

A `Model` is a learner's second half: `modelled` (see `marlx.algos.agent_modelling.learner`) puts it
beside PPO, which reads observation and vector and sends no gradient back. Here are the record, the
tokens that models read, and the models that are bounds and controls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.config import TokenKind
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class Model(NamedTuple):
    """A record of pure functions over a state, for a batch of environments `[B]`.

    Attributes:
      init: `(key, example) -> state`; `example` is as for `Learner.init`, its `memory` this one's.
      memory: `(B) -> memory`, at an episode's start.
      policy: `(state) -> params`, what `push` and `read` take.
      read: `(params, memory, obs) -> f32 [B, N, size]`, the vectors to act with.
      push: `(params, memory, obs, action) -> memory`, after `action` was chosen in `obs`.
      observe: `(state, rollout) -> state`.
      update: `(state, key) -> state, metrics`.
    """

    init: Callable[[Array, Transition], Tree]
    memory: Callable[[int], Tree]
    policy: Callable[[Tree], Tree]
    read: Callable[[Tree, Tree, Observation], Array]
    push: Callable[[Tree, Tree, Observation, Array], Tree]
    observe: Callable[[Tree, Transition], Tree]
    update: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]


class Step(NamedTuple):
    """One step of a trajectory in few bytes; see `Tokens`."""

    seen: Array  # [N, K], components of the observation, or of its change, as `EnvSpec.storage`
    last: Array  # int8 or int32 [N], the agent's last action, -1 at first; f32 [N, A] continuous
    told: Array  # int8 or f32 [N, P], the others' last actions, one-hot; P is 0 unless asked for


class Before(NamedTuple):
    """What a token takes from the step before it; zero memory is an episode's start."""

    last: Array  # as `Step.last`, int32 or f32
    seen: Array  # f32 [B, N, K], the components last seen; K is 0 where tokens hold no changes
    started: Array  # bool [B], not the first step


class Tokens(NamedTuple):
    """What models read of a step.

    Attributes:
      width: F, of a token.
      before: `(B) -> Before`, at an episode's start.
      step: `(Before, obs) -> Step`.
      after: `(Before, obs, action) -> Before`.
      expand: `(Step [...]) -> f32 [..., N, F]`, the tokens.
    """

    width: int
    before: Callable[[int], Before]
    step: Callable[[Before, Observation], Step]
    after: Callable[[Before, Observation, Array], Before]
    expand: Callable[[Step], Array]


def tokens(spec: EnvSpec, kind: TokenKind, inputs: tuple[int, ...] = ()) -> Tokens:
    """Tokens of the agent's own trajectory: what it sees, and what it did last.

    Args:
      spec: the environment's.
      kind: `own`; `change`, where what it sees is replaced by how that changed since the step
        before (0 at first); or `code`, which holds what the *others* did last in the place of the
        agent's own action: the environment has to tell it.
      inputs: components of the observation that tokens hold; none given: all.

    Raises:
      ValueError: a component that there is not, or an environment that does not tell.

    Source: Ma et al. 2024 (CLAM), arXiv 2401.00132: the agent's own trajectory; `code` is what its
    authors' repository reads.
    """
    if not all(0 <= i < spec.obs_size for i in inputs):
        raise ValueError(f"inputs are {inputs}; observations have numbers 0 to {spec.obs_size - 1}")
    chosen = jnp.array(inputs or range(spec.obs_size))
    agents, actions = spec.num_agents, spec.num_actions
    whole, change = spec.storage != "float32", kind == "change"
    told = spec.state_part("partner_action") if kind == "code" else slice(0, 0)
    told_width = told.stop - told.start
    own_width = 0 if kind == "code" else actions
    seen_type = jnp.dtype("int16" if whole and change else spec.storage)
    told_type = jnp.dtype("float32" if spec.continuous else "int8")
    last_type = jnp.dtype("int8" if actions <= 127 else "int32")

    def before(num_envs: int) -> Before:
        last = jnp.full((num_envs, agents), -1, jnp.int32)
        if spec.continuous:
            last = jnp.zeros((num_envs, agents, actions))
        width = len(chosen) if change else 0
        return Before(last, jnp.zeros((num_envs, agents, width)), jnp.zeros(num_envs, bool))

    def step(before: Before, obs: Observation) -> Step:
        seen = obs.local[..., chosen].astype(jnp.float32)
        if change:
            seen = jnp.where(before.started[..., None, None], seen - before.seen, 0.0)
        last = before.last if spec.continuous else before.last.astype(last_type)
        others = obs.global_state[..., None, told]
        others = jnp.broadcast_to(others, (*seen.shape[:-1], told_width))
        return Step(seen.astype(seen_type), last, others.astype(told_type))

    def after(before: Before, obs: Observation, action: Array) -> Before:
        seen = obs.local[..., chosen].astype(jnp.float32) if change else before.seen
        return Before(action, seen, jnp.ones_like(before.started))

    def expand(step: Step) -> Array:
        last = step.last if spec.continuous else jax.nn.one_hot(step.last, actions)
        seen = step.seen.astype(jnp.float32) / spec.scale
        return jnp.concatenate([seen, last[..., :own_width], step.told.astype(jnp.float32)], -1)

    return Tokens(len(chosen) + own_width + told_width, before, step, after, expand)


def partner_of(spec: EnvSpec) -> tuple[slice, int]:
    """Where the global state tells who the partner is, and of how many.

    Raises:
      ValueError: this environment does not tell.
    """
    part = spec.state_part("partner")
    return part, part.stop - part.start


def _bare(size: int, spec: EnvSpec, read: Callable[[Array, Observation], Array]) -> Model:
    """A model that learns nothing and remembers nothing."""

    def vectors(params: Tree, memory: Tree, obs: Observation) -> Array:
        del params, memory
        return read(jnp.zeros((len(obs.local), spec.num_agents, size)), obs)

    return Model(
        init=lambda key, example: (),
        memory=lambda num_envs: (),
        policy=lambda state: (),
        read=vectors,
        push=lambda params, memory, obs, action: (),
        observe=lambda state, rollout: (),
        update=lambda state, key: ((), {}),
    )


def no_model(spec: EnvSpec, size: int) -> Model:
    """Zeros: nothing is known, by a network of the same size."""
    return _bare(size, spec, lambda zeros, obs: zeros)


def oracle(spec: EnvSpec, size: int) -> Model:
    """The partner's number, one-hot, from the first step on: what no model can surpass.

    Raises:
      ValueError: the environment does not tell it, or there are more partners than `size`.
    """
    part, count = partner_of(spec)
    if count > size:
        raise ValueError(f"embedding is {size}; an oracle of {count} partners needs {count}")

    def read(zeros: Array, obs: Observation) -> Array:
        return zeros.at[..., :count].set(obs.global_state[..., None, part])

    return _bare(size, spec, read)


def shuffled(model: Model) -> Model:
    """`model` whose vectors come from the next environment of the batch: of another episode.

    With a single environment they are its own.
    """

    def read(params: Tree, memory: Tree, obs: Observation) -> Array:
        return jnp.roll(model.read(params, memory, obs), 1, axis=0)

    return model._replace(read=read)


def untrained(model: Model) -> Model:
    """`model` with the parameters that it starts from."""

    def update(state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
        del key
        return state, {}

    return model._replace(observe=lambda state, rollout: state, update=update)
