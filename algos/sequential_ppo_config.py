"""Settings of HAPPO and HAA2C."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.settings import nearest_names, require, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class HAPPOConfig(PPOConfig):
    """Settings of HAPPO: those of MAPPO, for a team whose agents share nothing but the reward."""

    order: Literal["random", "fixed"] = "random"
    """Order in which agents are updated:
    `random`: drawn anew for every update.
    `fixed`: as they are numbered."""
    reward: Literal["team"] = "team"
    """Reward that an agent learns from: the team's."""
    trunk: Literal["separate"] = "separate"
    """The critic's network: its own."""
    sharing: Literal["none"] = "none"
    """Agents that share parameters: none."""
    agent_id: bool = False
    """Always false: an agent's parameters are its own, so it needs no index."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("agent_id", self.agent_id, not self.agent_id, "false: agents share no parameters")


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class HAA2CConfig(HAPPOConfig):
    """Settings of HAA2C: one pass over the whole rollout."""

    epochs: int = setting(1, at_least=1, at_most=10_000)
    """Passes over each rollout."""
    minibatches: int = setting(1, at_least=1, at_most=10_000)
    """Gradient updates per pass."""
    value_clip: float = setting(0.0, at_least=0, at_most=1e6, traced=True)
    """Largest change of a value that still gets a gradient; 0 is no clipping."""
