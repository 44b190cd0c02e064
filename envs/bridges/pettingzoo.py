"""Our environments as PettingZoo parallel environments."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.bridges._common import agent_names, library
from marlx.types import Array, Tree


def to_pettingzoo(
    env: Environment[Any, Any],
    *,
    mask_in_observation: bool = False,
    render_mode: str | None = None,
) -> Any:
    """One of our environments as a `pettingzoo.ParallelEnv`, one episode at a time.

    Agents are named by group (`agent_0`, ...). Each observes a vector of its own width and finds
    what it may do in `info["action_mask"]` (int8, 1 is legal). All agents stay until the episode
    ends, for all at once. `state()` is the global state. Actions that are illegal are passed on:
    what they do is the environment's affair.

    Args:
      env: the environment.
      mask_in_observation: observations are `{"observation", "action_mask"}`, PettingZoo's other
        custom; `info` has the mask all the same.
      render_mode: `rgb_array` or None.

    Raises:
      ValueError: an unknown render mode, or PettingZoo is missing.
    """
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}; it must be 'rgb_array' or None")
    return _parallel_class()(env, mask_in_observation, render_mode)


@functools.cache
def _parallel_class() -> Any:
    """The class, made once PettingZoo is there."""
    base = library("pettingzoo").ParallelEnv
    spaces = library("gymnasium.spaces")

    class ToPettingZoo(base):  # type: ignore[valid-type, misc]
        """See `to_pettingzoo`."""

        def __init__(
            self, env: Environment[Any, Any], mask_in_observation: bool, render_mode: str | None
        ) -> None:
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
            everyone = zip(self.possible_agents, spec.obs_sizes, spec.action_sizes, strict=True)
            self.observation_spaces, self.action_spaces = {}, {}
            for agent, seen, acts in everyone:
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
            after, reward, terminated, _ = self.marlx.step_env(key, state, action, self.params)
            truncated = after.time >= self.params.max_steps_in_episode
            return self.marlx.observe(after, self.params), after, reward, terminated, truncated

        def observation_space(self, agent: str) -> Any:
            return self.observation_spaces[agent]

        def action_space(self, agent: str) -> Any:
            return self.action_spaces[agent]

        def _next_key(self) -> Any:
            self._key, key = jax.random.split(self._key)
            return key

        def _shown(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
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
            del options
            if seed is None and self._key is None:
                seed = int(np.random.SeedSequence().generate_state(1)[0])
            if seed is not None:
                self._key = jax.random.key(seed)
            self.agents = list(self.possible_agents)
            self._obs, self._state = self._reset(self._next_key())
            return self._shown()

        def step(self, actions: dict[str, Any]) -> Any:
            if not self.agents:
                raise ValueError("the episode has ended, or none has begun; call reset first")
            kind = np.float32 if self.spec.continuous else np.int32
            joint = np.zeros(
                (self.spec.num_agents, *[self.spec.num_actions] * self.spec.continuous), kind
            )
            for i, agent in enumerate(self.possible_agents):
                if agent not in actions:
                    raise ValueError(f"no action for {agent}; every agent acts at every step")
                row = np.asarray(actions[agent], kind)
                if self.spec.continuous:
                    joint[i, : row.size] = row
                else:
                    joint[i] = row
            self._obs, self._state, reward, terminated, truncated = self._step(
                self._next_key(), self._state, jnp.asarray(joint)
            )
            everyone = self.possible_agents
            rewards = {agent: float(reward[i]) for i, agent in enumerate(everyone)}
            ends = dict.fromkeys(everyone, bool(terminated))
            limits = dict.fromkeys(everyone, bool(truncated))
            if terminated or truncated:
                self.agents = []
            shown, infos = self._shown()
            return shown, rewards, ends, limits, infos

        def state(self) -> np.ndarray:
            if self._obs is None:
                raise ValueError("no episode has begun; call reset first")
            return np.asarray(self._obs.global_state)

        def render(self) -> np.ndarray | None:
            if self.render_mode is None:
                return None
            if self._state is None:
                raise ValueError("no episode has begun; call reset first")
            return self.marlx.render(jax.device_get(self._state), self.params)

        def close(self) -> None:
            pass

    return ToPettingZoo
