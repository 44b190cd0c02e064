"""Study `gmah`: achievement of subgoals, and returns of two levels against one.

    python benchmarks/studies/gmah.py                     # everything; hours on two cores
    python benchmarks/studies/gmah.py doorkey-64 --seeds 2 --total-steps 300_000
    python benchmarks/studies/gmah.py trashgrid foraging --only flat-ippo flat-mappo --seeds 10

Rows have the curve and the returns of a seed and, for two levels, the share of assigned subgoals
that the greedy low level achieves. The seeds of an arm train together, in one program. Seeds that
are stored are not trained again. Arguments select the comparisons or arms.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import _study
import jax
import jax.numpy as jnp
import numpy as np
from _gmah_arms import RUNS

from marlx import training
from marlx.algos.subgoals import options
from marlx.analysis import make_rows, result_rows
from marlx.config import layers as config_layers
from marlx.config.tree import flatten
from marlx.learner import Learner
from marlx.loop import progress
from marlx.loop.rollout import rollout, start


def run(key: tuple[str, str], settings: dict[str, Any]) -> None:
    """Trains the seeds of an arm and stores their rows.

    Args:
      key: the comparison and the arm.
      settings: over the arm's own; `seed` and `seeds` are among them.
    """
    algorithm, task, own = RUNS[key]
    experiment = config_layers.experiment(algorithm, task, **{**own, **settings})
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)
    measured: list[dict[str, Any]] = [{} for _ in range(experiment.train.seeds)]
    for name in result.history[-1].metrics:
        if name.startswith(("goal_", "achieved", "duration")) and "_region_" not in name:
            curves = np.array([p.metrics[name] for p in result.history[1:]], float).round(3)
            for of_seed, curve in zip(measured, curves.T.tolist(), strict=True):
                of_seed.setdefault("subgoals", {})[name] = curve
    declared = getattr(experiment.learner, "subgoals", "") == "declared"
    if declared and experiment.learner.refresh == "achieved":
        for name, rates in assess(experiment, result.policies).items():
            for of_seed, rate in zip(measured, rates, strict=True):
                of_seed.setdefault("achieved", {})[name] = rate
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="gmah",
        comparison=key[0],
        arm=key[1],
        about=_study.about(),
        command=command_of(key, settings),
        measured=measured,
    )
    _study.add(rows, record)


def command_of(key: tuple[str, str], settings: dict[str, Any]) -> str:
    """Returns the command line of an arm."""
    algorithm, task, own = RUNS[key]
    given = flatten({**own, **settings})
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


def missing(digest: str, seeds: range) -> list[range]:
    """Returns the seeds of a configuration that are not stored, in runs of successive ones."""
    stored = {row["seed"] for row in _study.read("gmah").rows_of(digest)}
    left: list[range] = []
    for seed in seeds:
        if seed in stored:
            continue
        if left and left[-1].stop == seed:
            left[-1] = range(left[-1].start, seed + 1)
        else:
            left.append(range(seed, seed + 1))
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="comparisons or arms; everything if none")
    parser.add_argument("--only", nargs="*", default=[], help="arms, of what is selected")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--evals", type=int, help="number of evaluations")
    parser.add_argument("--again", action="store_true", help="train stored seeds too")
    args = parser.parse_args()
    arms = {arm for _, arm in RUNS}
    known = {comparison for comparison, _ in RUNS} | arms
    for word, words in [(w, known) for w in args.names] + [(w, arms) for w in args.only]:
        if word not in words:
            parser.error(f"there is no {word!r}; there are {', '.join(sorted(words))}")
    settings: dict[str, Any] = {}
    for option in ("total_steps", "evals"):
        if getattr(args, option) is not None:
            settings[option] = getattr(args, option)
    seeds = range(args.seed, args.seed + args.seeds)
    for key, (algorithm, task, own) in RUNS.items():
        if (args.names and not set(args.names) & set(key)) or (
            args.only and key[1] not in args.only
        ):
            continue
        digest = result_rows.config_hash(
            config_layers.experiment(algorithm, task, **{**own, **settings}).settings()
        )
        for part in [seeds] if args.again else missing(digest, seeds):
            run(key, {**settings, "seed": part.start, "seeds": len(part)})


if __name__ == "__main__":
    main()
