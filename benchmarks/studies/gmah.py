"""Study `gmah`: achievement of subgoals, and returns of two levels against one.

    python benchmarks/studies/gmah.py                     # everything; hours on two cores
    python benchmarks/studies/gmah.py doorkey-64 --seeds 1 --total-steps 300_000

Rows have the curve and the returns of a seed and, for two levels, the share of assigned subgoals
that the greedy low level achieves. Seeds are trained one after another. Each is stored when it
ends, and those that are stored are not trained again. Arguments select the comparisons or arms.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import _study
import jax
import jax.numpy as jnp
import numpy as np

from marlx import training
from marlx.algos.subgoals import options
from marlx.analysis import make_rows, result_rows
from marlx.config import layers as config_layers
from marlx.config.tree import flatten
from marlx.learner import Learner
from marlx.loop import progress
from marlx.loop.rollout import rollout, start

FLAT: dict[str, Any] = {}
FLAT_PPO = {
    "num_envs": 32,
    "rollout_length": 64,
    "learner": {"lr": 1e-3, "entropy": 0.03, "gamma": 0.97},
}
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
        )
    }


TRASH, MASKED = "grid/trashgrid-10x10-3p", {"env": {"useful_only": True}}
TEAM = "Foraging-10x10-3p-3f-coop-v3"
DEEP: dict[str, Any] = {"env": {"kwargs": '{"size": 14}'}, "total_steps": 300_000}
RUNS: dict[tuple[str, str], Run] = {
    **doorkey(64, 0.8),
    **doorkey(256, 0.8),
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
    ("foraging", "flat"): ("qmix", TEAM, FLAT),
    ("foraging", "flat-ippo"): ("ippo", TEAM, {"total_steps": 1_000_000}),
    ("foraging", "flat-mappo"): ("mappo", TEAM, {"total_steps": 1_000_000}),
    # no subgoals are declared, and the only reward comes after 14 right steps
    ("deepsea", "learned"): ("gmah_q", "gymnax/DeepSea-bsuite", DEEP),
    ("deepsea", "incurious"): (
        "gmah_q",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"curiosity": 0.0}},
    ),
    ("deepsea", "flat"): (
        "qmix",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"updates_per_step": 0.125}},
    ),
}


def run(key: tuple[str, str], settings: dict[str, Any], seed: int) -> None:
    """Trains one seed of a run and stores its row."""
    algorithm, task, own = RUNS[key]
    experiment = config_layers.experiment(algorithm, task, **{**own, **settings}, seed=seed)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)
    measured: dict[str, Any] = {}
    subgoals = {
        name: [round(float(p.metrics[name][0]), 3) for p in result.history[1:]]
        for name in result.history[-1].metrics
        if name.startswith(("goal_", "achieved", "duration")) and "_region_" not in name
    }
    if subgoals:
        measured["subgoals"] = subgoals
    declared = getattr(experiment.learner, "subgoals", "") == "declared"
    if declared and experiment.learner.refresh == "achieved":
        rates = assess(experiment, result.policies)
        measured["achieved"] = {name: rate for name, (rate,) in rates.items()}
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="gmah",
        comparison=key[0],
        arm=key[1],
        about=_study.about(),
        command=command_of(key, settings, seed),
        measured=[measured],
    )
    _study.add(rows, record)


def command_of(key: tuple[str, str], settings: dict[str, Any], seed: int) -> str:
    """Returns the command line of one seed of a run."""
    algorithm, task, own = RUNS[key]
    given = flatten({**own, **settings, "seed": seed})
    options = [f"--{k.replace('_', '-')} {shlex.quote(str(v))}" for k, v in given.items()]
    return " ".join(["marlx train", algorithm, task, *options])


def assess(experiment: config_layers.Experiment, policies: Any) -> dict[str, list[float]]:
    """Returns how often the greedy low level achieves an assigned subgoal, by subgoal and seed.

    Subgoals are assigned at random among those available. A subgoal that the end of the episode
    interrupts, or that is not available any more when it is given up, does not count.
    """
    settings = {**experiment.settings()["learner"], "chooser": "uniform", "refresh": "achieved"}
    values = {"learner": settings, "env": experiment.settings()["env"]}
    same = config_layers.build(
        experiment.algorithm, experiment.environment, config_of(experiment, values)
    )
    env, params, learner = same.build()
    rates = jax.jit(jax.vmap(lambda policy: rate(env, params, learner, policy)))(policies)
    names = env.spec(params).subgoals.names
    return {name: np.asarray(rates)[:, g].round(4).tolist() for g, name in enumerate(names)}


def config_of(experiment: config_layers.Experiment, values: dict[str, Any]) -> dict[str, Any]:
    layer = config_layers.Layer("assessment", values)
    return config_layers.merge(
        config_layers.schema(experiment.algorithm, experiment.environment), [layer]
    )


def rate(env: Any, params: Any, learner: Learner, policy: Any) -> jax.Array:
    """f32 [G], subgoals achieved over those achieved or given up, in 64 environments."""
    actors = start(env, params, learner, jax.random.key(100), 64)
    length = int(params.max_steps_in_episode)
    _, t, _ = rollout(
        env, params, learner, policy, actors, jax.random.key(101), length, explore=False
    )
    layout, held = env.spec(params).subgoals, t.extras.option
    rule = options.Termination(layout, learner.config.period, "achieved")
    after = held.after_step()
    achieved = rule.outcome(after, t.next_obs).achieved
    hot = jax.nn.one_hot(held.goal, len(layout.names))
    # when another agent has taken the last piece of trash, nobody can pick one up
    there = (layout.available(t.next_obs) & (hot > 0)).any(-1)
    given_up = ~achieved & (after.clock >= learner.config.period) & there
    wins, losses = ((x[..., None] * hot).sum((0, 1, 2)) for x in (achieved, given_up))
    return jnp.where(wins + losses > 0, wins / (wins + losses), jnp.nan)


def report(progress: progress.Progress) -> None:
    """Prints the mean return of an evaluation and the achievement of each subgoal."""
    means = {k: v.mean() for k, v in progress.metrics.items() if k.startswith("achieved_")}
    means = {k: v for k, v in means.items() if "_region_" not in k}  # too many, without names
    words = "".join(f"  {k[9:]} {v:.2f}" for k, v in means.items())
    mean = progress.metrics["return"].mean()
    print(f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {mean:.3f}{words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="comparisons or arms; everything if none")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--evals", type=int, help="number of greedy evaluations")
    parser.add_argument("--again", action="store_true", help="train stored seeds too")
    args = parser.parse_args()
    settings: dict[str, Any] = {}
    for option in ("total_steps", "evals"):
        if getattr(args, option) is not None:
            settings[option] = getattr(args, option)
    for key, (algorithm, task, own) in RUNS.items():
        if args.names and not set(args.names) & set(key):
            continue
        digest = result_rows.config_hash(
            config_layers.experiment(algorithm, task, **{**own, **settings}).settings()
        )
        done = {row["seed"] for row in _study.read("gmah").rows_of(digest)}
        for seed in range(args.seeds):
            if args.again or seed not in done:
                run(key, settings, seed)


if __name__ == "__main__":
    main()
