"""Settings of every Q-learner."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.nets.agents import SharingMode
from marlx.nets.contract import Maker
from marlx.nets.makers import NetworkName, check_network
from marlx.settings import check_settings, nearest_names, require, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class QConfig:
    """Settings of every Q-learner."""

    lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size."""
    gamma: float = setting(0.99, at_least=0, at_most=1, traced=True)
    """Discount per environment step."""
    updates_per_step: float = setting(1 / 32, above=0, at_most=1000, traced=True)
    """Gradient updates per environment step, whatever the number of environments."""
    batch: int = setting(32, at_least=1, at_most=1_000_000)
    """Windows per gradient update."""
    window: int = setting(16, at_least=1, at_most=1_000_000)
    """Steps per window. A window starts at a stored memory of the network and may span episodes."""
    burn_in: int = setting(0, at_least=0)
    """First steps of a window, which only update the memory and are not learned from."""
    capacity: int = setting(200_000, at_least=1)
    """Environment steps that the replay buffer holds."""
    warmup: int = setting(5_000, at_least=0)
    """Environment steps before the first update."""
    prioritised: bool = False
    """Sample windows in proportion to their last TD error instead of uniformly."""
    priority_exponent: float = setting(0.6, at_least=0, at_most=10)
    """Power of the TD error in the sampling probability: 0 is uniform, 1 proportional."""
    importance_exponent: float = setting(0.4, at_least=0, at_most=10)
    """Power of the importance weights in the loss: 0 is no correction, 1 the full correction."""
    epsilon_start: float = setting(1.0, at_least=0, at_most=1, traced=True)
    """Probability of a random action at the start."""
    epsilon_end: float = setting(0.05, at_least=0, at_most=1, traced=True)
    """Probability of a random action after `epsilon_steps`."""
    epsilon_steps: int = setting(100_000, at_least=0, traced=True)
    """Environment steps over which the probability falls linearly."""
    epsilon_delay: int = setting(0, at_least=0, traced=True)
    """Environment steps before the probability begins to fall."""
    double: bool = True
    """Choose the next action with the online network, value it with the target (double Q)."""
    lambda_: float = setting(0.0, at_least=0, at_most=1, traced=True)
    """TD(lambda); 0 is one-step TD."""
    target_period: int = setting(200, at_least=1, traced=True)
    """Gradient updates between copies into the target network (hard updates)."""
    target_rate: float = setting(0.0, at_least=0, at_most=1, traced=True)
    """Step of the target network towards the online one at every update; 0 is hard updates."""
    reward_scaling: Literal["none", "scale", "standardise"] = "none"
    """Scaling of the reward by running statistics:
    `none`: no scaling.
    `scale`: divide by the deviation.
    `standardise`: subtract the mean, then divide."""
    reward: Literal["team", "own"] = "team"
    """Reward that an agent learns from:
    `team`: the team's.
    `own`: its own (independent learners only)."""
    max_grad_norm: float = setting(10.0, above=0, traced=True, finite=False)
    """Largest global norm of a gradient; larger ones are scaled down."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of the agents' networks."""
    network: NetworkName | Maker = "auto"
    """Agents' networks (see the page on networks):
    `auto`: `gru` or `mlp`, as `recurrent` says.
    `mlp`: dense layers.
    `gru`: a GRU behind a dense layer.
    `cnn`: convolutions over the observation's planes.
    `entity`: attention over the rows of things that are seen.
    `transformer`: attention over the last `attention_steps` steps.
    From Python also a function that makes one."""
    attention_steps: int = setting(16, at_least=1, at_most=10_000)
    """Steps that a `transformer` sees, with the present one."""
    recurrent: bool = True
    """Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
    without it they see the present observation only."""
    layer_norm: bool = False
    """Layer normalisation of the encoder's output."""
    sharing: SharingMode = "all"
    """Agents that share parameters:
    `all`: all agents.
    `group`: the agents of a group.
    `none`: no agents."""
    agent_id: bool = True
    """Append the agent's one-hot index to its observation."""
    last_action: bool = False
    """Append the agent's previous action to its observation; zeros at an episode's start."""
    mixer_hidden: int = setting(64, at_least=1, at_most=16_384)
    """Hidden width of the mixer's networks."""
    mixer_embed: int = setting(32, at_least=1, at_most=16_384)
    """Width of QMIX's mixing network."""
    mixer_norm: bool = False
    """Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global states."""
    mixer_exponent: float = setting(5.0, above=-10, at_most=100, traced=True)
    """Bound of QPLEX's weights: each is a sum of four terms of at most e to this power
    (see `marlx.nets.mixers.duplex`)."""
    mixer_gradient: bool = False
    """Whether QPLEX's weighted advantages pass gradient to the utilities. The authors' code stops
    it; with that, half of ten teams forgot foraging."""
    mixing_delay: int = setting(0, at_least=0)
    """Environment steps in which agents learn independently, before their utilities are mixed."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_network(self)
        within = self.burn_in < self.window
        require("burn_in", self.burn_in, within, f"less than window ({self.window})")
