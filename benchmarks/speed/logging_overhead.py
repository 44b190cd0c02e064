"""Cost of the loggers: the same training with and without them, in turns.

    python benchmarks/speed/logging_overhead.py                       # the run of `make train`
    python benchmarks/speed/logging_overhead.py --steps 100000 --seeds 2 --repeats 2

Every run is `marlx train` in a separate process, with its programs compiled before. Two times are
measured: the wall time from start to end, with starting and closing the logger; and the processor
time of the process and its children, which depends less on the load of the machine. `added` is the
median over repeats of the difference to the run without a logger. `milliseconds` is the time that
the training waits each time it logs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _timing
import numpy as np

WHAT = "qmix on foraging with and without loggers, whole processes in turns"
ARMS: dict[str, tuple[list[str], dict[str, str]]] = {
    "none": ([], {}),
    "wandb offline": (["--wandb", "offline"], {}),
    "wandb, server down": (
        ["--wandb", "online"],
        {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40},
    ),
    "tensorboard": (["--tensorboard"], {}),
}


def run(arm: str, steps: int, seeds: int) -> tuple[float, float]:
    """Returns wall-clock and processor seconds of a whole training."""
    options, extra = ARMS[arm]
    folder = tempfile.mkdtemp()
    command = [
        sys.executable,
        "-c",
        "from marlx.cli import main; main()",
        "train",
        "qmix",
        "Foraging-8x8-2p-2f-coop-v3",
    ]
    command += ["--total-steps", str(steps), "--seeds", str(seeds), "--out", folder, *options]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **extra}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(folder, ignore_errors=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return wall, usage.ru_utime + usage.ru_stime


def alone(evaluations: int = 20, seconds: float = 2.0) -> dict[str, float]:
    """Returns the processor seconds of wandb in a process that does nothing else.

    It is imported, started, logs `evaluations` evaluations of 4 seeds, one every `seconds`, and is
    closed. This is exact, while the difference of two trainings is lost in the noise. wandb's own
    process is not counted: it takes 0.1 s.
    """
    script = f"""
import contextlib, io, tempfile, time
from pathlib import Path
import numpy as np
from marlx.loggers import Wandb
from marlx.training import Progress
before = time.process_time()
metrics = {{f"metric_{{i}}": np.linspace(0, 1, 4) for i in range(12)}}
metrics["return"] = np.linspace(0, 1, 4)
with tempfile.TemporaryDirectory() as path, contextlib.redirect_stderr(io.StringIO()):
    logger = Wandb("offline", Path(path), {{}}, seeds=range(4))
    for i in range({evaluations}):
        logger.log(Progress(1000 * i, 10**6, 1.0 * i, metrics, {{}}, dict))
        time.sleep({seconds})
    logger.close(None)
print(time.process_time() - before)
"""
    taken = [
        float(subprocess.check_output([sys.executable, "-c", script], text=True)) for _ in range(3)
    ]
    return {"processor_s": round(statistics.median(taken), 2), "over_s": evaluations * seconds}


def waits(evaluations: int = 200, seeds: int = 4) -> dict[str, float]:
    """Returns the median milliseconds of `log` on the thread of the training, by logger."""
    from marlx.loggers import JsonLines, TensorBoard, Wandb
    from marlx.loop.progress import Progress
    from marlx.runs.folder import RunFolder

    metrics = {f"metric_{i}": np.linspace(0, 1, seeds) for i in range(12)}
    metrics["return"] = np.linspace(0, 1, seeds)
    taken = {}
    for name in ("jsonl", "wandb", "tensorboard"):
        with tempfile.TemporaryDirectory() as path, contextlib.redirect_stderr(io.StringIO()):
            logger: Any
            if name == "wandb":
                logger = Wandb("offline", Path(path), {}, seeds=range(seeds))
            elif name == "tensorboard":
                logger = TensorBoard(Path(path), seeds=range(seeds))
            else:
                logger = JsonLines(RunFolder(path))
            each = []
            for i in range(evaluations):
                progress = Progress(1000 * i, 10**6, 1.0 * i, metrics, {}, dict)
                began = time.perf_counter()
                logger.log(progress)
                each.append(1000 * (time.perf_counter() - began))
                time.sleep(0.01)
            logger.close(None)
        taken[name] = round(statistics.median(each), 3)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument(
        "--alone", action="store_true", help="measure only the logger wandb by itself"
    )
    args = parser.parse_args()
    if args.alone:
        write_alone()
        return
    arms = list(dict.fromkeys(["none", *args.arms]))
    run("none", args.steps, args.seeds)  # compiles
    wall: dict[str, list[float]] = {arm: [] for arm in arms}
    processor: dict[str, list[float]] = {arm: [] for arm in arms}
    for i in range(args.repeats):
        for arm in arms[i % len(arms) :] + arms[: i % len(arms)]:
            seconds = run(arm, args.steps, args.seeds)
            wall[arm].append(seconds[0])
            processor[arm].append(seconds[1])
            print(f"  {arm:<20} {seconds[0]:7.1f} s, processor {seconds[1]:7.1f} s", flush=True)
    case = {"what": WHAT, "steps": args.steps}
    case |= {"stacked_seeds": args.seeds, "repeats": args.repeats}
    for arm in arms:
        row = {}
        for name, times in (("wall", wall), ("processor", processor)):
            base = statistics.median(times["none"])
            added = statistics.median(x - y for x, y in zip(times[arm], times["none"], strict=True))
            row |= {
                f"{name}_s": round(statistics.median(times[arm]), 2),
                f"{name}_added_s": round(added, 2),
                f"{name}_added_percent": round(100 * added / base, 2),
            }
        print(f"{arm}: {row}")
        settings = {"part": "training", "logger": arm, **case}
        write(arm, settings, row, env="Foraging-8x8-2p-2f-coop-v3", algorithm="qmix")
    for name, milliseconds in waits().items():
        print(f"log of {name}: {milliseconds} ms")
        settings = {"part": "evaluation", "logger": name}
        write(f"log of {name}", settings, {"milliseconds": milliseconds})
    write_alone()


def write_alone() -> None:
    """Measures and writes the processor time of wandb by itself."""
    measured = alone()
    print("wandb alone:", measured)
    write("wandb alone", {"part": "alone", "logger": "wandb"}, measured)


def write(arm: str, settings: dict[str, Any], measured: dict[str, Any], **given: Any) -> None:
    packages = ("marlx", "wandb", "tensorboard")
    _timing.write("logging_overhead", arm, settings, measured, packages, **given)


if __name__ == "__main__":
    main()
