"""Real processes: kills and resumption, broken outputs, disks, limits, and several at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from judge import RAW, slowness

CHILD = str(Path(__file__).with_name("child.py"))
SMALL = {
    "hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "warmup": 128, "batch": 4, "window": 8,
    "updates_per_step": 0.0625, "period": 4, "minibatches": 2, "epochs": 1,
}  # fmt: skip
LOOP = "--total-steps 900 --num-envs 8 --rollout-length 16 --evals 3 --eval-episodes 8 --devices 1"
TASKS = ("matrix/climbing", "Foraging-5x5-2p-1f-coop-v3")
TINY = f"train iql matrix/climbing {LOOP} --learner.hidden 8 --learner.warmup 128 --learner.batch 4"
STUCK = 240.0
"""Seconds after which a process is killed; times `slowness` on a busy machine."""
LEAVES = 5.0
"""Seconds after which a signal has to have ended a process; likewise."""


class Done(NamedTuple):
    """A finished process."""

    code: int
    out: str
    err: str


class Faulty(AssertionError):
    """A check that failed; its text says how."""


def start(words: Sequence[str], fault: str = "none", **options: Any) -> subprocess.Popen[str]:
    """Starts marlx in a process of its own."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, CHILD, fault, *words], text=True, errors="replace", **(pipes | options)
    )


def ended(process: subprocess.Popen[str], codes: Sequence[int] = (0,)) -> Done:
    """Waits for a process, and checks what holds for every one.

    Raises:
      Faulty: it hangs, shows a traceback or a control code, or leaves with another code.
    """
    began = time.monotonic()
    while True:
        try:
            out, err = process.communicate(timeout=STUCK)
            break
        except subprocess.TimeoutExpired:
            if time.monotonic() - began > STUCK * slowness():
                process.kill()
                process.communicate()
                raise Faulty("hang") from None
    done = Done(process.returncode, out or "", err or "")
    if "Traceback (most recent call last)" in done.out + done.err:
        raise Faulty(f"traceback | {done.err.strip().splitlines()[-1][:150]}")
    if RAW.search(done.out + done.err):
        raise Faulty("raw control code")
    if done.code not in codes:
        raise Faulty(f"exit code {done.code}, expected {codes} | {done.err[-150:]}")
    return done


def result(folder: Path) -> Any:
    """Returns the returns of a finished run.

    Raises:
      Faulty: there is no result.
    """
    try:
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))["return"]
    except (OSError, ValueError, KeyError) as error:
        raise Faulty(f"no result in {folder.name} | {error}") from None


def small(algorithm: str) -> list[str]:
    """Returns the words that train a small learner of an algorithm for three blocks.

    Raises:
      Faulty: it accepts none of the tasks.
    """
    from words import environments, options

    from marlx.config.layers import build, merge, schema, sources

    for env_id in (*TASKS, *environments()):
        try:
            _, _, layers = sources(algorithm, env_id, None)
            build(algorithm, env_id, merge(schema(algorithm, env_id), layers)).build()
        except ValueError:
            continue
        names = [name for name in options(algorithm, env_id) if name.startswith("learner.")]
        chosen = {name: SMALL[last] for name in names if (last := name.split(".")[-1]) in SMALL}
        return ["train", algorithm, env_id, *LOOP.split(), "--checkpoint-seconds", "0",
                *(f"--{name}={value}" for name, value in chosen.items())]  # fmt: skip
    raise Faulty(f"{algorithm} plays no task")


def check_kills(rng: random.Random, at: Path, algorithm: str) -> None:
    """Kills a run twice, once inside a write, and resumes it: the result of an undisturbed run."""
    words = small(algorithm)
    ended(start([*words, "--out", str(at / "whole")]))
    expected, run = result(at / "whole"), at / "run"
    ended(start([*words, "--out", str(run)], f"kill:{rng.randrange(8, 60)}"), (0, -signal.SIGKILL))
    if not (run / "config.yaml").exists():
        return  # before there was anything
    process = start(["train", "--resume", str(run)])
    time.sleep(rng.uniform(2, 10))
    process.kill()
    process.communicate()
    ended(start(["train", "--resume", str(run)]))
    if result(run) != expected:
        raise Faulty(f"the result after two kills is not that of an undisturbed run of {algorithm}")


