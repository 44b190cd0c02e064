"""Wall time per environment step of CLAM and of plain PPO, at the default sizes.

    python benchmarks/speed/speed_clam.py

Both train in the same environment with the same policy settings, one seed on one device. Blocks of
rollouts and updates of the two are timed in turns. `--model` times another model of the learner.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import _timing
import jax

from marlx.config import layers as config_layers
from marlx.loop import program as loop_program

TASK = "partners/mpe/liam_predator_prey"
REPEATS = 9


def block(algorithm: str, rollouts: int, **learner: Any) -> tuple[Any, int]:
    """Returns a function that trains for one block, and the environment steps of a block."""
    experiment = config_layers.experiment(
        algorithm,
        TASK,
        num_envs=64,
        rollout_length=50,
        total_steps=64 * 50 * (rollouts + 1),
        evals=1,
        learner=learner,
    )
    env, params, made = experiment.build()
    run = loop_program.loop(env, params, made, experiment.train)
    carry = [jax.jit(run.warm_up)(jax.jit(run.init)(jax.random.key(0)))]
    step = jax.jit(run.block, donate_argnums=0)

    def go() -> Any:
        carry[0], metrics = step(carry[0])
        return metrics

    return go, run.block_rollouts * 64 * 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--rollouts", type=int, default=5, help="per block")
    parser.add_argument("--model", default="clam")
    args = parser.parse_args()
    policy = {"lr": 1e-3}
    slow, steps = block("clam", args.rollouts, model=args.model, ppo=policy)
    fast, _ = block("ippo", args.rollouts, **policy)
    seconds = _timing.interleaved({"clam": slow, "ppo": fast}, args.repeats)
    measured = {
        "ratio": round(_timing.ratio(seconds, "clam", "ppo"), 3),
        "steps_per_second": {
            name: round(steps / statistics.median(times)) for name, times in seconds.items()
        },
        "seconds": seconds,
    }
    print({key: measured[key] for key in ("ratio", "steps_per_second")})
    what = f"training, {TASK}, 64 environments x 50 steps, default sizes"
    _timing.write(
        "speed_clam",
        f"{args.model} against ppo",
        {"what": what, "model": args.model},
        measured,
        ("marlx", "flax", "optax"),
        env=TASK,
        algorithm="clam",
        quick=args.repeats < REPEATS,
    )


if __name__ == "__main__":
    main()
