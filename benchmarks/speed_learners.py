"""Every learner in one table: training steps per second, time to compile, peak memory.

    python benchmarks/speed_learners.py [--quick] [--only NAME ...]

Each learner trains one seed with the shipped preset, on level-based foraging (CLAM and LIAM: with
partners), in a process of its own and with nothing compiled before. Steps per second are of
rollouts and updates; the time to compile is of all that a run compiles, its evaluation too. Peak
memory is the process's largest resident size, Python, JAX and compiler included; what it had come
to before the first step is `compile_peak_mb`, most of it the compiler's. About five minutes on two
cores.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any, NamedTuple

import _timing

from marlx import config, registry
from marlx.loop.run import Run

FORAGING = "Foraging-8x8-2p-2f-coop-v3"
PARTNERS = "partners/Foraging-8x8-2p-2f-v3"


class Case(NamedTuple):
    algorithm: str
    environment: str = FORAGING
    learner: tuple[tuple[str, Any], ...] = ()  # settings over the preset's
    env: tuple[tuple[str, Any], ...] = ()


def cases() -> dict[str, Case]:
    """By name; every algorithm that marlx brings, so that none is forgotten."""
    found = {name: Case(name) for name in registry.algorithms()}
    found["clam"] = Case("clam", PARTNERS)
    # LIAM learns to tell what the partners see and do
    found["liam"] = Case("clam", PARTNERS, (("model", "liam"),), (("privileged", True),))
    return found


def measure(name: str, steps: int, blocks: int) -> dict[str, Any]:
    """Train a case for `blocks` blocks of about `steps` steps after its warm-up."""
    case = cases()[name]
    given = {"learner": dict(case.learner), "env": dict(case.env)}
    preset = config.experiment(case.algorithm, case.environment, **given)
    per_rollout = preset.train.num_envs * preset.train.rollout_length
    warm_up = math.ceil(max(1, preset.build()[2].warmup) / per_rollout) * per_rollout
    block = math.ceil(steps / per_rollout) * per_rollout
    made = config.experiment(
        case.algorithm,
        case.environment,
        **given,
        total_steps=warm_up + blocks * block,
        evals=blocks,
    )
    env, params, learner = made.build()
    run = Run(env, params, learner, made.train)
    state = sum(run.sizes().values())
    speed = _timing.training_speed(run)
    # evaluations are much closer together here than in a run, and training is far from its end
    del speed["with_evaluation"], speed["last_return"]
    about = {"learner": name, "environment": case.environment}
    return {**about, **speed, "state_mb": round(state / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two short blocks each")
    parser.add_argument("--only", nargs="*", default=[], help="names of learners")
    parser.add_argument("--one", help="measure this one here, and print it as JSON")
    args = parser.parse_args()
    steps, blocks = (4_000, 2) if args.quick else (20_000, 3)
    for name in args.only:
        if name not in cases():
            parser.error(f"unknown learner {name!r}; known: {', '.join(cases())}")
    if args.one:
        print(json.dumps(measure(args.one, steps, blocks)))
        return
    what = f"training, one seed, shipped presets, {blocks} blocks of {steps:,} steps"
    path, rows = _timing.RESULTS / "speed_learners.json", []
    if args.only and not args.quick and path.exists():  # the others stay as stored
        stored = json.loads(path.read_text())["rows"]
        rows = [row for row in stored if row["learner"] not in args.only]
    for name in cases():
        if not args.only or name in args.only:
            flags = ["--quick"] if args.quick else []
            rows.append(_timing.apart(__file__, "--one", name, *flags))
            print(rows[-1], flush=True)
            # after each, so that one that fails takes none of the others with it
            _timing.write(
                "speed_learners", {"what": what, "rows": rows}, ("marlx", "flax", "optax")
            )
    print(_timing.table(rows))


if __name__ == "__main__":
    main()