def check_full_output(rng: random.Random, at: Path, which: str) -> None:
    """Trains with stdout, stderr or both on a full device, closed, or piped to a `head`."""
    run = at / "run"
    words = " ".join([sys.executable, CHILD, "none", TINY, "--out", str(run)])
    forms = {
        "stdout full": ">/dev/full", "stderr full": "2>/dev/full", "both full": ">/dev/full 2>&1",
        "stdout closed": ">&-", "stderr closed": "2>&-", "head": "| head -1",
    }  # fmt: skip
    shell = ["bash", "-c", f"{words} {forms[which]}; exit ${{PIPESTATUS[0]}}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = ended(subprocess.Popen(shell, text=True, **pipes), (0, 1))  # type: ignore[call-overload]
    if done.code == 0 or which != "head":
        result(run)


def check_signal(rng: random.Random, at: Path, number: signal.Signals) -> None:
    """Stops a run a moment after it says that it compiles: out at once, with the right code."""
    process = start([*small("qmix"), "--out", str(at / "run")])
    for line in process.stdout or ():
        if line.strip() == "compiling":
            break
    time.sleep(rng.uniform(0.05, 1.0))
    process.send_signal(number)
    began = time.monotonic()
    done, seconds = ended(process, (0, 128 + number)), time.monotonic() - began
    if done.code and seconds > LEAVES * slowness():
        raise Faulty(f"{seconds:.0f} s until {number.name} took effect")


def check_two_signals(rng: random.Random, at: Path) -> None:
    """Interrupts a training twice: out at once, and what is there can be resumed."""
    words = [*small("ippo"), "--total-steps", "2000000", "--out", str(at / "run")]
    process = start(words)
    for line in process.stdout or ():
        if " steps/s" in line:
            break
    process.send_signal(signal.SIGINT)
    time.sleep(rng.uniform(0.0, 0.3))
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    ended(process, (128 + signal.SIGINT,))
    if time.monotonic() - began > LEAVES * slowness():
        raise Faulty(f"{time.monotonic() - began:.0f} s until the second signal took effect")
    ended(start(["train", "--resume", str(at / "run"), "--dry-run"]))


def check_same_second(rng: random.Random, at: Path) -> None:
    """Starts four runs at once without `--out`: four folders."""
    started = [start([*TINY.split(), "--seed", str(i)], cwd=at) for i in range(4)]
    for process in started:
        ended(process)
    found = list((at / "runs").glob("*/result.json"))
    if len(found) != 4:
        raise Faulty(f"{len(found)} results of 4 runs")


def check_broken(rng: random.Random, at: Path, fault: str) -> None:
    """Trains while renames fail or the clock jumps."""
    renames = fault.startswith("rename")
    ended(start([*TINY.split(), "--out", str(at / "run")], fault), (0, 1, 2) if renames else (0,))
    if not renames:
        result(at / "run")


def check_open_files(rng: random.Random, at: Path, limit: int) -> None:
    """Trains with a low `ulimit -n`."""
    words = " ".join([sys.executable, CHILD, "none", TINY, "--out", str(at / "run")])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    shell = ["bash", "-c", f"ulimit -n {limit}; exec {words}"]
    ended(subprocess.Popen(shell, text=True, **pipes), (0, 1, 2))  # type: ignore[call-overload]


def check_memory(rng: random.Random, at: Path) -> None:
    """Trains with little memory and resumes with all of it: the result of an undisturbed run.

    A refused allocation ends the process where it happens, often inside XLA, which aborts. What
    marlx answers for is that the run folder can be resumed.
    """
    words = " ".join([sys.executable, CHILD, "none", TINY, "--out", str(at / "run")])
    limit = rng.randrange(1300, 2200) * 1000
    shell = ["bash", "-c", f"ulimit -c 0 -v {limit}; exec {words}"]
    subprocess.run(shell, capture_output=True, check=False, timeout=STUCK * slowness())
    ended(start([*TINY.split(), "--out", str(at / "whole")]))
    if (at / "run" / "config.yaml").exists():
        ended(start(["train", "--resume", str(at / "run")]))
        if result(at / "run") != result(at / "whole"):
            raise Faulty("the result after running out of memory is not that of an undisturbed run")


@contextlib.contextmanager
def disk(at: Path, options: str) -> Iterator[Path | None]:
    """Mounts a disk inside a `with` block; None where this process may not."""
    path = at / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


def check_disk(rng: random.Random, at: Path, options: str) -> None:
    """Trains into a disk that is small or read-only; needs the right to mount one."""
    with disk(at, options) as path:
        if path is not None:
            codes = (2,) if options == "ro" else (0, 1, 2)
            done = ended(start([*TINY.split(), "--out", str(path / "run")]), codes)
            if done.code and not done.err.startswith("marlx: "):
                raise Faulty(f"no plain line | {done.err[:150]}")


def check_full_log(rng: random.Random, at: Path) -> None:
    """Trains with all output on a disk that is full, and has room again a moment later."""
    with disk(at, "size=16k") as path:
        if path is not None:
            filling = path / "filling"
            with contextlib.suppress(OSError):
                filling.write_bytes(bytes(1 << 20))
            with open(path / "log", "wb") as log:
                process = start([*TINY.split(), "--out", str(at / "run")], stdout=log, stderr=log)
                time.sleep(rng.uniform(0, 8))
                filling.unlink()
                ended(process)
            result(at / "run")


def check_locked_study(rng: random.Random, at: Path) -> None:
    """Sweeps while another process has locked the study's database for a moment."""
    from files import SWEEP

    (at / "sweep.yaml").write_text(SWEEP.replace("run_cap: 4", "run_cap: 1"), encoding="utf-8")
    (at / "sweep").mkdir()
    with contextlib.closing(sqlite3.connect(at / "sweep" / "study.db")) as locked:
        locked.execute("begin exclusive")
        process = start(["sweep", "sweep.yaml", "--out", "sweep"], cwd=at)
        time.sleep(8)
    ended(process, (0, 1, 2))


def checks(rng: random.Random) -> Iterator[tuple[str, Callable[..., None], tuple[Any, ...]]]:
    """Yields name, function and arguments of every check, in a random order, again and again."""
    from words import algorithms

    while True:
        found: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = [
            *((f"kills of {name}", check_kills, (name,)) for name in algorithms()),
            *((name, check_full_output, (name,)) for name in ("stdout full", "stderr full", "head",
              "both full", "stdout closed", "stderr closed")),
            *((f"{one.name} while compiling", check_signal, (one,))
              for one in (signal.SIGINT, signal.SIGTERM)),
            ("four in a second", check_same_second, ()),
            *((f"{name} fails", check_broken, (name,))
              for name in ("rename:1", "rename:4", "rename:20")),
            ("clock", check_broken, ("clock",)),
            *((f"ulimit -n {limit}", check_open_files, (limit,)) for limit in (8, 16, 24, 40, 64)),
            *((f"disk {options}", check_disk, (options,))
              for options in ("ro", "size=8k", "size=80k", "size=300k")),
            ("locked study", check_locked_study, ()),
            ("memory", check_memory, ()),
            ("full log", check_full_log, ()),
            ("two signals", check_two_signals, ()),
        ]  # fmt: skip
        rng.shuffle(found)
        yield from found


def attend(
    seed: int, seconds: float, folder: Path, named: str = ""
) -> tuple[int, list[dict[str, Any]]]:
    """Runs checks one after another; returns their number and the failures.

    Args:
      seed: of their order.
      seconds: after which no other is begun.
      folder: they are run in.
      named: only those whose names have this text, each once; all, again and again, if empty.
    """
    rng = random.Random(seed)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    count, failures, until = 0, [], time.time() + seconds
    seen: set[str] = set()
    for name, check, args in checks(rng):
        if time.time() > until or (named and name in seen):
            break
        seen.add(name)
        if named not in name:
            continue
        at = folder / "case"
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        began = time.monotonic()
        try:
            check(rng, at, *args)
        except (Faulty, subprocess.TimeoutExpired) as fault:
            what = str(fault).split("|")[0].split(",")[0].strip()
            failures.append({"end": count, "words": [name], "faults": [what], "error": str(fault)})
            print(f"  {name}: {str(fault)[:300]}", flush=True)
        count += 1
        with open(folder / "checks.txt", "a", encoding="utf-8") as log:
            log.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return count, failures
