"""Settings of TeamReg and CoachReg."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.settings import nearest_names, require, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class TeamRegConfig(PPOConfig):
    """Settings of TeamReg: those of MAPPO, and the weights of its two losses."""

    prediction_weight: float = setting(0.01, at_least=0, at_most=1e6, traced=True)
    """Weight of the error of agents' guesses of what their team-mates do, in those who guess."""
    predictable_weight: float = setting(0.01, at_least=0, at_most=1e6, traced=True)
    """Weight of the same error in those who are guessed; 0: nobody learns to be predictable
    (control)."""
    trunk: Literal["separate"] = "separate"
    """The critic's network: its own."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class CoachRegConfig(PPOConfig):
    """Settings of CoachReg: those of MAPPO, the masks, and the weights of its losses."""

    masks: int = setting(4, at_least=2, at_most=1_024)
    """Masks that an agent's hidden layer is gated by; each leaves on one of so many units."""
    mask_of: Literal["own", "random", "other"] = "own"
    """Mask that an agent acts under:
    `own`: the one that it chooses.
    `random`: any, with equal probability (control).
    `other`: the one that the next agent chooses (control; agents see more than their own)."""
    mask_weight: float = setting(0.65, at_least=0, at_most=1e6, traced=True)
    """Weight of the divergence of agents' choices of a mask from the coach's, in the agents."""
    coach_mask_weight: float = setting(1.3, at_least=0, at_most=1e6, traced=True)
    """Weight of the same divergence in the coach."""
    guided_weight: float = setting(0.5, at_least=0, at_most=1e6, traced=True)
    """Weight of the policy loss under the coach's mask, in the agents."""
    coach_guided_weight: float = setting(1.0, at_least=0, at_most=1e6, traced=True)
    """Weight of the same loss in the coach."""
    trunk: Literal["separate"] = "separate"
    """The critic's network: its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("masks", self.masks, self.masks <= self.hidden, f"at most hidden ({self.hidden})")
