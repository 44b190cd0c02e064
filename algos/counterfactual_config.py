"""Settings of COMA."""

from __future__ import annotations

import dataclasses

from marlx.nets.agents import SharingMode
from marlx.settings import check_settings, nearest_names, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class COMAConfig:
    """Settings of counterfactual multi-agent policy gradients."""

    lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size for the actor."""
    lr_steps: int = setting(0, at_least=0, traced=True)
    """Environment steps over which both step sizes fall linearly to 0; 0 keeps them constant."""
    critic_lr: float = setting(5e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size for the critic."""
    gamma: float = setting(0.99, at_least=0, at_most=1, traced=True)
    """Discount per environment step."""
    lambda_: float = setting(0.8, at_least=0, at_most=1, traced=True)
    """TD(lambda) of the critic's targets; 0 is one-step TD."""
    critic_epochs: int = setting(4, at_least=1, at_most=10_000)
    """The critic's passes over each rollout; the actor makes one."""
    critic_minibatches: int = setting(4, at_least=1, at_most=10_000)
    """The critic's gradient updates per pass; the actor makes one per rollout."""
    target_period: int = setting(200, at_least=1, traced=True)
    """Gradient updates of the critic between copies into its target network."""
    entropy: float = setting(0.01, at_least=0, at_most=1e6, traced=True)
    """Weight of the entropy bonus."""
    max_grad_norm: float = setting(10.0, above=0, traced=True, finite=False)
    """Largest global norm of a gradient, of actor and critic each; larger ones are scaled down."""
    normalise_advantage: bool = True
    """Divide the advantages of a rollout by their root mean square."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of the actor's network."""
    critic_hidden: int = setting(128, at_least=1, at_most=16_384)
    """Width of the critic's network."""
    recurrent: bool = False
    """The actor has a GRU; without it, it sees the present observation only."""
    layer_norm: bool = False
    """Layer normalisation of the encoders' output."""
    sharing: SharingMode = "all"
    """Agents that share parameters, in actor and critic:
    `all`: all agents.
    `group`: the agents of a group.
    `none`: no agents."""
    agent_id: bool = True
    """Append the agent's one-hot index to its observation."""
    last_action: bool = False
    """Append the agent's previous action to its observation; zeros at an episode's start."""

    def __post_init__(self) -> None:
        check_settings(self)
