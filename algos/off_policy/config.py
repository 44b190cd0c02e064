"""Settings of the off-policy actor-critics."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.nets.agents import SharingMode
from marlx.nets.contract import Maker
from marlx.nets.makers import NetworkName, check_network
from marlx.settings import check_settings, nearest_names, require, setting

CriticInput = Literal["state", "observations"]
Others = Literal["taken", "policy"]


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class OffPolicyConfig:
    """Settings of every off-policy actor-critic."""

    lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size for the actors."""
    critic_lr: float = setting(1e-3, above=0, at_most=1e6, traced=True)
    """Adam's step size for the critics."""
    gamma: float = setting(0.99, at_least=0, at_most=1, traced=True)
    """Discount per environment step."""
    updates_per_step: float = setting(1 / 16, above=0, at_most=1000, traced=True)
    """Gradient updates per environment step, whatever the number of environments."""
    batch: int = setting(256, at_least=1, at_most=1_000_000)
    """Windows per gradient update."""
    window: int = setting(1, at_least=1, at_most=1_000_000)
    """Steps per window; a network with a memory needs several. A window starts at a stored memory
    and may span episodes."""
    capacity: int = setting(200_000, at_least=1)
    """Environment steps that the replay buffer holds."""
    warmup: int = setting(5_000, at_least=0)
    """Environment steps before the first update."""
    target_rate: float = setting(0.01, above=0, at_most=1, traced=True)
    """Step of the target networks towards the online ones at every update."""
    critics: int = setting(1, at_least=1, at_most=16)
    """Critics, of which the smallest value counts: two do not overestimate as one does."""
    reward_scaling: Literal["none", "scale", "standardise"] = "none"
    """Scaling of the reward by running statistics:
    `none`: no scaling.
    `scale`: divide by the deviation.
    `standardise`: subtract the mean, then divide."""
    reward: Literal["team", "own"] = "team"
    """Reward that an agent learns from:
    `team`: the team's.
    `own`: its own."""
    max_grad_norm: float = setting(10.0, above=0, traced=True, finite=False)
    """Largest norm of a gradient, of actors and critics each; larger ones are scaled down."""
    gumbel_temperature: float = setting(1.0, above=0, at_most=1000, traced=True)
    """Temperature of the Gumbel-softmax, by which gradients pass through a discrete action."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of the actors' networks."""
    critic_hidden: int = setting(128, at_least=1, at_most=16_384)
    """Width of the critics' networks."""
    network: NetworkName | Maker = "auto"
    """Actors' networks (see the page on networks):
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
    """Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`); without it
    they see the present observation only, as critics always do."""
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

    def __post_init__(self) -> None:
        check_settings(self)
        check_network(self)


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class IDDPGConfig(OffPolicyConfig):
    """Settings of independent DDPG."""

    lambda_: float = setting(0.0, at_least=0, at_most=1, traced=True)
    """TD(lambda) of the critics' targets within a window; 0 is one-step TD."""
    noise: float = setting(0.1, at_least=0, at_most=10, traced=True)
    """Standard deviation of the noise on continuous actions, whose range is 1."""
    epsilon_start: float = setting(1.0, at_least=0, at_most=1, traced=True)
    """Probability of a uniformly random action at the start."""
    epsilon_end: float = setting(0.05, at_least=0, at_most=1, traced=True)
    """Probability of a uniformly random action after `epsilon_steps`."""
    epsilon_steps: int = setting(50_000, at_least=0, traced=True)
    """Environment steps over which the probability falls linearly."""
    regularisation: float = setting(1e-3, at_least=0, at_most=1e6, traced=True)
    """Weight of the mean square of the actors' outputs in their loss, against saturation."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class MADDPGConfig(IDDPGConfig):
    """Settings of MADDPG."""

    critic_input: CriticInput = "state"
    """What the critic reads beside the joint action:
    `state`: the global state.
    `observations`: those of all agents."""
    others: Others = "taken"
    """Actions of the others in an actor's loss:
    `taken`: those of the replay.
    `policy`: those of their present policies."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class FACMACConfig(IDDPGConfig):
    """Settings of FACMAC."""

    mixer: Literal["monotonic", "nonmonotonic", "additive"] = "monotonic"
    """How the agents' critics make up the team's value:
    `monotonic`: by QMIX's mixing network.
    `nonmonotonic`: by the same network without its restriction to positive weights.
    `additive`: as a sum."""
    mixer_hidden: int = setting(64, at_least=1, at_most=16_384)
    """Hidden width of the mixer's hypernetworks."""
    mixer_embed: int = setting(32, at_least=1, at_most=16_384)
    """Width of the mixing network."""
    mixer_norm: bool = False
    """Layer normalisation in the mixer, for unbounded global states."""
    reward: Literal["team"] = "team"
    """Reward that agents learn from: the team's."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class ISACConfig(OffPolicyConfig):
    """Settings of independent soft actor-critic."""

    critics: int = setting(2, at_least=1, at_most=16)
    """Critics, of which the smallest value counts: two do not overestimate as one does."""
    temperature: float = setting(0.2, above=0, at_most=1e6, traced=True)
    """Weight of the entropy at first."""
    temperature_lr: float = setting(5e-4, at_least=0, at_most=1e6, traced=True)
    """Adam's step size for the logarithm of that weight; 0 keeps it."""
    target_entropy: float = setting(-1.0, at_least=-100, at_most=1, traced=True)
    """Entropy of a continuous policy that the weight is adjusted to, for each component, in nats
    where actions lie between -1 and 1."""
    target_entropy_share: float = setting(0.2, at_least=0, at_most=1, traced=True)
    """The same of a discrete policy, as a share of the entropy of uniform legal actions."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class MASACConfig(ISACConfig):
    """Settings of MASAC."""

    critic_input: CriticInput = "state"
    """What the critic reads beside the joint action:
    `state`: the global state.
    `observations`: those of all agents."""
    others: Others = "policy"
    """Actions of the others in an actor's loss:
    `taken`: those of the replay.
    `policy`: those of their present policies."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class HASACConfig(ISACConfig):
    """Settings of HASAC, for a team whose agents share nothing but the reward."""

    critic_input: CriticInput = "state"
    """What the critic reads beside the joint action:
    `state`: the global state.
    `observations`: those of all agents."""
    order: Literal["random", "fixed"] = "random"
    """Order in which agents are updated:
    `random`: drawn anew for every update.
    `fixed`: as they are numbered."""
    reward: Literal["team"] = "team"
    """Reward that agents learn from: the team's."""
    sharing: Literal["none"] = "none"
    """Agents that share parameters: none."""
    agent_id: bool = False
    """Always false: an agent's parameters are its own, so it needs no index."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("agent_id", self.agent_id, not self.agent_id, "false: agents share no parameters")
