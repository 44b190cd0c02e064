"""The core of the off-policy actor-critics: a gradient step, and the learner made of it.

IDDPG, MADDPG, FACMAC, ISAC, MASAC and HASAC differ in their parts: the policy that an actor's
outputs mean (`policies`), what critics read (`critics`), whether entropy counts, and whether actors
are updated together or in turn (`sequential`). Read on in this order: targets and the loss of the
critics, the actors' update, a gradient step, the learner.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from marlx.algos.last_action import with_last_action
from marlx.algos.off_policy.equations import (
    actor_loss,
    critic_loss,
    exists,
    soft_value,
    temperature_loss,
)
from marlx.algos.off_policy.parts import (
    ActingPolicy,
    Batch,
    Improved,
    OffPolicyState,
    Optimisers,
    Parts,
    Targets,
    pack,
)
from marlx.algos.off_policy.policies import as_read, readable
from marlx.algos.ppo_losses import weighted_mean
from marlx.algos.q_items import check_window
from marlx.algos.td_equations import scale_reward, td_targets
from marlx.data.replay import Sample
from marlx.learner import Learner
from marlx.learning.returns import uniform_action
from marlx.learning.running_moments import extend, moments
from marlx.learning.schedule import due_updates, repeat_updates
from marlx.types import Array, EnvSpec, Observation, Transition, Tree

METRICS = ("value_loss", "td_error", "q", "policy_loss", "grad_norm", "critic_grad_norm", "samples")
"""Metrics of a gradient step. `samples` is the number of steps in it."""
SOFT_METRICS = (*METRICS, "entropy", "temperature")


# --- the critics ---


def temperature(parts: Parts, state: OffPolicyState) -> Array | float:
    """Returns the weight of each agent's entropy, f32 [N]; 0 where entropy does not count."""
    return 0.0 if parts.temperature is None else jnp.exp(state.log_temperature)


def batch_of(parts: Parts, sample: Sample) -> Batch:
    """Returns a sample of the replay as losses read it."""
    items = sample.items
    action = items.action if parts.spec.continuous else items.action.astype(jnp.int32)
    return Batch(items, as_read(parts.spec, items.obs, action), sample.start)


def next_values(parts: Parts, state: OffPolicyState, batch: Batch, key: Array) -> Array:
    """Returns values of each step's own `next_obs`, before any reset, f32 [T, b, V].

    Next actions are those of the target actors, or of the present policies where entropy counts.
    A network with a memory goes on from the one after that step, unrolled by the same parameters.
    """
    items, following = batch.items, batch.items.next_obs
    actor = state.target.actor if parts.temperature is None else state.actor
    _, _, memory = parts.net.unroll(actor, batch.start, items.obs, items.done)
    outputs, _, _ = parts.net.step(actor, memory, following)
    drawn = parts.policy.draw(key, outputs, following.action_mask)
    q = parts.critics.value(state.target.critic, following, readable(following, drawn.action))
    bonus = temperature(parts, state) * drawn.entropy
    return soft_value(q, bonus, following.active, parts.critics.per_agent)


def targets(parts: Parts, state: OffPolicyState, batch: Batch, key: Array) -> Array:
    """Returns what critics are fitted to, f32 [T, b, V], without gradient.

    `y = r + gamma V(s')`, or TD(lambda) where `trace` is above 0; 0 follows a true end, and an
    agent's own leaving where it has a value of its own. Time limits are bootstrapped through.
    """
    items, per_agent = batch.items, parts.critics.per_agent
    value = next_values(parts, state, batch, key)
    reward = scale_reward(parts.config.reward_scaling, state.rewards, items.reward)
    reward = reward if reward.ndim == value.ndim else reward[..., None]
    discount = jnp.broadcast_to(items.discount[..., None], value.shape)
    if items.next_obs.active is not None:
        discount = jnp.where(exists(items.next_obs.active, per_agent), discount, 0.0)
    reward = jnp.broadcast_to(reward, value.shape)
    return td_targets(reward, discount, value, items.done, parts.trace)


def loss_of_critics(
    critic: Tree, parts: Parts, batch: Batch, target: Array
) -> tuple[Array, dict[str, Array]]:
    """Returns the critics' loss f32 [], and metrics."""
    obs, weight = batch.items.obs, None
    values = parts.critics.values(critic, obs, batch.action)
    if obs.active is not None:
        weight = exists(obs.active, parts.critics.per_agent).astype(jnp.float32)
    loss = critic_loss(values, target, weight)
    return loss, {
        "value_loss": loss,
        "td_error": weighted_mean(jnp.abs(values[0] - target), weight),
        "q": weighted_mean(values[0], weight),
    }


