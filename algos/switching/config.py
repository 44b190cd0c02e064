"""Settings of MANSA: when calls are made, the switch, and the two learners it switches between."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig

Switching = Literal["learned", "always", "never", "random", "first"]
Execution = Literal["switched", "independent", "centralised"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchConfig(QConfig):
    """Settings of the switch: a Q-learner with two actions that sees the global state."""

    recurrent: bool = False
    """GRU; without it the switch sees the present state only."""
    window: int = 8
    """Steps per window; it must fit the rollout length, as for any Q-learner."""
    epsilon_end: float = 0.02
    """Probability of a random choice in the end."""
    temperature: float = 0.0
    """Choices are drawn in proportion to exp(Q / temperature); 0 takes the best."""
    exploratory_calls: float = 0.5
    """Share of the random choices that are calls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or more")
        if not 0 <= self.exploratory_calls <= 1:
            raise ValueError(
                f"exploratory_calls is {self.exploratory_calls}; it must be between 0 and 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallConfig:
    """When to call the centralised learner, whichever two learners there are."""

    switching: Switching = "learned"
    """Who decides: the switch, or a control: always, never, at random, or the first calls only."""
    call_cost: float = 0.05
    """Taken off the switch's reward, after that is scaled, for every centralised step."""
    switch_cost: float = 0.0
    """Taken off for every change from independent to centralised."""
    budget: int | None = None
    """Centralised calls per episode, at most; none is no limit."""
    run_budget: int | None = None
    """Centralised calls in training, at most, per seed; up to a rollout's may remain unused."""
    rate: float = 0.1
    """Probability of a call, for switching `random`."""
    first: int = 100_000
    """Calls after which there are none, for switching `first`; counted after each rollout."""
    il_trains_on: Literal["all", "g0"] = "all"
    """The independent learner's steps: all (it must be off-policy), or those it acted in."""
    cl_trains_on: Literal["g1", "paced", "all"] = "g1"
    """The centralised learner's: those it was called in; `paced`, all of them, with no more updates
    than its calls are worth (it must be off-policy); or all, which saves nothing."""
    execution: Execution = "switched"
    """Who acts when acting greedily; `independent` is decentralised."""

    def __post_init__(self) -> None:
        def check(name: str, ok: bool, accepted: str) -> None:
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {accepted}")

        for name in ("budget", "run_budget"):
            value = getattr(self, name)
            check(name, value is None or value >= 0, "0 or more, or none")
        check("first", self.first >= 0, "0 or more")
        check("rate", 0 <= self.rate <= 1, "between 0 and 1")
        for name in ("call_cost", "switch_cost"):
            check(name, getattr(self, name) >= 0, "0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MansaConfig(CallConfig):
    """Settings of `mansa`: two Q-learners."""

    mixer: Literal["qmix", "vdn", "qplex", "joint_q"] = "qmix"
    """The centralised learner."""
    independent: QConfig = dataclasses.field(default_factory=QConfig)
    """Independent Q-learning."""
    centralised: QConfig = dataclasses.field(default_factory=QConfig)
    """The centralised Q-learner."""
    switch: SwitchConfig = dataclasses.field(default_factory=SwitchConfig)
    """The switch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MansaPPOConfig(CallConfig):
    """Settings of `mansa_ppo`: IPPO and MAPPO."""

    il_trains_on: Literal["all", "g0"] = "g0"
    """The independent learner's steps: those it acted in (it learns on-policy)."""
    independent: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """IPPO."""
    centralised: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """MAPPO."""
    switch: SwitchConfig = dataclasses.field(default_factory=SwitchConfig)
    """The switch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.il_trains_on, self.cl_trains_on) != ("g0", "g1"):
            raise ValueError(
                "PPO learns on-policy: il_trains_on must be g0 and cl_trains_on g1, the steps that "
                "each acted in"
            )
