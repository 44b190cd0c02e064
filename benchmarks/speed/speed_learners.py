"""Training steps per second, compilation time and peak memory of every learner.

    python benchmarks/speed/speed_learners.py [--quick] [--only NAME ...]

Each learner trains one seed with the shipped preset on level-based foraging (AMI, CLAM and LIAM
with partners, dynamic populations on a signalling game), in a separate process and without a
compilation cache. Steps per second are those of rollouts and updates. The compilation time is that
of a whole run, evaluation included. Peak memory is the largest resident size of the process with
Python, JAX and the compiler; `compile_peak_mb` is its value before the first step, most of it the
compiler's. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any, NamedTuple

import _timing

from marlx import registry
from marlx.config import layers as config_layers
from marlx.loop.run import Run

FORAGING = "Foraging-8x8-2p-2f-coop-v3"
PARTNERS = "partners/Foraging-8x8-2p-2f-v3"


class Case(NamedTuple):
    algorithm: str
    environment: str = FORAGING


def cases() -> dict[str, Case]:
    """Returns the cases by name: every algorithm of marlx."""
    records = map(registry.algorithm, registry.algorithms())
    found = {one.name: Case(one.name, one.example or FORAGING) for one in records}
    return found | {name: Case(name, PARTNERS) for name in ("ami", "clam", "liam")}


def measure(name: str, steps: int, blocks: int) -> dict[str, Any]:
    """Trains a case for `blocks` blocks of about `steps` steps after its warm-up."""
    case = cases()[name]
    preset = config_layers.experiment(case.algorithm, case.environment)
    per_rollout = preset.train.num_envs * preset.train.rollout_length
    warm_up = math.ceil(max(1, preset.build()[2].warmup) / per_rollout) * per_rollout
    block = math.ceil(steps / per_rollout) * per_rollout
    made = config_layers.experiment(
        case.algorithm,
        case.environment,
        total_steps=warm_up + blocks * block,
        evals=blocks,
    )
    env, params, learner = made.build()
    run = Run(env, params, learner, made.train)
    state = sum(run.sizes().values())
    speed = _timing.training_speed(run)
    # here evaluations are much more frequent than in a run, and training ends early
    del speed["with_evaluation"], speed["last_return"]
    return {**speed, "state_mb": round(state / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two short blocks each")
    parser.add_argument("--only", nargs="*", default=[], help="names of learners")
    parser.add_argument("--one", help="measure this one in this process, and print JSON")
    args = parser.parse_args()
    steps, blocks = (4_000, 2) if args.quick else (20_000, 3)
    for name in args.only:
        if name not in cases():
            parser.error(f"unknown learner {name!r}; known: {', '.join(cases())}")
    if args.one:
        print(json.dumps(measure(args.one, steps, blocks)))
        return
    what = f"training, one seed, shipped presets, {blocks} blocks of {steps:,} steps"
    rows = []
    for name, case in cases().items():
        if args.only and name not in args.only:
            continue
        measured = _timing.apart(__file__, "--one", name, *(["--quick"] if args.quick else []))
        rows.append({"learner": name, **measured})
        print(rows[-1], flush=True)
        _timing.write(
            "speed_learners",
            name,
            {"what": what, "learner": name, "environment": case.environment},
            measured,
            ("marlx", "flax", "optax"),
            env=case.environment,
            algorithm=case.algorithm,
            quick=args.quick,
        )
    print(_timing.table(rows))


if __name__ == "__main__":
    main()
