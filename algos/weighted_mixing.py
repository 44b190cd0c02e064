"""Weighted QMIX: the mixed value is fitted best where joint actions are good.

QMIX's monotonic value cannot fit every value of every joint action. Its squared error spreads the
misfit evenly, and so the best joint action may be lost. Here an unrestricted value `Q*` is learned
beside it, and errors of `Q_tot` count less where it overestimates (`ow_qmix`), or where the joint
action is not known to be the best (`cw_qmix`). Targets of both are those of `Q*`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from marlx.algos.central_q import beside, mean_over, refuse_delay, valued
from marlx.algos.central_q_config import WeightedQConfig
from marlx.algos.q_learning import q_learner
from marlx.algos.q_metrics import loss_metrics
from marlx.algos.q_mixers import mixer_of
from marlx.algos.q_parts import QParts
from marlx.algos.q_state import LossInfo, QParams, QState
from marlx.algos.td_equations import window_priority
from marlx.data.replay import Sample
from marlx.learner import Learner
from marlx.nets import mixers
from marlx.nets.mixers import Mixer, window_values
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec


class JointValues(NamedTuple):
    """Values that the weight of a joint action depends on, arrays [T, b]."""

    mixed: Array  # f32, Q_tot of the joint action taken
    target: Array  # f32, of both values
    is_best: Array  # bool, the joint action taken is that of the agents' best actions
    best_value: Array  # f32, the target network's Q* of the agents' best actions


Weigh = Callable[[JointValues, float], Array]
"""`(values, alpha) -> f32 [T, b]`, weights of the squared errors of `Q_tot`."""


def optimistic_weights(values: JointValues, alpha: float) -> Array:
    """Returns 1 where `Q_tot` is below its target, else `alpha`, f32 [T, b].

    Source: Rashid et al. 2020, OW-QMIX.
    """
    return jnp.where(values.mixed < values.target, 1.0, alpha)


def central_weights(values: JointValues, alpha: float) -> Array:
    """Returns 1 where the joint action is the best known, or better than that, else `alpha`.

    Better means that its target is above `Q*` of the agents' best actions.

    Source: Rashid et al. 2020, CW-QMIX.
    """
    better = values.target > values.best_value
    return jnp.where(values.is_best | better, 1.0, alpha)


def weighted_loss(
    weigh: Weigh,
    central: Mixer,
    params: QParams,
    parts: QParts,
    state: QState,
    sample: Sample,
) -> tuple[Array, LossInfo]:
    """Returns `mean w (Q_tot - y)^2 + mean (Q* - y)^2`, f32 []; weights pass no gradient.

    Source: Rashid et al. 2020, both terms with weight 1 as in the authors' code.
    """
    config: Any = parts.config
    w = valued(params, parts, central, state, sample)
    mixed = window_values(parts.mixer, params.mixer, w.now, w.items.action)
    best_value = window_values(central, state.target.mixer.central, w.old, w.best)
    is_best = (w.items.action == w.best).all(-1)
    weight = weigh(JointValues(mixed, w.target, is_best, best_value), config.alpha)
    error = mixed - w.target
    of_mixed = mean_over(w.terms, sample, jnp.asarray(weight) * error**2)
    loss = of_mixed + mean_over(w.terms, sample, (w.value - w.target) ** 2)
    metrics = loss_metrics(
        parts.mixer, params.mixer, w.now, w.items.action, mixed, error, w.terms.mask
    )
    priority = window_priority(error, w.terms.mask, config.burn_in)
    return loss, LossInfo(priority, {"loss": loss, **metrics})


def weighted_learner(spec: EnvSpec, config: WeightedQConfig, weigh: Weigh) -> Learner:
    """Returns the learner that `ow_qmix` and `cw_qmix` are instances of.

    Args:
      spec: of the environment.
      config: settings.
      weigh: the weights of the mixed value's errors.

    Raises:
      ValueError: the actions are continuous, or agents' own values are asked for.

    Source: Rashid et al. 2020, "Weighted QMIX". Differs from: its `Q*`, see
    `marlx.nets.mixers.central`; and targets, which may be of many steps.
    """
    refuse_delay(config)
    central = mixers.central(spec, features=config.hidden, hidden=config.central_hidden)
    mixer = beside(mixer_of("qmix", spec, config), central)
    return q_learner(spec, config, mixer, loss=functools.partial(weighted_loss, weigh, central))


def ow_qmix(spec: EnvSpec, config: WeightedQConfig | None = None, **settings: Any) -> Learner:
    """Optimistically weighted QMIX (Rashid et al. 2020)."""
    c = dataclasses.replace(config or WeightedQConfig(), **settings)
    return weighted_learner(spec, c, optimistic_weights)


def cw_qmix(spec: EnvSpec, config: WeightedQConfig | None = None, **settings: Any) -> Learner:
    """Centrally weighted QMIX (Rashid et al. 2020)."""
    c = dataclasses.replace(config or WeightedQConfig(), **settings)
    return weighted_learner(spec, c, central_weights)


ALGORITHMS = tuple(
    Algorithm(name, summary, WeightedQConfig, build, preset="q_learning")
    for name, summary, build in (
        ("ow_qmix", "QMIX that weighs overestimates less", ow_qmix),
        ("cw_qmix", "QMIX that weighs joint actions less that are not the best", cw_qmix),
    )
)
