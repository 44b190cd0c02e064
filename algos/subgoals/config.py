"""Settings of hierarchical learners (GMAH)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.subgoals.options import Refresh
from marlx.settings import check_settings, nearest_names, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchicalConfig:
    """Settings of every hierarchical learner, beside those of its two levels."""

    period: int = setting(16, at_least=1, at_most=1_000_000)
    """Most steps for which a subgoal is kept."""
    refresh: Refresh = "achieved"
    """When a subgoal ends:
    `achieved`: when it is achieved, or after `period` steps.
    `fixed`: always after `period` steps.
    `changed`: as `achieved`, and when an auto-encoder's reconstruction error exceeds `quantile`.
    `options`: when the set of available subgoals changes, or after `period` steps."""
    quantile: float = setting(0.95, above=0, below=1, traced=True)
    """With refresh `changed`: share of observations whose error counts as normal."""
    subgoals: Literal["declared", "learned"] = "declared"
    """Where subgoals come from:
    `declared`: the environment's.
    `learned`: regions of observations, around landmarks chosen from those seen."""
    regions: int = setting(8, at_least=2, at_most=10_000)
    """Number of learned subgoals."""
    curiosity: float = setting(0.5, at_least=0, at_most=1)
    """With learned subgoals: share of training environments in which agents go where they have
    been least; the high level learns from that too."""
    chooser: Literal["learned", "scripted", "uniform"] = "learned"
    """What chooses subgoals:
    `learned`: the high level.
    `scripted`: the environment's task tree.
    `uniform`: uniformly at random among the available ones."""
    mixing: bool = True
    """Mix the agents' values of subgoals; without, each agent learns to choose independently."""
    external: float = setting(0.0, at_least=0, at_most=1e6, traced=True)
    """Weight of the team's reward in the low level's reward, beside 1 for its subgoals."""
    low_steps: int = setting(0, at_least=0)
    """Environment steps at the start in which only the low level learns, with random subgoals."""
    low_after: Literal["train", "freeze"] = "train"
    """The low level after `low_steps`:
    `train`: it learns on.
    `freeze`: it stays as it is."""
    low_greedy: bool = True
    """In evaluations the low level takes its best action; without, it samples as in training,
    because a best action that changes nothing is repeated forever."""
    together: float = setting(0.0, at_least=0, at_most=1)
    """Share of environments in which a random choice gives all agents the same subgoal, so that
    agents which have to meet learn to get past each other."""
    unmixed_steps: int = setting(0, at_least=0)
    """Environment steps after `low_steps` in which agents learn to choose independently, before
    their values are mixed."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.low_after == "freeze" and not self.low_steps:
            raise ValueError(
                "low_after is 'freeze' and low_steps 0; a low level that never learned cannot act"
            )
        if self.refresh == "options" and self.subgoals == "learned":
            raise ValueError(
                "refresh is 'options' and subgoals 'learned': what an agent can choose changes "
                "with every region that it enters, so it would pursue none; set refresh to "
                "'achieved'"
            )
        if self.unmixed_steps and not self.mixing:
            raise ValueError(
                f"unmixed_steps is {self.unmixed_steps} and mixing off; there is nothing to delay"
            )


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class GMAHConfig(HierarchicalConfig):
    """Settings of `gmah`: QMIX over subgoals above PPO."""

    high: QConfig = dataclasses.field(default_factory=QConfig)
    """Settings of the level that chooses subgoals; steps and rates are in environment steps."""
    low: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Settings of the level that acts; its reward is always that of the agent's own subgoal."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class GMAHQConfig(HierarchicalConfig):
    """Settings of `gmah_q`: QMIX over subgoals above independent Q-learning."""

    high: QConfig = dataclasses.field(default_factory=QConfig)
    """Settings of the level that chooses subgoals; steps and rates are in environment steps."""
    low: QConfig = dataclasses.field(default_factory=QConfig)
    """Settings of the level that acts; its reward is always that of the agent's own subgoal."""
    hindsight: float = setting(0.0, at_least=0, at_most=1)
    """Share of environments in which the low level learns from failures as if the subgoal had been
    what was achieved (hindsight relabelling)."""
