"""Our environments as JaxMARL environments."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.bridges._common import agent_names, library
from marlx.types import Array, Observation


def to_jaxmarl(env: Environment[Any, Any]) -> Any:
    """Returns one of our environments as a JaxMARL `MultiAgentEnv`; actions must be discrete.

    Agents are named by group (`agent_0`, ...). Observations are f32 of each agent's own width, and
    the global state is `obs["world_state"]`. `done` is true for all agents at once, whether the
    episode is terminated or truncated, since JaxMARL does not distinguish the two; `info` has
    `terminated` and `truncated`, bool [N] each. `get_avail_actions(state)` is the mask, uint8 [A_i]
    for each agent.

    JaxMARL's `CTRolloutManager` reads masks, global state and team reward only from environments
    that it knows by name. For ours it makes every action legal, concatenates observations and sums
    rewards, unless its attributes are set:
    `manager.get_valid_actions = jax.vmap(env.get_avail_actions)` and
    `manager.global_state = lambda obs, state: obs["world_state"]`.

    Raises:
      ValueError: the environment has continuous actions, or JaxMARL is missing.
    """
    spec = env.spec(env.default_params)
    if spec.continuous:
        raise ValueError(f"{spec.id} has continuous actions; to_jaxmarl needs discrete ones")
    return _to_jaxmarl_class()(env)


@functools.cache
def _to_jaxmarl_class() -> Any:
    """Returns the class, whose base is known only when JaxMARL is imported."""
    base = library("jaxmarl.environments.multi_agent_env").MultiAgentEnv
    return type("ToJaxMarl", (_ToJaxMarl, base), {})


class _ToJaxMarl:
    """Methods of the environments that `to_jaxmarl` returns; JaxMARL's base class adds `step`."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        spaces = library("jaxmarl.environments.spaces")
        self.marlx = env
        self.params = env.default_params
        self.spec = spec = env.spec(self.params)
        super().__init__(num_agents=spec.num_agents)  # type: ignore[call-arg]
        self.agents = agent_names(spec)
        self.max_steps = spec.horizon
        self.state_size = spec.state_size
        self.observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (size,))
            for agent, size in zip(self.agents, spec.obs_sizes, strict=True)
        }
        self.action_spaces = {
            agent: spaces.Discrete(size)
            for agent, size in zip(self.agents, spec.action_sizes, strict=True)
        }

    @property
    def name(self) -> str:
        """Returns the marlx id."""
        return self.spec.id

    @property
    def agent_classes(self) -> dict[str, list[str]]:
        """Returns the names of the agents of each group."""
        return {group: [self.agents[i] for i in members] for group, members in self.spec.groups}

    def _observations(self, obs: Observation) -> dict[str, Array]:
        """Returns JaxMARL's dictionary of observations."""
        shown = {
            agent: obs.local[i, : self.spec.obs_sizes[i]] for i, agent in enumerate(self.agents)
        }
        return {**shown, "world_state": obs.global_state}

    def reset(self, key: Array) -> tuple[dict[str, Array], Any]:
        """Returns the first observations and state of an episode."""
        obs, state = self.marlx.reset(key, self.params)
        return self._observations(obs), state

    def step_env(self, key: Array, state: Any, actions: dict[str, Array]) -> Any:
        """Returns observations, state, rewards, dones and info after one step, without reset."""
        joint = jnp.stack([jnp.asarray(actions[a], jnp.int32).reshape(()) for a in self.agents])
        after, reward, terminated, info = self.marlx.step_env(key, state, joint, self.params)
        truncated = after.time >= self.params.max_steps_in_episode
        rewards = {agent: reward[i] for i, agent in enumerate(self.agents)}
        dones = dict.fromkeys([*self.agents, "__all__"], terminated | truncated)
        everyone = (self.spec.num_agents,)
        info = {
            "terminated": jnp.broadcast_to(terminated, everyone),
            "truncated": jnp.broadcast_to(truncated, everyone),
        }
        return self.get_obs(after), after, rewards, dones, info

    def get_obs(self, state: Any) -> dict[str, Array]:
        """Returns the observations in a state."""
        return self._observations(self.marlx.observe(state, self.params))

    def get_avail_actions(self, state: Any) -> dict[str, Array]:
        """Returns the action mask of each agent, uint8 [A_i]."""
        mask = self.marlx.observe(state, self.params).action_mask
        return {
            agent: mask[i, : self.spec.action_sizes[i]].astype(jnp.uint8)
            for i, agent in enumerate(self.agents)
        }
