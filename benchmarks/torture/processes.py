"""Real processes: kills and resumption, broken outputs, disks, limits, and several at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from groups import STUCK, Faulty, end_all, ended, shell, start
from judge import slowness
from table import Part

SMALL = {
    "hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "warmup": 128, "batch": 4, "window": 8,
    "updates_per_step": 0.0625, "period": 4, "minibatches": 2, "epochs": 1,
}  # fmt: skip
LOOP = "--total-steps 900 --num-envs 8 --rollout-length 16 --evals 3 --eval-episodes 8 --devices 1"
TASKS = ("matrix/climbing", "Foraging-5x5-2p-1f-coop-v3")
TINY = f"train iql matrix/climbing {LOOP} --learner.hidden 8 --learner.warmup 128 --learner.batch 4"
LEAVES = 5.0
"""Seconds after which a signal has to have ended a process; likewise."""


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
    process.end()
    ended(start(["train", "--resume", str(run)]))
    if result(run) != expected:
        raise Faulty(f"the result after two kills is not that of an undisturbed run of {algorithm}")


def check_output(rng: random.Random, at: Path, form: str) -> None:
    """Trains with stdout, stderr or both on a full device, closed, or piped to a `head`."""
    run = at / "run"
    ended(shell(f"MARLX {TINY} --out {run} {form}; exit ${{PIPESTATUS[0]}}"))
    result(run)


def check_answers(rng: random.Random, at: Path, form: str) -> None:
    """Answers into a stream that takes nothing: not 0, and no traceback."""
    for words in ("list envs", "train --help", "doctor ."):
        codes = (0, 1, 2, 141)
        done = ended(shell(f"MARLX {words} {form}; exit ${{PIPESTATUS[0]}}"), codes)
        if done.code == 0 and form == ">/dev/full":
            raise Faulty(f"exit code | 0 of marlx {words} {form}")


def check_signal(rng: random.Random, at: Path, number: signal.Signals, algorithm: str) -> None:
    """Stops a run while it compiles: out at once, with the right code."""
    environment = {**os.environ}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # or there is nothing to compile
    process = start([*small(algorithm), "--out", str(at / "run")], env=environment)
    for line in process.process.stdout or ():
        if line.strip() == "compiling":
            break
    time.sleep(rng.uniform(0.0, 4.0))
    process.process.send_signal(number)
    began = time.monotonic()
    done, seconds = ended(process, (0, 128 + number)), time.monotonic() - began
    if done.code and seconds > LEAVES * slowness():
        raise Faulty(f"hang | {seconds:.0f} s until {number.name} took effect")


def check_two_signals(rng: random.Random, at: Path) -> None:
    """Interrupts a training twice: out at once, and what is there can be resumed."""
    words = [*small("ippo"), "--total-steps", "2000000", "--out", str(at / "run")]
    process = start(words)
    for line in process.process.stdout or ():
        if " steps/s" in line:
            break
    process.process.send_signal(signal.SIGINT)
    time.sleep(rng.uniform(0.0, 0.3))
    process.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    ended(process, (128 + signal.SIGINT,))
    if time.monotonic() - began > LEAVES * slowness():
        seconds = time.monotonic() - began
        raise Faulty(f"hang | {seconds:.0f} s until the second signal took effect")
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
    ended(shell(f"ulimit -n {limit}; exec MARLX {TINY} --out {at / 'run'}"), (0, 1, 2))


def check_memory(rng: random.Random, at: Path) -> None:
    """Trains with little memory and resumes with all of it: the result of an undisturbed run.

    A refused allocation ends the process where it happens, often inside XLA, which aborts. What
    marlx answers for is that the run folder can be resumed.
    """
    limit = rng.randrange(1300, 2200) * 1000
    group = shell(f"ulimit -c 0 -v {limit}; exec MARLX {TINY} --out {at / 'run'}")
    try:
        group.process.communicate(timeout=STUCK * slowness())
    finally:
        group.end()
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


Check = tuple[str, str, Callable[..., None], tuple[Any, ...]]


def every_check() -> list[Check]:
    """Returns kind, name, function and arguments of every check."""
    from words import algorithms

    streams = (">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", ">&- 2>&-",
               "| head -1", "<&-")  # fmt: skip
    signals = (signal.SIGINT, signal.SIGTERM)
    compiling = [(one, name) for one in signals for name in ("qmix", "qplex", "mappo")]
    return [
        *(("kills", f"kills of {name}", check_kills, (name,)) for name in algorithms()),
        *(("streams", f"train {form}", check_output, (form,)) for form in streams),
        *(("streams", f"answers {form}", check_answers, (form,))
          for form in (">/dev/full", ">&-", "| head -1", "| true")),
        *(("signals", f"{one.name} while {name} compiles", check_signal, (one, name))
          for one, name in compiling),
        ("signals", "two signals", check_two_signals, ()),
        ("system", "four in a second", check_same_second, ()),
        *(("system", f"{name} fails", check_broken, (name,))
          for name in ("rename:1", "rename:4", "rename:20")),
        ("system", "clock", check_broken, ("clock",)),
        ("system", "locked study", check_locked_study, ()),
        *(("limits", f"ulimit -n {limit}", check_open_files, (limit,))
          for limit in (8, 16, 24, 40, 64)),
        ("limits", "memory", check_memory, ()),
        *(("disks", f"disk {options}", check_disk, (options,))
          for options in ("ro", "size=8k", "size=80k", "size=300k")),
        ("disks", "full log", check_full_log, ()),
    ]  # fmt: skip


def attend(
    seed: int, seconds: float, folder: Path, named: str = "", done: Collection[str] = ()
) -> Iterator[Part]:
    """Runs every check once, and then again while there is time; yields each when it is done.

    Args:
      seed: of their order, and of what each one draws.
      seconds: after which no other is begun.
      folder: they are run in.
      named: only those whose names have this text, each once, however long it takes.
      done: names of those that were run before; they come last.
    """
    until, known = time.time() + seconds, [one for one in every_check() if named in one[1]]
    rng = random.Random(f"{seed}/{sorted(done)}")
    for again in itertools.count():
        rng.shuffle(known)
        known.sort(key=lambda one: one[1] in done)
        for i, check in enumerate(known):
            if time.time() > until and not named:
                rest = () if again else known[i:]
                yield from (Part(kind, missing=[name]) for kind, name, *_ in rest)
                return
            yield run_check(rng, check, folder / "case")
        if named:
            return


def run_check(rng: random.Random, check: Check, at: Path) -> Part:
    """Runs one check in an empty folder."""
    kind, name, function, args = check
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    began, part = time.monotonic(), Part(kind, cases=1, names=[name])
    try:
        function(rng, at, *args)
    except (Faulty, subprocess.TimeoutExpired) as fault:
        what = "hang" if isinstance(fault, subprocess.TimeoutExpired) else str(fault)
        failure = {"end": 0, "words": [name], "faults": [what.split("|")[0].strip()]}
        part.failures.append({**failure, "error": str(fault)})
        print(f"  {name}: {str(fault)[:300]}", flush=True)
    finally:
        end_all()
    part.seconds = time.monotonic() - began
    return part
