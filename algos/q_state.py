"""Records of the Q-learner: parameters, policy, state."""

from __future__ import annotations

from typing import NamedTuple

import optax

from marlx.data.replay import ReplayState
from marlx.learning.running_moments import Moments
from marlx.types import Array, Tree


class QParams(NamedTuple):
    """Trained parameters."""

    agents: Tree  # [G, ...], stacked by parameter set
    mixer: Tree


class QPolicy(NamedTuple):
    """The part of the state that acting needs."""

    params: QParams
    steps: Array  # int32 [], environment steps observed, for the exploration schedule


class QState(NamedTuple):
    """State of the learner between two updates."""

    params: QParams
    target: QParams
    optimiser: optax.OptState
    replay: ReplayState
    rewards: Moments
    steps: Array  # int32 [], environment steps observed
    updates: Array  # int32 [], gradient updates made
    pending: Array  # f32 [], gradient updates still to make for the steps observed


class LossInfo(NamedTuple):
    """Results of the loss besides its value."""

    priority: Array  # f32 [b], of each window
    metrics: dict[str, Array]  # f32 [] each
