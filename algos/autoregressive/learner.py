"""The multi-agent transformer (MAT) and Sable: PPO on an autoregressive policy of the whole team.

Advantages, losses, value normalisation and epochs are those of `marlx.algos.ppo`; only networks and
acting are their own. Execution is centralised: the agents' observations are read together, and an
agent knows what those before it do.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from marlx.algos.autoregressive.config import MATConfig, SableConfig
from marlx.algos.autoregressive.mat_networks import transformer
from marlx.algos.autoregressive.model import TeamModel, act, networks
from marlx.algos.autoregressive.sable_networks import retainer
from marlx.algos.inspecting import Inspect
from marlx.algos.ppo import learner_on
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOExtras, PPOParams
from marlx.learner import Learner
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Tree


def autoregressive_learner(spec: EnvSpec, config: MATConfig, model: TeamModel) -> Learner:
    """Returns the learner that `mat` and `sable` are instances of.

    Args:
      spec: the environment's.
      config: settings.
      model: networks.
    """
    nets = networks(spec, config, model)
    return learner_on(
        spec,
        config,
        nets,
        act=functools.partial(act, spec, nets.distribution, model),
        inspect=_inspect(spec, nets),
    )


def _inspect(spec: EnvSpec, nets: ActorCritic) -> Inspect | None:
    """Returns `Learner.inspect`: `probability` f32 [B, N, A], given the actions before each."""
    if spec.continuous:
        return None

    def inspect(policy: Tree, memory: Array, obs: Observation, extras: Tree) -> dict[str, Array]:
        taken: PPOExtras = extras
        params, memories = PPOParams(policy, ()), Memories(memory, memory)
        step = jax.tree.map(lambda x: x[None], obs)
        done = jnp.zeros((1, memory.shape[0]), bool)
        logits, _ = nets.unroll(params, memories, step, done, taken.raw[None])
        legal = jnp.where(obs.action_mask, logits[0], -jnp.inf)
        return {"probability": jax.nn.softmax(legal, -1)}

    return inspect


def mat(spec: EnvSpec, config: MATConfig | None = None, **settings: Any) -> Learner:
    """Multi-agent transformer: attention between agents, actions one after another.

    Source: Wen et al. 2022. Differs from: see docs/mat.md.
    """
    c = dataclasses.replace(config or MATConfig(), **settings)
    return autoregressive_learner(spec, c, transformer(spec, c))


def sable(spec: EnvSpec, config: SableConfig | None = None, **settings: Any) -> Learner:
    """Sable: retention between agents and over steps, actions one after another.

    Source: Mahjoub et al. 2024. Differs from: see docs/mat.md.
    """
    c = dataclasses.replace(config or SableConfig(), **settings)
    return autoregressive_learner(spec, c, retainer(spec, c))


ALGORITHMS = (
    Algorithm("mat", "transformer over agents, which act in turn", MATConfig, mat, preset="mat"),
    Algorithm(
        "sable", "retention over agents and steps, agents act in turn", SableConfig, sable,
        preset="sable",
    ),
)  # fmt: skip
