"""The switch of MANSA: at each step it decides whether the centralised learner acts."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_learning import q_learner
from marlx.algos.q_network import QNetwork, q_network
from marlx.algos.q_schedules import exploration
from marlx.algos.q_state import QParams, QState
from marlx.algos.switching.config import CallConfig, SwitchConfig
from marlx.algos.td_equations import value_unit
from marlx.learner import Learner, stateless
from marlx.nets import mixers
from marlx.nets.mixers import Utilities
from marlx.types import Array, EnvSpec, Observation, Tree

NO_LIMIT = 2**31 - 1
"""Number of calls that no run makes: the largest int32."""


def decide(
    config: SwitchConfig, values: Array, legal: Array, key: Array, epsilon: Array | None
) -> Array:
    """Returns the decision g, int32 [...]: 1 is a call of the centralised learner, 0 is none.

    `P(g) = exp(Q(s, g) / temperature) / sum_g' exp(Q(s, g') / temperature)`, and the larger Q at a
    temperature of 0. While training, the decision is random with probability epsilon; a random
    decision is a call with probability `exploratory_calls`.

    Args:
      config: for `temperature` and `exploratory_calls`.
      values: f32 [..., 2], Q(s, g) in units of return.
      legal: bool [..., 2]; a call is illegal when the budget is spent.
      key: consumed.
      epsilon: f32 []; None when acting greedily.
    """
    values = jnp.where(legal, values, -jnp.inf)
    key_choice, key_coin, key_call = jax.random.split(key, 3)
    if config.temperature:
        choice = jax.random.categorical(key_choice, values / config.temperature)
    else:
        choice = jnp.argmax(values, -1)
    if epsilon is not None:
        random = jax.random.uniform(key_coin, choice.shape) < epsilon
        call = jax.random.uniform(key_call, choice.shape) < config.exploratory_calls
        choice = jnp.where(random, call & legal[..., 1], choice)
    return choice.astype(jnp.int32)


def call_price(config: CallConfig, choice: Array, last_choice: Array) -> Array:
    """Returns the price of a decision, f32 [...]: `g_t (call_cost + switch_cost (1 - g_{t-1}))`.

    The switch learns from the team's reward less this price.

    Args:
      config: for `call_cost` and `switch_cost`, in units of return.
      choice: f32 [...], g_t, 0 or 1.
      last_choice: f32 [...], g_{t-1}, 0 or 1; 0 at the start of an episode.

    Source: Mguni et al. 2023 (MANSA), where it is not clear whether calls or changes have a cost.
    """
    return choice * (config.call_cost + config.switch_cost * (1.0 - last_choice))


# --- the environment of the switch ---


def switch_spec(spec: EnvSpec) -> EnvSpec:
    """Returns the spec of the switch's environment: one agent, the global state, two actions.

    Its observations are those of `switch_observation`.

    Raises:
      ValueError: the environment has no global state.
    """
    if not spec.state_size:
        raise ValueError(f"{spec.id} has no global state, and the switch observes nothing else")
    return EnvSpec(
        id=spec.id,
        num_agents=1,
        num_actions=2,
        obs_size=spec.state_size + 2,
        state_size=0,
        horizon=spec.horizon,
        storage="float32",
        scale=spec.scale,
    )


def switch_observation(
    spec: EnvSpec,
    budget: int | None,
    obs: Observation,
    calls: Array,
    last_choice: Array,
    calls_allowed: Array,
) -> Observation:
    """Returns what the switch observes: global state, share of the budget left, last decision.

    Args:
      spec: the environment's.
      budget: calls per episode; None is no limit, of which the share left is 1.
      obs: the environment's [..., N, O]; only `global_state` is read.
      calls: int32 [...], calls in this episode so far.
      last_choice: int32 [...], the last decision in this episode, 0 at first.
      calls_allowed: bool [...], whether the budget of the run allows a call.

    Returns:
      An observation of `switch_spec(spec)`, f32 [..., 1, S + 2]. A call is illegal in it when the
      budget of the episode or of the run is spent.
    """
    left = 1.0 if budget is None else 1.0 - calls / max(1, budget)
    state = obs.global_state.astype(jnp.float32)
    more = jnp.stack(jnp.broadcast_arrays(left, last_choice.astype(jnp.float32)), -1) * spec.scale
    legal = calls_allowed if budget is None else calls_allowed & (calls < budget)
    return Observation(
        local=jnp.concatenate([state, more], -1)[..., None, :],
        action_mask=jnp.stack([jnp.ones_like(legal), legal], -1)[..., None, :],
        global_state=state[..., :0],
    )


# --- learners that decide ---


def switch_learner(spec: EnvSpec, config: CallConfig, settings: SwitchConfig) -> Learner:
    """Returns the switch that `config.switching` names, a learner for `switch_spec(spec)`."""
    if config.switching == "learned":
        return learned_switch(spec, settings)
    if config.switching == "first":
        return scripted_switch(1.0, config.first)
    # with `disagreement` no switch is asked
    rates = {"always": 1.0, "never": 0.0, "random": config.rate, "disagreement": 0.0}
    return scripted_switch(rates[config.switching])


class SwitchPolicy(NamedTuple):
    """The part of a learned switch's state that acting needs."""

    params: QParams
    steps: Array  # int32 [], environment steps observed, for the exploration schedule
    unit: Array  # f32 [], what 1 of a value is in units of return


