"""Subgoals as learners get to know them: bits in what is observed, and their layout in the spec.

An environment declares subgoals as functions of its state (`Environment.subgoals`), and learners
see no state. `with_subgoals` wraps it: each agent is shown which of its own subgoals it has
achieved, training is shown which are available, and `EnvSpec.subgoals` tells where.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.types import Array, EnvSpec, Observation, Subgoals, Tree


class SubgoalLayout(NamedTuple):
    """What a learner may know of the subgoals of an environment.

    `local` is what the environment shows, then G numbers for each agent: 1 where it has achieved
    the subgoal, which is how an agent learns that the one it pursues is over. `global_state` is the
    environment's, then N G numbers, agent by agent: 1 where the subgoal is available. They are for
    training and for scripted bounds only, as all of it is.

    Attributes:
      names: of the G subgoals.
      requires: for each the indices of those that come before it, the task tree.
      choose: `(local f32 [N, O]) -> bool [N, G]`, see `marlx.types.Subgoals.choices`.
      obs_size: O, width of `local` without the bits.
      state_size: S, width of `global_state` without the bits.
    """

    names: tuple[str, ...]
    requires: tuple[tuple[int, ...], ...]
    choose: Callable[[Array], Array]
    obs_size: int
    state_size: int

    def plain(self, obs: Observation) -> Observation:
        """What the environment itself shows [..., N, O] and [..., S]."""
        return obs._replace(
            local=obs.local[..., : self.obs_size],
            global_state=obs.global_state[..., : self.state_size],
        )

    def achieved(self, obs: Observation) -> Array:
        """Bool [..., N, G]."""
        return obs.local[..., self.obs_size :] > 0

    def available(self, obs: Observation) -> Array:
        """Bool [..., N, G]."""
        bits = obs.global_state[..., self.state_size :] > 0
        return bits.reshape(*bits.shape[:-1], -1, len(self.names))

    def choices(self, obs: Observation) -> Array:
        """Bool [..., N, G], what each agent may choose from, told from what it sees."""
        choose = self.choose
        for _ in range(obs.local.ndim - 2):
            choose = jax.vmap(choose)
        return choose(obs.local[..., : self.obs_size])

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """int [G], how many subgoals of the task tree lie before each; trees have no cycles."""

        def depth(goal: int) -> int:
            return max((1 + depth(before) for before in self.requires[goal]), default=0)

        return np.array([depth(goal) for goal in range(len(self.names))])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WithSubgoals(Environment[Any, EnvParams]):
    """An environment that shows its subgoals; see `with_subgoals`."""

    env: Environment[Any, Any]

    @property
    def default_params(self) -> EnvParams:
        """The environment's."""
        params: EnvParams = self.env.default_params
        return params

    @property
    def unwrapped(self) -> Environment[Any, Any]:
        """The environment that declares the subgoals."""
        return self.env

    def _declared(self, params: EnvParams | None) -> Subgoals:
        declared = self.env.subgoals(params)
        assert declared is not None, "checked by with_subgoals"
        return declared

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """The environment's, wider by the bits, and with their layout."""
        spec, declared = self.env.spec(params), self._declared(params)
        count = len(declared.names)
        layout = SubgoalLayout(
            declared.names, declared.requires, declared.choices, spec.obs_size, spec.state_size
        )
        return dataclasses.replace(
            spec,
            obs_size=spec.obs_size + count,
            obs_sizes=(),  # the bits stand behind the padding
            state_size=spec.state_size + spec.num_agents * count,
            subgoals=layout,
        )

    def reset_env(self, key: Array, params: EnvParams) -> Any:
        """The environment's."""
        return self.env.reset_env(key, params)

    def step_env(
        self, key: Array, state: Any, action: Array, params: EnvParams
    ) -> tuple[Any, Array, Array, dict[str, Any]]:
        """The environment's."""
        return self.env.step_env(key, state, action, params)

    def observe(self, state: Any, params: EnvParams) -> Observation:
        """What the environment shows, and the bits."""
        obs, declared = self.env.observe(state, params), self._declared(params)
        achieved = declared.achieved(state).astype(jnp.float32)
        available = declared.available(state).astype(jnp.float32)
        return Observation(
            local=jnp.concatenate([obs.local, achieved], axis=-1),
            action_mask=obs.action_mask,
            global_state=jnp.concatenate([obs.global_state, available.reshape(-1)]),
        )

    def render(self, state: Tree, params: EnvParams | None = None) -> np.ndarray[Any, Any]:
        """The environment's."""
        return self.env.render(state, params)

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """The environment's; `choices` reads what is shown here."""
        declared, width = self._declared(params), self.env.spec(params).obs_size
        return declared._replace(choices=lambda local: declared.choices(local[:, :width]))


def with_subgoals(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """`env`, showing the subgoals that it declares to learners that plan over them.

    Raises:
      ValueError: it declares none.
    """
    if isinstance(env, WithSubgoals):
        return env
    if env.subgoals(env.default_params) is None:
        raise ValueError(
            f"{env.spec(env.default_params).id} declares no subgoals; Foraging-8x8-2p-2f-coop-v3 "
            f"and grid/doorkey-8x8, for instance, do"
        )
    return WithSubgoals(env=env)


def with_declared(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """`env`, showing its subgoals where it declares some."""
    return env if env.subgoals(env.default_params) is None else with_subgoals(env)
