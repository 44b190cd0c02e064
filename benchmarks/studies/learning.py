"""Study `learning`: several seeds per algorithm and task, with the shipped presets.

    python benchmarks/studies/learning.py                  # everything; hours on two cores
    python benchmarks/studies/learning.py --only qmix Foraging-8x8-2p-2f-coop-v3

Each pair is one `marlx train ALGORITHM TASK --seeds 5`, with settings where `VARIANTS` has some.
Its rows are the reference results that `marlx reproduce` trains again. A result replaces the one
with the same id.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, NamedTuple

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

import _study
import yaml

from marlx import training
from marlx.analysis import make_rows, reproduction
from marlx.config import layers as config_layers
from marlx.config.tree import flatten

LEARNERS = ("iql", "vdn", "qmix")
MIXERS = (*LEARNERS, "qplex", "joint_q")
CENTRAL = ("ow_qmix", "cw_qmix", "qtran")
PARALLEL = ("pqn_vdn", "pqn_qmix")
LATER = ("mat", "sable", "happo", "coma", *CENTRAL, *PARALLEL, "teamreg")
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


class Variant(NamedTuple):
    """A task that is an environment with settings.

    Attributes:
      env: its id.
      given: settings by name; `env` and `learner` hold those of their part.
      ending: of the ids of results.
    """

    env: str
    given: dict[str, Any]
    ending: str = ""


CONTINUOUS = "mpe/simple_spread_v3-continuous"
TAG, ADVERSARY = (f"partners/mpe/simple_{name}_v3" for name in ("tag", "adversary"))
VARIANTS: dict[str, Variant] = {
    TAG: Variant(TAG, {"env": {"pool": ["pretrained"], "ego": [0, 1, 2]}}, "-pretrained"),
    ADVERSARY: Variant(ADVERSARY, {"env": {"pool": ["pretrained"], "ego": [1, 2]}}, "-pretrained"),
    CONTINUOUS: Variant(
        PARTICLES[0], {"total_steps": 1_000_000, "env": {"continuous_actions": True}}
    ),
}
"""Tasks with settings of their own. In tag predators learn, in adversary the good agents do."""
OWN: dict[tuple[str, str], dict[str, Any]] = {("mappo", CONTINUOUS): {"bounded": "squashed"}}
"""Settings of the learner in a pair."""
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
    *((name, FORAGING[0]) for name in (*PARALLEL, "mat", "sable")),
    *((name, FORAGING[0]) for name in (*CENTRAL, "happo", "coma")),
    *((name, f"matrix/{game}") for game in GAMES for name in ("coma", "mat", "sable")),
    *((name, FORAGING[0]) for name in ("teamreg", "coachreg")),
    ("coachreg", PARTICLES[0]),
    ("ippo", "gymnax/CartPole-v1"),
    *((name, "gymnax/Pendulum-v1") for name in ("isac", "iddpg")),
    *((name, task) for task in (TAG, ADVERSARY) for name in (*LEARNERS, *POLICIES)),
    *((name, task) for task in PARTICLES[:2] for name in LATER),
    *((name, f"matrix/{game}") for game in GAMES for name in ("happo", "haa2c", *PARALLEL)),
    *((name, CONTINUOUS) for name in ("facmac", "maddpg", "masac", "hasac", "mappo")),
]


def run(algorithm: str, task: str, settings: dict[str, Any], label: str) -> None:
    """Trains a pair and stores its rows.

    With a label they are beside the reference results: `marlx reproduce` does not know them.
    """
    env_id, given, ending = VARIANTS.get(task, Variant(task, {}))
    learner = OWN.get((algorithm, task), {}) | settings.get("learner", {})
    settings = given | settings | {"learner": learner}
    experiment = config_layers.experiment(algorithm, env_id, **settings)
    env, params, learner = experiment.build()
    result = training.train(env, learner, params, config=experiment.train, report=_study.report)
    rows, record = make_rows.training_rows(
        experiment,
        result,
        study="learning",
        comparison=f"{task}, {label}" if label else task,
        arm=algorithm,
        about=_study.about(),
        command=" ".join(["marlx train", algorithm, env_id, *options(settings)]),
        result_id=None if label else reproduction.reference_id(algorithm, task) + ending,
    )
    _study.add(rows, record)


def options(settings: dict[str, Any]) -> list[str]:
    """Returns the command line's options for settings."""
    found = []
    for name, value in flatten(settings).items():
        values = value if isinstance(value, list) else [value]
        texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
        found.append(" ".join([f"--{name.replace('_', '-')}", *texts]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--label", default="", help="of results beside the references, e.g. long")
    parser.add_argument("--only", nargs="*", default=[], help="parts of algorithm or task names")
    parser.add_argument(
        "--learner", type=yaml.safe_load, default={}, help="settings as YAML, with a label"
    )
    args = parser.parse_args()
    if args.learner and not args.label:
        parser.error("--learner is not for reference results: give a --label")
    settings: dict[str, Any] = {"seeds": args.seeds, "learner": args.learner}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    for algorithm, task in PAIRS:
        if all(part in (algorithm, task, task.split("/")[0]) for part in args.only):
            run(algorithm, task, settings, args.label)


if __name__ == "__main__":
    main()
