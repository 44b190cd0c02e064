"""`make torture`: wrong input, broken files, kills and full disks, and a table of what failed.

    python benchmarks/torture/run.py --minutes 5 --seed 1 [--kinds words files]
    python benchmarks/torture/run.py --kinds processes --named kills --add
    python benchmarks/torture/run.py --table

A case fails with a traceback, a wrong exit code, more than 5 s before anything is compiled, a
message of over 4,000 characters, a control code that would reach the terminal, or a process that
it leaves behind. Cases follow from seed and number: `--kinds words --only 117` runs one again.
A run can be done in parts: `--add` goes on after the cases and checks of the parts before, and
prints the table of all of them. Parts and failures are kept in `.cache/torture/parts.jsonl`.
Exit code 1 if there were any failures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "torture"
PARTS = CACHE / "parts.jsonl"
SILENT = 90.0
"""Seconds after which a worker that says nothing is killed; its case counts as a hang. It is that
on a machine that does nothing else, and more on a busy one (`judge.slowness`)."""
SHARES = {"words": 0.22, "files": 0.04, "numbers": 0.08, "folders": 0.26, "processes": 0.4}
"""Kinds in their order, and the share of the time of each; what one leaves is for the others."""
ENOUGH = {"words": 10_000, "files": 2_000, "numbers": 5_000, "folders": 9_000}
"""Cases after which a kind ends before its time is over."""

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / "xla"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}
"""Programs are compiled quickly, and once."""


def cases(kind: str, seed: int, start: int) -> Iterator[tuple[int, Any]]:
    """Yields the cases of a kind in this process, from number `start`."""
    import files
    import folders
    import words

    if kind == "numbers":
        everything = list(words.numbers())
        rng = random.Random(seed)
        rng.shuffle(everything)
        shapes = [rng.random() < words.SHAPES for _ in everything]
        numbered = enumerate(zip(everything, shapes, strict=True))
        yield from [(i, case._replace(shapes=yes)) for i, (case, yes) in numbered][start:]
        return
    run = folders.make_run(CACHE) if kind == "folders" else CACHE
    whole = files.every() if kind == "files" else []
    number = start
    while True:
        rng = random.Random(f"{seed}/{kind}/{number}")
        if kind == "words":
            yield number, words.command_line(rng)
        elif kind == "files":
            yield number, whole[number] if number < len(whole) else files.case(rng)
        else:
            yield number, folders.case(seed, number, run, Path("damaged").resolve())
        number += 1


def work(kind: str, seed: int, start: int, until: float, only: int | None, log: Path) -> None:
    """Runs cases in this process, and writes a line before and after each."""
    import judge

    found = cases(kind, seed, start if only is None else only)
    first = next(found, None)  # makes what it needs while nothing is patched
    if first is None:
        return
    parent = os.getppid()
    judge.stop_before_compiling()
    judge.run(judge.Case(["train", "iql", "matrix/climbing", "--dry-run"]))  # imports
    with open(log, "a", encoding="utf-8") as file:

        def write(**line: Any) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        for number, case in [first] if only is not None else itertools.chain([first], found):
            write(begin=number, words=[word[:300] for word in case.words])
            outcome = judge.run(case)
            wrong = judge.faults(case, outcome)
            seen = {"code": outcome.code, "error": outcome.error, "seconds": outcome.seconds}
            write(end=number, faults=wrong, err=outcome.err[:600], out=outcome.out[-200:], **seen)
            if only is not None:
                print(case.words, outcome, wrong, sep="\n")
                return
            if time.time() > until or number + 1 >= ENOUGH[kind] or os.getppid() != parent:
                return


def attend(kind: str, seed: int, seconds: float, number: int, folder: Path) -> Part:
    """Runs cases of a kind in workers, from `number` on, for some seconds or until it is enough."""
    from groups import Group

    log, until = folder / "log.jsonl", time.time() + seconds
    count, failures, began = 0, [], time.time()
    while time.time() < until and number < ENOUGH[kind]:
        log.write_text("", encoding="utf-8")
        options = [f"--seed={seed}", f"--worker={kind}", f"--start={number}", f"--until={until}"]
        with open(folder / "worker.txt", "wb") as said:
            command = [sys.executable, str(Path(__file__).resolve()), *options]
            streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
            group = Group(command, cwd=folder, **streams)
            died = _watch(group.process, log)
            group.end()
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        begun = {line["begin"]: line["words"] for line in lines if "begin" in line}
        ended = [line for line in lines if "end" in line]
        count += len(ended)
        failures += [{"words": begun[x["end"]], **x} for x in ended if x["faults"]]
        open_ = [one for one in begun if one not in {line["end"] for line in ended}]
        number = max(begun) + 1 if begun else number
        if not died and not open_:
            break
        count += len(open_)
        failures += [
            {"end": one, "words": begun[one], "faults": [died or "exit"], "error": died}
            for one in open_
        ]
        if not begun:
            said_text = (folder / "worker.txt").read_text(errors="replace")[-600:]
            failures.append({"end": number, "words": [], "faults": ["worker"], "err": said_text})
            break
    return Part(kind, count, failures, upto=number, seconds=time.time() - began)


def _watch(worker: subprocess.Popen[Any], log: Path) -> str:
    """Waits for a worker; returns how it died, or "" where it ended by itself."""
    from judge import slowness

    size, changed = -1, time.monotonic()
    while worker.poll() is None:
        time.sleep(0.2)
        now = log.stat().st_size
        if now != size:
            size, changed = now, time.monotonic()
        silent = time.monotonic() - changed
        if silent > SILENT and silent > SILENT * slowness():
            worker.kill()
            worker.wait()
            return "hang"
    return "" if worker.returncode == 0 else f"crash {worker.returncode}"


def run_kind(kind: str, args: argparse.Namespace, seconds: float, folder: Path) -> Iterator[Part]:
    """Runs one kind for some seconds, after what earlier parts did; yields what is done."""
    before = read(PARTS)
    if kind == "processes":
        import processes

        done = {name for part in before for name in part.names}
        yield from processes.attend(args.seed, seconds, folder, args.named, done)
    else:
        upto = max((part.upto for part in before if part.kind == kind), default=0)
        yield attend(kind, args.seed, seconds, upto, folder)


def main() -> int:
    """Runs the kinds, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=53)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--only", type=int, help="the number of one case, shown in full")
    parser.add_argument("--named", default="", help="of processes: text in the names of checks")
    parser.add_argument("--add", action="store_true", help="go on after the parts before")
    parser.add_argument("--table", action="store_true", help="only print the table of all parts")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if args.worker or args.only is not None:
        if not args.worker:
            os.chdir(tempfile.mkdtemp(prefix="torture-"))
        kind = args.worker or args.kinds[0]
        work(kind, args.seed, args.start, args.until, args.only, Path("log.jsonl"))
        return 0
    if not args.add and not args.table:
        PARTS.unlink(missing_ok=True)
    if not args.table:
        run_kinds(args)
    parts = read(PARTS)
    print("", *lines(parts), "", *examples(parts), sep="\n")
    return 1 if any(part.failures for part in parts) else 0


def run_kinds(args: argparse.Namespace) -> None:
    """Runs the kinds one after another, and keeps what is done as it is done."""
    from groups import end_all

    folder = CACHE / f"part-{os.getpid()}"
    os.environ["TMPDIR"] = str(folder / "tmp")  # what a killed worker leaves goes with it
    end = time.time() + 60 * args.minutes
    left = {kind: SHARES[kind] for kind in SHARES if kind in args.kinds}
    try:
        for kind in list(left):
            (folder / "tmp").mkdir(parents=True, exist_ok=True)
            seconds = (end - time.time()) * left[kind] / sum(left.values())
            for part in run_kind(kind, args, seconds, folder):
                append(PARTS, part)
            del left[kind]
            print(*lines(read(PARTS)), "", sep="\n", flush=True)
    finally:
        end_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from table import Part, append, examples, lines, read

    for number in (signal.SIGTERM, signal.SIGHUP):  # ends what it started
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.exit(main())
