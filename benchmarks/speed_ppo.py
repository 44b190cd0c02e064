"""Training steps per second of IPPO and MAPPO on spread, at the sizes of JaxMARL's scripts.

    python benchmarks/speed_ppo.py

Three agents, 16 environments, rollouts of 128 steps, 4 epochs; 4 minibatches (2 for the recurrent
IPPO); layers of 64, or GRUs of 128 that are unrolled over the whole rollout, as there. JaxMARL's
recurrent IPPO has one GRU for actor and critic: "shared" is the case to hold against it.

One seed on one device; rollouts and updates are timed, compiling apart, evaluation not. JaxMARL's
scripts are not in its package and are not run here: `JAXMARL` is what they reached, 41,100, 5,950
and 2,820 environment steps per second, on two cores of a machine like the one the stored results
are from, so the ratio is between two programs at two times, not in turns.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import _timing

import marlx
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ippo feed-forward": ("ippo", {"hidden": 64}),
    "mappo feed-forward": ("mappo", {"hidden": 64}),
    "ippo recurrent": ("ippo", {"hidden": 128, "recurrent": True, "window": 128, "minibatches": 2}),
    "ippo recurrent, shared": (
        "ippo",
        {"hidden": 128, "recurrent": True, "window": 128, "minibatches": 2, "trunk": "shared"},
    ),
    "mappo recurrent": ("mappo", {"hidden": 128, "recurrent": True, "window": 128}),
    "mappo recurrent, windows of 16": ("mappo", {"hidden": 128, "recurrent": True, "window": 16}),
}
JAXMARL = {
    "ippo feed-forward": 41_100,
    "ippo recurrent": 5_950,
    "ippo recurrent, shared": 5_950,
    "mappo recurrent": 2_820,
}


def measure(name: str, updates: int, blocks: int) -> dict[str, Any]:
    algorithm, settings = CASES[name]
    env, params = marlx.make("mpe/simple_spread_v3")
    learner = getattr(marlx.algos, algorithm)(env.spec(params), **settings)
    config = TrainConfig(
        total_steps=16 * 128 * (updates * blocks + 1),
        num_envs=16,
        rollout_length=128,
        evals=blocks,
        eval_episodes=1,
    )
    run = Run(env, params, learner, config)
    speeds, before = [], None
    for progress in run.blocks():
        busy = progress.phases["rollout"] + progress.phases["update"]
        if before is not None:
            speeds.append((progress.steps - before[0]) / (busy - before[1]))
        before = progress.steps, busy
    row: dict[str, Any] = {
        "case": name,
        "settings": settings,
        "steps_per_second": round(statistics.median(speeds)),
        "compile_s": round(run.phases["compile"], 1),
    }
    if name in JAXMARL:
        row["jaxmarl"] = JAXMARL[name]
        row["ratio"] = round(row["steps_per_second"] / JAXMARL[name], 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=10, help="per block that is timed")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    rows = []
    for name in CASES:
        if args.only in name:
            rows.append(measure(name, args.updates, args.blocks))
            print(rows[-1], flush=True)
    what = "environment steps per second of training, simple_spread, 16 environments x 128 steps"
    _timing.write("speed_ppo", {"what": what, "rows": rows}, ("marlx", "flax", "optax"))


if __name__ == "__main__":
    main()
