"""Subgoals: how well they are achieved, and what two levels gain over one.

    python benchmarks/gmah.py                     # everything; hours on two cores
    python benchmarks/gmah.py doorkey-64 --seeds 1 --total-steps 300_000

Runs are named below; each leaves `benchmarks/results/gmah/NAME.json` with every seed's curve, final
returns, settings and command, and for two levels the share of assigned subgoals that the greedy low
level achieves. Seeds are trained one after another and added to what is stored, so that a run may
be stopped. What is given selects the runs whose names contain it. `--plot` draws the curves.
"""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

import _timing
import jax
import jax.numpy as jnp
import numpy as np

from marlx import config, pursuit, results, statistics, training
from marlx.learner import Learner
from marlx.rollout import rollout, start

FLAT: dict[str, Any] = {}
FLAT_PPO = {
    "num_envs": 32,
    "rollout_length": 64,
    "learner": {"lr": 1e-3, "entropy": 0.03, "gamma": 0.97},
}
ADAPTIVE = {"learner": {"refresh": "achieved"}}
CHANGED = {"learner": {"refresh": "changed"}}
FIXED = {"learner": {"refresh": "fixed", "period": 16}}
SCRIPTED = {"learner": {"chooser": "scripted"}}
UNIFORM = {"learner": {"chooser": "uniform"}}
# the low level alone, until it does what it is told nine times in ten
LOW: dict[str, Any] = {
    "total_steps": 4_000_000,
    "evals": 8,
    "learner": {"chooser": "uniform", "low": {"lr_steps": 4_000_000}},
}
UNMIXED = {"learner": {"mixing": False}}
# the low level first, by chance, then frozen
STAGED = {"low_steps": 400_000, "low_after": "freeze", "low": {"lr_steps": 400_000}}


def doorkey(horizon: int, left: float) -> dict[str, tuple[str, str, dict[str, Any]]]:
    env = {"horizon": horizon, "goal_left_probability": left}
    name = f"doorkey-{horizon}" if left else f"doorkey-{horizon}-right"
    return {
        f"{name}-{kind}": (algorithm, "grid/doorkey-8x8", {**settings, "env": env})
        for kind, algorithm, settings in (
            ("adaptive", "gmah", ADAPTIVE),
            ("fixed", "gmah", FIXED),
            ("changed", "gmah", CHANGED),
            ("flat", "ippo", FLAT_PPO),
            ("scripted", "gmah", SCRIPTED),
        )
    }


TRASH, MASKED = "grid/trashgrid-10x10-3p", {"env": {"useful_only": True}}
TEAM = "Foraging-10x10-3p-3f-coop-v3"
DEEP: dict[str, Any] = {"env": {"kwargs": '{"size": 14}'}, "total_steps": 300_000}
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **doorkey(64, 0.8),
    **doorkey(256, 0.8),
    **doorkey(256, 0.0),  # the goal always behind the door, as in MiniGrid
    "doorkey-low": ("gmah", "grid/doorkey-8x8", {**LOW, "env": {"horizon": 128}}),
    "trashgrid-low": ("gmah", TRASH, {**UNIFORM, **MASKED}),
    "trashgrid-adaptive": ("gmah", TRASH, {**ADAPTIVE, **MASKED}),
    "trashgrid-unmixed": ("gmah", TRASH, {**UNMIXED, **MASKED}),
    "trashgrid-staged": ("gmah", TRASH, {"learner": STAGED, **MASKED}),
    "trashgrid-staged-unmixed": ("gmah", TRASH, {"learner": {**STAGED, "mixing": False}, **MASKED}),
    "trashgrid-flat": ("qmix", TRASH, MASKED),
    "trashgrid-penalised-adaptive": ("gmah", TRASH, ADAPTIVE),  # nothing masked, useless acts cost
    "trashgrid-penalised-flat": ("qmix", TRASH, FLAT),
    "foraging-staged": ("gmah", TEAM, {}),
    "foraging-staged-unmixed": ("gmah", TEAM, UNMIXED),
    "foraging-adaptive": ("gmah_q", TEAM, ADAPTIVE),
    "foraging-unmixed": ("gmah_q", TEAM, UNMIXED),
    "foraging-flat": ("qmix", TEAM, FLAT),
    # nothing declared, and nothing to be seen of the one reward before 14 steps were right
    "deepsea-learned": ("gmah_q", "gymnax/DeepSea-bsuite", DEEP),
    "deepsea-incurious": (
        "gmah_q",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"curiosity": 0.0}},
    ),
    "deepsea-flat": (
        "qmix",
        "gymnax/DeepSea-bsuite",
        {**DEEP, "learner": {"updates_per_step": 0.125}},
    ),
}


