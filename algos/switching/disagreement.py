"""Calls where the parts of MANSA disagree: no switch is learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from marlx.algos.q_config import QConfig
from marlx.algos.q_network import QNetwork, q_network
from marlx.algos.q_state import QPolicy, QState
from marlx.algos.td_equations import value_unit
from marlx.nets.mixers import Mixer, greedy_actions
from marlx.types import Array, EnvSpec, Observation, Tree


class Gap(NamedTuple):
    """The gain of a call, as the centralised learner estimates it.

    Attributes:
      value: `(policy, memory, obs, action int32 [B, N]) -> f32 [B]`, how much more the centralised
        learner values its own greedy joint action than `action`; at least 0 but for rounding.
      unit: `(state) -> f32 []`, what 1 of that is in units of return.
    """

    value: Callable[[Any, Tree, Observation, Array], Array]
    unit: Callable[[Any], Array]


def q_gap(spec: EnvSpec, config: QConfig, mixer: Mixer) -> Gap:
    """Returns the gap of a centralised Q-learner.

    Args:
      spec: the environment's.
      config: its settings.
      mixer: its mixer.
    """
    net = q_network(spec, config)

    def unit(state: QState) -> Array:
        return value_unit(config, state.rewards)

    return Gap(partial(action_gap, net, mixer), unit)


def action_gap(
    net: QNetwork, mixer: Mixer, policy: QPolicy, memory: Tree, obs: Observation, action: Array
) -> Array:
    """Returns `max_a Q_tot(s, a) - Q_tot(s, action)`, f32 [B], in units of values.

    It is the intervention operator of the switch less its continuation, read off one learner: where
    both greedy joint actions are the same, a call would change nothing and the gap is 0.

    Args:
      net: of the agents' utilities.
      mixer: of the team value.
      policy: of the centralised learner.
      memory: its acting memory, [B, ...].
      obs: [B, ...].
      action: int32 [B, N].
    """
    utilities, _ = net.step(policy.params.agents, memory, obs)
    values = jax.vmap(mixer.value, (None, 0, 0))
    best = greedy_actions(mixer, policy.params.mixer, utilities)
    params = policy.params.mixer
    gap: Array = values(params, utilities, best) - values(params, utilities, action)
    return gap
