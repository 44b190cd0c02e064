"""One agent's part of networks, parameters and data of a team; for agents that learn in turn."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from marlx.algos.ppo_batch import Sequences
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_epochs import Trained
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOParams, actor_critic
from marlx.types import Array, EnvSpec, Observation, Tree


def one_agent(spec: EnvSpec, config: PPOConfig) -> ActorCritic:
    """Returns networks that take the team's with the actor of one agent, stacked `[1, ...]`."""
    single = dataclasses.replace(spec, num_agents=1, groups=(), obs_sizes=(), action_sizes=())
    return actor_critic(single, config, central=True)


def without_critic(nets: ActorCritic, critic: Tree) -> ActorCritic:
    """Returns `nets` for parameters that hold no critic; its values are 0 and learn nothing.

    Args:
      nets: of one agent.
      critic: parameters of their shapes, which `unroll` asks for and nothing reads.
    """

    def unroll(
        params: PPOParams, memory: Memories, obs: Observation, done: Array, raw: Array
    ) -> tuple[Array, Array]:
        outputs, values = nets.unroll(params._replace(critic=critic), memory, obs, done, raw)
        return outputs, jnp.zeros_like(values)

    return nets._replace(unroll=unroll)


def row_of(tree: Tree, agent: Array, axis: int) -> Tree:
    """Returns the arrays of `tree` with one agent left of `axis`, whose length becomes 1."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, agent, 1, axis), tree)


def data_of(data: Sequences, agent: Array, factor: Array | None) -> Sequences:
    """Returns the sequences of one agent, with `factor` f32 [window, S, 1] on its advantages.

    The critic's weights are the team's: it learns from all steps where anyone is there.
    """
    batch, obs = data.batch, data.batch.obs
    row = functools.partial(row_of, agent=agent, axis=2)
    critic = batch.value_weight
    batch = batch._replace(
        obs=obs._replace(
            local=row(obs.local), action_mask=row(obs.action_mask), active=row(obs.active)
        ),
        old=row(batch.old),
        value=row(batch.value),
        target=row(batch.target),
        advantage=row(batch.advantage),
        weight=row(batch.weight),
        value_weight=None if critic is None else critic.mean(2, keepdims=True),
        factor=factor,
    )
    memory = Memories(row_of(data.memory.actor, agent, 1), data.memory.critic)
    return data._replace(batch=batch, memory=memory)


def params_of(params: PPOParams, agent: Array, critic: bool) -> PPOParams:
    """Returns the actor of one agent, stacked `[1, ...]`, and the critic if asked for."""
    return PPOParams(row_of(params.actor, agent, 0), params.critic if critic else ())


def put_back(params: PPOParams, agent: Array, critic: bool, new: PPOParams) -> PPOParams:
    """Returns `params` with what `params_of` took out replaced by `new`."""

    def put(x: Array, row: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(x, row, agent, 0)

    actor = jax.tree.map(put, params.actor, new.actor)
    return PPOParams(actor, new.critic if critic else params.critic)


def trained_of(trained: Trained, agent: Array, critic: bool, count: Array) -> Trained:
    """Returns one agent's parameters and moments of Adam, after `count` gradient steps."""
    clip, adam, rates = trained.optimiser
    mu, nu = (params_of(x, agent, critic) for x in (adam.mu, adam.nu))
    rates = rates.map(lambda x: PPOParams(x.actor, x.critic if critic else ()))
    optimiser = clip, adam._replace(count=count, mu=mu, nu=nu), rates
    return Trained(params_of(trained.params, agent, critic), optimiser)


def trained_back(trained: Trained, agent: Array, critic: bool, new: Trained) -> Trained:
    """Returns `trained` with what `trained_of` took out replaced by `new`."""
    put = functools.partial(put_back, agent=agent, critic=critic)
    (clip, old, rates), (_, adam, _) = trained.optimiser, new.optimiser
    mu, nu = put(old.mu, new=adam.mu), put(old.nu, new=adam.nu)
    params = put(trained.params, new=new.params)
    return Trained(params, (clip, adam._replace(mu=mu, nu=nu), rates))
