"""The networks of a policy, for JavaScript: which there are, and their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.learning.running_moments import LARGEST
from marlx.nets.agents import sharing
from marlx.nets.makers import has_gru
from marlx.registry import algorithm
from marlx.runs.policies import Policy
from marlx.types import EnvSpec, Tree
from marlx.viewer.data import packed
from marlx.xla.names import named

VALUES = ("q_learning",)
"""Presets of the algorithms whose agents choose the action of largest value."""
MODELS = "clam"
"""Preset of PPO with a model of the other agents."""
POOLING = ("clam", "labels", "random")
"""Those models that pool the agent's trajectory by attention."""
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
    name, scale = policy.experiment.algorithm, policy.learner_scale
    if algorithm(name).preset == MODELS:
        return described_model(learner.config, spec, scale, arrays)
    if algorithm(name).preset not in (*VALUES, *CHANCES):
        return None
    if has_gru(learner.config) is None:
        return None
    return described_layers(name, learner.config, spec, scale, arrays)


def described_model(
    config: Any, spec: EnvSpec, scale: float, arrays: Tree
) -> dict[str, Any] | None:
    """Returns PPO with CLAM's attention pooling of a trajectory; None for other models.

    Args:
      config: `CLAMConfig`.
      spec: of the environment.
      scale: that observations are divided by.
      arrays: of one seed.
    """
    unwritten = config.token == "code" or config.policy_steps or has_gru(config.ppo) is None
    if config.model not in POOLING or unwritten:
        return None
    described = described_layers("ippo", config.ppo, spec, scale, arrays.actor)
    moments, size = arrays.moments, config.embedding
    known = moments is not None
    encoder = {key.removeprefix("params/"): packed(x) for key, x in named(arrays.model).items()}
    mean = moments.mean if known else np.zeros(size, np.float32)
    deviation = np.ones(size, np.float32)
    if known:
        deviation = np.where(moments.number > 0, moments.deviation, deviation)
    described["pooling"] = {
        "layers": encoder,
        "heads": config.encoder.heads,
        "seeds": config.encoder.seeds,
        "positions": spec.horizon,
        "change": config.token == "change",
        "inputs": list(config.inputs) or list(range(spec.obs_size)),
        "standardised": known,
        "mean": packed(np.asarray(mean, np.float32)),
        "deviation": packed(np.asarray(deviation, np.float32)),
        "largest": LARGEST,
    }
    return described


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
