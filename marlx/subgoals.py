"""Wrapper that adds an environment's subgoals to its observations and to its spec.

An environment declares subgoals as functions of its state (`Environment.subgoals`), which learners
do not see. `with_subgoals` adds to each agent's observation which of its subgoals it has achieved,
and to the global state which subgoals are available. `EnvSpec.subgoals` says where they stand.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, require_environment
from marlx.types import Array, EnvSpec, Observation, Scene, SubgoalLayout, Subgoals, Tree


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WithSubgoals(Environment[Any, EnvParams]):
    """An environment whose observations include its subgoals; see `with_subgoals`."""

    env: Environment[Any, Any]

    @property
    def default_params(self) -> EnvParams:
        """Parameters of the wrapped environment."""
        params: EnvParams = self.env.default_params
        return params

    @property
    def unwrapped(self) -> Environment[Any, Any]:
        """The wrapped environment."""
        return self.env

    def _declared(self, params: EnvParams | None) -> Subgoals:
        declared = self.env.subgoals(params)
        assert declared is not None, "checked by with_subgoals"
        return declared

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns the environment's spec with wider observations and the layout of the subgoals."""
        spec, declared = self.env.spec(params), self._declared(params)
        count = len(declared.names)
        layout = SubgoalLayout(
            declared.names, declared.requires, declared.choices, spec.obs_size, spec.state_size
        )
        return dataclasses.replace(
            spec,
            obs_size=spec.obs_size + count,
            obs_sizes=(),  # the numbers of subgoals stand behind the padding
            state_size=spec.state_size + spec.num_agents * count,
            subgoals=layout,
        )

    def reset_env(self, key: Array, params: EnvParams) -> Any:
        """Returns the environment's first state."""
        return self.env.reset_env(key, params)

    def step_env(
        self, key: Array, state: Any, action: Array, params: EnvParams
    ) -> tuple[Any, Array, Array, dict[str, Any]]:
        """Returns the environment's next state, reward, end and information."""
        return self.env.step_env(key, state, action, params)

    def observe(self, state: Any, params: EnvParams) -> Observation:
        """Returns the environment's observation with the subgoals added.

        `local` gets G numbers for each agent, 1 for a subgoal that it has achieved; `global_state`
        gets N G numbers, 1 for a subgoal that is available to an agent.
        """
        obs, declared = self.env.observe(state, params), self._declared(params)
        achieved = declared.achieved(state).astype(jnp.float32)
        available = declared.available(state).astype(jnp.float32)
        return Observation(
            local=jnp.concatenate([obs.local, achieved], axis=-1),
            action_mask=obs.action_mask,
            global_state=jnp.concatenate([obs.global_state, available.reshape(-1)]),
            active=obs.active,
        )

    def render(self, state: Tree, params: EnvParams | None = None) -> np.ndarray[Any, Any]:
        """Returns the environment's picture of a state."""
        return self.env.render(state, params)

    def scene(self, params: EnvParams | None = None) -> Scene | None:
        """Returns what a viewer draws of the environment."""
        return self.env.scene(params)

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns the environment's subgoals; `choices` takes the observations of this wrapper."""
        declared, width = self._declared(params), self.env.spec(params).obs_size
        return declared._replace(choices=lambda local: declared.choices(local[:, :width]))


def with_subgoals(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """Returns `env` with its subgoals added to observations and spec.

    Raises:
      ValueError: it declares none.
    """
    require_environment(env)
    if isinstance(env, WithSubgoals):
        return env
    if env.subgoals(env.default_params) is None:
        raise ValueError(
            f"{env.spec(env.default_params).id} declares no subgoals; Foraging-8x8-2p-2f-coop-v3 "
            f"and grid/doorkey-8x8, for instance, do"
        )
    return WithSubgoals(env=env)


def with_declared(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """Returns `env` with its subgoals, or `env` itself if it declares none."""
    return env if env.subgoals(env.default_params) is None else with_subgoals(env)
