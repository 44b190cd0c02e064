"""Settings of AMI: an adversary that is rewarded for its influence on the others."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.settings import check_settings, nearest_names, setting

InfluenceOf = Literal["marginal", "taken"]
Targets = Literal["oracle", "drawn", "random", "shuffled", "none"]
Distance = Literal["l1", "l2", "max", "log"]


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class NextActionConfig:
    """Training of the model of what the others do next."""

    lr: float = setting(1e-3, above=0, at_most=1e6, traced=True)
    """Adam's step size."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of its network, which has a GRU where the policy is recurrent."""
    epochs: int = setting(4, at_least=1, at_most=1000)
    """Passes over each rollout."""
    minibatches: int = setting(4, at_least=1, at_most=10_000)
    """Gradient updates per pass, each on an equal part of the environments."""
    max_grad_norm: float = setting(0.5, above=0, traced=True, finite=False)
    """Largest global norm of a gradient; larger ones are scaled down."""

    def __post_init__(self) -> None:
        check_settings(self)


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class AMIConfig:
    """Settings of an adversary by PPO with a reward for its influence."""

    influence: float = setting(0.1, at_least=0, at_most=1e6)
    """Weight of the penalty (lambda), in deviations of the reward; 0 is `mappo`."""
    influence_of: InfluenceOf = "marginal"
    """Own actions whose influence counts:
    `marginal`: all that the policy may take, by their probability.
    `taken`: the one that was taken, so that it gets the credit itself."""
    targets: Targets = "oracle"
    """What the others are to be brought to do next:
    `oracle`: proposed by an oracle, which learns from what the others did and what followed.
    `drawn`: as in the authors' code, an oracle that learns from its own proposals.
    `random`: control, any legal action.
    `shuffled`: control, what the oracle proposed for other steps of the rollout.
    `none`: control, anything but what they do where own actions are uniformly random."""
    distance: Distance = "l1"
    """Distance of what is expected from what is proposed:
    `l1`: the sum of differences of probabilities.
    `l2`: Euclidean.
    `max`: the largest difference.
    `log`: minus the log-probability of what is proposed."""
    model: NextActionConfig = dataclasses.field(default_factory=NextActionConfig)
    """Training of the model of what the others do next."""
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Settings of the policy, and of the oracle but for its network."""

    def __post_init__(self) -> None:
        check_settings(self)
