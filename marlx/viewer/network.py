"""The networks of a policy, for JavaScript: which there are, and their arrays."""

from __future__ import annotations

from typing import Any

from marlx.nets.agents import sharing
from marlx.nets.makers import has_gru
from marlx.registry import algorithm
from marlx.runs.policies import Policy, named
from marlx.types import EnvSpec, Tree
from marlx.viewer.data import packed

VALUES = ("q_learning",)
"""Presets of the algorithms whose agents choose the action of largest value."""
CHANCES = ("ppo", "a2c")
"""Presets of those whose networks give chances of actions."""


def described_network(policy: Policy, arrays: Tree) -> dict[str, Any] | None:
    """Returns the agents' network as `networks.js` reads it.

    None for what is not written in JavaScript: continuous actions, absent agents, joint actions,
    networks but `mlp` and `gru`, and learners that are made of several networks.

    Args:
      policy: for the algorithm and its settings.
      arrays: of one seed, as `policy.arrays`.
    """
    spec, learner = policy.spec, policy.learner
    if spec.continuous or spec.active_mask or learner.inspect is None:
        return None
    if algorithm(policy.experiment.algorithm).preset not in (*VALUES, *CHANCES):
        return None
    if has_gru(learner.config) is None:
        return None
    return described_layers(
        policy.experiment.algorithm, learner.config, spec, policy.learner_scale, arrays
    )


def described_layers(
    name: str, config: Any, spec: EnvSpec, scale: float, arrays: Tree
) -> dict[str, Any]:
    """Returns the network of Q-learning or PPO as `networks.js` reads it.

    Args:
      name: of the algorithm.
      config: its settings.
      spec: of the environment.
      scale: that observations are divided by.
      arrays: of one seed.
    """
    values = algorithm(name).preset in VALUES
    agents = arrays.params.agents if values else arrays
    layers = {key.removeprefix("params/"): packed(x) for key, x in named(agents).items()}
    shared = sharing(config.sharing, spec)
    return {
        "kind": "q" if values else "probability",
        "layers": layers,
        "sets": [int(place) // shared.members.shape[1] for place in shared.place],
        "scale": scale,
        "agent_id": config.agent_id,
        "last_action": config.last_action,
        "recurrent": has_gru(config),
        "layer_norm": config.layer_norm,
    }