# --- the actors ---


def improve_together(parts: Parts, state: OffPolicyState, batch: Batch, key: Array) -> Improved:
    """Returns all actors after one gradient step at the same time."""
    obs, done = batch.items.obs, batch.items.done

    def loss(actor: Tree) -> tuple[Array, Array]:
        outputs, _, _ = parts.net.unroll(actor, batch.start, obs, done)
        drawn = parts.policy.draw(key, outputs, obs.action_mask)
        action = readable(obs, drawn.action)
        q = parts.critics.improved(state.critic, obs, batch.action, action)
        weight = temperature(parts, state)
        return actor_loss(q, drawn, weight, parts.penalty, obs.active), drawn.entropy

    (value, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor)
    step, optimiser = parts.actor_optimiser.update(gradient, state.optimisers.actor, state.actor)
    metrics = {"policy_loss": value, "grad_norm": optax.tree.norm(gradient)}
    return Improved(optax.apply_updates(state.actor, step), optimiser, entropy, metrics)


def adjusted_temperature(
    parts: Parts, state: OffPolicyState, batch: Batch, entropy: Array
) -> tuple[Tree, optax.OptState, dict[str, Array]]:
    """Returns the logarithm of the temperature after a step, its optimiser, and metrics.

    Args:
      parts: of the learner.
      state: before the step.
      batch: that the entropy is of.
      entropy: f32 [T, b, N], of the present policies.
    """
    old, optimiser = state.log_temperature, state.optimisers.temperature
    if parts.temperature is None:
        return old, optimiser, {}
    obs = batch.items.obs
    target = parts.temperature.target(obs.action_mask)
    gradient = jax.grad(temperature_loss)(old, entropy, target, obs.active)
    step, optimiser = parts.temperature.optimiser.update(gradient, optimiser, old)
    there = None if obs.active is None else obs.active.astype(jnp.float32)
    metrics = {"entropy": weighted_mean(entropy, there), "temperature": jnp.exp(old).mean()}
    return optax.apply_updates(old, step), optimiser, metrics


def gradient_step(
    parts: Parts, state: OffPolicyState, key: Array
) -> tuple[OffPolicyState, dict[str, Array]]:
    """Returns the state after a step of critics, actors, temperature and targets, and metrics."""
    key_sample, key_next, key_actors = jax.random.split(key, 3)
    batch = batch_of(parts, parts.replay.sample(state.replay, key_sample))
    target = targets(parts, state, batch, key_next)
    gradient, metrics = jax.grad(loss_of_critics, has_aux=True)(state.critic, parts, batch, target)
    step, of_critic = parts.critic_optimiser.update(gradient, state.optimisers.critic, state.critic)
    state = state._replace(critic=optax.apply_updates(state.critic, step))
    new = parts.improve(parts, state, batch, key_actors)
    log_temperature, of_temperature, soft = adjusted_temperature(parts, state, batch, new.entropy)
    online = Targets(new.actor if parts.temperature is None else (), state.critic)
    state = state._replace(
        actor=new.actor,
        target=optax.incremental_update(online, state.target, parts.config.target_rate),
        log_temperature=log_temperature,
        optimisers=Optimisers(new.optimiser, of_critic, of_temperature),
        updates=state.updates + 1,
    )
    norm = {"critic_grad_norm": optax.tree.norm(gradient)}
    samples = {"samples": jnp.float32(batch.items.done.size)}
    return state, {**metrics, **new.metrics, **soft, **norm, **samples}


# --- the learner ---


def initial_state(parts: Parts, key: Array, example: Transition) -> OffPolicyState:
    """Returns the state before the first rollout.

    Raises:
      ValueError: windows and rollouts do not fit into each other.
    """
    check_window(parts.config.window, example.terminated.shape[0])
    key_actor, key_critic = jax.random.split(key)
    actor, critic = parts.net.init(key_actor), parts.critics.init(key_critic)
    soft = parts.temperature
    log_temperature: Tree = ()
    of_temperature: Tree = ()
    if soft is not None:
        log_temperature = jnp.full(parts.spec.num_agents, soft.first, jnp.float32)
        of_temperature = soft.optimiser.init(log_temperature)
    return OffPolicyState(
        actor=actor,
        critic=critic,
        target=Targets(jax.tree.map(jnp.copy, actor) if soft is None else (),
                       jax.tree.map(jnp.copy, critic)),
        log_temperature=log_temperature,
        optimisers=Optimisers(
            parts.actor_optimiser.init(actor), parts.critic_optimiser.init(critic), of_temperature
        ),
        replay=parts.replay.init(jax.eval_shape(functools.partial(pack, parts), example)),
        rewards=moments(),
        steps=jnp.int32(0),
        updates=jnp.int32(0),
        pending=jnp.float32(0),
    )  # fmt: skip