def run(name: str, settings: dict[str, Any], seed: int, stored: dict[str, Any]) -> dict[str, Any]:
    """Train one more seed, and say what came out of it and of those that are stored."""
    algorithm, task, own = RUNS[name]
    experiment = config.experiment(algorithm, task, **{**own, **settings}, seed=seed)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)
    flags = [f"--{k.replace('_', '-')} {v}" for k, v in settings.items()]
    rest = {k: v for k, v in own.items() if k not in settings}
    flags += [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in results.flat(rest).items()
    ]
    returns = [*stored.get("returns", []), *result.returns.round(4).tolist()]
    low, high = statistics.bootstrap_interval(np.array(returns))
    mine = {
        key: [round(float(p.metrics[key][0]), 3) for p in result.history[1:]]
        for key in result.history[-1].metrics
        if key.startswith(("goal_", "achieved", "duration")) and "_region_" not in key
    }
    achieved = {}
    declared = getattr(experiment.learner, "subgoals", "") == "declared"
    if declared and experiment.learner.refresh == "achieved":
        achieved = assess(experiment, result.policies)
    old = stored.get("subgoals", {}), stored.get("achieved", {})
    return {
        "algorithm": algorithm,
        "environment": task,
        "command": " ".join(["marlx train", algorithm, task, *flags]),
        "seeds": [*stored.get("seeds", []), seed],
        "return": statistics.mean(np.array(returns)),
        "interval": [low, high],
        "per_seed": np.mean(returns, axis=-1).round(4).tolist(),
        "random_return": float(result.random_returns.mean()),
        "optimum": env.spec(params).optimum,
        "achieved": {k: [*old[1].get(k, []), *v] for k, v in achieved.items()},
        "steps": [p.steps for p in result.history],
        "curve": [  # [evaluations][seeds]
            [*before, round(float(p.metrics["return"][0]), 4)]
            for before, p in zip(
                stored.get("curve") or [[] for _ in result.history], result.history, strict=True
            )
        ],
        "subgoals": {k: [*old[0].get(k, []), v] for k, v in mine.items()},  # [seeds][evaluations]
        "seconds": {key: round(value, 1) for key, value in result.phases.items()},
        "settings": experiment.settings(),
        "returns": returns,
    }


def assess(experiment: config.Experiment, policies: Any) -> dict[str, list[float]]:
    """For each subgoal and seed, how often the greedy low level achieves it where it is assigned.

    Subgoals are assigned by chance among those available. One that the end of the episode cuts
    short, or that is not available any more when it is given up, counts neither way.
    """
    settings = {**experiment.settings()["learner"], "chooser": "uniform", "refresh": "achieved"}
    values = {"learner": settings, "env": experiment.settings()["env"]}
    same = config.build(experiment.algorithm, experiment.environment, config_of(experiment, values))
    env, params, learner = same.build()
    rates = jax.jit(jax.vmap(lambda policy: rate(env, params, learner, policy)))(policies)
    names = env.spec(params).subgoals.names
    return {name: np.asarray(rates)[:, g].round(4).tolist() for g, name in enumerate(names)}


def config_of(experiment: config.Experiment, values: dict[str, Any]) -> dict[str, Any]:
    layer = config.Layer("assessment", values)
    return config.merge(config.schema(experiment.algorithm, experiment.environment), [layer])


