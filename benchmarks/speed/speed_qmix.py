"""QMIX on simple_spread: speed at JaxMARL's sizes, time to a return, several seeds at once.

    python benchmarks/speed/speed_qmix.py [speed] [seeds] [return] [--quick]

speed   one seed at the default sizes of JaxMARL's script: 8 environments, rollouts of 26 steps,
        batches of 32 of them, one gradient step per rollout, GRUs and layers of 64; and 20
        evaluations in 2,000,000 steps, of 512 episodes each, as in that script.
seeds   the same with 4 seeds: on two workers, sharded over two devices, and under `vmap` on one, in
        turns with one seed; `times_one_seed` is the median over turns.
return  time until the greedy return reaches -40 with the shipped preset, compilation included: five
        seeds, one at a time, evaluated on 512 episodes every 50,000 steps. Returns are sums over
        agents, as in JaxMARL; elsewhere in marlx they are means over agents.

Every case runs in a separate process without a compilation cache. `speed_jaxmarl.py` runs JaxMARL's
script in turns with ours.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from typing import Any

import _timing
import jax
import speed_jaxmarl

from marlx.cli import workers as cli_workers
from marlx.config import layers as config_layers
from marlx.loop.run import Run
from marlx.loop.workers import SharedRun
from marlx.runs.folder import config_text

TASK = "mpe/simple_spread_v3"
WHAT = f"QMIX, {TASK}"
SIZES: dict[str, Any] = {
    **speed_jaxmarl.Q_SIZES,
    "learner": speed_jaxmarl.Q_SIZES["learner"] | speed_jaxmarl.MIXER,
    "eval_episodes": 512,
}
CASES = {  # seeds, devices, workers
    "one": (1, 1, 1),
    "four on two workers": (4, 1, 2),
    "four on two devices": (4, 2, 1),
    "four on one device": (4, 1, 1),
}
TARGET = -40.0


def speed(name: str, blocks: int) -> dict[str, Any]:
    """Trains for `blocks` blocks of 100,000 steps, with an evaluation after each."""
    seeds, devices, workers = CASES[name]
    jax.config.update("jax_num_cpu_devices", devices)
    made = config_layers.experiment(
        "qmix", TASK, **SIZES, seeds=seeds, total_steps=10_000 + blocks * 100_000, evals=blocks
    )
    env, params, learner = made.build()
    if workers == 1:
        return _timing.training_speed(Run(env, params, learner, made.train))
    make = functools.partial(cli_workers.parts_of, config_text(made))
    run = SharedRun(env, params, learner, made.train, make, workers)
    found = _timing.training_speed(run)
    each = [_timing.peak_memory(pid) for pid in run.processes()]
    run.close()
    return found | {"peak_mb": round(sum(each) / 1e6), "compile_peak_mb": None}


def time_to_return(seed: int, total_steps: int) -> dict[str, Any]:
    """Trains one seed with the preset until it reaches TARGET, or to `total_steps`."""
    evals = max(1, total_steps // 50_000)
    made = config_layers.experiment(
        "qmix", TASK, seed=seed, total_steps=total_steps, evals=evals, eval_episodes=512
    )
    env, params, learner = made.build()
    agents = env.spec(params).num_agents
    run = Run(env, params, learner, made.train)
    curve = []
    for progress in run.blocks():
        total = float(progress.metrics["return"][0]) * agents
        curve.append([progress.steps, round(run.phases["compile"] + progress.seconds, 1), total])
        if total >= TARGET:
            break
    steps, seconds, total = curve[-1]
    return {
        "reached": total >= TARGET,
        "seconds": seconds,
        "steps": steps,
        "return": round(total, 2),
        "compile_s": round(run.phases["compile"], 1),
        "curve": [[steps, seconds, round(total, 2)] for steps, seconds, total in curve],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="speed, seeds, return; all if none is given")
    parser.add_argument("--quick", action="store_true", help="shorter, one seed for the return")
    parser.add_argument(
        "--total-steps", type=int, default=2_000_000, help="limit of the part `return`"
    )
    parser.add_argument("--one", help="measure this case, or seed, in this process")
    args = parser.parse_args()
    for part in args.parts:
        if part not in ("speed", "seeds", "return"):
            parser.error(f"unknown part {part!r}; known: speed, seeds, return")
    parts = args.parts or ["speed", "seeds", "return"]
    total_steps = min(args.total_steps, 100_000) if args.quick else args.total_steps
    flags = ["--quick"] if args.quick else ["--total-steps", str(total_steps)]
    if args.one is not None:
        known = args.one in CASES
        found = (
            speed(args.one, 1 if args.quick else 2)
            if known
            else time_to_return(int(args.one), total_steps)
        )
        print(json.dumps(found))
        return
    if "speed" in parts or "seeds" in parts:
        names = [name for name in CASES if name == "one" or "seeds" in parts]
        measure_speed(names, flags, args.quick)
    if "return" in parts:
        measure_time_to_return(range(1 if args.quick else 5), flags, args.quick)


def measure_speed(names: list[str], flags: list[str], quick: bool) -> None:
    """Runs these cases in turns, the first of which is that of one seed, and writes them."""
    turns = [
        {name: _timing.apart(__file__, "--one", name, *flags) for name in names}
        for _ in range(1 if quick else 2)
    ]
    rows = {}
    for name in names:
        each = [turn[name] for turn in turns]
        rows[name] = dict(each[0])  # its compilation had no cache
        for key in ("steps_per_second", "with_evaluation"):
            rows[name][key] = round(statistics.median(one[key] for one in each))
        if name != names[0]:
            paces = [
                turn[name]["steps_per_second"] / turn[names[0]]["steps_per_second"]
                for turn in turns
            ]  # fmt: skip
            rows[name]["times_one_seed"] = round(statistics.median(paces), 2)
    print(_timing.table([{"case": name, **row} for name, row in rows.items()]))
    for name, row in rows.items():
        seeds, devices, workers = CASES[name]
        case = {"part": "speed", "what": WHAT, "case": name, "stacked_seeds": seeds}
        case |= {"devices": devices, "workers": workers, "settings": SIZES}
        write(name, case, row, quick=quick)


def measure_time_to_return(seeds: range, flags: list[str], quick: bool) -> None:
    """Runs these seeds until they reach TARGET, and writes them."""
    runs = []
    for seed in seeds:
        runs.append(_timing.apart(__file__, "--one", str(seed), *flags))
        print({key: value for key, value in runs[-1].items() if key != "curve"}, flush=True)
    done = [run["seconds"] for run in runs if run["reached"]]
    summary = {
        "reached": f"{len(done)} of {len(runs)}",
        "median_seconds": statistics.median(done) if len(done) == len(runs) else None,
        "most_seconds": max(done) if len(done) == len(runs) else None,
    }
    print(summary)
    case = {"part": "return", "what": WHAT, "target": TARGET}
    write("time to return", case, runs, seeds=list(seeds), extra=summary, quick=quick)


def write(arm: str, case: dict[str, Any], measured: Any, **given: Any) -> None:
    packages = ("marlx", "flax", "optax")
    _timing.write("speed_qmix", arm, case, measured, packages, env=TASK, algorithm="qmix", **given)


if __name__ == "__main__":
    main()
