"""Settings of PPO and A2C."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.learning.distributions import Bounded
from marlx.nets.agents import SharingMode

RewardOf = Literal["team", "group", "own"]
Trunk = Literal["separate", "shared"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of every policy-gradient learner here."""

    lr: float = 5e-4
    """Adam's step size."""
    lr_steps: int = 0
    """Environment steps over which it falls linearly to 0; 0 keeps it constant."""
    gamma: float = 0.99
    """Discount per environment step."""
    lambda_: float = 0.95
    """Of generalised advantage estimation; 0 is one-step, 1 the whole return."""
    epochs: int = 4
    """Passes over each rollout."""
    minibatches: int = 4
    """Gradient updates per pass."""
    window: int = 16
    """Steps per sequence of a recurrent learner; it starts at the memory that acting had there."""
    clip: float = 0.2
    """How far the policy's ratio may move before it gets no more gradient."""
    value_clip: float = 0.2
    """The same for values, in units of their deviation where they are normalised; 0 is off."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm."""
    normalise_advantage: bool = True
    """Advantages of a minibatch to mean 0 and deviation 1."""
    normalise_value: bool = True
    """The critic predicts returns less their running mean, over their running deviation."""
    reward: RewardOf = "team"
    """Whose reward an agent is paid for: the team's, that of its group, or its own."""
    hidden: int = 64
    """Width of all networks."""
    recurrent: bool = False
    """GRUs in actor and critic; without, they see the present observation only."""
    trunk: Trunk = "separate"
    """Whether the critic is a network of its own, or (IPPO only) a second head on the actor's."""
    layer_norm: bool = False
    """Normalise the encoders' output."""
    sharing: SharingMode = "all"
    """Which agents share parameters: all, those of a group, or none."""
    agent_id: bool = True
    """Append the agent's one-hot index to what it sees."""
    bounded: Bounded = "clipped"
    """How a Gaussian is brought into the bounds of continuous actions."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, accepted: str) -> None:
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}")

        for name in ("gamma", "lambda_"):
            check(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("lr", "clip", "max_grad_norm"):
            check(name, getattr(self, name) > 0, "above 0")
        for name in ("epochs", "minibatches", "window", "hidden"):
            check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("lr_steps", "value_clip", "entropy", "value_weight"):
            check(name, getattr(self, name) >= 0, "0 or more")
        for name, accepted in (
            ("sharing", ("all", "group", "none")),
            ("reward", ("team", "group", "own")),
            ("bounded", ("clipped", "squashed")),
            ("trunk", ("separate", "shared")),
        ):
            check(name, getattr(self, name) in accepted, " or ".join(map(repr, accepted)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class A2CConfig(PPOConfig):
    """Advantage actor-critic: one pass over the whole rollout."""

    epochs: int = 1
    """Passes over each rollout."""
    minibatches: int = 1
    """Gradient updates per pass."""
    value_clip: float = 0.0
    """How far a value may move before it gets no more gradient; 0 is off."""
