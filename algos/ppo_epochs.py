"""Gradient steps of PPO on the minibatches of a rollout."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.ppo_auxiliary import Auxiliary, with_auxiliary
from marlx.algos.ppo_batch import Sequences, minibatch, minibatches
from marlx.algos.ppo_config import PolicyGradientConfig
from marlx.algos.ppo_networks import ActorCritic, PPOParams
from marlx.data.minibatches import active_first, scan_active
from marlx.learning.part_rates import with_part_rates
from marlx.learning.schedule import falling
from marlx.types import Array


class Trained(NamedTuple):
    """The part of the state that gradient steps change."""

    params: PPOParams
    optimiser: optax.OptState


def epochs(
    config: PolicyGradientConfig,
    nets: ActorCritic,
    data: Sequences,
    rate: Array,
    trained: Trained,
    key: Array,
    auxiliary: Auxiliary | None = None,
) -> tuple[Trained, dict[str, Array]]:
    """Returns parameters after `config.epochs` passes over the data, and mean metrics.

    Minibatches without any active sequence are left out, or teach the critic alone where
    `nets.values_everywhere`.
    """
    apart = nets.values_everywhere and data.active is not None
    loss = with_auxiliary(auxiliary)

    def step(trained: Trained, chosen: Array) -> tuple[Trained, dict[str, Array]]:
        batch, memory = minibatch(data, chosen)
        gradient, metrics = jax.grad(loss, has_aux=True)(
            trained.params, batch, memory, config, nets
        )
        change, optimiser = adam(config).update(gradient, trained.optimiser, trained.params)
        params = jax.tree.map(lambda p, s: p - rate * s, trained.params, change)
        new = Trained(params, optimiser)
        if apart and batch.weight is not None:
            new, metrics = critic_alone((batch.weight > 0).any(), trained, new, metrics)
        return new, {**metrics, "grad_norm": optax.tree.norm(gradient)}

    orders = minibatches(key, config, data.batch.done.shape[1])
    if data.active is not None and not apart:
        return scan_active(step, trained, orders, data.active, config.epochs)
    if data.active is not None:
        orders = active_first(orders, data.active, config.epochs)
    trained, metrics = jax.lax.scan(step, trained, orders)
    return trained, jax.tree.map(jnp.nanmean if apart else jnp.mean, metrics)


def critic_alone(
    taught: Array, old: Trained, new: Trained, metrics: dict[str, Array]
) -> tuple[Trained, dict[str, Array]]:
    """Returns `new` with the actor of `old`, and nan for the actor's metrics, unless `taught`.

    Adam would move the actor on minibatches without a step of its own: its momentum goes on, and
    its estimate of the gradient's size falls.

    Args:
      taught: bool [], the minibatch has a step that the actor learns from.
      old: before the gradient step.
      new: after it.
      metrics: of the minibatch.
    """

    def kept(new: PPOParams, old: PPOParams) -> PPOParams:
        actor = jax.tree.map(lambda a, b: jnp.where(taught, a, b), new.actor, old.actor)
        return new._replace(actor=actor)

    clip, adam_, rates = new.optimiser
    before = old.optimiser[1]
    adam_ = adam_._replace(mu=kept(adam_.mu, before.mu), nu=kept(adam_.nu, before.nu))
    of_actor = {k: jnp.where(taught, v, jnp.nan) for k, v in metrics.items() if k != "value_loss"}
    return Trained(kept(new.params, old.params), (clip, adam_, rates)), metrics | of_actor


def adam(config: PolicyGradientConfig) -> optax.GradientTransformation:
    """Returns Adam on clipped gradients, without the learning rate."""
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    return with_part_rates(optax.chain(clip, optax.scale_by_adam(eps=1e-5)))


def learning_rate(config: PolicyGradientConfig, steps: Array) -> Array:
    """Returns the learning rate f32 [] after int32 [] environment `steps`."""
    return config.lr * falling(config.lr_steps, steps)
