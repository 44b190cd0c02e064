"""QTRAN: utilities whose sum bounds an unrestricted joint value and meets it at the best actions.

The joint value `Q_jt` is learned by TD. The sum of the utilities is not fitted to it: plus a value
of the state, it has to equal `Q_jt` at the agents' best actions and be no lower anywhere else. Then
the agents' best actions are the best joint action, for every joint value that has such utilities.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.algos.central_q import CentralParams, beside, mean_over, refuse_delay, valued
from marlx.algos.central_q_config import QTRANConfig
from marlx.algos.q_learning import q_learner
from marlx.algos.q_metrics import loss_metrics
from marlx.algos.q_parts import QParts
from marlx.algos.q_state import LossInfo, QParams, QState
from marlx.algos.td_equations import window_priority
from marlx.data.replay import Sample
from marlx.learner import Learner
from marlx.nets import mixers
from marlx.nets.mixers import Mixer, Utilities, window_values
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Tree


def opt_error(utilities: Array, joint: Array, state: Array) -> Array:
    """Returns `Q'_jt(u*) - Q_jt(u*) + V_jt`, f32 [...], at the agents' best actions `u*`.

    Args:
      utilities: f32 [...], the sum of utilities.
      joint: f32 [...], the joint value, which gets no gradient here.
      state: f32 [...], the value of the state.

    Source: Son et al. 2019, `L_opt`.
    """
    return utilities - jax.lax.stop_gradient(joint) + state


def nopt_error(utilities: Array, joint: Array, state: Array) -> Array:
    """Returns `min(Q'_jt(u) - Q_jt(u) + V_jt, 0)`, f32 [...], at the joint action taken.

    Arguments are those of `opt_error`.

    Source: Son et al. 2019, `L_nopt`.
    """
    return jnp.minimum(opt_error(utilities, joint, state), 0.0)


class _StateNet(nn.Module):
    """The value f32 [] of a state."""

    hidden: int

    @nn.compact
    def __call__(self, features: Array, state: Array) -> Array:
        x = jnp.concatenate([features.reshape(-1), state])
        for _ in range(2):
            x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(1)(x)[0]


class StateValue(NamedTuple):
    """The value of a state, `V_jt`, which makes up for what agents do not see.

    Attributes:
      init: `(key) -> params`.
      value: `(params, utilities) -> f32 []`, of one state.
    """

    init: Callable[[Array], Tree]
    value: Callable[[Tree, Utilities], Array]


def state_value(spec: EnvSpec, *, features: int, hidden: int) -> StateValue:
    """Returns the value of a state from all features f32 [N, `features`] and the global state."""
    net = _StateNet(hidden)

    def value(params: Tree, u: Utilities) -> Array:
        return net.apply(params, u.features, u.global_state)  # type: ignore[return-value]

    return StateValue(
        lambda key: net.init(
            key, jnp.zeros((spec.num_agents, features)), jnp.zeros(spec.state_size)
        ),
        value,
    )


def qtran_loss(
    central: Mixer,
    of_state: StateValue,
    params: QParams,
    parts: QParts,
    state: QState,
    sample: Sample,
) -> tuple[Array, LossInfo]:
    """Returns `L_td + c_opt L_opt + c_nopt L_nopt`, f32 [], means of squared errors.

    Source: Son et al. 2019, QTRAN-base.
    """
    config: Any = parts.config
    w = valued(params, parts, central, state, sample)
    mixed = functools.partial(window_values, parts.mixer, params.mixer, w.now)
    joint = functools.partial(window_values, central, params.mixer.central, w.now)
    over_windows = jax.vmap(jax.vmap(functools.partial(of_state.value, params.mixer.state)))
    state_values = over_windows(w.now)
    error = w.value - w.target
    opt = opt_error(mixed(w.best), joint(w.best), state_values)
    nopt = nopt_error(mixed(w.items.action), w.value, state_values)
    loss = mean_over(
        w.terms, sample, error**2 + config.opt_weight * opt**2 + config.nopt_weight * nopt**2
    )
    metrics = loss_metrics(
        parts.mixer, params.mixer, w.now, w.items.action, w.value, error, w.terms.mask
    )
    priority = window_priority(error, w.terms.mask, config.burn_in)
    return loss, LossInfo(priority, {"loss": loss, **metrics})


def transformed_learner(spec: EnvSpec, config: QTRANConfig) -> Learner:
    """Returns the learner of QTRAN-base.

    Raises:
      ValueError: the actions are continuous, or agents' own values are asked for.

    Source: Son et al. 2019, "QTRAN: Learning to Factorize with Transformation". Differs from: the
    paper, whose networks add the agents' features, where these read them side by side; and targets,
    which may be of many steps.
    """
    refuse_delay(config)
    sizes = {"features": config.hidden, "hidden": config.central_hidden}
    central, of_state = mixers.central(spec, **sizes), state_value(spec, **sizes)
    mixer = beside(mixers.additive(), central)

    def init(key: Array) -> CentralParams:
        first, second = jax.random.split(key)
        params: CentralParams = mixer.init(first)
        return params._replace(state=of_state.init(second))

    loss = functools.partial(qtran_loss, central, of_state)
    return q_learner(spec, config, mixer._replace(init=init), loss=loss)


def qtran(spec: EnvSpec, config: QTRANConfig | None = None, **settings: Any) -> Learner:
    """QTRAN-base: factorisation by transformation (Son et al. 2019)."""
    return transformed_learner(spec, dataclasses.replace(config or QTRANConfig(), **settings))


ALGORITHMS = (
    Algorithm(
        "qtran",
        "utilities that bound an unrestricted joint value",
        QTRANConfig,
        qtran,
        preset="q_learning",
    ),
)
