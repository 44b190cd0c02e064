"""Settings of PPO and A2C, and those of every learner on their core."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.learning.distributions import Bounded
from marlx.nets.agents import SharingMode
from marlx.nets.contract import Maker
from marlx.nets.makers import NetworkName, check_network
from marlx.settings import check_settings, nearest_names, setting

RewardOf = Literal["team", "group", "own"]
Trunk = Literal["separate", "shared"]


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """Settings of advantages, losses and gradient steps, whatever the networks are."""

    lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size."""
    lr_steps: int = setting(0, at_least=0, traced=True)
    """Environment steps over which `lr` falls linearly to 0; 0 keeps it constant."""
    gamma: float = setting(0.99, at_least=0, at_most=1, traced=True)
    """Discount per environment step."""
    lambda_: float = setting(0.95, at_least=0, at_most=1, traced=True)
    """Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole return."""
    epochs: int = setting(4, at_least=1, at_most=10_000)
    """Passes over each rollout."""
    minibatches: int = setting(4, at_least=1, at_most=10_000)
    """Gradient updates per pass."""
    clip: float = setting(0.2, above=0, at_most=1e6, traced=True)
    """Largest change of the probability ratio that still gets a gradient (PPO's epsilon)."""
    value_clip: float = setting(0.2, at_least=0, at_most=1e6, traced=True)
    """Largest change of a value that still gets a gradient, in deviations of the return where
    values are normalised; 0 is no clipping."""
    entropy: float = setting(0.01, at_least=0, at_most=1e6, traced=True)
    """Weight of the entropy bonus."""
    entropy_end: float = setting(0.001, at_least=-1e6, at_most=1e6, traced=True)
    """Weight of the entropy bonus after `entropy_steps`; below 0, policies become deterministic."""
    entropy_steps: int = setting(0, at_least=0)
    """Environment steps over which `entropy` changes linearly to `entropy_end`; 0 keeps it."""
    value_weight: float = setting(0.5, at_least=0, at_most=1e6, traced=True)
    """Weight of the value loss."""
    max_grad_norm: float = setting(0.5, above=0, traced=True, finite=False)
    """Largest global norm of a gradient; larger ones are scaled down."""
    normalise_advantage: bool = True
    """Scale the advantages of a minibatch to mean 0 and deviation 1."""
    normalise_value: bool = True
    """The critic predicts returns less their running mean, divided by their running deviation."""
    reward: RewardOf = "team"
    """Reward that an agent learns from:
    `team`: the team's.
    `group`: that of its group.
    `own`: its own."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def sequence(self) -> int:
        """Steps of the sequences that updates recompute, where networks have a memory."""
        return 1


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig(PolicyGradientConfig):
    """Settings of PPO and A2C."""

    window: int = setting(16, at_least=1, at_most=1_000_000)
    """Steps per sequence of a recurrent learner; it starts at the memory that acting had there."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of all networks."""
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
    recurrent: bool = False
    """Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
    without it they see the present observation only."""
    trunk: Trunk = "separate"
    """The critic's network:
    `separate`: its own.
    `shared`: a second head on the actor's (IPPO only)."""
    layer_norm: bool = False
    """Layer normalisation of the encoders' output."""
    sharing: SharingMode = "all"
    """Agents that share parameters:
    `all`: all agents.
    `group`: the agents of a group.
    `none`: no agents."""
    agent_id: bool = True
    """Append the agent's one-hot index to its observation."""
    last_action: bool = False
    """Append the agent's previous action to its observation; zeros at an episode's start."""
    bounded: Bounded = "clipped"
    """How samples of a Gaussian are brought into the bounds of continuous actions:
    `clipped`: by clipping.
    `squashed`: by tanh."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_network(self)

    @property
    def sequence(self) -> int:
        """Steps of the sequences that updates recompute: `window`."""
        return self.window


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class A2CConfig(PPOConfig):
    """Settings of advantage actor-critic: one pass over the whole rollout."""

    epochs: int = setting(1, at_least=1, at_most=10_000)
    """Passes over each rollout."""
    minibatches: int = setting(1, at_least=1, at_most=10_000)
    """Gradient updates per pass."""
    value_clip: float = setting(0.0, at_least=0, at_most=1e6, traced=True)
    """Largest change of a value that still gets a gradient; 0 is no clipping."""
