"""Reference learning results: several seeds per algorithm and task, with the shipped presets.

    python benchmarks/learning.py                  # everything; hours on two cores
    python benchmarks/learning.py --only qmix Foraging-8x8-2p-2f-coop-v3

Each pair is what `marlx train ALGORITHM TASK --seeds 5` runs, against an opponent where `OPPONENTS`
has one. It leaves one JSON in `benchmarks/reference/`, with every seed's curve and final returns,
the settings, versions and device, which `marlx reproduce` makes again; `--plot` draws the curves of
each task from those files, into `benchmarks/results/learning/`, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import jax

from marlx.cli.devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds run side by side

import _timing
import numpy as np

from marlx import config, evaluation, reproduction, statistics, training
from marlx.environment import Environment, EnvParams
from marlx.types import Array, Tree

REFERENCE = Path(__file__).parent / "reference"
LEARNERS = ("iql", "vdn", "qmix")
MIXERS = (*LEARNERS, "qplex", "joint_q")
POLICIES = ("ippo", "mappo")
ALL = (*MIXERS, *POLICIES)
FORAGING = ("Foraging-8x8-2p-2f-coop-v3", "Foraging-2s-8x8-2p-2f-coop-v3")
LARGER = "Foraging-10x10-3p-3f-v3"
FIFTEEN = ("Foraging-15x15-3p-5f-v3", "Foraging-15x15-4p-3f-v3", "Foraging-15x15-4p-5f-v3")
MORE_FORAGING = ("Foraging-2s-10x10-3p-3f-v3", *FIFTEEN)
PARTICLES = (
    "mpe/simple_spread_v3",
    "mpe/simple_speaker_listener_v4",
    "mpe/simple_reference_v3",
)
OPPONENTS: dict[str, dict[str, Any]] = {
    "partners/mpe/simple_tag_v3": {"pool": ["pretrained"], "ego": [0, 1, 2]},  # predators learn
    "partners/mpe/simple_adversary_v3": {"pool": ["pretrained"], "ego": [1, 2]},  # good agents do
}
"""Environment settings of tasks in which one side learns against a fixed other one."""
GAMES = ("two_step", "qtran", "climbing", "penalty-0", "penalty-25", "penalty-100")
PAIRS = [
    *((name, f"matrix/{game}") for game in GAMES for name in MIXERS),
    *((name, task) for task in FORAGING for name in LEARNERS),
    *(
        (name, task)
        for task in (*FORAGING, LARGER, *MORE_FORAGING, *PARTICLES)
        for name in POLICIES
    ),
    *((name, task) for task in (LARGER, *FIFTEEN, *PARTICLES) for name in LEARNERS),
    *(("qplex", task) for task in (FORAGING[0], *PARTICLES)),
    ("ippo", "gymnax/CartPole-v1"),
    *((name, task) for task in OPPONENTS for name in (*LEARNERS, *POLICIES)),
]


def run(algorithm: str, task: str, settings: dict[str, int]) -> reproduction.Reference:
    """Train, and say what came out."""
    given = OPPONENTS.get(task, {})
    experiment = config.experiment(algorithm, task, **settings, env=given)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)
    drawn = sampled_returns(env, params, result) if algorithm in POLICIES else {}
    options = [f"--{name.replace('_', '-')} {value}" for name, value in settings.items()]
    options += [f"--env.{name} {' '.join(map(str, values))}" for name, values in given.items()]
    return reproduction.record(
        result_id(algorithm, task),
        experiment,
        result,
        command=" ".join(["marlx train", algorithm, task, *options]),
        about=_timing.about("marlx", "flax", "optax"),
        **drawn,
    )


def result_id(algorithm: str, task: str) -> str:
    """The name of its file; where a side is fixed it tells by whom that is played."""
    pool = OPPONENTS.get(task, {}).get("pool", [])
    return "-".join([reproduction.reference_id(algorithm, task), *pool])


def sampled_returns(
    env: Environment[Any, Any], params: EnvParams, result: training.Result
) -> dict[str, object]:
    """Returns on fresh episodes with actions drawn from the policy, which is what PPO optimises.

    The most probable action at every step is another policy; EPyMARL's published numbers are of
    drawn actions too.
    """
    episodes = result.returns.shape[1]

    def play(policy: Tree, key: Array) -> Array:
        return evaluation.evaluate(env, params, result.learner, policy, key, episodes, explore=True)

    seeds = len(result.returns)
    keys = jax.random.split(jax.random.key(2**31 - 3), seeds)
    returns = np.asarray(jax.jit(jax.vmap(play))(result.policies, keys), float)
    low, high = statistics.bootstrap_interval(returns)
    return {
        "sampled_return": statistics.mean(returns),
        "sampled_interval": [low, high],
        "sampled_per_seed": returns.mean(-1).round(4).tolist(),
    }


def report(progress: training.Progress) -> None:
    """A line now and then, for those who wait."""
    greedy, drawn = (progress.metrics.get(name) for name in ("return", "train_return"))
    line = f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {greedy.mean():.3f}"
    print(line if drawn is None else f"{line}, exploring {drawn.mean():.3f}", flush=True)


def plot() -> None:
    """One picture per task: the mean of each algorithm's seeds and its 95% interval."""
    from matplotlib.figure import Figure

    for task in dict.fromkeys(task for _, task in PAIRS):
        figure = Figure(figsize=(6.4, 4), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        record = None
        for name in ALL:
            path = REFERENCE / f"{result_id(name, task)}.json"
            if not path.exists():
                continue
            record = reproduction.read(json.loads(path.read_text()))
            curve = np.array(record.curve)
            band = np.array([statistics.bootstrap_interval(row, resamples=500) for row in curve])
            (line,) = axes.plot(record.steps, curve.mean(1), label=name, lw=2)
            axes.fill_between(record.steps, *band.T, alpha=0.15, lw=0, color=line.get_color())
        if record is None:
            continue
        axes.axhline(record.random_return, ls=":", color="gray", label="random policy")
        if record.optimum is not None:
            axes.axhline(record.optimum, ls="--", color="gray", label="optimum")
        axes.set(xlabel="environment steps", ylabel="greedy team return", title=task)
        axes.legend(frameon=False, fontsize=8)
        path = _timing.RESULTS / f"learning/{task.replace('/', '-')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--only", nargs="*", default=[], help="parts of algorithm or task names")
    parser.add_argument("--plot", action="store_true", help="only draw what is stored")
    args = parser.parse_args()
    settings = {"seeds": args.seeds}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    for algorithm, task in [] if args.plot else PAIRS:
        if all(part in (algorithm, task, task.split("/")[0]) for part in args.only):
            record = run(algorithm, task, settings)
            reproduction.write(REFERENCE, record)
            low, high = record.interval
            print(
                f"{algorithm:8} {task:32} {record.mean:8.3f} [{low:.3f}, {high:.3f}]  "
                f"random {record.random_return:.3f}  seeds {record.per_seed}",
                flush=True,
            )
    plot()


if __name__ == "__main__":
    main()
