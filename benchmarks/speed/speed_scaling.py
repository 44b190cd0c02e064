"""Training speed by number of environments, agents, seeds, replay slots, devices and processes.

    python benchmarks/speed/speed_scaling.py [--quick] [--only AXIS ...]

Environment steps per second of training (rollouts and updates, without compilation and evaluation)
over all environments and seeds. One size varies at a time. On foraging: MAPPO with one pass over
each rollout, where the work of a step is the same at any size; IPPO for the agents, whose views
have the same size in any team; QMIX for the replay.

The first four axes use one device that has the whole machine. Devices and processes are weak
scaling: each additional one has its own share of environments (`data`) or a seed (`seeds`). XLA
gives one CPU device all cores. Here each device therefore has one core, by the affinity of its
process, and there are never more devices than cores. `efficiency` is the speed of n devices over n
times that of one.

On the axes `devices` and `processes` every case runs in a separate process; the cases of the other
axes share one. `python benchmarks/studies/pictures.py` draws the stored results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

FORAGING = "Foraging-8x8-2p-2f-coop-v3"

MAPPO = {"algorithm": "mappo", "learner": {"epochs": 1, "minibatches": 1, "hidden": 32}}
QMIX = {"algorithm": "qmix", "learner": {"hidden": 32, "batch": 32, "window": 8, "warmup": 2_000}}
SIZES: dict[str, list[int]] = {
    "environments": [1, 64, 4_096, 65_536],
    "agents": [2, 8, 16, 32, 64],
    "seeds": [1, 16, 256],
    "replay": [10_000, 1_000_000, 4_000_000],
    "devices": [1, 2],
    "processes": [1, 2],
}
QUICK = {
    "environments": [1, 64],
    "agents": [2, 16],
    "seeds": [1, 4],
    "replay": [10_000, 100_000],
    "devices": [1, 2],
    "processes": [1, 2],
}


def case(axis: str, size: int, split: str = "") -> dict[str, Any]:
    """Returns what is trained for a size of an axis; `split`: what additional devices hold."""
    one = {
        "environment": FORAGING,
        "num_envs": 64,
        "length": 8,
        "seeds": 1,
        "devices": "1",
        **MAPPO,
    }
    if axis == "environments":
        # longer rollouts where there are few environments, so that blocks are long enough to time
        return one | {"num_envs": size, "length": 4 if size > 1_000 else 16}
    if axis == "agents":
        # a view of the same size for any team, also the critic's
        task = f"Foraging-grid-2s-20x20-{size}p-8f-v3"
        return one | {"environment": task, "algorithm": "ippo"}
    if axis == "seeds":
        return one | {"seeds": size, "num_envs": 8}
    if axis == "replay":
        learner = QMIX["learner"] | {"capacity": size}
        return one | QMIX | {"num_envs": 16, "learner": learner}
    wide = one | {"num_envs": 1_024, "devices": str(size), "block": 131_072 * size}
    if split == "seeds":
        return wide | {"seeds": size}
    return wide | {"num_envs": 1_024 * size, "devices": f"1x{size}"}


def measure(what: dict[str, Any], blocks: int) -> dict[str, Any]:
    """Returns the median of steps per second over blocks, and the seconds to compile a block."""
    import jax

    import marlx
    from marlx.loop.settings import TrainConfig

    env, params = marlx.make(what["environment"])
    learner = getattr(marlx.algos, what["algorithm"])(env.spec(params), **what["learner"])
    per_rollout = what["num_envs"] * what["length"]
    rollouts = max(1, what.get("block", 32_768) // (per_rollout * what["seeds"]))
    config = TrainConfig(
        total_steps=max(learner.warmup, per_rollout) + per_rollout * rollouts * (blocks + 1),
        num_envs=what["num_envs"],
        rollout_length=what["length"],
        seeds=what["seeds"],
        evals=blocks + 1,  # the first is not counted
        eval_episodes=2,
    )
    alone = jax.device_count() == 1
    seconds, compiled = (block_by_block if alone else by_run)(env, params, learner, config, what)
    steps = per_rollout * rollouts * what["seeds"]
    return {"steps_per_second": round(steps / seconds), "compile_s": round(compiled, 1)}


def block_by_block(
    env: Any, params: Any, learner: Any, config: Any, what: dict[str, Any]
) -> tuple[float, float]:
    """Returns the seconds of a block on one device and of compiling it; compiles little else."""
    import _timing
    import jax

    from marlx.loop.program import loop

    functions = loop(env, params, learner, config)
    each = jax.vmap if what["seeds"] > 1 else lambda function: function
    keys = jax.random.split(jax.random.key(0), what["seeds"])
    state = jax.jit(each(functions.init))(keys if what["seeds"] > 1 else keys[0])
    if learner.warmup:
        state = jax.jit(each(functions.warm_up), donate_argnums=0)(state)
    began = time.perf_counter()
    block = jax.jit(each(functions.block), donate_argnums=0).lower(state).compile()
    compiled = time.perf_counter() - began

    def call() -> Any:
        nonlocal state
        state, metrics = block(state)
        return state, metrics

    _timing.timed(call)
    return statistics.median(_timing.timed(call) for _ in range(config.evals - 1)), compiled


def by_run(
    env: Any, params: Any, learner: Any, config: Any, what: dict[str, Any]
) -> tuple[float, float]:
    """Returns the seconds of a block on several devices and of compiling the run."""
    from marlx.loop.run import Run

    run = Run(env, params, learner, config, devices=what["devices"])
    busy = [
        progress.phases["rollout"] + progress.phases["update"] for progress in run.blocks()
    ]  # fmt: skip
    blocks = [after - before for before, after in itertools.pairwise(busy)]
    return statistics.median(blocks[1:]), run.phases["compile"]


# --- separate processes ---


def worker(job: dict[str, Any]) -> None:
    """Measures the cases of a job in this process and prints a line for each."""
    cores = job.get("cores")
    if cores:
        os.sched_setaffinity(0, cores)
    import jax

    jax.config.update("jax_num_cpu_devices", job["cpu_devices"])
    if job.get("processes", 1) > 1:
        jax.distributed.initialize(job["coordinator"], job["processes"], job["process"])
    for what in job["cases"]:
        row = measure(what, job["blocks"])
        if jax.process_index() == 0:
            print("row", json.dumps(row), flush=True)


def started(job: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def rows_of(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a worker failed; see its error above")
    lines = (line for text in outputs for line in text.splitlines() if line.startswith("row "))
    return [json.loads(line[4:]) for line in lines]


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def on_one_device(axis: str, sizes: list[int], blocks: int) -> list[dict[str, Any]]:
    cases = [case(axis, size) for size in sizes]
    rows = rows_of([started({"cases": cases, "cpu_devices": 1, "blocks": blocks})])
    return [{"size": size, **row} for size, row in zip(sizes, rows, strict=True)]


def on_several(axis: str, sizes: list[int], blocks: int) -> list[dict[str, Any]]:
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for split in ("data", "seeds"):
        for size in [size for size in sizes if size <= len(cores)]:
            if rows and size == 1:  # with one device there is no difference
                rows.append(rows[0] | {"split": split})
                continue
            job = {"cases": [case(axis, size, split)], "blocks": blocks}
            if axis == "devices":
                parts = [job | {"cpu_devices": size, "cores": cores[:size]}]
            else:
                cluster = {"coordinator": free_address(), "processes": size, "cpu_devices": 1}
                parts = [
                    job | cluster | {"process": i, "cores": [cores[i]]} for i in range(size)
                ]  # fmt: skip
            (row,) = rows_of([started(part) for part in parts])
            rows.append({"split": split, "size": size, **row})
            alone = next(r for r in rows if r["split"] == split)
            per_device = row["steps_per_second"] / size
            rows[-1]["efficiency"] = round(per_device / alone["steps_per_second"], 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, fewer repeats")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), help="axes")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(json.loads(args.worker))
        return
    import _timing

    for axis, sizes in (QUICK if args.quick else SIZES).items():
        if args.only and axis not in args.only:
            continue
        run = on_several if axis in ("devices", "processes") else on_one_device
        rows = run(axis, sizes, 2 if args.quick else args.blocks)
        print(f"\n{axis}\n{_timing.table(rows)}", flush=True)
        for row in rows:
            write(axis, row, args.quick)


def write(axis: str, row: dict[str, Any], quick: bool) -> None:
    """Writes what was measured for one size of an axis."""
    import _timing

    measured = dict(row)
    size, split = measured.pop("size"), measured.pop("split", None)
    trained = case(axis, size, split or "")
    settings = {
        "what": "environment steps per second of training, over all environments and seeds",
        **{"axis": axis, "size": size, "split": split},
        **{name: value for name, value in trained.items() if name not in ("seeds", "devices")},
        **{"stacked_seeds": trained["seeds"], "device_layout": trained["devices"]},
    }
    _timing.write(
        "speed_scaling",
        f"{axis}, {size}" + (f", {split}" if split else ""),
        settings,
        measured,
        ("marlx", "flax", "optax"),
        env=trained["environment"],
        algorithm=trained["algorithm"],
        quick=quick,
    )


if __name__ == "__main__":
    main()