def rate(env: Any, params: Any, learner: Learner, policy: Any) -> jax.Array:
    """f32 [G], subgoals achieved over subgoals achieved or given up, in 64 environments."""
    actors = start(env, params, learner, jax.random.key(100), 64)
    length = int(params.max_steps_in_episode)
    _, t, _ = rollout(
        env, params, learner, policy, actors, jax.random.key(101), length, explore=False
    )
    layout, held = env.spec(params).subgoals, t.extras.pursuit
    rules = pursuit.Rules(layout, learner.config.period, "achieved")
    after = held._replace(clock=held.clock + 1)
    _, achieved = rules.begin(after, t.next_obs)
    hot = jax.nn.one_hot(held.goal, len(layout.names))
    # once another has taken the last piece of trash, nobody can pick one up
    there = (layout.available(t.next_obs) & (hot > 0)).any(-1)
    given_up = ~achieved & (after.clock >= learner.config.period) & there
    wins, losses = ((x[..., None] * hot).sum((0, 1, 2)) for x in (achieved, given_up))
    return jnp.where(wins + losses > 0, wins / (wins + losses), jnp.nan)


def report(progress: training.Progress) -> None:
    """A line now and then, for those who wait."""
    means = {k: v.mean() for k, v in progress.metrics.items() if k.startswith("achieved_")}
    means = {k: v for k, v in means.items() if "_region_" not in k}  # too many, and nameless
    words = "".join(f"  {k[9:]} {v:.2f}" for k, v in means.items())
    mean = progress.metrics["return"].mean()
    print(f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {mean:.3f}{words}", flush=True)


def plot() -> None:
    """One picture per task: the mean of each kind's seeds and its 95% interval."""
    from matplotlib.figure import Figure

    tasks = {name: name.removesuffix("-unmixed").rsplit("-", 1)[0] for name in RUNS}
    for task in dict.fromkeys(tasks.values()):
        figure = Figure(figsize=(6.4, 4), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        drawn = 0
        for name in RUNS:
            path = _timing.RESULTS / "gmah" / f"{name}.json"
            if tasks[name] != task or not path.exists():
                continue
            record = json.loads(path.read_text())
            curve = np.array(record["curve"])
            band = np.array([statistics.bootstrap_interval(row, resamples=500) for row in curve])
            (line,) = axes.plot(record["steps"], curve.mean(1), label=name, lw=2)
            axes.fill_between(record["steps"], *band.T, alpha=0.15, lw=0, color=line.get_color())
            drawn += 1
        if drawn:
            axes.set(xlabel="environment steps", ylabel="greedy team return", title=task)
            axes.legend(frameon=False, fontsize=8)
            figure.savefig(_timing.RESULTS / "gmah" / f"{task}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names of runs; everything if none")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--evals", type=int, help="greedy evaluations on the way")
    parser.add_argument("--again", action="store_true", help="forget what is stored")
    parser.add_argument("--plot", action="store_true", help="only draw what is stored")
    args = parser.parse_args()
    settings: dict[str, Any] = {}
    for option in ("total_steps", "evals"):
        if getattr(args, option) is not None:
            settings[option] = getattr(args, option)
    for name in [] if args.plot else RUNS:
        if args.names and not any(part in name for part in args.names):
            continue
        path = _timing.RESULTS / "gmah" / f"{name}.json"
        record = {} if args.again or not path.exists() else json.loads(path.read_text())
        for seed in range(len(record.get("seeds", [])), args.seeds):
            record = run(name, settings, seed, record)
            _timing.write(f"gmah/{name}", record, ("marlx", "flax", "optax"))
            low, high = record["interval"]
            print(f"{name:24} {record['return']:.3f} [{low:.3f}, {high:.3f}]", flush=True)
            print(f"  seeds {record['per_seed']}  achieved {record['achieved']}", flush=True)
    plot()


if __name__ == "__main__":
    main()
