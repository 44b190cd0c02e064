"""Probe environments with known values, each for a particular mistake of learners."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.types import Array, EnvSpec, Observation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Environment[EnvState, EnvParams]):
    """Constant `reward` for every agent at every step; episodes end only at the time limit.

    The value of any policy, for each agent and for the team, is `reward / (1 - gamma)` at every
    step. A learner that treats the time limit as a terminal state finds less: only `reward` at the
    last step.
    """

    reward: float = 1.0
    horizon: int = 10
    num_agents: int = 2

    @property
    def default_params(self) -> EnvParams:
        """Parameters with this horizon."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Two actions without effect, and a constant observation."""
        horizon = int((self.default_params if params is None else params).max_steps_in_episode)
        return EnvSpec(
            id="probe/constant",
            num_agents=self.num_agents,
            num_actions=2,
            obs_size=1,
            state_size=1,
            horizon=horizon,
            reward_aggregation="mean",
            storage="int8",
            optimum=self.reward * horizon,
        )

    def reset_env(self, key: Array, params: EnvParams) -> EnvState:
        """Returns the only initial state."""
        del key, params
        return EnvState(time=jnp.int32(0))

    def step_env(
        self, key: Array, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[EnvState, Array, Array, dict[str, Any]]:
        """Returns the next state and the constant reward."""
        del key, action, params
        state = EnvState(time=state.time + 1)
        return state, jnp.full(self.num_agents, self.reward, jnp.float32), jnp.bool_(False), {}

    def observe(self, state: EnvState, params: EnvParams) -> Observation:
        """Returns ones."""
        del state, params
        n = self.num_agents
        return Observation(jnp.ones((n, 1)), jnp.ones((n, 2), bool), jnp.ones(1))


@flax.struct.dataclass
class CueState(EnvState):
    """State of `Recall`."""

    cue: Array  # int32 [N], in 0..cues-1
    delay: Array  # int32 [], time of the answer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recall(Environment[CueState, EnvParams]):
    """Memory task: each agent sees a cue at first, and gets 1 for naming it after a random delay.

    The episode terminates with the answer, so the episodes of a batch end at different times. With
    `longest = 0` the cue is visible at the time of the answer, and no memory is needed. Before that
    time, action 0 (wait) is legal, and so are some answers, which have no effect: which of them
    changes with agent and time. At that time, waiting is illegal.

    The best return is 1; without memory (and with `shortest >= 1`) it is `1 / cues`.
    """

    cues: int = 2
    shortest: int = 1
    longest: int = 3
    num_agents: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.shortest <= self.longest:
            raise ValueError(f"delays {self.shortest}..{self.longest} are not a range from 0 up")

    @property
    def default_params(self) -> EnvParams:
        """Parameters with the length of the longest episode."""
        return EnvParams(max_steps_in_episode=self.longest + 1)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Actions are wait and one per cue; observations are a one-hot cue and an answer flag."""
        return EnvSpec(
            id="probe/recall",
            num_agents=self.num_agents,
            num_actions=1 + self.cues,
            obs_size=self.cues + 1,
            state_size=self.num_agents * self.cues + 1,
            horizon=int((self.default_params if params is None else params).max_steps_in_episode),
            reward_aggregation="mean",
            storage="int8",
            optimum=1.0,
        )

    def reset_env(self, key: Array, params: EnvParams) -> CueState:
        """Samples the cues and the delay."""
        del params
        key_cue, key_delay = jax.random.split(key)
        return CueState(
            time=jnp.int32(0),
            cue=jax.random.randint(key_cue, (self.num_agents,), 0, self.cues),
            delay=jax.random.randint(key_delay, (), self.shortest, self.longest + 1),
        )

    def step_env(
        self, key: Array, state: CueState, action: Array, params: EnvParams
    ) -> tuple[CueState, Array, Array, dict[str, Any]]:
        """Returns reward 1 for right answers, and terminates, at the time of the answer."""
        del key, params
        asked = state.time == state.delay
        reward = jnp.where(asked & (action == state.cue + 1), 1.0, 0.0)
        return dataclasses.replace(state, time=state.time + 1), reward, asked, {}

    def observe(self, state: CueState, params: EnvParams) -> Observation:
        """Shows the cue at time 0 only; the global state always has it."""
        del params
        asked = state.time == state.delay
        cue = jax.nn.one_hot(state.cue, self.cues)
        shown = jnp.where(state.time == 0, cue, 0.0)
        flag = jnp.full((self.num_agents, 1), asked, jnp.float32)
        agent, answer = np.indices((self.num_agents, self.cues))
        legal = asked | ((agent + answer + state.time) % 2 == 0)
        wait = jnp.full((self.num_agents, 1), ~asked)
        return Observation(
            local=jnp.concatenate([shown, flag], axis=1),
            action_mask=jnp.concatenate([wait, legal], axis=1),
            global_state=jnp.concatenate([cue.reshape(-1), flag[0]]),
        )


@flax.struct.dataclass
class MaskState(EnvState):
    """State of `Masked`."""

    legal: Array  # bool [N, A], legal actions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked(Environment[MaskState, EnvParams]):
    """Reward `a` for a legal action `a`, `bait` for an illegal one; never terminates.

    Action 0 is always legal. The others are legal with probability 1/2, independently for each
    agent and step, and do not depend on observations. A return above `(num_actions - 1) * horizon`
    shows that an illegal action was chosen. The optimal action values of an agent are
    `Q(a) = a + gamma * best_mean / (1 - gamma)`; a learner that bootstraps from illegal actions
    finds `a + gamma * (num_actions - 1) / (1 - gamma)`.
    """

    num_actions: int = 3
    bait: float = 1000.0
    horizon: int = 10
    num_agents: int = 2

    @property
    def best_mean(self) -> float:
        """Expected reward of the best legal action: 1.25 for three actions."""
        best = range(1, self.num_actions)  # the best is `a` if it is legal and none above it is
        return sum(a * 0.5 ** (self.num_actions - a) for a in best)

    @property
    def default_params(self) -> EnvParams:
        """Parameters with this horizon."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Spec; `optimum` is the return if all actions are legal throughout."""
        horizon = int((self.default_params if params is None else params).max_steps_in_episode)
        return EnvSpec(
            id="probe/masked",
            num_agents=self.num_agents,
            num_actions=self.num_actions,
            obs_size=1,
            state_size=1,
            horizon=horizon,
            reward_aggregation="mean",
            storage="int8",
            optimum=float((self.num_actions - 1) * horizon),
        )

    def sample_mask(self, key: Array) -> Array:
        """Samples legal actions, bool [N, A]."""
        legal = jax.random.bernoulli(key, 0.5, (self.num_agents, self.num_actions))
        return legal.at[:, 0].set(True)

    def reset_env(self, key: Array, params: EnvParams) -> MaskState:
        """Samples the first mask."""
        del params
        return MaskState(time=jnp.int32(0), legal=self.sample_mask(key))

    def step_env(
        self, key: Array, state: MaskState, action: Array, params: EnvParams
    ) -> tuple[MaskState, Array, Array, dict[str, Any]]:
        """Returns the rewards and samples the next mask."""
        del params
        legal = state.legal[np.arange(self.num_agents), action]
        reward = jnp.where(legal, action.astype(jnp.float32), self.bait)
        state = MaskState(time=state.time + 1, legal=self.sample_mask(key))
        return state, reward, jnp.bool_(False), {}

    def observe(self, state: MaskState, params: EnvParams) -> Observation:
        """Returns ones and the mask."""
        del params
        return Observation(jnp.ones((self.num_agents, 1)), state.legal, jnp.ones(1))


@flax.struct.dataclass
class CuesState(EnvState):
    """State of `Unequal`."""

    cues: Array  # int32 [N], the action that pays each agent now


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unequal(Environment[CuesState, EnvParams]):
    """Three agents of two groups, with observations and actions of their own sizes.

    Each agent sees which of its actions pays now (a one-hot of its own width) and is paid 1 for
    taking it; cues are drawn anew at every step. One other action is illegal at random, never the
    one that pays. A learner that mixes up the groups' sizes or masks earns less.

    Best return: `horizon`.
    """

    horizon: int = 6

    SIZES = (3, 3, 2)
    """Actions, and width of the observation, of each agent."""

    @property
    def default_params(self) -> EnvParams:
        """The setting's horizon."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Two groups: two agents with three actions, one with two."""
        return EnvSpec(
            id="probe/unequal",
            num_agents=3,
            num_actions=3,
            obs_size=3,
            state_size=9,
            horizon=int((self.default_params if params is None else params).max_steps_in_episode),
            reward_aggregation="mean",
            groups=(("wide", (0, 1)), ("narrow", (2,))),
            obs_sizes=self.SIZES,
            action_sizes=self.SIZES,
            storage="int8",
            optimum=float(self.horizon),
        )

    def _draw(self, key: Array) -> Array:
        return jax.random.randint(key, (3,), 0, jnp.array(self.SIZES))

    def reset_env(self, key: Array, params: EnvParams) -> CuesState:
        """Draw the cues."""
        del params
        return CuesState(time=jnp.int32(0), cues=self._draw(key))

    def step_env(
        self, key: Array, state: CuesState, action: Array, params: EnvParams
    ) -> tuple[CuesState, Array, Array, dict[str, Any]]:
        """Pay for the cue's action and draw the next cues."""
        del params
        reward = (action == state.cues).astype(jnp.float32)
        return CuesState(time=state.time + 1, cues=self._draw(key)), reward, jnp.bool_(False), {}

    def observe(self, state: CuesState, params: EnvParams) -> Observation:
        """Show each agent its cue; forbid the action after it, where there are three."""
        del params
        cue = jax.nn.one_hot(state.cues, 3)
        sizes = np.array(self.SIZES)
        has = np.arange(3) < sizes[:, None]
        forbidden = jax.nn.one_hot((state.cues + 1) % 3, 3, dtype=bool) & (sizes == 3)[:, None]
        return Observation(cue, has & ~forbidden, cue.reshape(-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaving(Environment[EnvState, EnvParams]):
    """Agents that leave one after the other and never return; each step pays an active agent 1.

    Agent i is active for `stay[i]` steps. The episode terminates when the last one leaves. From
    then on an agent's observation and reward are `bait`, for which a learner must have no use.
    Agents see the time. Each has three actions without effect; while it is inactive, one of
    them is legal.

    Known answers, at time t and for any policy: an agent's own value of its own rewards is
    `(1 - gamma^(stay[i] - t)) / (1 - gamma)`, 0 after it has left. A team's value is the sum of its
    agents'. The team's return is `sum(stay)`. A learner that counts an absent agent finds the bait;
    one that bootstraps through a departure finds a longer stay.
    """

    stay: tuple[int, ...] = (2, 4, 3)
    bait: float = 100.0

    def value(self, gamma: float) -> np.ndarray[Any, Any]:
        """Returns f64 [max(stay), N], the value of each agent's own rewards at every time."""
        left = np.maximum(np.array(self.stay) - np.arange(max(self.stay))[:, None], 0)
        return np.array((1 - gamma**left) / (1 - gamma))

    @property
    def default_params(self) -> EnvParams:
        """Parameters with a limit that is never reached."""
        return EnvParams(max_steps_in_episode=max(self.stay) + 1)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Three actions; observations and state are the time, one-hot."""
        steps = max(self.stay) + 1
        return EnvSpec(
            id="probe/leaving",
            num_agents=len(self.stay),
            num_actions=3,
            obs_size=steps,
            state_size=steps,
            horizon=int((self.default_params if params is None else params).max_steps_in_episode),
            storage="int8",
            optimum=float(sum(self.stay)),
            active_mask=True,
        )

    def reset_env(self, key: Array, params: EnvParams) -> EnvState:
        """Returns the only initial state."""
        del key, params
        return EnvState(time=jnp.int32(0))

    def step_env(
        self, key: Array, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[EnvState, Array, Array, dict[str, Any]]:
        """Pays active agents 1, others the bait; terminates when all have left."""
        del key, action, params
        reward = jnp.where(self._active(state), 1.0, self.bait)
        state = EnvState(time=state.time + 1)
        return state, reward, ~self._active(state).any(), {}

    def _active(self, state: EnvState) -> Array:
        return state.time < jnp.array(self.stay)

    def observe(self, state: EnvState, params: EnvParams) -> Observation:
        """Shows active agents the time, others the bait."""
        del params
        active = self._active(state)
        time = jax.nn.one_hot(state.time, max(self.stay) + 1)
        idle = jnp.arange(3) == 1
        return Observation(
            local=jnp.where(active[:, None], time, self.bait),
            action_mask=active[:, None] | idle,
            global_state=time,
            active=active,
        )
