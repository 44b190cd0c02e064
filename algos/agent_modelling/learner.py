"""CLAM: PPO on each agent's observation and an embedding of its partners, learned by contrast.

An encoder reads the agent's own trajectory of this episode. It is trained so that two parts of one
trajectory have more similar embeddings than parts of different ones, without labels of the
partners. The policy reads the embedding and sends no gradient back. Bounds, controls and LIAM are
settings of the same learner (`CLAMConfig.model`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.clam_encoder import contrastive_model, encoder_parts
from marlx.algos.agent_modelling.config import CLAMConfig, ContrastConfig, LIAMConfig, ModelKind
from marlx.algos.agent_modelling.liam_encoder import reconstruction_model
from marlx.algos.agent_modelling.models import AgentModel, oracle, shuffled, untrained, zeros
from marlx.algos.agent_modelling.tokens import tokenizer
from marlx.algos.ppo import PPOState, ppo_learner
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_networks import PPOExtras
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class ClamPolicy(NamedTuple):
    """Parameters for acting."""

    actor: Tree  # PPO's
    model: Tree  # parameters of the agent model


class ClamMemory(NamedTuple):
    """Acting memory."""

    actor: Array
    model: Tree


class ClamExtras(NamedTuple):
    """Extras of a transition."""

    actor: PPOExtras
    embedding: Array  # f32 [N, E], acted with
    next_embedding: Array  # f32 [N, E], for the next step of the same episode


class ClamState(NamedTuple):
    """Learner state."""

    ppo: PPOState
    model: Tree


def ppo_with_model(spec: EnvSpec, config: PPOConfig, model: AgentModel, size: int) -> Learner:
    """Returns PPO that reads each agent's observation and the model's embedding f32 [size].

    The embedding is computed once, when acting, and is data from then on: no gradient of PPO
    reaches the model. A time limit is bootstrapped with the embedding of the step that would have
    followed.
    """
    ppo = ppo_learner(with_embeddings(spec, size), config, central=False)

    def init(key: Array, example: Transition) -> ClamState:
        key_ppo, key_model = jax.random.split(key)
        rollout = jax.eval_shape(lambda t: ppo_rollout(spec, t), example)
        return ClamState(ppo.init(key_ppo, rollout), model.init(key_model, model_rollout(example)))

    def act(
        policy: ClamPolicy, memory: ClamMemory, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, ClamMemory, ClamExtras]:
        embedding = model.embed(policy.model, memory.model, obs)
        action, actor_memory, actor_extras = ppo.act(
            policy.actor, memory.actor, append_embedding(spec, obs, embedding), key, explore
        )
        model_memory = model.advance(policy.model, memory.model, obs, action)
        following = model.embed(policy.model, model_memory, obs)
        extras = ClamExtras(actor_extras, embedding, following)
        return action, ClamMemory(actor_memory, model_memory), extras

    def extras(num_envs: int) -> ClamExtras:
        embedding = jnp.zeros((num_envs, spec.num_agents, size))
        return ClamExtras(ppo.extras(num_envs), embedding, embedding)

    def observe(state: ClamState, rollout: Transition) -> ClamState:
        ppo_state = ppo.observe(state.ppo, ppo_rollout(spec, rollout))
        return ClamState(ppo_state, model.observe(state.model, model_rollout(rollout)))

    def update(state: ClamState, key: Array) -> tuple[ClamState, dict[str, Array]]:
        key_ppo, key_model = jax.random.split(key)
        ppo_state, ppo_metrics = ppo.update(state.ppo, key_ppo)
        model_state, model_metrics = model.update(state.model, key_model)
        return ClamState(ppo_state, model_state), {**ppo_metrics, **model_metrics}

    return Learner(
        init=init,
        memory=lambda num_envs: ClamMemory(ppo.memory(num_envs), model.memory(num_envs)),
        policy=lambda state: ClamPolicy(ppo.policy(state.ppo), model.params(state.model)),
        act=act,
        observe=observe,
        update=update,
        warmup=ppo.warmup,
        extras=extras,
        judged=ppo.judged,
    )


def with_embeddings(spec: EnvSpec, size: int) -> EnvSpec:
    """Returns `spec` with observations that end with an embedding of `size` numbers."""
    return dataclasses.replace(
        spec,
        obs_size=spec.obs_size + size,
        # padding stays in the middle: what an agent does not see is zero there as well
        obs_sizes=(spec.obs_size + size,) * spec.num_agents,
        storage="float32",
    )


def append_embedding(spec: EnvSpec, obs: Observation, embedding: Array) -> Observation:
    """Returns `obs` with `embedding` f32 [..., N, E] behind each agent's observation.

    Observations are divided by `spec.scale` later; the embedding is multiplied by it beforehand.
    """
    local = obs.local.astype(jnp.float32)
    return obs._replace(local=jnp.concatenate([local, embedding * spec.scale], -1))


def ppo_rollout(spec: EnvSpec, rollout: Transition) -> Transition:
    """Returns the rollout for PPO, with embeddings in its observations."""
    return rollout._replace(
        obs=append_embedding(spec, rollout.obs, rollout.extras.embedding),
        next_obs=append_embedding(spec, rollout.next_obs, rollout.extras.next_embedding),
        memory=rollout.memory.actor,
        extras=rollout.extras.actor,
    )


def model_rollout(rollout: Transition) -> Transition:
    """Returns the rollout for the agent model."""
    return rollout._replace(memory=rollout.memory.model, extras=())


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
    learner = ppo_with_model(spec, config.ppo, model_of(spec, config), config.embedding)
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
    ),
)
