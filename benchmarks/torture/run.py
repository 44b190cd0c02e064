"""`make torture`: wrong input, broken files, kills and full disks, and a table of what failed.

    python benchmarks/torture/run.py --minutes 5 --seed 1 [--kinds words files]
    python benchmarks/torture/run.py --kinds processes --named kills

A case fails with a traceback, a wrong exit code, more than 5 s before anything is compiled, a
message of over 4,000 characters, or a control code that would reach the terminal. Cases follow
from seed and number: `--kinds words --only 117` runs one again. Failures are written to
`.cache/torture/failures.jsonl`. Exit code 1 if there were any.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "torture"
SILENT = 90.0
"""Seconds after which a worker that says nothing is killed; its case counts as a hang. It is that
on a machine that does nothing else, and more on a busy one (`judge.slowness`)."""
SHARES = {"words": 0.2, "numbers": 0.15, "files": 0.1, "folders": 0.2, "processes": 0.35}
"""Kinds, and the share of the time of each."""


def cases(kind: str, seed: int, start: int) -> Iterator[tuple[int, Any]]:
    """Yields the cases of a kind in this process, from number `start`."""
    import files
    import folders
    import words

    if kind == "numbers":
        everything = list(words.numbers())
        random.Random(seed).shuffle(everything)
        yield from list(enumerate(everything))[start:]
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
            yield number, folders.case(rng, run, CACHE / f"scratch-{os.getpid()}")
        number += 1


def work(kind: str, seed: int, start: int, until: float, only: int | None, log: Path) -> None:
    """Runs cases in this process, and writes a line before and after each."""
    import judge

    found = cases(kind, seed, start if only is None else only)
    first = next(found)  # makes what it needs while nothing is patched
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
            if time.time() > until:
                return


def attend(kind: str, seed: int, seconds: float) -> tuple[int, list[dict[str, Any]]]:
    """Runs a kind in workers; returns the number of cases and the failures."""
    log, until, number = CACHE / f"{kind}.jsonl", time.time() + seconds, 0
    log.unlink(missing_ok=True)
    count, failures = 0, []
    while time.time() < until:
        log.write_text("", encoding="utf-8")
        options = [f"--seed={seed}", f"--worker={kind}", f"--start={number}", f"--until={until}"]
        with open(CACHE / "worker.txt", "wb") as said:
            command = [sys.executable, __file__, *options]
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            died = _watch(worker, log)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        begun = {line["begin"]: line["words"] for line in lines if "begin" in line}
        ended = [line for line in lines if "end" in line]
        count += len(ended)
        failures += [{"words": begun[x["end"]], **x} for x in ended if x["faults"]]
        open_ = [one for one in begun if one not in {line["end"] for line in ended}]
        if not died and not open_:
            break
        count += len(open_)
        failures += [
            {"end": one, "words": begun[one], "faults": [died or "exit"], "error": died}
            for one in open_
        ]
        if not begun:
            said_text = (CACHE / "worker.txt").read_text(errors="replace")[-600:]
            failures.append({"end": number, "words": [], "faults": ["worker"], "err": said_text})
            break
        number = max(begun) + 1
    return count, failures


def _watch(worker: subprocess.Popen[bytes], log: Path) -> str:
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


def main() -> int:
    """Runs the kinds, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--only", type=int, help="the number of one case, shown in full")
    parser.add_argument("--named", default="", help="of processes: text in the names of checks")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if args.worker or args.only is not None:
        kind = args.worker or args.kinds[0]
        work(kind, args.seed, args.start, args.until, args.only, CACHE / f"{kind}.jsonl")
        return 0
    shares = {kind: SHARES[kind] for kind in args.kinds}
    rows, everything = [], []
    for kind, share in shares.items():
        seconds = 60 * args.minutes * share / sum(shares.values())
        if kind == "processes":
            import processes

            count, failures = processes.attend(args.seed, seconds, CACHE / "processes", args.named)
        else:
            count, failures = attend(kind, args.seed, seconds)
        rows.append((kind, count, failures))
        everything += [{"kind": kind, **one} for one in failures]
        print(f"{kind}: {count:,} cases, {len(failures):,} failures", flush=True)
    with open(CACHE / "failures.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in everything)
    print_table(rows)
    return 1 if everything else 0


def print_table(rows: list[tuple[str, int, list[dict[str, Any]]]]) -> None:
    """Prints cases and failures by kind, and the most frequent failures with an example."""
    print(f"\n{'kind':<12}{'cases':>8}{'failures':>10}  faults")
    for kind, count, failures in rows:
        counts = collections.Counter(fault for one in failures for fault in one["faults"])
        faults = ", ".join(f"{number} {name}" for name, number in counts.most_common())
        print(f"{kind:<12}{count:>8,}{len(failures):>10,}  {faults}")
    for kind, _, failures in rows:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in failures:
            about = one.get("error") or one.get("err") or ""
            groups.setdefault((one["faults"][0], about.split("|")[-1][:80]), []).append(one)
        for (fault, about), alike in sorted(groups.items(), key=lambda pair: -len(pair[1]))[:12]:
            example = " ".join(repr(word)[:70] for word in alike[0]["words"])
            print(f"\n{kind}: {len(alike)} x {fault}: {about!r}")
            print(f"  case {alike[0]['end']}: marlx {example[:300]}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
