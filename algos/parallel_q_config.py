"""Settings of parallelised Q-learning (PQN)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.q_config import QConfig
from marlx.nets.agents import SharingMode
from marlx.nets.contract import Maker
from marlx.nets.makers import NetworkName, check_network
from marlx.settings import check_settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class PQNConfig:
    """Settings of Q-learning without replay buffer and target network."""

    lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Step size of rectified Adam."""
    lr_steps: int = setting(0, at_least=0, traced=True)
    """Environment steps over which `lr` falls linearly to 0; 0 keeps it constant."""
    gamma: float = setting(0.99, at_least=0, at_most=1, traced=True)
    """Discount per environment step."""
    lambda_: float = setting(0.65, at_least=0, at_most=1, traced=True)
    """TD(lambda) over the rollout; 0 is one-step TD."""
    epochs: int = setting(2, at_least=1, at_most=10_000)
    """Passes over each rollout."""
    minibatches: int = setting(8, at_least=1, at_most=10_000)
    """Gradient updates per pass."""
    window: int = setting(16, at_least=1, at_most=1_000_000)
    """Steps per sequence of a recurrent learner; it starts at the memory that acting had there."""
    epsilon_start: float = setting(1.0, at_least=0, at_most=1, traced=True)
    """Probability of a random action at the start."""
    epsilon_end: float = setting(0.05, at_least=0, at_most=1, traced=True)
    """Probability of a random action after `epsilon_steps`."""
    epsilon_steps: int = setting(200_000, at_least=0, traced=True)
    """Environment steps over which the probability falls linearly."""
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
    recurrent: bool = False
    """Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
    without it they see the present observation only."""
    layer_norm: bool = True
    """Layer normalisation of the encoder's output, which takes the target network's place."""
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
    mixer_norm: bool = True
    """Layer normalisation in QMIX's mixer."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_network(self)

    def of_q_learner(self) -> QConfig:
        """Returns these settings as those of the Q-learner's network, storage and TD error."""
        shared = {field.name for field in dataclasses.fields(QConfig)} - {"window"}
        return QConfig(
            **{
                field.name: getattr(self, field.name)
                for field in dataclasses.fields(self)
                if field.name in shared
            }
        )
