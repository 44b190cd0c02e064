"""Settings of MANSA: when to call, the switch, and the two learners it switches between."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.settings import check_settings, nearest_names, require, setting

Switching = Literal["learned", "disagreement", "always", "never", "random", "first"]
Execution = Literal["switched", "independent", "centralised"]


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchConfig(QConfig):
    """Settings of the switch: a Q-learner with two actions that sees the global state."""

    recurrent: bool = False
    """The switch has a GRU; without it the switch sees the present state only."""
    window: int = setting(8, at_least=1, at_most=1_000_000)
    """Steps per window; it must divide the rollout length, as for any Q-learner."""
    epsilon_end: float = setting(0.02, at_least=0, at_most=1, traced=True)
    """Probability of a random choice after `epsilon_steps`."""
    temperature: float = setting(0.0, at_least=0, at_most=1e6)
    """Sample choices in proportion to exp(Q / temperature), with Q in units of return; 0 takes the
    best."""
    exploratory_calls: float = setting(0.5, at_least=0, at_most=1)
    """Share of calls among the random choices."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class CallConfig:
    """When to call the centralised learner, whichever two learners there are."""

    switching: Switching = "learned"
    """What decides about calls:
    `learned`: the switch.
    `disagreement`: calls where the centralised learner values its own greedy joint action by more
    than `call_cost` above the independent learner's; nothing else is learned (needs `cl_trains_on`
    `all`, and Q-values).
    `always`: every step is a call (control).
    `never`: no step is a call (control).
    `random`: calls with probability `rate` (control).
    `first`: every step until there were `first` calls, then none (control)."""
    call_cost: float = setting(0.05, at_least=0, at_most=1e6, traced=True)
    """Cost of a centralised step, in units of return, whatever the switch's reward scaling."""
    switch_cost: float = setting(0.0, at_least=0, at_most=1e6, traced=True)
    """Cost of a change from independent to centralised, in units of return."""
    lasts: int = setting(1, at_least=1, at_most=1_000_000)
    """Steps that an activation of the centralised learner lasts; it ends earlier with the episode
    or the budget. The switch decides again afterwards."""
    budget: int | None = setting(None, at_least=0)
    """Most centralised calls per episode; none is no limit."""
    run_budget: int | None = setting(None, at_least=0)
    """Most centralised calls in training, per seed; up to one rollout of them may stay unused."""
    rate: float = setting(0.1, at_least=0, at_most=1, traced=True)
    """Probability of a call with switching `random`."""
    first: int = setting(100_000, at_least=0)
    """Number of calls with switching `first`; counted after each rollout."""
    il_trains_on: Literal["all", "g0"] = "all"
    """Steps that the independent learner learns from:
    `all`: all steps (it must be off-policy).
    `g0`: the steps in which it acted."""
    cl_trains_on: Literal["g1", "paced", "all"] = "g1"
    """Steps that the centralised learner learns from:
    `g1`: the steps in which it was called.
    `paced`: all steps, with as many updates as its calls give (it must be off-policy).
    `all`: all steps, with all updates, which saves nothing."""
    execution: Execution = "switched"
    """Which learner acts greedily, in evaluations and in the policy:
    `switched`: the one that the switch chooses.
    `independent`: the independent one (decentralised execution).
    `centralised`: the centralised one."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.switching == "disagreement" and self.cl_trains_on != "all":
            raise ValueError(
                f"cl_trains_on is {self.cl_trains_on}; with switching disagreement it must be all: "
                "a learner that trains on its calls alone would never begin to disagree"
            )


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class MansaConfig(CallConfig):
    """Settings of `mansa`: two Q-learners."""

    mixer: Literal["qmix", "vdn", "qplex", "joint_q"] = "qmix"
    """Algorithm of the centralised learner."""
    independent: QConfig = dataclasses.field(default_factory=QConfig)
    """Settings of independent Q-learning."""
    centralised: QConfig = dataclasses.field(default_factory=QConfig)
    """Settings of the centralised Q-learner."""
    switch: SwitchConfig = dataclasses.field(default_factory=SwitchConfig)
    """Settings of the switch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lasts(self.lasts, self.switching, self.switch)


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class MansaPPOConfig(CallConfig):
    """Settings of `mansa_ppo`: IPPO and MAPPO."""

    il_trains_on: Literal["all", "g0"] = "g0"
    """Steps that the independent learner learns from; only `g0`, those in which it acted."""
    independent: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Settings of IPPO."""
    centralised: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Settings of MAPPO."""
    switch: SwitchConfig = dataclasses.field(default_factory=SwitchConfig)
    """Settings of the switch."""
    critics_train_on: Literal["all", "own"] = "all"
    """Steps that both critics are fitted on; advantages bootstrap from them at every step:
    `all`: all steps.
    `own`: those that each learner acted in, which saves the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lasts(self.lasts, self.switching, self.switch)
        if self.switching == "disagreement":
            raise ValueError("switching disagreement compares Q-values; mansa_ppo has none")
        if (self.il_trains_on, self.cl_trains_on) != ("g0", "g1"):
            raise ValueError(
                "PPO learns on-policy: il_trains_on must be g0 and cl_trains_on g1, the steps that "
                "each acted in"
            )


def check_lasts(lasts: int, switching: str, switch: SwitchConfig) -> None:
    """Raise ValueError where no window of the switch could hold an activation and its end."""
    if switching == "learned":
        require("lasts", lasts, lasts <= switch.window, f"at most switch.window ({switch.window})")
