"""COMA: a policy gradient that asks of each agent what its other actions would have been worth.

One critic for the team values all actions of an agent while the others' stay as they were. The mean
of these values under the agent's policy is its baseline, so an advantage says what the agent itself
has added. After a rollout: TD(lambda) targets by the target critic, epochs on the critic, then one
gradient step on the actor.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.counterfactual_config import COMAConfig
from marlx.algos.counterfactual_critic import (
    Critic,
    counterfactual_advantage,
    critic_inputs,
    critic_network,
    expected_value,
    probabilities,
)
from marlx.algos.last_action import with_last_action
from marlx.algos.ppo_batch import loss_weights
from marlx.algos.ppo_losses import weighted_mean
from marlx.data.minibatches import check_windows, permutations, take
from marlx.learner import Learner
from marlx.learning.active import choice, choosable, value_exists
from marlx.learning.distributions import Categorical
from marlx.learning.part_rates import with_part_rates
from marlx.learning.returns import batched_lambda_returns
from marlx.learning.schedule import falling
from marlx.nets.agents import AgentNetwork, TeamNetwork, team_network
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree

ACTIONS = Categorical()


class COMAState(NamedTuple):
    """State of the learner between two updates."""

    actor: Tree
    critic: Tree
    target: Tree  # the critic's
    optimisers: tuple[optax.OptState, optax.OptState]  # of actor and critic
    rollout: Transition  # the last one, [T, B, ...]
    steps: Array  # int32 [], environment steps observed
    updates: Array  # int32 [], gradient updates of the critic


class Parts(NamedTuple):
    """The functions that the learner is made of."""

    spec: EnvSpec
    config: COMAConfig
    actor: TeamNetwork
    critic: Critic
    optimisers: tuple[optax.GradientTransformation, ...]  # as in `COMAState`; without step sizes


# --- the update ---


def targets(parts: Parts, state: COMAState, key: Array) -> Array:
    """Returns TD(lambda) targets f32 [T, B, N] of the joint action taken, by the target critic.

    In the state after a step, before any reset, all agents draw an action, and an agent's value is
    the mean over its own actions. So a time limit is bootstrapped through, as is the rollout's end.

    Source: Foerster et al. 2018, section 3.2. Differs from: it, whose next action is the one taken.
    """
    c, spec, t = parts.config, parts.spec, state.rollout
    _, _, after = parts.actor.step(state.actor, t.memory, t.obs)
    outputs, _, _ = parts.actor.step(state.actor, after, t.next_obs)
    action = ACTIONS.sample(key, outputs, t.next_obs.action_mask)
    inputs = critic_inputs(spec, t.next_obs, action, c.agent_id)
    policy = probabilities(outputs, choosable(t.next_obs))
    following = expected_value(parts.critic.values(state.target, inputs), policy)
    discount = jnp.where(t.terminated, 0.0, c.gamma)
    if t.next_obs.active is not None:
        discount = jnp.where(value_exists(t.next_obs.active, False), discount, 0.0)
    reward = spec.team_reward(t.reward, t.obs.active)
    return batched_lambda_returns(reward, discount, following, t.done, c.lambda_)


def train_critic(
    parts: Parts, state: COMAState, inputs: Array, key: Array
) -> tuple[COMAState, dict[str, Array]]:
    """Returns the state after all epochs of the critic on the last rollout, and mean metrics.

    Args:
      parts: of the learner.
      state: its `rollout` is learned from.
      inputs: f32 [T, B, N, F], the critic's.
      key: consumed.
    """
    c, t = parts.config, state.rollout
    key_next, key_order = jax.random.split(key)
    weight = jnp.ones(t.done.shape)
    if t.obs.active is not None:
        weight = value_exists(t.obs.active, False).astype(jnp.float32)
    data = inputs, choice(t.obs, t.action), targets(parts, state, key_next), weight
    data = jax.tree.map(lambda x: x.reshape(t.done.size, *x.shape[2:]), data)
    rate = c.critic_lr * falling(c.lr_steps, state.steps)

    def loss(critic: Tree, batch: Tree) -> tuple[Array, dict[str, Array]]:
        inputs, action, target, weight = batch
        q = jnp.take_along_axis(parts.critic.values(critic, inputs), action[..., None], -1)[..., 0]
        weight = jnp.broadcast_to(weight[:, None], q.shape)
        error = weighted_mean((q - target) ** 2, weight)
        return error, {"value_loss": error, "q": weighted_mean(q, weight)}

    def step(carry: Tree, chosen: Array) -> tuple[Tree, dict[str, Array]]:
        critic, target, optimiser, updates = carry
        gradient, metrics = jax.grad(loss, has_aux=True)(critic, take(data, chosen, 0))
        change, optimiser = parts.optimisers[1].update(gradient, optimiser, critic)
        critic = jax.tree.map(lambda p, s: p - rate * s, critic, change)
        target = optax.periodic_update(critic, target, updates + 1, c.target_period)
        return (critic, target, optimiser, updates + 1), metrics

    orders = permutations(key_order, c.critic_epochs, t.done.size)
    orders = orders.reshape(c.critic_epochs * c.critic_minibatches, -1)
    of_actor, of_critic = state.optimisers
    carry = state.critic, state.target, of_critic, state.updates
    (critic, target, of_critic, updates), metrics = jax.lax.scan(step, carry, orders)
    state = state._replace(
        critic=critic, target=target, optimisers=(of_actor, of_critic), updates=updates
    )
    return state, jax.tree.map(jnp.mean, metrics)


def actor_loss(
    actor: Tree, parts: Parts, t: Transition, q: Array
) -> tuple[Array, dict[str, Array]]:
    """Returns `-mean(A log pi + c_H H)`, f32 [], of a rollout [T, B, ...], and metrics.

    Args:
      actor: parameters.
      parts: of the learner.
      t: the rollout; a GRU is unrolled over all of it.
      q: f32 [T, B, N, A], of the agents' actions.
    """
    c, weight, mask = parts.config, loss_weights(t), t.obs.action_mask
    outputs, _, _ = parts.actor.unroll(actor, t.memory[0], t.obs, t.done)
    policy = jax.lax.stop_gradient(probabilities(outputs, mask))
    advantage = counterfactual_advantage(q, policy, t.action)
    size = jnp.sqrt(weighted_mean(advantage**2, weight))
    if c.normalise_advantage:
        advantage = advantage / (size + 1e-8)
    log_prob = ACTIONS.log_prob(outputs, mask, t.action)
    gain = weighted_mean(advantage * log_prob, weight)
    entropy = weighted_mean(ACTIONS.entropy(outputs, mask, t.action), weight)
    return -gain - c.entropy * entropy, {
        "policy_loss": -gain, "entropy": entropy, "advantage": size
    }  # fmt: skip


def update(parts: Parts, state: COMAState, key: Array) -> tuple[COMAState, dict[str, Array]]:
    """Returns the state after the critic's epochs and the actor's step, and metrics."""
    c, t = parts.config, state.rollout
    inputs = critic_inputs(parts.spec, t.obs, t.action, c.agent_id)
    state, metrics = train_critic(parts, state, inputs, key)
    q = parts.critic.values(state.critic, inputs)
    gradient, of_actor = jax.grad(actor_loss, has_aux=True)(state.actor, parts, t, q)
    optimiser, of_critic = state.optimisers
    change, optimiser = parts.optimisers[0].update(gradient, optimiser, state.actor)
    rate = jnp.asarray(c.lr * falling(c.lr_steps, state.steps), jnp.float32)
    actor = jax.tree.map(lambda p, s: p - rate * s, state.actor, change)
    state = state._replace(actor=actor, optimisers=(optimiser, of_critic))
    norm = {"grad_norm": optax.tree.norm(gradient), "lr": rate}
    return state, {**metrics, **of_actor, **norm, "samples": jnp.float32(t.done.size)}


def make_parts(spec: EnvSpec, config: COMAConfig) -> Parts:
    """Returns the parts of the learner."""
    c = config
    net = AgentNetwork(spec.num_actions, c.hidden, c.recurrent, c.layer_norm, head_scale=0.01)
    actor = team_network(net, spec, c.sharing, c.agent_id)
    adam = optax.chain(optax.clip_by_global_norm(c.max_grad_norm), optax.scale_by_adam(eps=1e-5))
    optimisers = with_part_rates(adam, "actor"), adam
    return Parts(spec, c, actor, critic_network(spec, c), optimisers)


def counterfactual_learner(spec: EnvSpec, config: COMAConfig) -> Learner:
    """Returns the learner of COMA.

    Raises:
      ValueError: the actions are continuous.

    Source: Foerster et al. 2018, "Counterfactual Multi-Agent Policy Gradients". Differs from: the
    paper in exploring by an entropy bonus, where its policies are mixed with uniform ones.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(counterfactual_learner, config=plain)
        return with_last_action(spec, build)._replace(config=config)
    if spec.continuous:
        raise ValueError(
            f"{spec.id} has continuous actions; COMA's baseline is a sum over discrete ones"
        )
    parts = make_parts(spec, config)

    def init(key: Array, example: Transition) -> COMAState:
        length, num_envs = example.terminated.shape
        check_windows(length, num_envs, 1, config.critic_minibatches)
        key_actor, key_critic = jax.random.split(key)
        actor, critic = parts.actor.init(key_actor), parts.critic.init(key_critic)
        optimisers = parts.optimisers[0].init(actor), parts.optimisers[1].init(critic)
        rollout = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example)
        target = jax.tree.map(jnp.copy, critic)
        return COMAState(actor, critic, target, optimisers, rollout, jnp.int32(0), jnp.int32(0))

    def act(
        policy: Tree, memory: Array, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Array, Tree]:
        outputs, _, memory = parts.actor.step(policy, memory, obs)
        mask = obs.action_mask
        drawn = ACTIONS.sample(key, outputs, mask) if explore else ACTIONS.mode(outputs, mask)
        return drawn, memory, ()

    def inspect(policy: Tree, memory: Array, obs: Observation, extras: Tree) -> dict[str, Array]:
        del extras
        outputs, _, _ = parts.actor.step(policy, memory, obs)
        return {"probability": probabilities(outputs, obs.action_mask)}

    return Learner(
        init=init,
        memory=parts.actor.memory,
        policy=lambda state: state.actor,
        act=act,
        observe=lambda state, t: state._replace(rollout=t, steps=state.steps + t.done.size),
        update=functools.partial(update, parts),
        config=config,
        judged="drawn",
        inspect=inspect,
    )


def coma(spec: EnvSpec, config: COMAConfig | None = None, **settings: Any) -> Learner:
    """Counterfactual multi-agent policy gradients (Foerster et al. 2018)."""
    return counterfactual_learner(spec, dataclasses.replace(config or COMAConfig(), **settings))


ALGORITHMS = (Algorithm("coma", "actor-critic with a counterfactual baseline", COMAConfig, coma),)
