"""Does it pay to know one's partners? Returns of clam, its bounds, controls, LIAM, and a memory.

    python benchmarks/clam_returns.py            # 5 seeds of each; many hours on two cores

Each model trains with the partners that are seen, through the same PPO and networks of the same
size, and is judged greedily with those and with partners that it never met. One JSON per task and
model in `benchmarks/results/clam/`, with every seed's curve and returns.
"""

from __future__ import annotations

import argparse
import os

import jax

from marlx.cli.devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds run side by side

from typing import Any, NamedTuple

import _timing
import numpy as np

import marlx
from marlx import config, statistics, training
from marlx.envs.partners import LIAM_CODES
from marlx.evaluation import evaluate
from marlx.registry import algorithm

MODELS = ("oracle", "clam", "none", "liam", "random", "shuffled", "labels", "recurrent")
CODES = tuple(f"code_{''.join(map(str, code))}" for code in LIAM_CODES)


def habits(count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Partners of a matrix game that are seen, and that are not."""
    names = [tuple(f"{name}_{i}" for i in range(count)) for name in ("mostly", "always")]
    return names[0], names[1]


class Task(NamedTuple):
    name: str
    env: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]


TASKS = (
    Task("coordination", "partners/matrix/coordination-5", *habits(5)),  # cooperative
    Task("rps", "partners/matrix/rock_paper_scissors", *habits(3)),  # competitive
    Task(
        "spread",  # cooperative
        "partners/mpe/simple_spread_v3",
        ("nearest", "assigned", "stay", "random"),
        ("reversed",),
    ),
    Task(
        "tag",
        "partners/mpe/simple_tag_v3",
        ("after_prey", "after_agent_far", "random"),
        ("after_agent_close", "after_pred"),
    ),
    Task("liam", "partners/mpe/liam_predator_prey", ("after_prey", "after_agent_far", "random"),
         ("after_agent_close", "after_pred")),
    Task("speakers", "partners/mpe/liam_speaker_listener", CODES[:8], CODES[8:]),
    Task("foraging", "partners/Foraging-8x8-2p-2f-v3", ("h1", "h2", "random"), ("h3", "h4")),
    Task("foraging-20x20", "partners/Foraging-20x20-2p-4f-v3", ("h1", "h2", "random"),
         ("h3", "h4")),
)  # fmt: skip


def run(task: Task, model: str, settings: dict[str, Any], episodes: int) -> dict[str, Any]:
    """Train, and judge with partners that were seen and with others."""
    learner: dict[str, Any] = {"model": model}
    if model == "recurrent":  # no model, but a policy with a memory of its own
        learner = {"model": "none", "ppo": {"recurrent": True, "window": 25}}
    experiment = config.experiment(
        "clam",
        task.env,
        learner=learner,
        env={"pool": task.seen, "privileged": True},
        **settings,
    )
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)

    def judged(pool: tuple[str, ...]) -> np.ndarray[Any, Any]:
        kwargs = {**experiment.settings()["env"], "pool": pool}
        other, other_params = marlx.make(task.env, **kwargs)
        acting = algorithm("clam").build(other.spec(other_params), experiment.learner)

        @jax.jit
        @jax.vmap
        def play(policy: Any, key: Any) -> Any:
            return evaluate(other, other_params, acting, policy, key, episodes)

        keys = jax.random.split(jax.random.key(2**20), experiment.train.seeds)
        return np.asarray(play(result.policies, keys), float)

    def summary(returns: np.ndarray[Any, Any]) -> dict[str, Any]:
        return {
            "mean": statistics.mean(returns),
            "interval_95": statistics.bootstrap_interval(returns),
            "per_seed": returns.mean(1).round(4).tolist(),
        }

    unseen = model != "oracle"  # its numbers would mean other partners
    return {
        "task": task._asdict(),
        "model": model,
        "seen": summary(judged(task.seen)),
        "unseen": summary(judged(task.unseen)) if unseen else None,
        "episodes_per_seed": episodes,
        "random_return": float(result.random_returns.mean()),
        "steps": [p.steps for p in result.history],
        "curve": [p.metrics["return"].round(4).tolist() for p in result.history],
        "seconds": {name: round(value, 1) for name, value in result.phases.items()},
        "settings": experiment.settings(),
    }


def report(progress: training.Progress) -> None:
    """A line now and then, for those who wait."""
    mean = progress.metrics["return"].mean()
    print(f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {mean:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--episodes", type=int, default=500, help="per seed and pool")
    parser.add_argument("--tasks", nargs="*", default=[task.name for task in TASKS])
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    args = parser.parse_args()
    settings = {"seeds": args.seeds}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    for task in TASKS:
        for model in args.models if task.name in args.tasks else ():
            record = run(task, model, settings, args.episodes)
            _timing.write(f"clam/{task.name}-{model}", record, ("marlx", "flax", "optax"))
            for pool in ("seen", "unseen"):
                if record[pool] is not None:
                    low, high = record[pool]["interval_95"]
                    mean = record[pool]["mean"]
                    print(f"{task.name} {model} {pool}: {mean:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
