"""Parts, state and stored steps of the off-policy actor-critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import optax

from marlx.algos.off_policy.config import OffPolicyConfig
from marlx.algos.off_policy.critics import Critic, Critics, several
from marlx.algos.off_policy.policies import Policy
from marlx.algos.q_items import Item
from marlx.data.replay import Replay, ReplayState, uniform
from marlx.data.ring import Rollout
from marlx.learning.active import zero_inactive
from marlx.learning.running_moments import Moments
from marlx.nets.agents import TeamNetwork
from marlx.nets.makers import agents_network
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class Targets(NamedTuple):
    """Slowly moving parameters."""

    actor: Tree  # () where next actions are those of the present policy
    critic: Tree  # [K, ...]


class Optimisers(NamedTuple):
    """States of the optimisers."""

    actor: optax.OptState
    critic: optax.OptState
    temperature: optax.OptState  # () where there is none


class OffPolicyState(NamedTuple):
    """State of the learner between two updates."""

    actor: Tree  # [G, ...], stacked by parameter set
    critic: Tree  # [K, ...], of each critic
    target: Targets
    log_temperature: Tree  # f32 [N]; () where there is none
    optimisers: Optimisers
    replay: ReplayState
    rewards: Moments
    steps: Array  # int32 [], environment steps observed
    updates: Array  # int32 [], gradient updates made
    pending: Array  # f32 [], gradient updates still to make for the steps observed


class ActingPolicy(NamedTuple):
    """The part of the state that acting needs."""

    actor: Tree
    steps: Array  # int32 [], environment steps observed, for the exploration schedule


class Batch(NamedTuple):
    """Windows of steps that a gradient step learns from."""

    items: Item  # [T, b]
    action: Array  # f32 [T, b, N, A], as critics read it
    start: Array  # f32 [b, N, M], memories of the actors at the first step


class Improved(NamedTuple):
    """The actors after an update, with their optimiser and metrics."""

    actor: Tree
    optimiser: optax.OptState
    entropy: Array  # f32 [T, b, N], of the policies that drew in it
    metrics: dict[str, Array]  # `policy_loss` and `grad_norm`, f32 [] each


class Improve(Protocol):
    """`(parts, state, batch, key) -> Improved`, a gradient step of the actors."""

    def __call__(self, parts: Parts, state: OffPolicyState, batch: Batch, key: Array) -> Improved:
        """Returns better actors, by the critics of `state`."""


class Temperature(NamedTuple):
    """How the weight of the entropy is learned.

    Attributes:
      first: f32 [], its logarithm at first.
      optimiser: of the logarithm.
      target: `(action mask) -> f32 [..., N]`, the entropy it is adjusted to.
    """

    first: Array
    optimiser: optax.GradientTransformation
    target: Callable[[Array], Array]


class Parts(NamedTuple):
    """The functions that a learner is made of.

    Attributes:
      spec: of the environment.
      config: settings.
      net: of the actors.
      policy: what their outputs mean.
      critics: values of joint actions.
      improve: the update of the actors.
      epsilon: `(steps) -> f32 []`, share of uniformly random actions while exploring.
      temperature: of the entropy; None for policies without use for chance. These have a target
        network for next actions.
      trace: lambda of the critics' targets.
      penalty: weight of the mean square of the actors' outputs.
      actor_optimiser: of the actors.
      critic_optimiser: of the critics.
      replay: of `Item`.
    """

    spec: EnvSpec
    config: OffPolicyConfig
    net: TeamNetwork
    policy: Policy
    critics: Critics
    improve: Improve
    epsilon: Callable[[Array], Array]
    temperature: Temperature | None
    trace: Any
    penalty: Any
    actor_optimiser: optax.GradientTransformation
    critic_optimiser: optax.GradientTransformation
    replay: Replay


def make_parts(
    spec: EnvSpec,
    config: OffPolicyConfig,
    policy: Policy,
    critic: Critic,
    *,
    improve: Improve,
    epsilon: Callable[[Array], Array],
    temperature: Temperature | None = None,
    trace: Any = 0.0,
    penalty: Any = 0.0,
) -> Parts:
    """Returns the parts of a learner; arguments are those of `Parts`, `critic` one of them."""
    c = config
    return Parts(
        spec, c,
        agents_network(spec, c, policy.num_outputs, head_scale=0.01),
        policy, several(critic, c.critics), improve, epsilon, temperature, trace, penalty,
        adam(c.lr, c.max_grad_norm), adam(c.critic_lr, c.max_grad_norm),
        uniform(c.capacity, c.batch, c.window),
    )  # fmt: skip


def adam(rate: Any, max_grad_norm: Any) -> optax.GradientTransformation:
    """Returns Adam behind a bound on the gradient's global norm."""
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(rate, eps=1e-5))


def pack(parts: Parts, t: Transition) -> Rollout:
    """Returns a rollout [T, B, ...] as the replay stores it.

    The global state is stored only if the critics read it. Rewards of agents that were inactive
    before the step do not count.
    """
    spec, c = parts.spec, parts.config

    def pack_obs(obs: Observation) -> Observation:
        state = obs.global_state if parts.critics.uses_state else obs.global_state[..., :0]
        local, state = obs.local.astype(spec.storage), state.astype(spec.storage)
        return Observation(local, obs.action_mask, state, obs.active)

    own = zero_inactive(t.reward[..., None], t.obs.active)[..., 0]
    small = not spec.continuous and spec.num_actions <= 127
    item = Item(
        obs=pack_obs(t.obs),
        action=t.action.astype(jnp.int8) if small else t.action,
        reward=spec.team_reward(t.reward, t.obs.active) if c.reward == "team" else own,
        discount=jnp.where(t.terminated, 0.0, c.gamma),
        done=t.done,
        next_obs=pack_obs(t.next_obs),
        weight=None,
        credit=None,
    )
    return Rollout(item, t.memory)
