"""Our environments as PettingZoo parallel environments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.bridges._common import agent_names, library
from marlx.text import unknown
from marlx.types import Array, Tree


def to_pettingzoo(
    env: Environment[Any, Any],
    *,
    mask_in_observation: bool = False,
    render_mode: str | None = None,
) -> Any:
    """Returns one of our environments as a `pettingzoo.ParallelEnv`, one episode at a time.

    Agents are named by group (`agent_0`, ...). Each observes a vector of its own width and has its
    mask in `info["action_mask"]` (int8, 1 is legal). The episode ends for all agents at once.
    `state()` is the global state. Illegal actions are passed to the environment, which decides what
    they do.

    Args:
      env: the environment.
      mask_in_observation: observations are `{"observation", "action_mask"}`, PettingZoo's other
        convention; `info` has the mask too.
      render_mode: `rgb_array` or None.

    Raises:
      ValueError: an unknown render mode, or PettingZoo is missing.
    """
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}; it must be 'rgb_array' or None")
    base = library("pettingzoo").ParallelEnv
    made = type("ToPettingZoo", (_ToPettingZoo, base), {})
    return made(env, mask_in_observation, render_mode)


class _ToPettingZoo:
    """Methods of the environments that `to_pettingzoo` returns; its base is PettingZoo's."""

    possible_agents: list[str]
    observation_spaces: dict[str, Any]
    action_spaces: dict[str, Any]

    def __init__(
        self, env: Environment[Any, Any], mask_in_observation: bool, render_mode: str | None
    ) -> None:
        spaces = library("gymnasium.spaces")
        self.marlx = env
        self.params = env.default_params
        self.spec = spec = env.spec(self.params)
        self.render_mode = render_mode
        self.metadata = {
            "name": spec.id,
            "render_modes": ["rgb_array"],
            "is_parallelizable": True,
            "render_fps": 4,
        }
        self.possible_agents = agent_names(spec)
        self.agents: list[str] = []
        self._in_observation = mask_in_observation
        self._key: Any = None
        self._state: Tree = None
        self._obs: Any = None
        self._reset = jax.jit(lambda key: env.reset(key, self.params))
        self._step = jax.jit(self._advance)
        self.observation_spaces, self.action_spaces = {}, {}
        for agent, seen, acts in zip(
            self.possible_agents, spec.obs_sizes, spec.action_sizes, strict=True
        ):
            shown = spaces.Box(-np.inf, np.inf, (seen,), np.float32)
            if mask_in_observation:
                legal = spaces.Box(0, 1, (acts,), np.int8)
                shown = spaces.Dict({"observation": shown, "action_mask": legal})
            self.observation_spaces[agent] = shown
            self.action_spaces[agent] = (
                spaces.Box(0.0, 1.0, (acts,), np.float32)
                if spec.continuous
                else spaces.Discrete(acts)
            )
        self.state_space = spaces.Box(-np.inf, np.inf, (spec.state_size,), np.float32)

    def _advance(self, key: Array, state: Tree, action: Array) -> Any:
        """Returns observation, state, rewards, terminated and truncated after one step."""
        after, reward, terminated, _ = self.marlx.step_env(key, state, action, self.params)
        truncated = after.time >= self.params.max_steps_in_episode
        return self.marlx.observe(after, self.params), after, reward, terminated, truncated

    def __reduce__(self) -> Any:
        """Pickles the environment with its running episode; the copy compiles again."""
        key = None if self._key is None else np.asarray(jax.random.key_data(self._key))
        running = jax.device_get((self._state, self._obs))
        args = self.marlx, self._in_observation, self.render_mode
        return _restored, (*args, (list(self.agents), key, *running))

    def observation_space(self, agent: str) -> Any:
        """Returns the space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Returns the space of an agent's actions."""
        return self.action_spaces[agent]

    def _next_key(self) -> Any:
        """Returns a fresh random key."""
        self._key, key = jax.random.split(self._key)
        return key

    def _observations(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Returns observations and infos by agent."""
        local, mask = np.asarray(self._obs.local), np.asarray(self._obs.action_mask)
        shown: dict[str, Any] = {}
        infos: dict[str, dict[str, Any]] = {}
        for i, agent in enumerate(self.possible_agents):
            seen = local[i, : self.spec.obs_sizes[i]].copy()
            legal = mask[i, : self.spec.action_sizes[i]].astype(np.int8)
            pair = {"observation": seen, "action_mask": legal}
            shown[agent] = pair if self._in_observation else seen
            infos[agent] = {"action_mask": legal}
        return shown, infos

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode; returns observations and infos. `options` is not used."""
        del options
        if seed is None and self._key is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        if seed is not None:
            self._key = jax.random.key(seed)
        self.agents = list(self.possible_agents)
        self._obs, self._state = self._reset(self._next_key())
        return self._observations()

    def step(self, actions: dict[str, Any]) -> Any:
        """Plays one step; returns observations, rewards, terminations, truncations and infos.

        Raises:
          ValueError: no episode is running, or an agent has no action or one outside its space.
        """
        if not self.agents:
            raise ValueError("no episode is running; call reset first")
        joint = self._joint_action(actions)
        self._obs, self._state, reward, terminated, truncated = self._step(
            self._next_key(), self._state, jnp.asarray(joint)
        )
        everyone = self.possible_agents
        rewards = {agent: float(reward[i]) for i, agent in enumerate(everyone)}
        ends = dict.fromkeys(everyone, bool(terminated))
        limits = dict.fromkeys(everyone, bool(truncated))
        if terminated or truncated:
            self.agents = []
        shown, infos = self._observations()
        return shown, rewards, ends, limits, infos

    def _joint_action(self, actions: dict[str, Any]) -> np.ndarray:
        """Returns int32 [N] or f32 [N, A] from actions by agent."""
        dtype = np.float32 if self.spec.continuous else np.int32
        shape = (self.spec.num_agents, *[self.spec.num_actions] * self.spec.continuous)
        joint = np.zeros(shape, dtype)
        for name in actions.keys() - set(self.possible_agents):
            raise unknown("agent", str(name), self.possible_agents)
        for i, agent in enumerate(self.possible_agents):
            if agent not in actions:
                raise ValueError(f"no action for {agent}; every agent acts at every step")
            size = self.spec.action_sizes[i]
            if self.spec.continuous:
                joint[i, :size] = _vector(agent, actions[agent], size)
            else:
                joint[i] = _index(agent, actions[agent], size)
        return joint

    def state(self) -> np.ndarray:
        """Returns the global state, f32 [state size]."""
        if self._obs is None:
            raise ValueError("no episode has begun; call reset first")
        return np.asarray(self._obs.global_state)

    def render(self) -> np.ndarray | None:
        """Returns uint8 [height, width, 3], or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._state is None:
            raise ValueError("no episode has begun; call reset first")
        return self.marlx.render(jax.device_get(self._state), self.params)

    def close(self) -> None:
        """Does nothing."""


def _restored(
    env: Environment[Any, Any],
    mask_in_observation: bool,
    render_mode: str | None,
    running: tuple[list[str], Any, Tree, Any],
) -> Any:
    """Returns the environment that `__reduce__` described, in the same state."""
    made = to_pettingzoo(env, mask_in_observation=mask_in_observation, render_mode=render_mode)
    made.agents, key, made._state, made._obs = running
    made._key = None if key is None else jax.random.wrap_key_data(key)
    return made


def _index(agent: str, action: Any, size: int) -> int:
    """Returns a discrete action as an int; arrays of one element are accepted."""
    row = np.asarray(action)
    if row.size != 1 or row.dtype.kind not in "iu" or not 0 <= row.item() < size:
        raise ValueError(
            f"the action of {agent} is {_shown(action)}; it must be a whole number from 0 to "
            f"{size - 1}"
        )
    return int(row.item())


def _vector(agent: str, action: Any, size: int) -> np.ndarray:
    """Returns a continuous action as f32 [size]."""
    try:
        row = np.asarray(action, np.float32).reshape(-1)
    except (TypeError, ValueError):
        row = np.zeros(0, np.float32)
    if row.size != size or not ((row >= 0) & (row <= 1)).all():
        raise ValueError(
            f"the action of {agent} is {_shown(action)}; it must be {size} numbers from 0 to 1"
        )
    return row


def _shown(action: Any) -> str:
    return " ".join(repr(action).split())[:80]
