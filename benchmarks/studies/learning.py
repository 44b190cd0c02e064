"""Study `learning`: several seeds per algorithm and task, with the shipped presets.

    python benchmarks/studies/learning.py                  # everything; hours on two cores
    python benchmarks/studies/learning.py --only qmix Foraging-8x8-2p-2f-coop-v3

Each pair is one `marlx train ALGORITHM TASK --seeds 5`, against an opponent where `OPPONENTS` has
one. Its rows are the reference results that `marlx reproduce` trains again. A result replaces the
one with the same id.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

import _study

from marlx import training
from marlx.analysis import make_rows, reproduction
from marlx.config import layers as config_layers

LEARNERS = ("iql", "vdn", "qmix")
MIXERS = (*LEARNERS, "qplex", "joint_q")
CENTRAL = ("ow_qmix", "cw_qmix", "qtran")
POLICIES = ("ippo", "mappo")
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
"""Environment settings of tasks in which one side learns against fixed opponents."""
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
    *((name, f"matrix/{game}") for game in GAMES for name in CENTRAL),
    *((name, FORAGING[0]) for name in ("pqn_vdn", "pqn_qmix", "mat", "sable")),
    *((name, FORAGING[0]) for name in ("ow_qmix", "happo", "coma")),
    *((name, f"matrix/{game}") for game in GAMES for name in ("coma", "mat", "sable")),
    *((name, task) for task in (FORAGING[0], PARTICLES[0]) for name in ("teamreg", "coachreg")),
    ("ippo", "gymnax/CartPole-v1"),
    *((name, "gymnax/Pendulum-v1") for name in ("isac", "iddpg")),
    *((name, task) for task in OPPONENTS for name in (*LEARNERS, *POLICIES)),
]


def run(algorithm: str, task: str, settings: dict[str, int], label: str) -> None:
    """Trains a pair and stores its rows.

    With a label they are beside the reference results: `marlx reproduce` does not know them.
    """
    given = OPPONENTS.get(task, {})
    experiment = config_layers.experiment(algorithm, task, **settings, env=given)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=_study.report)
    options = [f"--{name.replace('_', '-')} {value}" for name, value in settings.items()]
    options += [f"--env.{name} {' '.join(map(str, values))}" for name, values in given.items()]
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="learning",
        comparison=f"{task}, {label}" if label else task,
        arm=algorithm,
        about=_study.about(),
        command=" ".join(["marlx train", algorithm, task, *options]),
        result_id=None if label else result_id(algorithm, task),
    )
    _study.add(rows, record)


def result_id(algorithm: str, task: str) -> str:
    """Returns the id for `marlx reproduce`, with the pool of opponents where there is one."""
    pool = OPPONENTS.get(task, {}).get("pool", [])
    return "-".join([reproduction.reference_id(algorithm, task), *pool])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--label", default="", help="of results beside the references, e.g. long")
    parser.add_argument("--only", nargs="*", default=[], help="parts of algorithm or task names")
    args = parser.parse_args()
    settings = {"seeds": args.seeds}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    for algorithm, task in PAIRS:
        if all(part in (algorithm, task, task.split("/")[0]) for part in args.only):
            run(algorithm, task, settings, args.label)


if __name__ == "__main__":
    main()
