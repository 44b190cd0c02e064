"""Study `mansa`: MANSA, its parts and its controls: returns and centralised calls.

    python benchmarks/studies/mansa.py stages      # matrix/stages, all arms
    python benchmarks/studies/mansa.py chain-50    # one stage of 51 needs coordination; chain-100
    python benchmarks/studies/mansa.py foraging    # IQL, QMIX, MANSA, random and first calls
    python benchmarks/studies/mansa.py penalty     # IQL, QMIX, joint-Q, MANSA of IQL and joint-Q
    python benchmarks/studies/mansa.py smax        # the same on a SMAX map, of IPPO and MAPPO
    python benchmarks/studies/mansa.py ppo         # the same with IPPO and MAPPO, one foraging task

A control makes as many calls as the MANSA of the same settings and seeds, at random or in the first
steps. The number is read from the rows of that MANSA, which therefore has to be trained first.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

import _calls
import _controls
import _study
import numpy as np

from marlx import training
from marlx.analysis import make_rows, result_rows
from marlx.config import layers as config_layers
from marlx.loop import progress

FORAGING = (
    "Foraging-8x8-2p-2f-coop-v3",
    "Foraging-2s-8x8-2p-2f-coop-v3",
    "Foraging-10x10-3p-3f-v3",
    "Foraging-10x10-3p-3f-coop-v3",
    "Foraging-10x10-2p-2f-coop-v3",
    "Foraging-5x5-2p-1f-coop-v3",
)
PENALTY = ("Foraging-5x5-2p-1f-coop-pen-v3", "Foraging-8x8-2p-2f-coop-pen-v3")
SMAX = ("jaxmarl/smax/3m",)
PG = ("ippo", "mappo")
CHAINS = ("chain-4", "chain-50", "chain-100")
COMPARED = {  # algorithm, its parts and other learners, tasks
    "foraging": ("mansa", ("iql", "qmix"), FORAGING),
    "penalty": ("mansa", ("iql", "joint_q", "qmix"), PENALTY),
    "smax": ("mansa_ppo", PG, SMAX),
    "ppo": ("mansa_ppo", PG, FORAGING[:1]),
}
CONTROLS = ("random", "first")
PER_SEED = ("call_rate", "calls_per_episode")


def run(
    arm: str,
    comparison: str,
    algorithm: str,
    task: str,
    settings: dict[str, Any],
    control_of: str | None = None,
) -> None:
    """Trains a configuration and stores its rows.

    Args:
      arm: label in the comparison.
      comparison: the arms that are shown together.
      algorithm: its name.
      task: environment id.
      settings: over the preset's.
      control_of: configuration hash of the run that this one is a control of.
    """
    experiment = config_layers.experiment(algorithm, task, **settings)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=report)
    seeds = len(result.returns)
    measured = curves_of_calls(result)
    if hasattr(result.policies, "switch"):
        of_switch = _calls.numbers_of_switch(experiment, env, params, learner, result)
        measured = [curves | numbers for curves, numbers in zip(measured, of_switch, strict=True)]
    error = result.returns.mean(-1).std(ddof=1) / seeds**0.5 if seeds > 1 else None
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="mansa",
        comparison=comparison,
        arm=arm,
        about=_study.about(),
        measured=measured,
        extra={"standard_error": None if error is None else float(error)},
    )
    if control_of is not None:
        stored = _study.read("mansa")
        digest = record["config_hash"]
        known = [row for row in stored.rows if row["config_hash"] != digest]
        both = result_rows.Study([*known, *rows], {**stored.settings, digest: record})
        columns = _controls.relation(both, digest, control_of)
        rows = [row | columns for row in rows]
    _study.add(rows, record)


def curves_of_calls(result: progress.Result) -> list[dict[str, Any]]:
    """Returns for each seed the curves of `PER_SEED` that the run has; None where there is none."""
    seeds = range(len(result.returns))
    measured: list[dict[str, Any]] = [{} for _ in seeds]
    for name in PER_SEED:
        curve = [p.metrics.get(name) for p in result.history]
        if any(at is not None for at in curve):
            for i in seeds:
                measured[i][name] = [None if x is None else round(float(x[i]), 4) for x in curve]
    return measured


def report(progress: progress.Progress) -> None:
    """Prints the return and the calls of an evaluation."""
    means = {k: round(float(np.mean(v)), 4) for k, v in progress.metrics.items()}
    shown = {k: means[k] for k in ("return", *PER_SEED, "centralised_calls") if k in means}
    print(f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {shown}", flush=True)


def stages(settings: dict[str, Any], only: list[str]) -> None:
    """Trains on four games in turn, two of which neither IQL nor QMIX solves.

    Arms that end in `-g0` have independent learners that learn nothing from the steps of the
    centralised one, and so cannot coordinate without it.
    """
    task, own = "matrix/stages", {"mixer": "joint_q", "call_cost": 0.5}
    for name in ("iql", "qmix", "joint_q"):
        if not only or name in only:
            run(name, task, name, task, settings)
    for end, trains_on in (("", "all"), ("-g0", "g0")):
        learner = {**own, "il_trains_on": trains_on}
        with_controls(task, "mansa", task, settings, learner, end, only)


def chain(
    task: str, settings: dict[str, Any], only: list[str], label: str, own: dict[str, Any]
) -> None:
    """Trains on a chain of stages of which the last alone needs coordination.

    So calls pay in one stage of `K + 1`, and a random switch of that rate gives the joint-action Q
    as small a share of the steps it needs. IQL learns from its own steps, and cannot coordinate.
    """
    quiet = {"epsilon_end": 0.01, "exploratory_calls": 0.1, "capacity": 50_000}
    learner = {"mixer": "joint_q", "il_trains_on": "g0", "call_cost": 0.5, "switch": quiet}
    learner |= own | {"switch": quiet | own.get("switch", {})}
    end = f"-{label}" if label else ""
    if learner.get("switching") == "disagreement":
        run(f"disagreement{end}", task, "mansa", task, {**settings, "learner": learner})
        return
    with_controls(task, "mansa", task, settings, learner, end, only)
    for name in ("iql", "joint_q"):
        if not only or name in only:
            run(name, task, name, task, settings)


def with_controls(
    comparison: str,
    algorithm: str,
    task: str,
    settings: dict[str, Any],
    learner: dict[str, Any],
    end: str,
    only: Sequence[str],
) -> None:
    """Trains MANSA with these learner settings, and controls with as many calls.

    Args:
      comparison: the arms that are shown together.
      algorithm: `mansa` or `mansa_ppo`.
      task: environment id.
      settings: of the training.
      learner: settings of MANSA.
      end: of the labels of the arms.
      only: the arms to train, without `end`; all if empty.
    """
    prefix = "" if algorithm == "mansa" else f"{algorithm}-"
    if not only or "mansa" in only:
        run(f"{prefix}mansa{end}", comparison, algorithm, task, {**settings, "learner": learner})
    for control in CONTROLS:
        if only and control not in only:
            continue
        mine = config_layers.experiment(
            algorithm, task, **{**settings, "learner": learner}
        ).settings()
        digest = result_rows.config_hash(mine)
        calls = as_many_calls(control, digest, settings, learner.get("lasts", 1))
        own = calls | learner | {"switching": calls["switching"]}
        arm = f"{prefix}{control}{end}"
        run(arm, comparison, algorithm, task, {**settings, "learner": own}, digest)


def as_many_calls(
    control: str, digest: str, settings: dict[str, Any], lasts: int = 1
) -> dict[str, Any]:
    """Returns the settings of a control with as many calls as a stored run, on the same seeds.

    A rate is that of decisions: where each call lasts k steps, `k r / (k r + 1 - r)` of the steps
    are called.
    """
    seeds = range(settings["seed"], settings["seed"] + settings["seeds"])
    rows = [row for row in _study.read("mansa").rows_of(digest) if row["seed"] in seeds]
    if len(rows) < len(seeds):
        raise SystemExit(f"MANSA with the hash {digest} is not stored for these seeds: train it")
    calls = float(np.mean([row["calls"][-1] for row in rows]))
    if control == "random":
        share = calls / rows[0]["steps"][-1]
        return {"switching": "random", "rate": share / (lasts - share * (lasts - 1))}
    return {"switching": "first", "first": round(calls)}


def compare(
    algorithm: str,
    parts: Sequence[str],
    tasks: Sequence[str],
    settings: dict[str, Any],
    only: list[str],
    label: str,
    learner: dict[str, Any],
) -> None:
    """Trains MANSA, its controls, and `parts`: the learners that it consists of, and others.

    Args:
      algorithm: `mansa` or `mansa_ppo`.
      parts: names of algorithms.
      tasks: environment ids.
      settings: of the training.
      only: arms and tasks to train; all if empty.
      label: end of the labels of all arms.
      learner: settings of MANSA.
    """
    end = f"-{label}" if label else ""
    arms = [word for word in only if word not in tasks]
    for task in [word for word in only if word in tasks] or tasks:
        comparison = comparison_of(algorithm, task, learner)
        with_controls(comparison, algorithm, task, settings, learner, end, arms)
        for name in parts:
            if not arms or name in arms:
                run(f"{name}{end}", comparison, name, task, settings)


def comparison_of(algorithm: str, task: str, learner: dict[str, Any]) -> str:
    """Returns the comparison of a run: the task, and the kind of MANSA that is shown together."""
    if algorithm == "mansa_ppo":
        return f"{task}, IPPO and MAPPO"
    if learner.get("budget"):
        return f"{task}, budget of {learner['budget']}"
    greedy = learner.get("switch", {}).get("temperature") == 0
    return f"{task}, greedy" if greedy else task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("stages", *CHAINS, *COMPARED))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--cost", type=float, help="of a call, if not the preset's")
    parser.add_argument("--evals", type=int, help="evaluations, if not the preset's")
    parser.add_argument("--switching", help="what decides; disagreement is of all steps' learner")
    parser.add_argument("--lasts", type=int, help="steps that a call lasts")
    parser.add_argument("--trains-on", help="cl_trains_on, if not the preset's")
    parser.add_argument("--switch", type=json.loads, help="settings of the switch, a JSON object")
    parser.add_argument("--updates", type=float, help="of the centralised part, per call")
    parser.add_argument("--budget", type=int, help="of calls per episode; none otherwise")
    parser.add_argument("--rate", type=float, help="of the random switch, if not MANSA's")
    parser.add_argument("--label", default="", help="end of the labels of all arms, e.g. 4m")
    parser.add_argument("--only", nargs="*", default=[], help="arms and tasks")
    args = parser.parse_args()
    settings = {"seeds": args.seeds, "seed": args.seed}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    if args.evals is not None:
        settings["evals"] = args.evals
    if args.what == "stages":
        stages(settings, args.only)
        return
    disagreeing = args.switching == "disagreement"
    given = {
        "switching": args.switching,
        "lasts": args.lasts,
        "call_cost": args.cost,
        "cl_trains_on": "all" if disagreeing else args.trains_on,
        "budget": args.budget,
        "rate": args.rate,
        "switch": args.switch,
        "centralised": None if args.updates is None else {"updates_per_step": args.updates},
    }
    own = {name: value for name, value in given.items() if value is not None}
    if args.what in CHAINS:
        chain(f"matrix/{args.what}", settings, args.only, args.label, own)
        return
    compare(*COMPARED[args.what], settings, args.only, args.label, own)


if __name__ == "__main__":
    main()
