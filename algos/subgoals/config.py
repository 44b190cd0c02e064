"""Settings of learners of two levels."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.subgoals.options import (
    Refresh,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchicalConfig:
    """Settings of every learner of two levels, beside those of the levels."""

    period: int = 16
    """A subgoal is given up after so many steps."""
    refresh: Refresh = "achieved"
    """A subgoal is kept until `achieved` or given up; always for `period` steps (`fixed`); as the
    first, but chosen anew too where the agent sees what an auto-encoder does not expect
    (`changed`); or, achieved or not, until other subgoals can be chosen (`options`): with a food
    until it is gone."""
    quantile: float = 0.95
    """With `changed`: the share of observations that are expected."""
    subgoals: Literal["declared", "learned"] = "declared"
    """The environment's, or regions of what agents see, around landmarks among what was seen."""
    regions: int = 8
    """Number of learned subgoals."""
    curiosity: float = 0.5
    """With learned subgoals: the share of environments in which, while training, agents go where
    they have been least; the high level learns from that too."""
    chooser: Literal["learned", "scripted", "uniform"] = "learned"
    """Who chooses subgoals: the high level; the task tree, or chance, among what is available."""
    mixing: bool = True
    """Mix the agents' values of subgoals; without, each agent chooses for itself."""
    external: float = 0.0
    """Weight of the team's reward in what the low level is paid, beside 1 for its subgoals."""
    low_steps: int = 0
    """Environment steps at first in which only the low level learns, with subgoals by chance."""
    low_after: Literal["train", "freeze"] = "train"
    """Whether the low level learns on after them."""
    low_greedy: bool = True
    """Evaluated, the low level takes its best action; without, it draws one as in training. A
    best action that leads nowhere is taken again and again."""
    together: float = 0.0
    """The share of environments in which chance gives all agents the same subgoal. Agents that
    are to meet somewhere have to get past each other there."""
    unmixed_steps: int = 0
    """Environment steps then in which each agent learns to choose for itself, before the mixing."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, accepted: str) -> None:
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}")

        check("period", self.period >= 1, "at least 1")
        check("regions", self.regions >= 2, "at least 2")
        check("quantile", 0 < self.quantile < 1, "between 0 and 1")
        check("together", 0 <= self.together <= 1, "between 0 and 1")
        check("curiosity", 0 <= self.curiosity <= 1, "between 0 and 1")
        for name in ("external", "low_steps", "unmixed_steps"):
            check(name, getattr(self, name) >= 0, "0 or more")
        for name, accepted in (
            ("refresh", get_args(Refresh)),
            ("subgoals", ("declared", "learned")),
            ("chooser", ("learned", "scripted", "uniform")),
            ("low_after", ("train", "freeze")),
        ):
            check(name, getattr(self, name) in accepted, " or ".join(map(repr, accepted)))
        if self.low_after == "freeze" and not self.low_steps:
            raise ValueError(
                "low_after is 'freeze' and low_steps 0; a low level that never learned cannot act"
            )
        if self.unmixed_steps and not self.mixing:
            raise ValueError(
                f"unmixed_steps is {self.unmixed_steps} and mixing off; there is nothing to delay"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GMAHConfig(HierarchicalConfig):
    """Settings of subgoal QMIX above PPO."""

    high: QConfig = dataclasses.field(default_factory=QConfig)
    """Of the level that chooses subgoals; its steps and rates count environment steps."""
    low: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Of the level that acts; each agent is paid for its own subgoal, whatever `reward` says."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GMAHQConfig(HierarchicalConfig):
    """Settings of subgoal QMIX above independent Q-learning."""

    high: QConfig = dataclasses.field(default_factory=QConfig)
    """Of the level that chooses subgoals; its steps and rates count environment steps."""
    low: QConfig = dataclasses.field(default_factory=QConfig)
    """Of the level that acts; each agent is paid for its own subgoal, whatever `reward` says."""
    hindsight: float = 0.0
    """The share of environments whose failures the low level learns from as what they achieved."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.hindsight <= 1:
            raise ValueError(f"hindsight is {self.hindsight}; it must be between 0 and 1")
