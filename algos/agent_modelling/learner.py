"""CLAM: PPO on each agent's observation and an embedding of its partners, learned by contrast.

An encoder reads the agent's own trajectory of this episode. It is trained so that two parts of one
trajectory have more similar embeddings than parts of different ones, without labels of the
partners. The policy reads the embedding and sends no gradient back. Bounds, controls and LIAM are
settings of the same learner (`CLAMConfig.model`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.clam_encoder import contrastive_model, encoder_parts
from marlx.algos.agent_modelling.config import CLAMConfig, ContrastConfig, LIAMConfig, ModelKind
from marlx.algos.agent_modelling.liam_encoder import reconstruction_model
from marlx.algos.agent_modelling.models import AgentModel, oracle, shuffled, untrained, zeros
from marlx.algos.agent_modelling.policy_inputs import (
    append_embedding,
    model_rollout,
    ppo_rollout,
    round_ends,
    with_embeddings,
)
from marlx.algos.agent_modelling.standardise import no_moments, with_embeddings_of
from marlx.algos.agent_modelling.tokens import tokenizer
from marlx.algos.ppo import PPOState, ppo_learner
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_networks import PPOExtras
from marlx.learner import Learner, where_done
from marlx.learning.running_moments import Moments
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class ClamPolicy(NamedTuple):
    """Parameters for acting."""

    actor: Tree  # PPO's
    model: Tree  # parameters of the agent model
    moments: Moments | None  # f32 [E], of the embeddings; None: they are read as they are


class ClamMemory(NamedTuple):
    """Acting memory."""

    actor: Array
    model: Tree
    time: Array  # int32 [B], steps of the episode


class ClamExtras(NamedTuple):
    """Extras of a transition."""

    actor: PPOExtras
    embedding: Array  # f32 [N, E], acted with, not standardised
    next_embedding: Array  # f32 [N, E], for the next step of the same episode


class ClamState(NamedTuple):
    """Learner state."""

    ppo: PPOState
    model: Tree
    moments: Moments | None  # see `ClamPolicy`


class Parts(NamedTuple):
    """The functions and settings that the learner is made of."""

    spec: EnvSpec
    ppo: Learner  # of observations with embeddings
    model: AgentModel
    size: int  # of an embedding
    standardise: bool
    policy_steps: int


def init(parts: Parts, key: Array, example: Transition) -> ClamState:
    """Returns the first state; see `Learner.init`."""
    key_ppo, key_model = jax.random.split(key)
    view = functools.partial(ppo_rollout, parts.spec, None, parts.policy_steps)
    return ClamState(
        parts.ppo.init(key_ppo, jax.eval_shape(view, example)),
        parts.model.init(key_model, model_rollout(example)),
        no_moments(parts.size) if parts.standardise else None,
    )


def memory(parts: Parts, num_envs: int) -> ClamMemory:
    """Returns the memory at the start of episodes."""
    time = jnp.zeros(num_envs, jnp.int32)
    return ClamMemory(parts.ppo.memory(num_envs), parts.model.memory(num_envs), time)


def act(
    parts: Parts,
    policy: ClamPolicy,
    memory: ClamMemory,
    obs: Observation,
    key: Array,
    explore: bool,
) -> tuple[Array, ClamMemory, ClamExtras]:
    """Returns PPO's actions on observations with embeddings; see `Learner.act`."""
    ppo, model = parts.ppo, parts.model
    embedding = model.embed(policy.model, memory.model, obs)
    seen = append_embedding(parts.spec, policy.moments, obs, embedding)
    action, actor_memory, actor_extras = ppo.act(policy.actor, memory.actor, seen, key, explore)
    model_memory = model.advance(policy.model, memory.model, obs, action)
    following = model.embed(policy.model, model_memory, obs)
    extras = ClamExtras(actor_extras, embedding, following)
    time = memory.time + 1
    over = round_ends(parts.policy_steps, memory.time)
    actor_memory = where_done(over, ppo.memory(len(time)), actor_memory)
    return action, ClamMemory(actor_memory, model_memory, time), extras


def inspect(
    parts: Parts, policy: ClamPolicy, memory: ClamMemory, obs: Observation, extras: ClamExtras
) -> dict[str, Array]:
    """Returns the probabilities of actions and the embeddings; see `Learner.inspect`."""
    seen = append_embedding(parts.spec, policy.moments, obs, extras.embedding)
    shown: dict[str, Array] = {}
    if parts.ppo.inspect is not None:
        shown = parts.ppo.inspect(policy.actor, memory.actor, seen, extras.actor)
    return {**shown, "embedding": extras.embedding}


def extras(parts: Parts, num_envs: int) -> ClamExtras:
    """Returns zeros of the extras that `act` gives."""
    embedding = jnp.zeros((num_envs, parts.spec.num_agents, parts.size))
    return ClamExtras(parts.ppo.extras(num_envs), embedding, embedding)


