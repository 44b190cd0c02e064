"""Agents that are not there: how `Observation.active` counts in learning.

Every function returns its input where `active` is None, so that environments without absent agents
compile to the same programs.
"""

from __future__ import annotations

import jax.numpy as jnp

from marlx.types import Array, Observation


def zero_inactive(x: Array, active: Array | None) -> Array:
    """Returns `x` [..., N, F] with zeros in the rows of inactive agents; active bool [..., N]."""
    return x if active is None else jnp.where(active[..., None], x, jnp.zeros((), x.dtype))


def choosable(obs: Observation) -> Array:
    """Returns bool [..., N, A], the actions that are choices: of an inactive agent only one.

    It is the first legal one, a fixed value by which an action that is none enters a joint action.
    """
    mask = obs.action_mask
    if obs.active is None:
        return mask
    first = jnp.arange(mask.shape[-1]) == mask.argmax(-1)[..., None]
    return jnp.where(obs.active[..., None], mask, first)


def choice(obs: Observation, action: Array) -> Array:
    """Returns int [..., N], `action` where the agent is active, else its first legal action."""
    if obs.active is None:
        return action
    return jnp.where(obs.active, action, obs.action_mask.argmax(-1).astype(action.dtype))


def value_exists(active: Array, per_agent: bool | Array) -> Array:
    """Returns whether each value exists: bool [...] for a team value, [..., N] for agents' values.

    An agent's own value exists while the agent is active, a team value while any agent is: what the
    others still earn is the team's, also for an agent that gave its life for it.

    Args:
      active: bool [..., N].
      per_agent: whether each agent has a value of its own. A traced bool [] gives [..., N], N
        copies of the team's where False.
    """
    if per_agent is True:
        return active
    team = active.any(-1)
    if per_agent is False:
        return team
    return jnp.where(per_agent, active, team[..., None])
