"""How a composite learner changes what its parts learn from.

A composite (MANSA, GMAH) shows each of its parts a view of the rollout. It says in
`Transition.weight` and `Transition.credit` which steps the part learns from and where its returns
end. This module defines what these two fields mean for TD learning; an algorithm that trains by
itself has neither.

- A weight scales the number of gradient updates (`num_learned`). Windows without any weight are not
  sampled (`marlx.algos.q_items.pack`), and steps of weight 0 are not learned from (`apply_weight`).
- A credit says for each agent where choices that last several steps begin and end (`apply_credit`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.algos.q_items import Item
from marlx.algos.td_equations import TDTerms
from marlx.learning.active import value_exists
from marlx.types import Array, Credit, Transition

Adjust = Callable[[Item, TDTerms], TDTerms]
"""Changes the terms of a batch of windows, for instance by a price on some actions."""


def num_learned(t: Transition) -> Array:
    """Returns f32 [], the steps of a rollout that count towards the number of updates."""
    return jnp.float32(t.done.size) if t.weight is None else t.weight.sum()


def adjusted_terms(
    config: QConfig, adjust: Adjust | None, items: Item, terms: TDTerms, per_agent: bool | Array
) -> TDTerms:
    """Returns `terms` changed by credit, inactive agents, `adjust` and weight, in this order."""
    if items.credit is not None:
        terms = apply_credit(terms, items.credit, per_agent, config.gamma, config.lambda_)
    if items.obs.active is not None and items.next_obs.active is not None:
        terms = apply_active(terms, items.obs.active, items.next_obs.active, per_agent)
    if adjust is not None:
        terms = adjust(items, terms)
    if items.weight is not None:
        terms = apply_weight(terms, items.weight)
    return terms


def apply_active(
    terms: TDTerms, active: Array, next_active: Array, per_agent: bool | Array
) -> TDTerms:
    """Returns `terms` without values of agents that are not there (`marlx.types.EnvSpec`).

    A value that does not exist before the step is not learned; one that does not exist after it is
    0 in the target.

    Args:
      terms: of windows [T, b, ...].
      active: bool [T, b, N], before the step.
      next_active: bool [T, b, N], after it.
      per_agent: `Mixer.per_agent` of the mixer that the values are of.
    """
    now, following = value_exists(active, per_agent), value_exists(next_active, per_agent)
    discount = terms.discount
    if discount.ndim < now.ndim:
        discount = discount[..., None]
    return terms._replace(discount=jnp.where(following, discount, 0.0), mask=terms.mask * now)


def apply_weight(terms: TDTerms, weight: Array) -> TDTerms:
    """Returns `terms` without the steps of weight 0.

    The size of a weight is no factor of the loss: it has already gone into the number of updates,
    see `num_learned`.

    Args:
      terms: of windows [T, b, ...].
      weight: f32 [T, b], `Transition.weight`.
    """
    heavy = (weight > 0).reshape(*weight.shape, *[1] * (terms.mask.ndim - 2))
    return terms._replace(mask=terms.mask * heavy)


def apply_credit(
    terms: TDTerms,
    credit: Credit,
    per_agent: bool | Array,
    gamma: float | Array,
    lambda_: float | Array,
) -> TDTerms:
    """Returns `terms` of choices that last several steps and end where `credit` says.

    While a choice is held the return runs through (a trace of 1), so that its target is
    `sum_k gamma^k r_k + gamma^tau v`, over the tau steps that it lasts (Sutton, Precup & Singh
    1999, eq. 8). A choice whose end lies beyond the window is not learned from.

    Args:
      terms: of windows [T, b, ...].
      credit: [T, b, N], `Transition.credit`.
      per_agent: `Mixer.per_agent` of the mixer that the values are of.
      gamma: discount per environment step.
      lambda_: the trace where no choice is held.
    """
    credit = credit_of_value(credit, per_agent)
    return terms._replace(
        discount=jnp.where(credit.terminated, 0.0, gamma),
        ended=credit.ended,
        trace=jnp.where(credit.held, 1.0, lambda_),
        mask=terms.mask * credit.weight * end_is_seen(credit),
    )


def credit_of_value(credit: Credit, per_agent: bool | Array) -> Credit:
    """Returns the credit of each value, [T, b] for a team value and [T, b, N] for agents' values.

    A team value is learned where any agent's choice is, ends where any does, and is held while all
    are.

    Args:
      credit: [T, b, N].
      per_agent: see `Mixer.per_agent`.
    """
    if per_agent is True:
        return credit
    team = Credit(
        credit.weight.max(-1), credit.terminated.any(-1), credit.ended.any(-1), credit.held.all(-1)
    )
    if per_agent is False:
        return team
    both: Credit = jax.tree.map(
        lambda own, all_: jnp.where(per_agent, own, all_[..., None]), credit, team
    )
    return both


def end_is_seen(credit: Credit) -> Array:
    """Returns f32 [T, ...], 1 where the choice made or held at a step ends within the window."""
    ends = (credit.ended | ~credit.held).astype(jnp.int32)
    return jax.lax.cummax(ends, axis=0, reverse=True).astype(jnp.float32)
