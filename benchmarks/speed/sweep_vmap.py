"""Time of 32 learning rates in one program and in 32 separate runs, and their differences.

    python benchmarks/speed/sweep_vmap.py [--settings 32] [--separate 32]

Independent Q-learning on the climbing game, two seeds each, on two CPU devices. Both ways train in
this process, compile everything (there is no compilation cache) and are timed from the settings to
the final returns. The separate runs are thus spared 32 starts of Python. Half of the separate runs
come before the one program and half after, so that the load of the machine affects both.

`--separate` trains fewer separate runs, evenly spaced, and scales their time up.

Seconds of CPU time are reported beside wall time; they depend less on the load of the machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import _timing
import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np
from scipy.stats import spearmanr

from marlx.config.layers import Experiment, experiment
from marlx.loop.progress import Result
from marlx.sweeps.vmapped import train_many
from marlx.training import train

LOW, HIGH = 1e-5, 0.1
SETTINGS: dict[str, Any] = {
    "total_steps": 10_000,
    "num_envs": 16,
    "rollout_length": 5,
    "evals": 5,
    "eval_episodes": 100,
    "seeds": 2,
}
LEARNER = {"warmup": 1_000, "hidden": 32, "epsilon_steps": 3_000}


def experiments(count: int) -> list[Experiment]:
    """Returns one experiment per learning rate."""
    rates = np.geomspace(LOW, HIGH, count).tolist()
    return [
        experiment("iql", "matrix/climbing", **SETTINGS, learner={**LEARNER, "lr": rate})
        for rate in rates
    ]


def timed(fn: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Returns the result of `fn` and its seconds."""
    jax.clear_caches()
    wall, cpu = time.perf_counter(), time.process_time()
    out = fn()
    return out, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def alone(one: Experiment) -> Result:
    """Trains one experiment by itself."""
    env, params, learner = one.build()
    return train(env, learner, params, config=one.train)


def differences(together: Result, single: Result) -> dict[str, float]:
    """Returns the largest relative difference of each metric in the first two evaluations."""
    found: dict[str, float] = {}
    for p, q in zip(together.history[1:3], single.history[1:3], strict=True):
        for name, value in p.metrics.items():
            gap = np.abs(value - q.metrics[name]) / np.maximum(np.abs(q.metrics[name]), 1e-3)
            found[name] = max(found.get(name, 0.0), float(np.nanmax(gap, initial=0.0)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=int, default=32)
    parser.add_argument("--separate", type=int)
    args = parser.parse_args()
    all_of_them = experiments(args.settings)
    count = args.separate or args.settings
    chosen = np.linspace(0, args.settings - 1, count).round().astype(int).tolist()

    def run_alone(i: int) -> tuple[Result, dict[str, float]]:
        result, seconds = timed(lambda: alone(all_of_them[i]))
        print(f"  lr {all_of_them[i].learner.lr:.1e} alone: {seconds}", flush=True)
        return result, seconds

    first = [run_alone(i) for i in chosen[: count // 2]]
    together, one_program = timed(lambda: train_many(all_of_them, width=args.settings))
    print(f"  together: {one_program}", flush=True)
    separate = first + [run_alone(i) for i in chosen[count // 2 :]]

    scale = args.settings / count
    total = {k: scale * sum(seconds[k] for _, seconds in separate) for k in one_program}
    pairs = [(together[i], result) for i, (result, _) in zip(chosen, separate, strict=True)]
    gaps = [differences(*pair) for pair in pairs]
    finals = np.array([[r.returns.mean() for r in pair] for pair in pairs])
    values = np.array([[r.history[-1].metrics["q"].mean() for r in pair] for pair in pairs])
    results = {
        "seconds_together": one_program,
        "seconds_separate": total,
        "share": {k: one_program[k] / total[k] for k in total},
        "largest_relative_difference_first_updates": {
            name: max(gap[name] for gap in gaps) for name in gaps[0]
        },
        "final_return": {
            "largest_difference": float(np.abs(finals[:, 0] - finals[:, 1]).max()),
            "spread": [float(finals.min()), float(finals.max())],
            "rank_correlation": float(spearmanr(finals[:, 0], finals[:, 1]).statistic),
        },
        "final_q": {
            "largest_difference": float(np.abs(values[:, 0] - values[:, 1]).max()),
            "spread": [float(values.min()), float(values.max())],
            "rank_correlation": float(spearmanr(values[:, 0], values[:, 1]).statistic),
        },
    }
    for name, value in results.items():
        print(f"{name}: {value}")
    _timing.write(
        "sweep_vmap",
        "one program against separate runs",
        {"settings": args.settings, "separate_runs": count},
        results,
        ("numpy",),
        env="matrix/climbing",
        algorithm="iql",
    )


if __name__ == "__main__":
    main()
