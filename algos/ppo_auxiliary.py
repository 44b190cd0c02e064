"""Auxiliary losses: what is added to the loss of every minibatch of PPO."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax

from marlx.algos.ppo_batch import Batch
from marlx.algos.ppo_config import PolicyGradientConfig
from marlx.algos.ppo_losses import loss
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOParams
from marlx.types import Array, Tree

Metrics = dict[str, Array]


class Sequence(NamedTuple):
    """A minibatch: b windows of a rollout."""

    batch: Batch  # [window, b, ...]
    memory: Memories  # [b, ...], before the first step


def no_parameters(key: Array) -> Tree:
    """Returns `()`, the parameters of a loss that has none of its own."""
    del key
    return ()


class Auxiliary(NamedTuple):
    """A loss that is added to PPO's.

    Attributes:
      loss: `(params, sequence) -> f32 [], metrics`. It is differentiated in all of `params`: actor,
        critic and the loss's own, `params.extra`. Metrics are f32 [] by names that PPO's do not
        have. Means are to be weighted by `sequence.batch.weight`, where it is not None.
      init: `(key) -> params.extra`.
    """

    loss: Callable[[PPOParams, Sequence], tuple[Array, Metrics]]
    init: Callable[[Array], Tree] = no_parameters


class Loss(Protocol):
    """`loss(params, batch, memory, config, nets) -> f32 [], metrics`, of a minibatch."""

    def __call__(
        self,
        params: PPOParams,
        batch: Batch,
        memory: Memories,
        config: PolicyGradientConfig,
        nets: ActorCritic,
    ) -> tuple[Array, Metrics]:
        """Returns the loss that is differentiated in `params`, and metrics."""


def with_auxiliary(auxiliary: Auxiliary | None) -> Loss:
    """Returns PPO's loss with an auxiliary one added; PPO's alone if it is None.

    Raises:
      ValueError: when it is called, if both have a metric of the same name.
    """
    if auxiliary is None:
        return loss

    def total(
        params: PPOParams,
        batch: Batch,
        memory: Memories,
        config: PolicyGradientConfig,
        nets: ActorCritic,
    ) -> tuple[Array, Metrics]:
        of_ppo, metrics = loss(params, batch, memory, config, nets)
        added, others = auxiliary.loss(params, Sequence(batch, memory))
        if taken := sorted(metrics.keys() & others.keys()):
            raise ValueError(
                f"an auxiliary loss gives the metric {taken[0]}; it must have a name that PPO's "
                f"do not: {', '.join(metrics)}"
            )
        return of_ppo + added, {**metrics, **others}

    return total


def first_params(nets: ActorCritic, auxiliary: Auxiliary | None, key: Array) -> PPOParams:
    """Returns the first parameters; actor and critic are those without an auxiliary loss."""
    params = nets.init(key)
    if auxiliary is None:
        return params
    return params._replace(extra=auxiliary.init(jax.random.fold_in(key, 1)))
