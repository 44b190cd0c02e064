"""Study `clam`: returns with partners, by model: CLAM, bounds, controls, LIAM and a GRU.

    python benchmarks/studies/clam_returns.py            # 5 seeds of each; many hours on two cores
    python benchmarks/studies/clam_returns.py --tasks acquaint/delay-16 --window 8 --seeds 10

Each model trains with the seen partners, with the same PPO and networks of the same size. It is
evaluated with those (`final` of a row) and with partners that it never met (`unseen_return` in
`measured`), by drawn actions. `greedy_return` and `unseen_greedy_return` stand beside them.
"""

from __future__ import annotations

import argparse
import math
import os

import jax

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

from typing import Any, NamedTuple

import _controls
import _study
import numpy as np

import marlx
from marlx import statistics, training
from marlx.analysis import make_rows, result_rows
from marlx.config import layers as config_layers
from marlx.envs import acquaint
from marlx.envs.partners import LIAM_CODES
from marlx.loop.evaluation import evaluate_modes, modes_of
from marlx.registry import algorithm

MODELS = ("oracle", "clam", "none", "liam", "random", "shuffled", "labels", "recurrent")
MEMORIES = ("recurrent", "recurrent-horizon")
"""Models that are a memory of the policy's own, trained on windows of `--window` steps, or as long
as an episode."""
CONTROLS = ("random", "shuffled")
"""Models that are controls of `clam`: an untrained encoder, and representations of others."""
CODES = tuple(f"code_{''.join(map(str, code))}" for code in LIAM_CODES)


def habits(count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the seen and the unseen partners of a matrix game."""
    names = [tuple(f"{name}_{i}" for i in range(count)) for name in ("mostly", "always")]
    return names[0], names[1]


class Task(NamedTuple):
    """A task with the partners that are seen in training, and those that are not.

    Names of partners are heuristics, or folders of `marlx pool train`.
    """

    name: str
    env: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    every_seed: bool = False  # of the runs in a folder, instead of the best one


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
    Task("foraging-pool", "partners/Foraging-8x8-2p-2f-coop-v3",
         ("pools/foraging/train",), ("pools/foraging/held_out",), True),
    Task("tag-pool", "partners/mpe/simple_tag_v3",
         ("pools/tag/train",), ("pools/tag/held_out",), True),
)  # fmt: skip


def task_of(name: str) -> Task:
    """Returns a task by its name, or that of a game of getting to know a partner, by its id."""
    known = {task.name: task for task in TASKS}
    return known.get(name) or Task(name, name, (), ())


def experiment_of(
    task: Task, model: str, settings: dict[str, Any], window: int
) -> config_layers.Experiment:
    """Returns the experiment of a model on a task; `kept` games reset the policy's memory."""
    horizon = marlx.make(task.env)[0].default_params.max_steps_in_episode
    long = horizon if model == "recurrent-horizon" else window
    learner: dict[str, Any] = {"model": model}
    if model in MEMORIES:  # no model, but a policy with a memory of its own
        learner = {"model": "none", "ppo": {"recurrent": True, "window": long}}
    settings = dict(settings)
    if task.seen:
        settings["env"] = {"pool": task.seen, "privileged": True, "every_seed": task.every_seed}
    else:
        settings.setdefault("rollout_length", math.lcm(horizon, long))
        if task.env.startswith("acquaint/kept"):
            learner["policy_steps"] = acquaint.ROUND
    return config_layers.experiment("clam", task.env, learner=learner, **settings)


def run(
    task: Task, model: str, settings: dict[str, Any], episodes: int, window: int, label: str
) -> None:
    """Trains a model, evaluates it with seen and with unseen partners, and stores its rows."""
    experiment = experiment_of(task, model, settings, window)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=_study.report)

    def judged(pool: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
        kwargs = {**experiment.settings()["env"], "pool": pool}
        other, other_params = marlx.make(task.env, **kwargs)
        acting = algorithm("clam").build(other.spec(other_params), experiment.learner)

        @jax.jit
        @jax.vmap
        def play(policy: Any, key: Any) -> Any:
            modes = modes_of(acting.judged, "both")
            return evaluate_modes(other, other_params, acting, policy, key, 2 * episodes, modes)

        keys = jax.random.split(jax.random.key(2**20), experiment.train.seeds)
        found = play(result.policies, keys)
        return {name: np.asarray(found[name], float) for name in ("return", "greedy_return")}

    steps = [p.steps for p in result.history]
    curves = np.stack([p.metrics["return"] for p in result.history], -1)
    measured = [{"area": round(statistics.area_under_curve(steps, curve), 4)} for curve in curves]
    extra: dict[str, Any] = {"seen": {"pool": task.seen}, "unseen": {"pool": task.unseen}}
    if task.env.startswith("acquaint/"):
        extra["bounds"] = bounds(env, window)
    if model != "oracle" and task.unseen:  # its inputs would mean other partners
        both = judged(task.unseen)
        for name, returns in both.items():
            note(measured, f"unseen_{name}", returns)
        unseen = both["return"]
        extra["unseen"]["mean"] = statistics.mean(unseen)
        extra["unseen"]["interval"] = list(statistics.bootstrap_interval(unseen))
        print(f"{task.name} {model} unseen: {extra['unseen']}")
    if task.seen:
        both = judged(task.seen)
        result = result._replace(returns=both["return"], evaluated=both)
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="clam",
        comparison=f"{task.name}, {label}" if label else task.name,
        arm=model,
        about=_study.about(),
        measured=measured,
        extra=extra,
        keep_returns=False,
    )
    _study.add(rows, record)


