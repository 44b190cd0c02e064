"""Our environments as gymnax environments."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from marlx.environment import Environment
from marlx.envs.bridges._common import library
from marlx.registry import families, family, make_env
from marlx.types import Array, Observation


def to_gymnax(env: Environment[Any, Any]) -> Any:
    """Returns one of our environments as a `gymnax.environments.environment.Environment`.

    For one agent, observations are f32 [O], actions scalars (f32 [A] if continuous) and rewards
    scalars, as usual in gymnax. For a team, observations are `Observation` records, actions int32
    [N] (or f32 [N, A]) and rewards f32 [N]. `action_mask(state, params)` returns the legal actions,
    bool [A] or [N, A]. The attribute `marlx` is our environment.

    Raises:
      ValueError: gymnax is missing.
    """
    return _to_gymnax_class()(env)


@functools.cache
def _to_gymnax_class() -> Any:
    """Returns the class, whose base is known only when gymnax is imported."""
    base = library("gymnax.environments.environment").Environment
    return type("ToGymnax", (_ToGymnax, base), {})


class _JointActions:
    """The space of joint actions int32 [N] of agents with `sizes` actions each."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.shape = (len(sizes),)
        self.dtype = jnp.int32

    def sample(self, key: Array) -> Array:
        """Returns a uniformly random joint action."""
        return jax.random.randint(key, self.shape, 0, jnp.asarray(self.sizes))

    def contains(self, x: Array) -> Array:
        """Returns whether every agent has its action."""
        return jnp.all((x >= 0) & (x < jnp.asarray(self.sizes)))


class _ToGymnax:
    """Methods of the environments that `to_gymnax` returns; gymnax's base class adds `step`."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        self.marlx = env
        self._spaces = library("gymnax.environments.spaces")
        self._spec = env.spec(env.default_params)
        self._alone = self._spec.num_agents == 1

    @property
    def default_params(self) -> Any:
        """Returns the marlx environment's parameters."""
        return self.marlx.default_params

    @property
    def name(self) -> str:
        """Returns the marlx id."""
        return self._spec.id

    @property
    def num_actions(self) -> int:
        """Returns the number of actions of an agent."""
        return self._spec.num_actions

    def _observation(self, obs: Observation) -> Any:
        """Returns the only agent's observation, or that of the team."""
        return obs.local[0] if self._alone else obs

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        """Returns the first observation and state of an episode."""
        state = self.marlx.reset_env(key, params)
        return self._observation(self.marlx.observe(state, params)), state

    def step_env(self, key: Array, state: Any, action: Any, params: Any) -> Any:
        """Returns observation, state, reward, terminated and info after one step."""
        action = jnp.asarray(action)
        joint = action[None] if self._alone else action
        after, reward, terminated, info = self.marlx.step_env(key, state, joint, params)
        shown = self._observation(self.marlx.observe(after, params))
        return shown, after, reward[0] if self._alone else reward, terminated, info

    def observe(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        """Returns the observation in a state; `key` and `action` are not used."""
        del key, action
        return self._observation(self.marlx.observe(state, params))

    def get_obs(self, state: Any, params: Any = None, key: Any = None) -> Any:
        """Returns the observation in a state."""
        params = self.default_params if params is None else params
        return self.observe(key, state, None, params)

    def action_mask(self, state: Any, params: Any) -> Array:
        """Returns the legal actions, bool [A] for one agent, [N, A] for a team."""
        mask = self.marlx.observe(state, params).action_mask
        return mask[0] if self._alone else mask

    def action_space(self, params: Any = None) -> Any:
        """Returns the space of actions, or of joint actions for a team."""
        del params
        spec, spaces = self._spec, self._spaces
        if spec.continuous:
            shape = (spec.num_agents, spec.num_actions)
            return spaces.Box(0.0, 1.0, shape[1:] if self._alone else shape)
        if self._alone:
            return spaces.Discrete(spec.num_actions)
        return type("JointActions", (_JointActions, spaces.Space), {})(spec.action_sizes)

    def observation_space(self, params: Any = None) -> Any:
        """Returns the space of observations."""
        del params
        spec, spaces = self._spec, self._spaces
        if self._alone:
            return spaces.Box(-jnp.inf, jnp.inf, (spec.obs_size,))
        legal = spaces.Box(0, 1, (spec.num_agents, spec.num_actions), jnp.bool_)
        return spaces.Dict(
            {
                "local": spaces.Box(-jnp.inf, jnp.inf, (spec.num_agents, spec.obs_size)),
                "action_mask": legal,
                "global_state": spaces.Box(-jnp.inf, jnp.inf, (spec.state_size,)),
            }
        )


def register_in_gymnax(*env_ids: str) -> list[str]:
    """Registers our environments, so that `gymnax.make("marlx/{id}", **settings)` finds them.

    gymnax 1.0 looks names up in a list, so every id has to be registered before it is made. Ids
    that are registered already are skipped.

    Args:
      *env_ids: ids as for `marlx.make`; none for all examples of `marlx list` that are not another
        library's.

    Returns:
      Their names in gymnax.

    Raises:
      ValueError: an unknown id.
    """
    gymnax = library("gymnax")
    if not env_ids:
        own = [one for one in families().values() if not one.extra]
        env_ids = tuple(example for one in own for example in one.examples)
    names = []
    for env_id in env_ids:
        family(env_id)
        name = f"marlx/{env_id}"
        if name not in gymnax.registered_envs:
            gymnax.register(name, functools.partial(_make, env_id))
        names.append(name)
    return names


def _make(env_id: str, **settings: Any) -> Any:
    return to_gymnax(make_env(env_id, **settings))
