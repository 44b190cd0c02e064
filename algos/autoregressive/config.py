"""Settings of MAT and Sable."""

from __future__ import annotations

import dataclasses

from marlx.algos.ppo_config import PolicyGradientConfig
from marlx.learning.distributions import Bounded
from marlx.settings import nearest_names, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class MATConfig(PolicyGradientConfig):
    """Settings of the multi-agent transformer."""

    hidden: int = setting(64, at_least=2, at_most=16_384)
    """Width of all layers, and of all heads together."""
    heads: int = setting(4, at_least=1, at_most=1_024)
    """Heads of every attention or retention; they divide `hidden`."""
    blocks: int = setting(1, at_least=1, at_most=64)
    """Blocks of the encoder, and of the decoder."""
    agent_id: bool = True
    """Append the agent's one-hot index to its observation."""
    bounded: Bounded = "clipped"
    """How samples of a Gaussian are brought into the bounds of continuous actions:
    `clipped`: by clipping.
    `squashed`: by tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % self.heads:
            raise ValueError(f"heads is {self.heads}; it must divide hidden ({self.hidden})")


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class SableConfig(MATConfig):
    """Settings of Sable."""

    recurrent: bool = True
    """Retention runs on over an episode; without it teams see the present step only."""
    window: int = setting(16, at_least=1, at_most=1_000_000)
    """Steps per sequence of an update; it starts at the memory that acting had there."""
    decay: float = setting(1.0, above=0, at_most=1, traced=True)
    """Factor of what the heads keep of the past from step to step, 31/32 to 511/512."""

    @property
    def sequence(self) -> int:
        """Steps of the sequences that updates recompute: `window` where there is a memory."""
        return self.window if self.recurrent else 1
