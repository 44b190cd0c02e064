"""Joint actions in a rollout, the others' next actions, and which of them are known.

The others' actions are in the global state after the step, which only training reads.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marlx.types import Array, EnvSpec, Transition


def require_partners(spec: EnvSpec) -> None:
    """Raises ValueError unless the global state has the others' actions, which are discrete."""
    if spec.continuous:
        raise ValueError(f"ami models discrete actions; those of {spec.id} are continuous")
    if not spec.partner_actions:
        raise ValueError(
            f"ami needs the others' actions in the global state, and {spec.id} has none; give a "
            "partners/... environment with privileged on (--env.privileged)"
        )


def widest(spec: EnvSpec) -> int:
    """Returns C, the number of actions in which the global state has those of the others."""
    part = spec.state_part("partner_action")
    return int(part.stop - part.start) // len(spec.partner_actions)


def legal(spec: EnvSpec) -> np.ndarray:
    """Returns bool [V, C], the actions that each other agent has at some time."""
    return np.arange(widest(spec)) < np.array(spec.partner_actions)[:, None]


def others_actions(spec: EnvSpec, t: Transition) -> Array:
    """Returns what the V others did in each step, int32 [T, B, V]."""
    after = t.next_obs.global_state[..., spec.state_part("partner_action")]
    return after.reshape(*after.shape[:-1], len(spec.partner_actions), -1).argmax(-1)


def next_actions(action: Array, done: Array) -> tuple[Array, Array]:
    """Returns what the others did one step later, and where that is known.

    Args:
      action: int32 [T, B, V], of each step.
      done: bool [T, B], an episode ended.

    Returns:
      int32 [T, B, V]; and bool [T, B], False in an episode's last step and in the rollout's.
    """
    later = jnp.concatenate([action[1:], action[-1:]])
    return later, ~done & (jnp.arange(len(done)) < len(done) - 1)[:, None]


def joint_inputs(spec: EnvSpec, t: Transition, action: Array) -> Array:
    """Returns the global state and all actions of each step, f32 [T, B, S + N A + V C].

    Args:
      spec: the environment's.
      t: a rollout [T, B, ...].
      action: int32 [T, B, V], the others'.
    """
    state = t.obs.global_state.astype(jnp.float32) / spec.scale
    own = jax.nn.one_hot(t.action, spec.num_actions)
    theirs = jax.nn.one_hot(action, widest(spec))
    flat = (*state.shape[:-1], -1)
    return jnp.concatenate([state, own.reshape(flat), theirs.reshape(flat)], -1)


def with_each_action(spec: EnvSpec, inputs: Array) -> Array:
    """Returns inputs in which one agent did something else, f32 [..., N, A, F].

    Args:
      spec: the environment's.
      inputs: f32 [..., F], of `joint_inputs`.
    """
    agents, actions = spec.num_agents, spec.num_actions
    first, last = spec.state_size, spec.state_size + agents * actions
    own = inputs[..., first:last].reshape(*inputs.shape[:-1], 1, 1, agents, actions)
    instead = jnp.eye(actions)[:, None]  # [A, 1, A]
    which = jnp.eye(agents, dtype=bool)[:, None, :, None]  # [N, 1, N, 1]
    changed = jnp.where(which, instead, own)  # [..., N, A, N, A]
    around = (*changed.shape[:-2], -1)
    before, after = (
        jnp.broadcast_to(part[..., None, None, :], (*around[:-1], part.shape[-1]))
        for part in (inputs[..., :first], inputs[..., last:])
    )
    return jnp.concatenate([before, changed.reshape(around), after], -1)
