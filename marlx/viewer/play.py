"""The page at which a person plays with a team, as one file: rules and networks are in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from marlx.registry import algorithm
from marlx.runs.policies import Policy, load_policy
from marlx.text import printable
from marlx.viewer import data
from marlx.viewer.network import CHANCES, described_network
from marlx.viewer.page import page
from marlx.viewer.team import best_seeds, explores, title_of

STARTS = 64
"""First states that a page holds; games go through them in turn."""
SCRIPTS = ("decode.js", "drawing.js", "boards.js", "panel.js", "rules.js", "pooling.js")
PLAYING = (*SCRIPTS, "networks.js", "table.js", "play.js", "start_play.js")
"""Scripts of a page to play at, in their order."""
WRITTEN = {"foraging": "Foraging", "matrix": "MatrixGame"}
"""Kinds of scenes whose rules are written in JavaScript, and their environments."""


def play_page(path: str | Path, policy_seed: int | None, key: jax.Array) -> str:
    """Returns a page at which a person takes a seat in the team of a run.

    Args:
      path: the run folder.
      policy_seed: whose policy plays; None for the best ones, between which the page chooses.
      key: consumed; first states are drawn with it.

    Raises:
      ValueError: there is no policy, or the rules or the networks are not written in JavaScript.
    """
    seeds = best_seeds(path) if policy_seed is None else [policy_seed]
    policies = [load_policy(path, seed) for seed in seeds]
    content = {
        **common(path, policies[0]),
        "networks": [
            {"seed": policy.seed, "network": described_network(policy, policy.arrays)}
            for policy in policies
        ],
    }
    reason = not_in_a_page(policies[0])
    if reason is not None:
        raise ValueError(f"{reason}, so a page cannot play it alone; `marlx play {path}` does")
    if content["board"]["kind"] == "foraging":
        content["starts"] = first_states(policies[0], key)
    subtitle = f"{Path(path).name}: take a seat, the team plays the others"
    return page(printable(title_of(policies[0])), printable(subtitle), content, PLAYING)


def common(path: str | Path, policy: Policy) -> dict[str, Any]:
    """Returns what pages with and without a server need."""
    return {
        "board": data.board(policy.env, policy.params, policy.spec),
        "run": printable(Path(path).name),
        "drawn": explores(policy.learner),
        "chances": has_chances(policy),
    }


def has_chances(policy: Policy) -> bool:
    """Returns whether the team may also draw its actions, instead of taking the likeliest."""
    preset = algorithm(policy.experiment.algorithm).preset
    return preset in CHANCES or explores(policy.learner)


def not_in_a_page(policy: Policy) -> str | None:
    """Returns why a page needs a server to play this; None where it needs none."""
    scene, spec = data.scene_of(policy.env, policy.params), policy.spec
    own = type(policy.env).__name__ == WRITTEN.get(scene.kind)
    if not own or "rules" not in scene.facts:
        return f"the rules of {printable(spec.id)} are not written in JavaScript"
    if described_network(policy, policy.arrays) is None:
        return f"the networks of {policy.experiment.algorithm} are not written in JavaScript"
    return None


def first_states(policy: Policy, key: jax.Array) -> dict[str, Any]:
    """Returns `STARTS` first states of the environment, packed."""
    env, params = policy.env, policy.params
    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))
    states = jax.device_get(reset(jax.random.split(key, STARTS)))
    frames = data.scene_of(env, params).frame(states)
    return {name: data.packed(np.asarray(values)) for name, values in frames.items()}