def observe(parts: Parts, state: ClamState, rollout: Transition) -> ClamState:
    """Returns the state with a rollout [T, B, ...] stored in both parts."""
    moments = state.moments
    view = ppo_rollout(parts.spec, moments, parts.policy_steps, rollout)
    if moments is not None:
        moments = with_embeddings_of(moments, rollout.extras.embedding)
    model = parts.model.observe(state.model, model_rollout(rollout))
    return ClamState(parts.ppo.observe(state.ppo, view), model, moments)


def update(parts: Parts, state: ClamState, key: Array) -> tuple[ClamState, dict[str, Array]]:
    """Returns the state after the updates of both parts, and their metrics."""
    key_ppo, key_model = jax.random.split(key)
    ppo, ppo_metrics = parts.ppo.update(state.ppo, key_ppo)
    model, model_metrics = parts.model.update(state.model, key_model)
    return ClamState(ppo, model, state.moments), {**ppo_metrics, **model_metrics}


def ppo_with_model(
    spec: EnvSpec,
    config: PPOConfig,
    model: AgentModel,
    size: int,
    *,
    standardise: bool = True,
    policy_steps: int = 0,
) -> Learner:
    """Returns PPO that reads each agent's observation and the model's embedding f32 [size].

    The embedding is computed once, when acting, and is data from then on: no gradient of PPO
    reaches the model. A time limit is bootstrapped with the embedding of the step that would have
    followed.

    Args:
      spec: the environment's.
      config: PPO's settings.
      model: gives the embeddings.
      size: of an embedding.
      standardise: by running moments. Those that a rollout was acted with are those that PPO
        learns from it with.
      policy_steps: see `CLAMConfig.policy_steps`.
    """
    ppo = ppo_learner(with_embeddings(spec, size), config, central=False)
    parts = Parts(spec, ppo, model, size, standardise, policy_steps)

    def policy(state: ClamState) -> ClamPolicy:
        return ClamPolicy(ppo.policy(state.ppo), model.params(state.model), state.moments)

    return Learner(
        init=functools.partial(init, parts),
        memory=functools.partial(memory, parts),
        policy=policy,
        act=functools.partial(act, parts),
        observe=functools.partial(observe, parts),
        update=functools.partial(update, parts),
        warmup=ppo.warmup,
        extras=functools.partial(extras, parts),
        judged=ppo.judged,
        inspect=functools.partial(inspect, parts),
    )


def model_of(spec: EnvSpec, config: CLAMConfig) -> AgentModel:
    """Returns the agent model that `config.model` names.

    Raises:
      ValueError: it needs parts of the global state that this environment does not have.
    """
    c, size = config, config.embedding
    unused_store = dataclasses.replace(c.contrast, batch=2, capacity=2)

    def contrastive(training: ContrastConfig, *, labels: bool = False) -> AgentModel:
        token = tokenizer(spec, c.token, c.inputs)
        return contrastive_model(
            encoder_parts(spec, token, size, c.encoder, training, labels=labels)
        )

    makers: dict[ModelKind, Callable[[], AgentModel]] = {
        "clam": lambda: contrastive(c.contrast),
        "labels": lambda: contrastive(c.contrast, labels=True),
        "shuffled": lambda: shuffled(contrastive(c.contrast)),
        "random": lambda: untrained(contrastive(unused_store)),
        "liam": lambda: reconstruction_model(
            spec, tokenizer(spec, c.token, c.inputs), size, c.liam
        ),
        "oracle": lambda: oracle(spec, size),
        "none": lambda: zeros(spec, size),
    }
    try:
        return makers[c.model]()
    except ValueError as error:
        if "has no part" not in str(error):
            raise
        needing = "token 'code'" if c.token == "code" else f"model {c.model!r}"
        raise ValueError(
            f"{needing} needs the partners in the global state: {error}; give a "
            "partners/... environment with privileged on (--env.privileged)"
        ) from None


def clam(spec: EnvSpec, config: CLAMConfig | None = None, **settings: Any) -> Learner:
    """PPO with an agent model; see `model_of` and `ppo_with_model`."""
    config = dataclasses.replace(config or CLAMConfig(), **settings)
    exact = config.model in ("oracle", "none")  # one-hot, or zeros
    learner = ppo_with_model(
        spec,
        config.ppo,
        model_of(spec, config),
        config.embedding,
        standardise=config.standardise and not exact,
        policy_steps=config.policy_steps,
    )
    return learner._replace(config=config)


ALGORITHMS = (
    Algorithm(
        "clam",
        "PPO with a contrastive model of its partners",
        CLAMConfig,
        clam,
        parts=(("ppo", "ippo"),),
    ),
    Algorithm(
        "liam",
        "PPO with LIAM's model of its partners, by reconstruction",
        LIAMConfig,
        clam,
        preset="clam",
        parts=(("ppo", "ippo"),),
        example="partners/matrix/climbing",
    ),
)
