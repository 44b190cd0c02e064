"""Environment steps as the Q-learner's replay stores them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.data.ring import Rollout
from marlx.learning.active import choice, zero_inactive
from marlx.types import Array, Credit, EnvSpec, Observation, Transition


class Item(NamedTuple):
    """One environment step in the replay; leading axes [T, b] in a batch of windows."""

    obs: Observation
    action: Array  # int [N]
    reward: Array  # f32 [], the team's, or [N], each agent's own
    discount: Array  # f32 [], factor on the next value: gamma, 0 at a true end
    done: Array  # bool [], the episode ended, at a true end or a time limit
    next_obs: Observation  # before any reset
    weight: Array | None  # `Transition.weight`
    credit: Credit | None  # `Transition.credit`


def check_window(window: int, length: int) -> None:
    """Raise ValueError unless windows and rollouts of `length` steps fit into each other."""
    if length % window and window % length:
        raise ValueError(
            f"window is {window}; it must divide the rollout length ({length}) or be a "
            f"multiple of it"
        )


def pack(spec: EnvSpec, config: QConfig, with_state: bool, t: Transition) -> Rollout:
    """Returns a rollout [T, B, ...] as the replay stores it.

    Small integers are stored as such, and the global state only if the mixer reads it. Rewards of
    agents that were inactive before the step do not count.

    Args:
      spec: of the environment.
      config: settings.
      with_state: whether the global state is stored.
      t: transitions [T, B, ...].
    """

    def pack_obs(obs: Observation) -> Observation:
        state = obs.global_state if with_state else obs.global_state[..., :0]
        local, state = obs.local.astype(spec.storage), state.astype(spec.storage)
        return Observation(local, obs.action_mask, state, obs.active)

    own = zero_inactive(t.reward[..., None], t.obs.active)[..., 0]
    item = Item(
        obs=pack_obs(t.obs),
        action=choice(t.obs, t.action).astype(jnp.int8 if spec.num_actions <= 127 else jnp.int32),
        reward=spec.team_reward(t.reward, t.obs.active) if config.reward == "team" else own,
        discount=jnp.where(t.terminated, 0.0, config.gamma),
        done=t.done,
        next_obs=pack_obs(t.next_obs),
        weight=t.weight,
        credit=t.credit,
    )
    return Rollout(item, t.memory, None if t.weight is None else t.weight > 0)


def unpack(items: Item) -> Item:
    """Returns items with actions that can be used as indices."""
    return items._replace(action=items.action.astype(jnp.int32))
