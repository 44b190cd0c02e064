"""Processes that work through a sweep together, and one of which is killed now and then.

    python workers.py URL WORKERS KILLS

Each is forked before it has opened the database, and "trains" by writing a line to `ran.txt` and
sleeping. JAX is not needed, so eight of them start at once. Run in a folder with `s.yaml`.

A kill is due after every fifth line or so. Until it has come, nobody ends a trial: so there is
somebody to kill, however slowly the machine runs what.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import alembic.command
import optuna.storages
import optuna.study

from marlx.sweeps import worker
from marlx.sweeps.file import read_sweep
from marlx.sweeps.study import Study

TRIAL_SECONDS = 0.05
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def lines() -> list[str]:
    """The lines written so far."""
    began = Path("ran.txt")
    return began.read_text().splitlines() if began.exists() else []


def due(killed: int) -> bool:
    """Whether it is time for the kill after so many."""
    return killed < KILLS and len(lines()) > 4 * (killed + 1)


def train(work, trials):
    for trial in trials:
        (seed,) = work.study.values(trial).values()
        with open("ran.txt", "a") as file:
            file.write(f"{os.getpid()} begins {seed}\n")
        time.sleep(TRIAL_SECONDS)
        while due(len(list(Path().glob("killed.*")))):
            time.sleep(0.01)
        if work.study.finish(trial, float(seed)):
            with open("ran.txt", "a") as file:
                file.write(f"{os.getpid()} ends {seed}\n")


def work(url: str) -> None:
    worker.POLL_SECONDS = (0.05, 0.2)
    sweep = read_sweep("s.yaml")
    study = Study(sweep, "shared", url)
    study.open()
    task = worker.Work(sweep, SimpleNamespace(), study, Path(), 1)
    worker.work_through(task, train)
    study.close()
    left = [row.state for row in study.rows() if row.state != "finished"]
    os._exit(3 if left else 0)


def start(url: str) -> int:
    if number := os.fork():
        return number
    try:
        work(url)
    finally:
        os._exit(1)


def main(url: str, workers: int, kills: int) -> int:
    assert optuna.storages.RDBStorage and optuna.study.create_study and alembic.command  # for all
    alive = [start(url) for _ in range(workers)]
    rng, killed = random.Random(0), 0
    while killed < kills:
        time.sleep(0.01)
        # in the middle of a trial of its own, or of a turn
        busy = [int(line.split()[0]) for line in lines()[-workers:] if "begins" in line]
        busy = [number for number in busy if number in alive]
        if busy and due(killed):
            os.kill(victim := rng.choice(busy), signal.SIGKILL)
            alive.remove(victim)
            os.waitpid(victim, 0)
            killed += 1
            Path(f"killed.{killed}").touch()
            if len(alive) < workers // 2:
                alive.append(start(url))
    codes = [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in alive]
    print(codes)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