def note(rows: list[dict[str, float]], name: str, returns: np.ndarray[Any, Any]) -> None:
    """Adds each seed's mean of `returns` [seeds, episodes] to its row."""
    for row, mean in zip(rows, returns.mean(1).round(4).tolist(), strict=True):
        row[name] = mean


def bounds(env: Any, window: int) -> dict[str, float]:
    """Returns what memories are worth at most in a game of getting to know a partner, exactly."""
    return {
        "knows": env.horizon - env.pay_from,
        "remembers_all": env.best_return(),
        "window": env.best_return(window=window),
        "present_only": env.best_return(window=1),
        "reset": env.best_return(reset_every=acquaint.ROUND),
    }


def mark_controls() -> None:
    """Sets `control_of` in the rows of `CONTROLS`: the run of CLAM on the same task."""
    stored = _study.read("clam")
    hashes = {(row["comparison"], row["arm"]): row["config_hash"] for row in stored.rows}
    for row in stored.rows:
        run = hashes.get((row["comparison"], "clam"))
        if row["arm"] in CONTROLS and run is not None:
            row |= _controls.relation(stored, row["config_hash"], run)
    result_rows.write_study(_study.RESULTS, "clam", stored)


def mark_speed() -> None:
    """Sets `steps_to_90` in the rows of tasks with an oracle.

    It is the first step at which a seed's curve is 90% of the way from the random policy to the
    oracle's final mean; null if it never is.
    """
    stored = _study.read("clam")
    oracles: dict[str, list[result_rows.Row]] = {}
    for row in stored.rows:
        if row["arm"] == "oracle":
            oracles.setdefault(row["comparison"], []).append(row)
    for row in stored.rows:
        best = oracles.get(row["comparison"])
        if not best or not row["curve"] or row["measured"].get("area") is None:
            continue
        record = stored.settings[best[0]["config_hash"]]
        random = record["runs"][-1]["random_return"]
        target = random + 0.9 * (np.mean([one["final"] for one in best]) - random)
        reached = statistics.first_reached(row["steps"], row["curve"], target)
        row["measured"]["steps_to_90"] = None if reached is None else round(reached)
    result_rows.write_study(_study.RESULTS, "clam", stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--episodes", type=int, default=500, help="per seed and pool")
    parser.add_argument("--tasks", nargs="*", default=[task.name for task in TASKS])
    every = (*MODELS, "recurrent-horizon")
    parser.add_argument("--models", nargs="*", default=MODELS, choices=every)
    parser.add_argument("--window", type=int, default=25, help="steps that a GRU is trained on")
    parser.add_argument("--label", default="", help="end of the comparison's name, e.g. ten seeds")
    parser.add_argument("--evals", type=int, help="evaluations, if not the preset's")
    args = parser.parse_args()
    settings = {"seeds": args.seeds}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    if args.evals is not None:
        settings["evals"] = args.evals
    for task in map(task_of, args.tasks):
        for model in args.models:
            run(task, model, settings, args.episodes, args.window, args.label)
    mark_controls()
    mark_speed()


if __name__ == "__main__":
    main()
