"""A team value that is unrestricted, learned beside utilities that agents act on.

Weighted QMIX and QTRAN share what is here: two values of a joint action in one mixer, and the
utilities of a batch of windows by both networks. Targets come from the unrestricted value, at the
joint action that the utilities choose.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.algos.q_items import Item, unpack
from marlx.algos.q_network import unroll_after
from marlx.algos.q_next import Unrolled, next_utilities
from marlx.algos.q_parts import QParts
from marlx.algos.q_state import QParams, QState
from marlx.algos.td_credit import adjusted_terms
from marlx.algos.td_equations import TDTerms, next_values, td_targets, td_terms
from marlx.data.replay import Sample
from marlx.nets.mixers import Mixer, Utilities, greedy_actions, window_values
from marlx.types import Array, Tree


class CentralParams(NamedTuple):
    """Parameters of both values; they stand in the place of a mixer's."""

    factored: Tree  # of the value that the utilities make up
    central: Tree  # of the unrestricted value
    state: Tree = ()  # of QTRAN's value of the state


def beside(factored: Mixer, central: Mixer) -> Mixer:
    """Returns `factored` as a mixer of `CentralParams`: metrics and acting read this value."""

    def init(key: Array) -> CentralParams:
        first, second = jax.random.split(key)
        return CentralParams(factored.init(first), central.init(second))

    return Mixer(
        init=init,
        value=lambda params, u, action: factored.value(params.factored, u, action),
        greedy=lambda params, u: factored.greedy(params.factored, u),
        uses_state=True,
        per_agent=False,
    )


def refuse_delay(config: QConfig) -> None:
    """Raise ValueError where agents are to learn each for itself at first."""
    if config.mixing_delay:
        raise ValueError(
            f"mixing_delay is {config.mixing_delay}; it must be 0 beside an unrestricted value"
        )


class Windows(NamedTuple):
    """A batch of windows [T, b] with all that the losses compare."""

    items: Item
    now: Utilities  # of the online network
    old: Utilities  # of the target network
    best: Array  # int32 [T, b, N], each agent's best action, by the online network
    value: Array  # f32 [T, b], the unrestricted value of the joint action taken
    target: Array  # f32 [T, b], TD(lambda) target of both values, without gradient
    terms: TDTerms


def valued(
    params: QParams, parts: QParts, central: Mixer, state: QState, sample: Sample
) -> Windows:
    """Returns a batch of windows with its targets `r + gamma Q*(s', argmax Q_i)`.

    Next states are valued as in `marlx.algos.q_learning.td_loss`: from the step's own `next_obs`.

    Source: Rashid et al. 2020 and Son et al. 2019. Differs from: both, whose targets are of one
    step; here they are TD(lambda), and of one step where `lambda_` is 0.
    """
    c, net, items, old = parts.config, parts.net, unpack(sample.items), state.target
    windows = sample.start, items.obs, items.done
    now, memory = unroll_after(net, params.agents, *windows, burn_in=c.burn_in)
    before, old_memory = net.unroll(old.agents, *windows)
    unrolled = Unrolled(params.agents, now, memory), Unrolled(old.agents, before, old_memory)
    next_, old_next = next_utilities(net, unrolled, items)
    both = (params.mixer.central, next_), (old.mixer.central, old_next)
    next_value = next_values(c, parts.backup, central, *both, state.rewards)
    value = window_values(central, params.mixer.central, now, items.action)
    terms = td_terms(c, items, state.rewards, value)
    terms = adjusted_terms(c, parts.adjust, items, terms, False)
    target = td_targets(terms.reward, terms.discount, next_value, terms.ended, terms.trace)
    best = jax.vmap(lambda u: greedy_actions(central, params.mixer.central, u))(now)
    return Windows(items, now, before, best, value, target, terms)


def mean_over(terms: TDTerms, sample: Sample, x: Array) -> Array:
    """Returns f32 [], the mean of `x` f32 [T, b] over the steps that are learned from."""
    mask = terms.mask
    return (mask * sample.importance[None] * x).sum() / jnp.maximum(mask.sum(), 1.0)
