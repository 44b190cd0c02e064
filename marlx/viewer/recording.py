"""Episodes for the viewer: what the environment was, what the agents did, and what they valued."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.types import Array, Tree

Numbers = np.ndarray[Any, Any]


class Recording(NamedTuple):
    """An episode of T steps of N agents.

    Attributes:
      states: T + 1 environment states on the host, unbatched, without a reset at the end.
      action: int32 [T, N], or f32 [T, N, A] where they are continuous.
      legal: bool [T, N, A], the actions that were legal.
      reward: f32 [T], of the team.
      shown: what `Learner.inspect` returns, with a leading axis [T].
      captions: T texts of `Learner.describe`; empty where it has none.
    """

    states: list[Tree]
    action: Numbers
    legal: Numbers
    reward: Numbers
    shown: dict[str, Numbers]
    captions: list[str]


class Recorder:
    """Plays episodes of one learner, compiled once for all its policies.

    Args:
      env: the environment.
      params: its parameters.
      learner: its `act` chooses the actions; its `inspect` is recorded.
      explore: act as in training instead of greedily.
    """

    def __init__(
        self, env: Environment[Any, Any], params: EnvParams, learner: Learner, *, explore: bool
    ) -> None:
        self.env, self.params, self.learner, self.explore = env, params, learner, explore
        self.spec = env.spec(params)
        self._play = jax.jit(self._played, static_argnums=2)

    def record(self, policy: Tree, key: Array, episodes: int) -> list[Recording]:
        """Returns fresh episodes.

        Args:
          policy: arrays for `learner.act`.
          key: consumed.
          episodes: how many; they are played at the same time.
        """
        first, steps = jax.device_get(self._play(policy, key, episodes))
        return [self._cut(first, steps, b) for b in range(episodes)]

    def _played(self, policy: Tree, key: Array, episodes: int) -> tuple[Tree, Tree]:
        """Returns first states [B, ...] and all steps [T, B, ...], also those after an end."""
        env, params, learner = self.env, self.params, self.learner
        key, key_reset = jax.random.split(key)
        first = jax.vmap(env.reset_env, (0, None))(jax.random.split(key_reset, episodes), params)

        def step(carry: tuple[Tree, Tree], key: Array) -> tuple[tuple[Tree, Tree], Tree]:
            state, memory = carry
            key_act, key_step = jax.random.split(key)
            obs = jax.vmap(env.observe, (0, None))(state, params)
            action, after, extras = learner.act(policy, memory, obs, key_act, self.explore)
            shown = {}
            if learner.inspect is not None:
                shown = learner.inspect(policy, memory, obs, extras)
            keys = jax.random.split(key_step, episodes)
            state, reward, ended, _ = jax.vmap(env.step_env, (0, 0, 0, None))(
                keys, state, action, params
            )
            team = self.spec.team_reward(reward, obs.active)
            row = state, action, obs.action_mask, team, ended, shown, (after, extras)
            return (state, after), row

        keys = jax.random.split(key, self.spec.horizon)
        _, steps = jax.lax.scan(step, (first, learner.memory(episodes)), keys)
        return first, steps

    def _cut(self, first: Tree, steps: Tree, b: int) -> Recording:
        """Returns episode `b` up to its end."""
        rows = jax.tree.map(lambda x: x[:, b], steps)
        states, action, legal, reward, ended, shown, inner = rows
        length = int(ended.argmax()) + 1 if ended.any() else len(ended)
        at = [jax.tree.map(lambda x: x[t], states) for t in range(length)]  # noqa: B023
        describe, captions = self.learner.describe, []
        if describe is not None:
            for t in range(length):
                captions.append(describe(*jax.tree.map(lambda x: x[t], inner)))  # noqa: B023
        return Recording(
            [jax.tree.map(lambda x: x[b], first), *at],
            action[:length],
            legal[:length],
            reward[:length],
            {name: values[:length] for name, values in shown.items()},
            captions,
        )
