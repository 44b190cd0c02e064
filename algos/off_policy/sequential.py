"""HASAC: soft actor-critic of heterogeneous agents, updated one after another.

The critic is MASAC's, of the joint action. Actors take turns: an agent maximises the critic among
the actions of those that were updated before it, by their new policies, and of those still to
come, by their old ones. With one agent it is MASAC.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.off_policy.config import HASACConfig
from marlx.algos.off_policy.core import build_learner, temperature
from marlx.algos.off_policy.critics import central
from marlx.algos.off_policy.equations import actor_loss
from marlx.algos.off_policy.parts import Batch, Improved, OffPolicyState, Parts
from marlx.algos.off_policy.policies import Drawn, readable
from marlx.algos.off_policy.soft import soft_parts
from marlx.algos.sequential_parts import row_of
from marlx.algos.sequential_ppo import turn_order
from marlx.learner import Learner
from marlx.nets.agents import TeamNetwork
from marlx.nets.makers import agents_network
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Tree


class Turn(NamedTuple):
    """State of an update between the turns of two agents."""

    actor: Tree  # [N, ...]
    optimiser: Tree  # [N, ...]
    outputs: Array  # f32 [T, b, N, O], of the actors as they have become


def one_agent(spec: EnvSpec, config: HASACConfig, outputs: int) -> TeamNetwork:
    """Returns the network of a single agent, whose parameters are a row [1, ...] of the team's."""
    single = dataclasses.replace(spec, num_agents=1, groups=(), obs_sizes=(), action_sizes=())
    return agents_network(single, config, outputs, head_scale=0.01)


def obs_of(obs: Observation, agent: Array) -> Observation:
    """Returns what one agent sees; [T, b, N, ...] becomes [T, b, 1, ...]."""
    pick = functools.partial(row_of, agent=agent, axis=2)
    return obs._replace(
        local=pick(obs.local), action_mask=pick(obs.action_mask), active=pick(obs.active)
    )


def put_row(tree: Tree, new: Tree, agent: Array) -> Tree:
    """Returns `tree` [N, ...] with the row of an agent replaced by `new` [1, ...]."""
    return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, agent, 0), tree, new)


def take_turn(
    parts: Parts,
    one: TeamNetwork,
    state: OffPolicyState,
    batch: Batch,
    key: Array,
    turn: Turn,
    agent: Array,
) -> tuple[Turn, tuple[Array, Array, Array]]:
    """Returns the state after the turn of one agent; its loss, gradient norm and entropy [T, b].

    All agents' noise is drawn from the same `key` in every turn, so an action changes only where
    its policy has. Differs from: the authors' code, which draws anew.
    """
    obs, done = batch.items.obs, batch.items.done
    start, seen = row_of(batch.start, agent, 1), obs_of(obs, agent)
    weight = temperature(parts, state)
    weight = row_of(weight, agent, 0) if isinstance(weight, jax.Array) else weight

    def outputs_with(actor: Tree) -> Array:
        own, _, _ = one.unroll(actor, start, seen, done)
        return jax.lax.dynamic_update_slice_in_dim(turn.outputs, own, agent, 2)

    def loss(actor: Tree) -> tuple[Array, Array]:
        drawn = parts.policy.draw(key, outputs_with(actor), obs.action_mask)
        q = parts.critics.value(state.critic, obs, readable(obs, drawn.action))
        own = Drawn(*(row_of(x, agent, 2) for x in drawn))
        return actor_loss(q, own, weight, parts.penalty, seen.active), own.entropy[..., 0]

    actor, optimiser = row_of(turn.actor, agent, 0), row_of(turn.optimiser, agent, 0)
    (value, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(actor)
    step, optimiser = parts.actor_optimiser.update(gradient, optimiser, actor)
    actor = optax.apply_updates(actor, step)
    new = Turn(
        put_row(turn.actor, actor, agent),
        put_row(turn.optimiser, optimiser, agent),
        outputs_with(actor),
    )
    return new, (value, optax.tree.norm(gradient), entropy)


def improve_in_turn(
    one: TeamNetwork, parts: Parts, state: OffPolicyState, batch: Batch, key: Array
) -> Improved:
    """Returns the actors after the turns of all agents.

    Source: Liu et al. 2024 (HASAC), algorithm 1.
    """
    config, count = parts.config, parts.spec.num_agents
    assert isinstance(config, HASACConfig)
    order = turn_order(config.order, count, jax.random.fold_in(key, 0))
    outputs, _, _ = parts.net.unroll(state.actor, batch.start, batch.items.obs, batch.items.done)
    first = Turn(state.actor, state.optimisers.actor, outputs)
    step = functools.partial(take_turn, parts, one, state, batch, key)
    last, (losses, norms, entropies) = jax.lax.scan(step, first, order)
    entropy = jnp.moveaxis(jnp.zeros_like(entropies).at[order].set(entropies), 0, -1)
    metrics = {"policy_loss": losses.mean(), "grad_norm": norms.mean()}
    return Improved(last.actor, last.optimiser, entropy, metrics)


def hasac_parts(spec: EnvSpec, config: HASACConfig) -> Parts:
    """Returns the parts of HASAC; each agent has an optimiser of its own."""
    parts = soft_parts(spec, config, central(spec, config, config.critic_input))
    one, plain = one_agent(spec, config, parts.policy.num_outputs), parts.actor_optimiser
    each = optax.GradientTransformation(jax.vmap(plain.init), jax.vmap(plain.update))
    return parts._replace(improve=functools.partial(improve_in_turn, one), actor_optimiser=each)


def hasac(spec: EnvSpec, config: HASACConfig | None = None, **settings: Any) -> Learner:
    """Soft actor-critic of heterogeneous agents, one after another (Liu et al. 2024).

    Differs from: the authors' code in the critic's temperature, which is learned apart there; here
    the team's value counts each agent's entropy with that agent's own.
    """
    c = dataclasses.replace(config or HASACConfig(), **settings)
    return build_learner(spec, c.last_action, functools.partial(hasac_parts, config=c))


ALGORITHMS = (
    Algorithm("hasac", "SAC, agents updated one after another", HASACConfig, hasac, preset="sac"),
)
