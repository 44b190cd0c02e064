"""Training time of MANSA by rate of centralised calls.

    python benchmarks/speed/speed_mansa.py

One seed trains 100,000 steps of foraging with a random switch of several rates. A call is worth as
many updates as a step of QMIX by itself, a quarter of the preset's. IQL and QMIX are the two ends
of the scale. Times are those of rollouts and updates, without compilation.
"""

from __future__ import annotations

import argparse
from typing import Any

import _timing
import numpy as np

from marlx import training
from marlx.config import layers as config_layers

TASK = "Foraging-8x8-2p-2f-coop-v3"
RATES = (0.0, 0.1, 0.5, 1.0)
STEPS = 100_000
RANDOM = {"switching": "random", "centralised": {"updates_per_step": 0.0625}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "iql": ("iql", {}),
    **{f"random {rate:g}": ("mansa", {**RANDOM, "rate": rate}) for rate in RATES},
    "qmix": ("qmix", {}),
}


def measure(algorithm: str, learner: dict[str, Any], steps: int) -> dict[str, Any]:
    """Trains one seed; returns the seconds, calls and samples of the centralised part."""
    experiment = config_layers.experiment(
        algorithm, TASK, seeds=1, total_steps=steps, evals=2, learner=learner
    )
    env, params, built = experiment.build()
    result = training.train(env, built, params, config=experiment.train)
    last, none = result.history[-1].metrics, np.zeros(1)
    return {
        "seconds": round(sum(result.phases[k] for k in ("rollout", "update")), 2),
        "centralised_calls": int(np.mean(last.get("centralised_calls", none))),
        "centralised_samples": int(np.mean(last.get("centralised_samples_total", none))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--total-steps", type=int, default=STEPS)
    args = parser.parse_args()
    for name, (algorithm, learner) in CASES.items():
        measured = measure(algorithm, learner, args.total_steps)
        print(f"{name}: {measured}", flush=True)
        case = {"environment": TASK, "total_steps": args.total_steps, "case": name}
        _timing.write("speed_mansa", name, case, measured, env=TASK, algorithm=algorithm)


if __name__ == "__main__":
    main()