def learned_switch(spec: EnvSpec, settings: SwitchConfig) -> Learner:
    """Returns a Q-learner for `switch_spec(spec)` whose decisions are made by `decide`.

    With a temperature its targets are expectations under the policy that draws, see
    `expected_values`.
    """
    own = switch_spec(spec)
    backup = partial(expected_values, settings.temperature) if settings.temperature else None
    learner = q_learner(own, settings, mixers.independent(), backup=backup)
    if settings.temperature or settings.exploratory_calls != 0.5:
        return sampling_switch(learner, q_network(own, settings), settings)
    return learner  # epsilon-greedy with half of the random decisions calls: the Q-learner's own


def expected_values(
    temperature: float, choosing: Utilities, valuing: Utilities, unit: Array
) -> Array:
    """Returns the expected value of a drawn decision, f32 [..., N].

    `sum_g P(g | s') Q'(s', g)`, with P the softmax of `decide` by `choosing`. The maximum instead
    would be the value of switching greedily from the next step on, which a drawn switch does not.

    Args:
      temperature: above 0, in units of return.
      choosing: of the next states, by the network that chooses.
      valuing: the same by the target network.
      unit: what 1 of a value is in units of return.

    Source: van Seijen et al. 2009 (expected SARSA).
    """
    logits = jnp.where(choosing.action_mask, choosing.q * unit / temperature, -jnp.inf)
    values: Array = (jax.nn.softmax(logits) * valuing.q).sum(-1)
    return values


def sampling_switch(learner: Learner, net: QNetwork, config: SwitchConfig) -> Learner:
    """Returns the Q-learner `learner` with its decisions made by `decide`.

    Args:
      learner: a Q-learner for `switch_spec`.
      net: its network.
      config: its settings.
    """

    def policy(state: QState) -> SwitchPolicy:
        return SwitchPolicy(state.params, state.steps, value_unit(config, state.rewards))

    def act(
        policy: SwitchPolicy, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        utilities, memory = net.step(policy.params.agents, memory, obs)
        epsilon = exploration(config, policy.steps) if explore else None
        values = utilities.q * policy.unit
        return decide(config, values, obs.action_mask, key, epsilon), memory, ()

    return learner._replace(act=act, policy=policy)


def scripted_switch(rate: float | Array, first: int | None = None) -> Learner:
    """Returns a switch that does not learn: it calls with a fixed probability.

    Args:
      rate: probability of a call.
      first: calls after which there are no more, counted after each rollout; None is no limit.
    """

    def policy(calls: Array) -> Array:
        limit = NO_LIMIT if first is None else first
        return jnp.where(calls < limit, jnp.float32(rate), 0.0)

    def act(
        policy: Array, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        del explore
        legal = obs.action_mask[..., 1]
        call = legal & (jax.random.uniform(key, legal.shape) < policy)
        return call.astype(jnp.int32), memory, ()

    return stateless(act)._replace(
        init=lambda key, example: jnp.int32(0),  # calls so far
        policy=policy,
        observe=lambda calls, t: calls + t.action.sum(dtype=jnp.int32),
    )