def observe(parts: Parts, state: OffPolicyState, t: Transition) -> OffPolicyState:
    """Returns the state with `t` [T, B, ...] in the replay, and its updates due."""
    c, rollout = parts.config, pack(parts, t)
    counted = t.obs.active if c.reward == "own" else None
    new = jnp.where(state.steps >= c.warmup, t.done.size * c.updates_per_step, 0.0)
    return state._replace(
        replay=parts.replay.add(state.replay, rollout),
        rewards=extend(state.rewards, rollout.items.reward, counted=counted),
        steps=state.steps + t.done.size,
        pending=state.pending + new,
    )


def update(
    parts: Parts, state: OffPolicyState, key: Array
) -> tuple[OffPolicyState, dict[str, Array]]:
    """Returns the state after the gradient steps that are due, and their mean metrics."""
    due, pending = due_updates(state.pending)
    step = functools.partial(gradient_step, parts)
    names = METRICS if parts.temperature is None else SOFT_METRICS
    state, sums = repeat_updates(step, state, key, due, names)
    metrics = {name: total / due for name, total in sums.items()}
    metrics["samples"] = sums["samples"]  # steps learned from, not a mean
    metrics["epsilon"] = jnp.asarray(parts.epsilon(state.steps), jnp.float32)
    return state._replace(pending=pending), metrics


def act(
    parts: Parts, policy: ActingPolicy, memory: Array, obs: Observation, key: Array, explore: bool
) -> tuple[Array, Array, Tree]:
    """Returns greedy actions, or if `explore` those of `Policy.explore`; see `Learner.act`.

    While exploring, each agent takes a uniformly random action with probability `epsilon`.
    """
    outputs, _, memory = parts.net.step(policy.actor, memory, obs)
    mask = obs.action_mask
    if not explore:
        return parts.policy.greedy(outputs, mask), memory, ()
    key_draw, key_random, key_coin = jax.random.split(key, 3)
    action = parts.policy.explore(key_draw, outputs, mask)
    random = uniform_action(key_random, parts.spec, mask)
    coin = jax.random.uniform(key_coin, mask.shape[:-1]) < parts.epsilon(policy.steps)
    return jnp.where(coin[..., None] if parts.spec.continuous else coin, random, action), memory, ()


def inspect(
    parts: Parts, policy: ActingPolicy, memory: Array, obs: Observation, extras: Tree
) -> dict[str, Array]:
    """Returns `probability` f32 [B, N, A] of discrete actions, for viewers."""
    del extras
    outputs, _, _ = parts.net.step(policy.actor, memory, obs)
    return {"probability": jax.nn.softmax(jnp.where(obs.action_mask, outputs, -jnp.inf), -1)}


def off_policy_learner(parts: Parts) -> Learner:
    """Returns the learner that `parts` make up.

    Its return is measured with greedy actions, the mean of a Gaussian and the most probable
    discrete action, as in Haarnoja et al. 2018, HARL and BenchMARL.

    Source: Lillicrap et al. 2016 (DDPG), Lowe et al. 2017 (MADDPG), Haarnoja et al. 2018 (SAC).
    Differs from: all of them in gradient steps that are due per environment step, of windows.
    """
    return Learner(
        init=functools.partial(initial_state, parts),
        memory=parts.net.memory,
        policy=lambda state: ActingPolicy(state.actor, state.steps),
        act=functools.partial(act, parts),
        observe=functools.partial(observe, parts),
        update=functools.partial(update, parts),
        warmup=parts.config.warmup,
        config=parts.config,
        judged="greedy",
        inspect=None if parts.spec.continuous else functools.partial(inspect, parts),
    )


def build_learner(spec: EnvSpec, last_action: bool, build: Callable[[EnvSpec], Parts]) -> Learner:
    """Returns the learner of `build(spec)`, whose agents also see their last action if asked to."""
    if not last_action:
        return off_policy_learner(build(spec))
    return with_last_action(spec, lambda wider: off_policy_learner(build(wider)))
