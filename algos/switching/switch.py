"""The switch of MANSA: when to call the centralised learner."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_items import Item
from marlx.algos.q_learning import exploration, q_learner
from marlx.algos.q_network import QNetwork, q_network
from marlx.algos.switching.config import CallConfig, SwitchConfig
from marlx.algos.td_equations import TDTerms
from marlx.learner import Learner
from marlx.nets import mixers
from marlx.types import Array, EnvSpec, Observation, Tree


class Memory(NamedTuple):
    """Acting memory."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls: Array  # int32 [B], in this episode so far
    last: Array  # int32 [B], the switch's last choice in it, 0 at first


def switch_spec(spec: EnvSpec) -> EnvSpec:
    """The switch's view of an environment: one agent that sees the global state, and two actions.

    Behind the state stand the share of the episode's budget that is left and the last choice.

    Raises:
      ValueError: the environment has no global state.
    """
    if not spec.state_size:
        raise ValueError(f"{spec.id} has no global state, and that is what the switch decides by")
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


def look(spec: EnvSpec, budget: int | None, obs: Observation, memory: Memory, open_: Array) -> Any:
    """What the switch sees: an `Observation` with an agents' axis of one, any leading axes."""
    left = 1.0 if budget is None else 1.0 - memory.calls / max(1, budget)
    state = obs.global_state.astype(jnp.float32)
    more = jnp.stack(jnp.broadcast_arrays(left, memory.last.astype(jnp.float32)), -1) * spec.scale
    may = open_ if budget is None else open_ & (memory.calls < budget)
    return Observation(
        jnp.concatenate([state, more], -1)[..., None, :],
        jnp.stack([jnp.ones_like(may), may], -1)[..., None, :],
        state[..., :0],
    )


def switch_learner(spec: EnvSpec, config: CallConfig, settings: SwitchConfig) -> Learner:
    """The switch that `config.switching` asks for, a learner for `switch_spec(spec)`.

    A learned one is a Q-learner that pays `call_cost` where it calls, and `switch_cost` too
    where it did not call in the step before.
    """
    own = switch_spec(spec)
    if config.switching == "learned":

        def pay(items: Item, terms: TDTerms) -> TDTerms:
            called = items.action[..., 0].astype(jnp.float32)
            last = items.obs.local[..., 0, -1] / own.scale
            price = called * (config.call_cost + config.switch_cost * (1.0 - last))
            return terms._replace(reward=terms.reward - price)

        learner = q_learner(own, settings, mixers.independent(), pay)
        if settings.temperature or settings.exploratory_calls != 0.5:
            return choosing(learner, q_network(own, settings), settings)
        return learner
    rate = {"always": 1.0, "never": 0.0, "random": config.rate, "first": 1.0}[config.switching]
    return scripted_switch(rate, config.first if config.switching == "first" else None)


def choosing(learner: Learner, net: QNetwork, config: SwitchConfig) -> Learner:
    """The Q-learner `learner`, its choices drawn in proportion to `exp(Q / temperature)`.

    Both when training and when acting greedily; the best choice at a temperature of 0. When
    training, with the probability epsilon a choice is random instead, and then a call with the
    probability `exploratory_calls`.
    """

    def act(
        policy: Any, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        utilities, memory = net.step(policy.params.agents, memory, obs)
        values = jnp.where(obs.action_mask, utilities.q, -jnp.inf)
        key_choice, key_coin, key_call = jax.random.split(key, 3)
        if config.temperature:
            action = jax.random.categorical(key_choice, values / config.temperature)
        else:
            action = jnp.argmax(values, -1)
        if explore:
            epsilon = exploration(config, policy.steps)
            random = jax.random.uniform(key_coin, action.shape) < epsilon
            call = jax.random.uniform(key_call, action.shape) < config.exploratory_calls
            action = jnp.where(random, call & obs.action_mask[..., 1], action)
        return action.astype(jnp.int32), memory, ()

    return learner._replace(act=act)


def scripted_switch(rate: float | Array, first: int | None = None) -> Learner:
    """A switch that learns nothing: it calls with probability `rate`, until there were `first`."""

    def policy(calls: Array) -> Array:
        limit = 2**31 - 1 if first is None else first
        return jnp.where(calls < limit, jnp.float32(rate), 0.0)

    def act(
        policy: Array, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        del explore
        may = obs.action_mask[..., 1]
        called = may & (jax.random.uniform(key, may.shape) < policy)
        return called.astype(jnp.int32), memory, ()

    return Learner(
        init=lambda key, example: jnp.int32(0),  # calls so far
        memory=lambda num_envs: (),
        policy=policy,
        act=act,
        observe=lambda calls, t: calls + t.action.sum(dtype=jnp.int32),
        update=lambda calls, key: (calls, {}),
    )
