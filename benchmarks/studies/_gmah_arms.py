"""The arms of the study `gmah`: algorithm, environment and settings of each."""

from __future__ import annotations

from typing import Any

FLAT: dict[str, Any] = {}
FLAT_PPO = {
    "num_envs": 32,
    "rollout_length": 64,
    "learner": {"lr": 1e-3, "entropy": 0.03, "gamma": 0.97},
}
FAR_PPO = {**FLAT_PPO, "learner": {"lr": 1e-3, "entropy": 0.03, "gamma": 0.99}}
ADAPTIVE = {"learner": {"refresh": "achieved"}}
CHANGED = {"learner": {"refresh": "changed"}}
OPTIONS = {"learner": {"refresh": "options"}}
FIXED = {"learner": {"refresh": "fixed", "period": 16}}
SCRIPTED = {"learner": {"chooser": "scripted"}}
UNIFORM = {"learner": {"chooser": "uniform"}}
# the low level by itself, with subgoals chosen at random
LOW: dict[str, Any] = {
    "total_steps": 4_000_000,
    "evals": 8,
    "learner": {"chooser": "uniform", "low": {"lr_steps": 4_000_000}},
}
UNMIXED = {"learner": {"mixing": False}}
# the low level first, with subgoals chosen at random, then frozen
STAGED = {"low_steps": 400_000, "low_after": "freeze", "low": {"lr_steps": 400_000}}


Run = tuple[str, str, dict[str, Any]]
"""Algorithm, environment, and settings over the preset's."""


def doorkey(horizon: int, left: float) -> dict[tuple[str, str], Run]:
    """Returns the arms on DoorKey with this horizon and probability of a goal left of the wall."""
    env = {"horizon": horizon, "goal_left_probability": left}
    name = f"doorkey-{horizon}" if left else f"doorkey-{horizon}-right"
    return {
        (name, arm): (algorithm, "grid/doorkey-8x8", {**settings, "env": env})
        for arm, algorithm, settings in (
            ("adaptive", "gmah", ADAPTIVE),
            ("fixed", "gmah", FIXED),
            ("changed", "gmah", CHANGED),
            ("flat", "ippo", FLAT_PPO),
            ("flat-099", "ippo", FAR_PPO),
            ("scripted", "gmah", SCRIPTED),
        )
    }


def changing(name: str, **env: Any) -> dict[tuple[str, str], Run]:
    """Returns the arms on a DoorKey that changes in mid-episode."""
    return {
        (name, arm): (algorithm, "grid/doorkey-8x8", {**settings, "env": {"horizon": 128, **env}})
        for arm, algorithm, settings in (
            ("adaptive", "gmah", ADAPTIVE),
            ("options", "gmah", OPTIONS),
            ("changed", "gmah", CHANGED),
            ("fixed", "gmah", FIXED),
            ("flat", "ippo", FLAT_PPO),
            ("flat-099", "ippo", FAR_PPO),
        )
    }


