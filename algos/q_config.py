"""Settings of every Q-learner."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.nets.agents import SharingMode


@dataclasses.dataclass(frozen=True, kw_only=True)
class QConfig:
    """Settings of every Q-learner here."""

    lr: float = 5e-4
    """Adam's step size."""
    gamma: float = 0.99
    """Discount per environment step."""
    updates_per_step: float = 1 / 32
    """Gradient updates per environment step, whatever the number of environments."""
    batch: int = 32
    """Windows per gradient update."""
    window: int = 16
    """Steps per window; windows start where a rollout's stored memory is, and may span episodes."""
    burn_in: int = 0
    """Steps at a window's start that only warm the memory up and are not learned from."""
    capacity: int = 200_000
    """Environment steps that the replay holds."""
    warmup: int = 5_000
    """Environment steps before the first update."""
    prioritised: bool = False
    """Draw windows by their last TD error instead of uniformly."""
    priority_exponent: float = 0.6
    """0 is uniform, 1 proportional to the TD error."""
    importance_exponent: float = 0.4
    """How far the draw's bias is corrected in the loss; 1 is fully."""
    epsilon_start: float = 1.0
    """Probability of a random action at first."""
    epsilon_end: float = 0.05
    """And after `epsilon_steps`."""
    epsilon_steps: int = 100_000
    """Environment steps over which it falls linearly."""
    epsilon_delay: int = 0
    """Environment steps before it begins to fall."""
    double: bool = True
    """Choose the next action with the online network, value it with the target (double Q)."""
    lambda_: float = 0.0
    """TD(lambda); 0 is one-step TD."""
    target_period: int = 200
    """Gradient updates between copies into the target network (hard updates)."""
    target_rate: float = 0.0
    """If above 0, move the target this far at every update instead (soft updates)."""
    reward_scaling: Literal["none", "scale", "standardise"] = "none"
    """Divide the team reward by its running deviation; `standardise` also subtracts the mean."""
    reward: Literal["team", "own"] = "team"
    """Whose reward an agent learns from: the team's, or (independent learners only) its own."""
    max_grad_norm: float = 10.0
    """Gradients are scaled down to this global norm."""
    hidden: int = 64
    """Width of the agents' networks."""
    recurrent: bool = True
    """GRU in the agents' networks; without it they see the present observation only."""
    layer_norm: bool = False
    """Normalise the encoder's output."""
    sharing: SharingMode = "all"
    """Which agents share parameters: all, those of a group, or none."""
    agent_id: bool = True
    """Append the agent's one-hot index to what it sees."""
    mixer_hidden: int = 64
    """Hidden width of the mixer's networks."""
    mixer_embed: int = 32
    """Width of QMIX's mixing network."""
    mixer_norm: bool = False
    """Normalise what QMIX's and QPLEX's mixers make of the state: where states are unbounded."""
    mixer_exponent: float = 5.0
    """QPLEX's weights of joint actions are sums of four terms of at most e to this; see
    `marlx.nets.mixers.duplex`."""
    mixing_delay: int = 0
    """Environment steps in which agents learn each for itself, before their utilities are mixed."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, accepted: str) -> None:
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}")

        for name in ("gamma", "lambda_", "epsilon_start", "epsilon_end", "target_rate"):
            check(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("lr", "updates_per_step", "max_grad_norm"):
            check(name, getattr(self, name) > 0, "above 0")
        for name in (
            "batch",
            "window",
            "capacity",
            "target_period",
            "hidden",
            "mixer_hidden",
            "mixer_embed",
        ):
            check(name, getattr(self, name) >= 1, "at least 1")
        for name in (
            "warmup",
            "epsilon_steps",
            "epsilon_delay",
            "mixing_delay",
            "priority_exponent",
            "importance_exponent",
        ):
            check(name, getattr(self, name) >= 0, "0 or more")
        check("mixer_exponent", self.mixer_exponent > -10, "more than -10")
        check("burn_in", 0 <= self.burn_in < self.window, f"less than window ({self.window})")
        for name, accepted in (
            ("sharing", ("all", "group", "none")),
            ("reward_scaling", ("none", "scale", "standardise")),
            ("reward", ("team", "own")),
        ):
            check(name, getattr(self, name) in accepted, " or ".join(map(repr, accepted)))
