"""Settings of the learners with an unrestricted team value: weighted QMIX and QTRAN."""

from __future__ import annotations

import dataclasses

from marlx.algos.q_config import QConfig
from marlx.settings import nearest_names, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedQConfig(QConfig):
    """Settings of weighted QMIX: those of every Q-learner, and two of its own."""

    central_hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of the unrestricted value's network."""
    alpha: float = setting(0.1, at_least=0, at_most=1, traced=True)
    """Weight of errors of the mixed value that may stay; with 1 all count the same."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class QTRANConfig(QConfig):
    """Settings of QTRAN: those of every Q-learner, and three of its own."""

    central_hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of the networks of the joint value and of the state's."""
    opt_weight: float = setting(1.0, at_least=0, at_most=1e6, traced=True)
    """Weight of the loss at the joint action that the agents would choose."""
    nopt_weight: float = setting(1.0, at_least=0, at_most=1e6, traced=True)
    """Weight of the loss at the joint action taken."""
