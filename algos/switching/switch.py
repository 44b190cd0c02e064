"""The switch of MANSA: when to call the centralised learner."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.algos.q_learning import Item, QNetwork, exploration, q_learner, q_network
from marlx.learner import Learner
from marlx.nets import mixers
from marlx.types import Array, EnvSpec, Observation, Tree

Switching = Literal["learned", "always", "never", "random", "first"]
Execution = Literal["switched", "independent", "centralised"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchConfig(QConfig):
    """Settings of the switch: a Q-learner with two actions that sees the global state."""

    recurrent: bool = False
    """GRU; without it the switch sees the present state only."""
    window: int = 8
    """Steps per window; it must fit the rollout length, as for any Q-learner."""
    epsilon_end: float = 0.02
    """Probability of a random choice in the end."""
    temperature: float = 0.0
    """Choices are drawn in proportion to exp(Q / temperature); 0 takes the best."""
    exploratory_calls: float = 0.5
    """Share of the random choices that are calls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or more")
        if not 0 <= self.exploratory_calls <= 1:
            raise ValueError(
                f"exploratory_calls is {self.exploratory_calls}; it must be between 0 and 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallConfig:
    """When to call the centralised learner, whichever two learners there are."""

    switching: Switching = "learned"
    """Who decides: the switch, or a control: always, never, at random, or the first calls only."""
    call_cost: float = 0.05
    """Taken off the switch's reward, after that is scaled, for every centralised step."""
    switch_cost: float = 0.0
    """Taken off for every change from independent to centralised."""
    budget: int | None = None
    """Centralised calls per episode, at most; none is no limit."""
    run_budget: int | None = None
    """Centralised calls in training, at most, per seed; up to a rollout's may remain unused."""
    rate: float = 0.1
    """Probability of a call, for switching `random`."""
    first: int = 100_000
    """Calls after which there are none, for switching `first`; counted after each rollout."""
    il_trains_on: Literal["all", "g0"] = "all"
    """The independent learner's steps: all (it must be off-policy), or those it acted in."""
    cl_trains_on: Literal["g1", "paced", "all"] = "g1"
    """The centralised learner's: those it was called in; `paced`, all of them, with no more updates
    than its calls are worth (it must be off-policy); or all, which saves nothing."""
    execution: Execution = "switched"
    """Who acts when acting greedily; `independent` is decentralised."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, accepted: str) -> None:
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}")

        for name in ("budget", "run_budget"):
            value = getattr(self, name)
            check(name, value is None or value >= 0, "0 or more, or none")
        check("first", self.first >= 0, "0 or more")
        check("rate", 0 <= self.rate <= 1, "between 0 and 1")
        for name in ("call_cost", "switch_cost"):
            check(name, getattr(self, name) >= 0, "0 or more")


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

        def price(items: Item) -> Array:
            called = items.action[..., 0].astype(jnp.float32)
            last = items.obs.local[..., 0, -1] / own.scale
            return called * (config.call_cost + config.switch_cost * (1.0 - last))

        learner = q_learner(own, settings, mixers.independent(), price)
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
        utilities, memory = net.once(policy.params.agents, memory, obs)
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
