"""CoachReg: agents choose one of a few masks over a hidden layer, and a coach makes them agree.

What an agent does depends on its mask, a sub-policy so to speak. It chooses the mask from what it
sees. In training a coach, who sees all observations, chooses one mask for the whole team: agents
learn to choose as the coach does, and to do well under the coach's mask. Nobody needs the coach
when acting.

Masks are not drawn. A policy is the mixture over the agent's masks, which draws the same actions.

Source: Roy et al. 2020, "Promoting Coordination through Policy Regularization in Multi-Agent Deep
Reinforcement Learning", section 4.2; its base is MADDPG, ours PPO.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from marlx.algos.gated_actor import GatedActor, chosen_masks, gated_actor, mixture, of_mask
from marlx.algos.inspecting import inspect_ppo
from marlx.algos.last_action import with_last_action
from marlx.algos.ppo import learner_on
from marlx.algos.ppo_auxiliary import Auxiliary, Sequence
from marlx.algos.ppo_losses import normalise_advantages, ppo_loss, weighted_mean
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOParams, act, actor_critic
from marlx.algos.regularisation_config import CoachRegConfig
from marlx.learner import Learner
from marlx.learning.active import zero_inactive
from marlx.learning.distributions import categorical_kl
from marlx.nets.agents import TeamNetwork
from marlx.nets.makers import state_network
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Tree


def mask_loss(
    config: CoachRegConfig, coach: Array, agents: Array, weight: Array | None
) -> tuple[Array, Array]:
    """Returns the loss f32 [] of choosing other masks than the coach, and the mean divergence.

    It is KL(coach || agent), times lambda_1 in the agents and lambda_3 in the coach.

    Args:
      config: `mask_weight` is lambda_1, `coach_mask_weight` lambda_3.
      coach: f32 [..., 1, K], log-probabilities of masks.
      agents: f32 [..., N, K], likewise.
      weight: f32 [..., N], of the agents' steps; None: equal.

    Source: Roy et al. 2020, section 4.2, and their code.
    """
    fixed = jax.lax.stop_gradient
    of_agents = weighted_mean(categorical_kl(fixed(coach), agents), weight)
    of_coach = weighted_mean(categorical_kl(coach, fixed(agents)), weight)
    return config.mask_weight * of_agents + config.coach_mask_weight * of_coach, of_agents


def guided_loss(
    config: CoachRegConfig,
    coach: Array,
    new: Array,
    old: Array,
    advantage: Array,
    weight: Array | None,
) -> tuple[Array, Array]:
    """Returns the loss f32 [] of the policies under the coach's mask, and it without weights.

    `sum_k c_k L_clip(log pi_k(a | o), log pi_old(a | o), A)`: the expectation over the coach's mask
    k of PPO's clipped loss, times lambda_2 in the agents and `coach_guided_weight` in the coach.

    Args:
      config: `guided_weight` is lambda_2.
      coach: f32 [..., 1, K], log-probabilities of masks.
      new: f32 [..., N, K], log-probabilities of the actions taken, under each mask.
      old: f32 [..., N], under the policy that acted.
      advantage: f32 [..., N], normalised.
      weight: f32 [..., N], of the agents' steps; None: equal.

    Source: Roy et al. 2020, section 4.2. Differs from: it, which maximises the critic's value of
    the actions under the coach's mask; PPO's critic values no actions (our reading).
    """
    each, fixed = (
        ppo_loss(new, old[..., None], advantage[..., None], config.clip),
        jax.lax.stop_gradient,
    )
    chance = jnp.exp(coach)
    of_agents = weighted_mean((fixed(chance) * each).sum(-1), weight)
    of_coach = weighted_mean((chance * fixed(each)).sum(-1), weight)
    total = config.guided_weight * of_agents + config.coach_guided_weight * of_coach
    return total, of_agents


# --- the learner ---


def coach_network(spec: EnvSpec, config: CoachRegConfig) -> TeamNetwork:
    """Returns the coach: log-probabilities of masks from `team_view`, dense and without memory."""
    seen = dataclasses.replace(spec, state_size=spec.num_agents * spec.obs_size, state_parts=())
    dense = dataclasses.replace(config, network="mlp", recurrent=False)
    return state_network(seen, dense, config.masks)


def team_view(obs: Observation) -> Observation:
    """Returns `obs` with the observations of all agents as its global state."""
    local = zero_inactive(obs.local.astype(jnp.float32), obs.active)
    return obs._replace(global_state=local.reshape(*local.shape[:-2], -1))


def coaching(spec: EnvSpec, config: CoachRegConfig, actor: GatedActor) -> Auxiliary:
    """Returns the auxiliary loss of CoachReg; its parameters are the coach."""
    coach = coach_network(spec, config)

    def loss(params: PPOParams, sequence: Sequence) -> tuple[Array, dict[str, Array]]:
        batch, memory = sequence
        legal, w = batch.obs.action_mask, batch.weight
        masks, logits = actor.unroll(params.actor, memory.actor, batch.obs, batch.done)
        empty = jnp.zeros((*batch.done.shape, 1, 0))
        chosen = jax.nn.log_softmax(coach.step(params.extra, empty, team_view(batch.obs))[0])
        matching, divergence = mask_loss(config, chosen, jax.nn.log_softmax(masks), w)
        new = of_mask(logits, legal, batch.old.raw)
        advantage = normalise_advantages(config, batch.advantage, w)
        guiding, guided = guided_loss(config, chosen, new, batch.old.log_prob, advantage, w)
        metrics = {"mask_kl": divergence, "guided_loss": guided}
        metrics["mask_entropy"] = -(jnp.exp(chosen) * chosen).sum(-1).mean()
        return matching + guiding, metrics

    return Auxiliary(loss, coach.init)


def gated_networks(spec: EnvSpec, config: CoachRegConfig, actor: GatedActor) -> ActorCritic:
    """Returns MAPPO's networks with a gated actor."""
    nets = actor_critic(spec, config, central=True)

    def outputs(masks: Array, logits: Array, obs: Observation) -> Array:
        return mixture(chosen_masks(config.mask_of, masks), logits, obs.action_mask)

    def init(key: Array) -> PPOParams:
        return nets.init(key)._replace(actor=actor.init(jax.random.fold_in(key, 0)))

    def policy(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array]:
        masks, logits, memory = actor.step(params, memory, obs)
        return outputs(masks, logits, obs), memory

    def unroll(
        params: PPOParams, memory: Memories, obs: Observation, done: Array, raw: Array
    ) -> tuple[Array, Array]:
        del raw
        masks, logits = actor.unroll(params.actor, memory.actor, obs, done)
        values, _ = nets.values(params, memory.critic, obs, done)
        return outputs(masks, logits, obs), values

    return nets._replace(init=init, actor_memory=actor.memory, policy=policy, unroll=unroll)


def coach_regularised(spec: EnvSpec, config: CoachRegConfig) -> Learner:
    """Returns MAPPO with gated actors and the losses of CoachReg.

    Raises:
      ValueError: the actions are continuous.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(coach_regularised, config=plain)
        return with_last_action(spec, build)._replace(config=config)
    if spec.continuous:
        raise ValueError(
            f"{spec.id} has continuous actions; the policies of CoachReg are mixtures of discrete "
            "ones"
        )
    actor = gated_actor(spec, config)
    nets = gated_networks(spec, config, actor)
    acting, shown = functools.partial(act, nets), inspect_ppo(spec, nets)
    auxiliary = coaching(spec, config, actor)
    return learner_on(spec, config, nets, act=acting, inspect=shown, auxiliary=auxiliary)


def coachreg(spec: EnvSpec, config: CoachRegConfig | None = None, **settings: Any) -> Learner:
    """PPO of gated agents whose masks a coach makes agree in training (Roy et al. 2020)."""
    return coach_regularised(spec, dataclasses.replace(config or CoachRegConfig(), **settings))


ALGORITHMS = (
    Algorithm("coachreg", "PPO, sub-policies that a coach makes agree", CoachRegConfig, coachreg),
)
