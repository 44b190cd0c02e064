"""The oracle: PPO that proposes what each of the others should do next, to the adversary's good.

It reads the state and what everyone does now. A proposal concerns the next step, so it is credited
with the advantage of that step.

The authors' code draws proposals and reinforces those whose next step had a high advantage. But
nobody acts on a proposal, so it is independent of what happens after it, and its expected gradient
is 0 (the setting `drawn`). Ours learns from what the others did: an action of theirs that was
followed by a high advantage becomes a likelier proposal (`oracle`).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from marlx.algos.influence.joint import legal, widest
from marlx.algos.ppo import PPOState, ppo_learner
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_networks import PPOExtras
from marlx.learner import Learner
from marlx.types import Array, Credit, EnvSpec, Observation, Transition


def oracle_spec(spec: EnvSpec, inputs: int) -> EnvSpec:
    """Returns the spec of the oracle: its agents are the others, which all see `inputs` numbers."""
    return EnvSpec(
        id=f"{spec.id}, proposals",
        num_agents=len(spec.partner_actions),
        num_actions=widest(spec),
        obs_size=inputs,
        state_size=spec.state_size,
        horizon=spec.horizon,
        reward_aggregation="mean",
        action_sizes=tuple(min(n, widest(spec)) for n in spec.partner_actions),
        scale=spec.scale,
        common_reward=True,
    )


def oracle_learner(spec: EnvSpec, config: PPOConfig, inputs: int) -> Learner:
    """Returns PPO for `oracle_spec`, with dense networks: the state says what there is to know."""
    own = dataclasses.replace(
        config,
        network="mlp",
        recurrent=False,
        trunk="separate",
        sharing="all",
        agent_id=True,
        reward="team",
    )
    return ppo_learner(oracle_spec(spec, inputs), own, central=True)


def proposals(spec: EnvSpec, oracle: Learner, state: PPOState, inputs: Array) -> Array:
    """Returns the probabilities of the oracle's proposals, f32 [T, B, V, C].

    Args:
      spec: the environment's.
      oracle: from `oracle_learner`.
      state: its state.
      inputs: f32 [T, B, F], see `marlx.algos.influence.joint.joint_inputs`.
    """
    assert oracle.inspect is not None, "actions are discrete"
    steps = inputs.shape[0] * inputs.shape[1]
    obs = _seen(spec, inputs.reshape(steps, -1), jnp.zeros((steps, spec.state_size)))
    shown = oracle.inspect(oracle.policy(state), oracle.memory(steps), obs, ())["probability"]
    return shown.reshape(*inputs.shape[:2], *shown.shape[1:])


def oracle_rollout(
    spec: EnvSpec,
    t: Transition,
    inputs: Array,
    action: Array,
    probability: Array,
    reward: Array,
    known: Array,
) -> Transition:
    """Returns the rollout [T, B, ...] that the oracle learns from: its rewards are one step later.

    Args:
      spec: the environment's.
      t: the adversary's rollout.
      inputs: f32 [T, B, F], what the oracle reads.
      action: int32 [T, B, V], what it learns from: the others' next actions, or its proposals.
      probability: f32 [T, B, V, C], of its proposals.
      reward: f32 [T, B], what the adversary learns from.
      known: bool [T, B], the next step is in the rollout and of the same episode; other steps
        have no weight.
    """
    length = len(reward)
    step = jnp.arange(length)[:, None]

    def later(x: Array, last: Array) -> Array:
        return jnp.concatenate([x[1:], last[None]])

    ends = t.next_obs.global_state
    state, following = later(t.obs.global_state, ends[-1]), later(ends, ends[-1])
    terminated = later(t.terminated, jnp.zeros_like(t.terminated[-1]))
    # what follows the rollout is not known: returns stop before, and values stand for it
    ended = terminated | later(t.truncated, t.truncated[-1]) | (step >= length - 2)

    def each(x: Array) -> Array:
        return jnp.broadcast_to(x[..., None], action.shape)

    chosen = jnp.take_along_axis(probability, action[..., None], -1)[..., 0]
    weight = each(known.astype(jnp.float32))
    return Transition(
        obs=_seen(spec, inputs, state),
        action=action,
        reward=each(later(reward, jnp.zeros_like(reward[-1]))),
        terminated=terminated,
        truncated=ended & ~terminated,
        next_obs=_seen(spec, inputs, following),
        memory=jnp.zeros((*action.shape, 0)),
        extras=PPOExtras(action, jnp.log(jnp.maximum(chosen, 1e-10))),
        credit=Credit(weight, each(terminated), each(ended), jnp.zeros(action.shape, bool)),
    )


def draw(key: Array, probability: Array) -> Array:
    """Returns int32 [...], actions drawn with `probability` f32 [..., C]."""
    return jax.random.categorical(key, jnp.log(probability)).astype(jnp.int32)


def _seen(spec: EnvSpec, inputs: Array, state: Array) -> Observation:
    """Returns the oracle's observations, all agents' alike; networks divide them by the scale."""
    agents = len(spec.partner_actions)
    batch = inputs.shape[:-1]
    local = jnp.broadcast_to(
        (inputs * spec.scale)[..., None, :], (*batch, agents, inputs.shape[-1])
    )
    mask = jnp.broadcast_to(jnp.asarray(legal(spec)), (*batch, *legal(spec).shape))
    return Observation(local, mask, state)
