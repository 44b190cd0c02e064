"""CLAM: PPO on what the agent sees and on a vector of whom it plays with, learned by contrast.

An encoder reads the agent's own trajectory of this episode. It is trained so that two parts of one
trajectory are more alike than parts of different ones, without being told who played; the policy
reads its vector, and sends no gradient back. Bounds, controls and LIAM are settings of the same
learner (`model`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.agent_modelling.clam_encoder import contrastive
from marlx.algos.agent_modelling.config import (
    CLAMConfig,
    ContrastConfig,
    ModelKind,
)
from marlx.algos.agent_modelling.liam_encoder import liam
from marlx.algos.agent_modelling.models import Model, no_model, oracle, shuffled, tokens, untrained
from marlx.algos.ppo import ppo_learner
from marlx.algos.ppo_config import PPOConfig
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree

# ------------------------------------------------------------------------- the learner


class Memory(NamedTuple):
    """Acting memory."""

    policy: Tree  # PPO's
    model: Tree  # the model's


class Acted(NamedTuple):
    """What `act` adds to a transition."""

    policy: Tree  # PPO's
    vector: Array  # f32 [N, E], what it acted with
    next_vector: Array  # f32 [N, E], what it would act with next, in the same episode


class Acting(NamedTuple):
    """What acting needs."""

    policy: Tree
    model: Tree


class State(NamedTuple):
    """Everything the learner carries."""

    policy: Tree
    model: Tree


def modelled(spec: EnvSpec, config: PPOConfig, model: Model, size: int) -> Learner:
    """PPO that reads each agent's observation and, behind it, the model's vector f32 [size].

    The vector is computed once, when acting, and is data from then on: no gradient of PPO's reaches
    the model. A time limit is bootstrapped with the vector that the next step would have had.
    """
    wide = dataclasses.replace(
        spec,
        obs_size=spec.obs_size + size,
        # padding stays in the middle: what an agent does not see is zero there as well
        obs_sizes=(spec.obs_size + size,) * spec.num_agents,
        storage="float32",
    )
    ppo = ppo_learner(wide, config, central=False)

    def widen(obs: Observation, vector: Array) -> Observation:
        local = obs.local.astype(jnp.float32)
        return obs._replace(local=jnp.concatenate([local, vector * spec.scale], -1))

    def ppo_view(rollout: Transition) -> Transition:
        return rollout._replace(
            obs=widen(rollout.obs, rollout.extras.vector),
            next_obs=widen(rollout.next_obs, rollout.extras.next_vector),
            memory=rollout.memory.policy,
            extras=rollout.extras.policy,
        )

    def extras(num_envs: int) -> Acted:
        vector = jnp.zeros((num_envs, spec.num_agents, size))
        return Acted(ppo.extras(num_envs), vector, vector)

    def model_view(rollout: Transition) -> Transition:
        return rollout._replace(memory=rollout.memory.model, extras=())

    def init(key: Array, example: Transition) -> State:
        key_policy, key_model = jax.random.split(key)
        policy = ppo.init(key_policy, jax.eval_shape(ppo_view, example))
        return State(policy, model.init(key_model, model_view(example)))

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Memory, Acted]:
        vector = model.read(policy.model, memory.model, obs)
        action, own, extras = ppo.act(
            policy.policy, memory.policy, widen(obs, vector), key, explore
        )
        after = model.push(policy.model, memory.model, obs, action)
        next_vector = model.read(policy.model, after, obs)
        return action, Memory(own, after), Acted(extras, vector, next_vector)

    def observe(state: State, rollout: Transition) -> State:
        policy = ppo.observe(state.policy, ppo_view(rollout))
        return State(policy, model.observe(state.model, model_view(rollout)))

    def update(state: State, key: Array) -> tuple[State, dict[str, Array]]:
        key_policy, key_model = jax.random.split(key)
        policy, metrics = ppo.update(state.policy, key_policy)
        other, more = model.update(state.model, key_model)
        return State(policy, other), {**metrics, **more}

    return Learner(
        init=init,
        memory=lambda num_envs: Memory(ppo.memory(num_envs), model.memory(num_envs)),
        policy=lambda state: Acting(ppo.policy(state.policy), model.policy(state.model)),
        act=act,
        observe=observe,
        update=update,
        warmup=ppo.warmup,
        extras=extras,
    )


def model_of(spec: EnvSpec, config: CLAMConfig) -> Model:
    """The model that `config.model` names.

    Raises:
      ValueError: it needs what the environment does not tell.
    """
    c, size = config, config.embedding
    few = dataclasses.replace(c.contrast, batch=2, capacity=2)  # a store that is never used

    def read_by(training: ContrastConfig, *, labels: bool = False) -> Model:
        token = tokens(spec, c.token, c.inputs)
        return contrastive(spec, token, size, c.encoder, training, labels=labels)

    makers: dict[ModelKind, Callable[[], Model]] = {
        "clam": lambda: read_by(c.contrast),
        "labels": lambda: read_by(c.contrast, labels=True),
        "shuffled": lambda: shuffled(read_by(c.contrast)),
        "random": lambda: untrained(read_by(few)),
        "liam": lambda: liam(spec, tokens(spec, c.token, c.inputs), size, c.liam),
        "oracle": lambda: oracle(spec, size),
        "none": lambda: no_model(spec, size),
    }
    try:
        return makers[c.model]()
    except ValueError as error:
        if "has no part" not in str(error):
            raise
        what = "token 'code'" if c.token == "code" else f"model {c.model!r}"
        raise ValueError(
            f"{what} needs an environment that tells of the partners: {error}; give a "
            "partners/... environment with privileged on (--env.privileged)"
        ) from None


def clam(spec: EnvSpec, config: CLAMConfig | None = None, **settings: Any) -> Learner:
    """PPO with a model of whom it plays with; see `model_of` and `modelled`."""
    config = dataclasses.replace(config or CLAMConfig(), **settings)
    learner = modelled(spec, config.ppo, model_of(spec, config), config.embedding)
    return learner._replace(config=config)


ALGORITHMS = (
    Algorithm(
        "clam",
        "PPO with a contrastive model of whom it plays with",
        CLAMConfig,
        clam,
        parts=(("ppo", "ippo"),),
    ),
)
