"""Training steps per second of IPPO and MAPPO on spread, at the sizes of JaxMARL's scripts.

    python benchmarks/speed/speed_ppo.py

Three agents, 16 environments, rollouts of 128 steps, 4 epochs; 4 minibatches (2 for the recurrent
IPPO); layers of 64, or GRUs of 128 unrolled over the whole rollout, as in those scripts. JaxMARL's
recurrent IPPO has one GRU for actor and critic: compare it with the case "shared".

One seed on one device. Rollouts and updates are timed; compilation is timed separately.
`speed_jaxmarl.py` runs JaxMARL's scripts in turns with ours.
"""

from __future__ import annotations

import argparse
from typing import Any

import _timing

import marlx
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig

TASK = "mpe/simple_spread_v3"
UPDATES, BLOCKS = 10, 7
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


def measure(name: str, updates: int, blocks: int) -> dict[str, Any]:
    """Trains a case for `blocks` blocks of `updates` updates."""
    algorithm, settings = CASES[name]
    env, params = marlx.make(TASK)
    learner = getattr(marlx.algos, algorithm)(env.spec(params), **settings)
    config = TrainConfig(
        total_steps=16 * 128 * (updates * blocks + 1),
        num_envs=16,
        rollout_length=128,
        evals=blocks,
        eval_episodes=1,
    )
    speed = _timing.training_speed(Run(env, params, learner, config))
    return {name: speed[name] for name in ("steps_per_second", "compile_s")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=UPDATES, help="per block")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    what = "environment steps per second of training, simple_spread, 16 environments x 128 steps"
    for name, (algorithm, settings) in CASES.items():
        if args.only not in name:
            continue
        measured = measure(name, args.updates, args.blocks)
        print(f"{name}: {measured}", flush=True)
        _timing.write(
            "speed_ppo",
            name,
            {"what": what, "case": name, "settings": settings},
            measured,
            ("marlx", "flax", "optax"),
            env=TASK,
            algorithm=algorithm,
            quick=args.updates < UPDATES or args.blocks < BLOCKS,
        )


if __name__ == "__main__":
    main()
