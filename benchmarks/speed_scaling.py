"""How training speed grows with environments, agents, seeds, replay, devices and processes.

    python benchmarks/speed_scaling.py [--quick] [--only AXIS ...]

Environment steps per second of training (rollouts and updates; compiling and evaluation are apart),
over all environments and seeds, by the size of one thing at a time. On foraging: MAPPO with one
pass over each rollout, where the work of a step is the same at any size; IPPO for the agents, who
all see as much in any team; QMIX for the replay.

The first four axes are of one device that has the whole machine. Devices and processes are weak
scaling: each more brings its own share of environments (`data`) or a seed of its own (`seeds`). XLA
gives one CPU device all cores, which would leave nothing for a second one to add: so there each
device has one core, by the affinity of its process, and never more devices than cores are tried.
`efficiency` is the speed of n devices over n times that of one.

Every case is a process of its own (devices and processes) or shares one with its axis.
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
from pathlib import Path
from typing import Any

FORAGING = "Foraging-8x8-2p-2f-coop-v3"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "scaling.png"

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
    """What is trained for a size of an axis; `split` says what more devices bring."""
    one = {
        "environment": FORAGING,
        "num_envs": 64,
        "length": 8,
        "seeds": 1,
        "devices": "1",
        **MAPPO,
    }
    if axis == "environments":
        # a rollout that is longer where it is short, so that no case is over in an instant
        return one | {"num_envs": size, "length": 4 if size > 1_000 else 16}
    if axis == "agents":
        # a view as large for any team, also the critic's: who sees all sees more with each agent
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
    """Steps per second, the median over blocks, and seconds of compiling one."""
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
    """Seconds of a block on one device, and of compiling it: nothing else is, to save time."""
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
    """Seconds of a block on several devices, and of compiling all that a run calls."""
    from marlx.loop.run import Run

    run = Run(env, params, learner, config, devices=what["devices"])
    busy = [
        progress.phases["rollout"] + progress.phases["update"] for progress in run.blocks()
    ]  # fmt: skip
    blocks = [after - before for before, after in itertools.pairwise(busy)]
    return statistics.median(blocks[1:]), run.phases["compile"]


# --- processes of their own ---


def worker(job: dict[str, Any]) -> None:
    """Measure the job's cases in this process, one of `processes`, and print a line for each."""
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
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a worker failed; it says why above")
    lines = (line for text in said for line in text.splitlines() if line.startswith("row "))
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
            if rows and size == 1:  # there is no difference
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


def draw(path: Path, axes: dict[str, list[dict[str, Any]]]) -> None:
    """A panel per axis: steps per second by size, and what a proportional growth would be."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    for panel, (axis, rows) in zip(panels.flat, axes.items(), strict=False):
        splits = sorted({row.get("split", "") for row in rows})
        for split in splits:
            own = [row for row in rows if row.get("split", "") == split]
            x = [row["size"] for row in own]
            y = [row["steps_per_second"] for row in own]
            panel.plot(x, y, "o-", label=split or None)
            if axis != "replay":
                # n agents take n times as long, n of the others bring n times more
                power = -1 if axis == "agents" else 1
                proportional = [y[0] * (size / x[0]) ** power for size in x]
                panel.plot(x, proportional, ":", c="grey", lw=1)
        panel.set(xlabel=axis, xscale="log", yscale="log")
        panel.set_ylim(min(row["steps_per_second"] for row in rows) / 2, None)
        ticks = [row["size"] for row in rows]
        millions = [f"{x // 10**6}M" if x % 10**6 == 0 else f"{x:,}" for x in ticks]
        panel.set_xticks(ticks, millions)
        panel.minorticks_off()
        if len(splits) > 1:
            panel.legend(title="more devices bring")
        panel.grid(alpha=0.3)
    for row_of_panels in panels:
        row_of_panels[0].set_ylabel("environment steps per second")
    figure.suptitle("training; dotted: in proportion")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, nothing written")
    parser.add_argument(
        "--only", nargs="+", choices=list(SIZES), help="axes; others stay as stored"
    )
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(json.loads(args.worker))
        return
    import _timing

    axes: dict[str, list[dict[str, Any]]] = {}
    for axis, sizes in (QUICK if args.quick else SIZES).items():
        if args.only and axis not in args.only:
            continue
        run = on_several if axis in ("devices", "processes") else on_one_device
        axes[axis] = run(axis, sizes, 2 if args.quick else args.blocks)
        print(f"\n{axis}\n{_timing.table(axes[axis])}", flush=True)
    if args.quick:
        return
    stored = _timing.RESULTS / "speed_scaling.json"
    old = json.loads(stored.read_text()) if args.only and stored.exists() else {"rows": {}}
    dates = {axis: old.get("dates", {}).get(axis, old["date"]) for axis in old["rows"]}
    dates |= dict.fromkeys(axes, _timing.about()["date"])
    found = old["rows"] | axes
    axes = {axis: found[axis] for axis in SIZES if axis in found}
    settings = {axis: case(axis, SIZES[axis][0], "data") for axis in axes}
    what = "environment steps per second of training, over all environments and seeds"
    results = {"what": what, "dates": dates, "first_case": settings, "rows": axes}
    path = _timing.write("speed_scaling", results, ("marlx", "flax", "optax"))
    draw(PICTURE, axes)
    print(f"\nwritten to {path.name} and {PICTURE.name}")


if __name__ == "__main__":
    main()