TRASH, MASKED = "grid/trashgrid-10x10-3p", {"env": {"useful_only": True}}
TEAM = "Foraging-10x10-3p-3f-coop-v3"
VAULT = "grid/vault-4p"
VAULT_FLAT: dict[str, Any] = {
    "total_steps": 300_000,
    "learner": {
        "recurrent": False,
        "lr": 1e-3,
        "window": 8,
        "updates_per_step": 0.0625,
        "gamma": 0.98,
        "epsilon_steps": 100_000,
        "epsilon_end": 0.1,
    },
}
DEEP: dict[str, Any] = {"env": {"kwargs": '{"size": 14}'}, "total_steps": 300_000}
LONG = {"half": 8, "horizon": 48, "alarm": -1.0}
LANES: dict[str, Any] = {"env": LONG, "total_steps": 300_000, "rollout_length": 48}
"""Two agents in lanes so long that random walks seldom reach a door, and hardly ever two levers."""
UNNORMALISED: dict[str, Any] = {"window": 16, "recurrent": False, "epsilon_steps": 100_000}
LEARNED: dict[str, Any] = {
    "subgoals": "learned",
    "regions": 64,
    "period": 16,
    "refresh": "achieved",
    "curiosity": 0.5,
    "hindsight": 0.8,
    "external": 1.0,
    "high": {**UNNORMALISED, "layer_norm": True, "mixer_norm": True},
    "low": {
        "recurrent": False,
        "lr": 1e-3,
        "gamma": 0.97,
        "lambda_": 0.8,
        "window": 16,
        "updates_per_step": 0.125,
        "epsilon_steps": 100_000,
    },
}
LANES_FLAT = {**VAULT_FLAT["learner"], "gamma": 0.97, "lambda_": 0.8, "updates_per_step": 0.125}
RUNS: dict[tuple[str, str], Run] = {
    **doorkey(64, 0.8),
    **doorkey(256, 0.8),
    **doorkey(640, 0.8),  # MiniGrid's horizon
    **doorkey(640, 0.0),
    **doorkey(256, 0.0),  # the goal always behind the door, as in MiniGrid
    # what was assigned may have become impossible, or needless, before it is achieved
    **changing("doorkey-moving", goal_moves=16),
    **changing("doorkey-relocking", relocks=16, goal_left_probability=0.0),
    ("doorkey", "low"): ("gmah", "grid/doorkey-8x8", {**LOW, "env": {"horizon": 128}}),
    ("trashgrid", "low"): ("gmah", TRASH, {**UNIFORM, **MASKED}),
    ("trashgrid", "adaptive"): ("gmah", TRASH, {**ADAPTIVE, **MASKED}),
    ("trashgrid", "unmixed"): ("gmah", TRASH, {**UNMIXED, **MASKED}),
    ("trashgrid", "staged"): ("gmah", TRASH, {"learner": STAGED, **MASKED}),
    ("trashgrid", "staged-unmixed"): (
        "gmah",
        TRASH,
        {"learner": {**STAGED, "mixing": False}, **MASKED},
    ),
    ("trashgrid", "flat"): ("qmix", TRASH, MASKED),
    ("trashgrid", "flat-ippo"): ("ippo", TRASH, {**MASKED, "total_steps": 1_000_000}),
    ("trashgrid", "flat-mappo"): ("mappo", TRASH, {**MASKED, "total_steps": 1_000_000}),
    ("trashgrid-penalised", "adaptive"): (
        "gmah",
        TRASH,
        ADAPTIVE,
    ),  # nothing is masked, useless actions have a cost
    ("trashgrid-penalised", "flat"): ("qmix", TRASH, FLAT),
    ("foraging", "staged"): ("gmah", TEAM, {}),
    ("foraging", "staged-unmixed"): ("gmah", TEAM, UNMIXED),
    ("foraging", "adaptive"): ("gmah_q", TEAM, ADAPTIVE),
    ("foraging", "unmixed"): ("gmah_q", TEAM, UNMIXED),
    ("foraging", "hindsight"): (
        "gmah_q",
        TEAM,
        {"learner": {"refresh": "achieved", "hindsight": 0.5}},
    ),
    ("foraging", "flat"): ("qmix", TEAM, FLAT),
    ("foraging", "flat-ippo"): ("ippo", TEAM, {"total_steps": 1_000_000}),
    ("foraging", "flat-mappo"): ("mappo", TEAM, {"total_steps": 1_000_000}),
    # independent choosers learn what a plan is worth beside partners who explore
    ("vault", "mixing"): ("gmah", VAULT, {}),
    ("vault", "none"): ("gmah", VAULT, UNMIXED),
    ("vault", "none-quiet"): (
        "gmah",
        VAULT,
        {"learner": {"mixing": False, "high": {"epsilon_end": 0.02}}},
    ),
    ("vault", "flat"): ("qmix", VAULT, VAULT_FLAT),
    ("vault", "flat-iql"): ("iql", VAULT, VAULT_FLAT),
    # learned subgoals in a team: the same with longer lanes, and nothing declared is used
    ("learned-team", "learned"): ("gmah_q", "grid/vault-2p", {**LANES, "learner": LEARNED}),
    ("learned-team", "plain"): (
        "gmah_q",
        "grid/vault-2p",
        {**LANES, "learner": {**LEARNED, "high": UNNORMALISED}},
    ),
    ("learned-team", "unmixed"): (
        "gmah_q",
        "grid/vault-2p",
        {**LANES, "learner": {**LEARNED, "mixing": False}},
    ),
    ("learned-team", "flat"): ("qmix", "grid/vault-2p", {**LANES, "learner": LANES_FLAT}),
    # no subgoals are declared, and the only reward comes after 14 right steps
    ("deepsea", "learned"): ("gmah_q", "gymnax/DeepSea-bsuite", DEEP),
    ("deepsea", "incurious"): (
        "gmah_q",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"curiosity": 0.0}},
    ),
    ("deepsea", "no-hindsight"): (
        "gmah_q",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"hindsight": 0.0}},
    ),
    ("deepsea", "flat"): (
        "qmix",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"updates_per_step": 0.125}},
    ),
}
