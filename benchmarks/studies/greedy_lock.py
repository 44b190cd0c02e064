"""Study `greedy_lock`: what closes the gap between a team's drawn and its greedy return.

    python benchmarks/studies/greedy_lock.py --out runs/greedy-lock

Trains MAPPO on one task with one setting changed per arm, then plays 512 episodes of every seed in
both ways. Finished run folders are not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import _study

from marlx.analysis import make_rows
from marlx.runs.folder import load_experiment

TASK = "Foraging-10x10-3p-3f-v3"
STEPS, EPISODES = 3_000_000, 512
ANNEALED = ["--learner.entropy-steps", "2400000"]
MEMORY = ["--learner.recurrent", "true", "--learner.window", "25"]
ARMS: dict[str, list[str]] = {
    "base": [],
    "last": ["--learner.last-action", "true"],
    "gamma": ["--learner.gamma", "0.97"],
    "ent": ANNEALED,
    "neg": [*ANNEALED, "--learner.entropy-end", "-0.01"],
    "gru": MEMORY,
    "grulast": [*MEMORY, "--learner.last-action", "true"],
}
"""Options of `marlx train` by arm, on top of the preset's feed-forward MAPPO."""


def marlx(*words: str) -> str:
    """Runs the command line and returns what it prints."""
    command = [sys.executable, "-m", "marlx", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def returns(folder: Path, seed: int) -> dict[str, float]:
    """Returns the drawn and the greedy return of a seed's policy."""
    found: dict[str, float] = {}
    for how in ("drawn", "greedy"):
        words = ["--eval", how, "--policy-seed", str(seed), "--episodes", str(EPISODES), "--json"]
        found[f"{how}_return"] = json.loads(marlx("eval", str(folder), *words))["return"]["mean"]
    return found


def run(arm: str, folder: Path, seeds: int) -> None:
    """Trains an arm, unless its folder has a result, and stores its rows."""
    options = [TASK, "--seeds", str(seeds), "--total-steps", str(STEPS), *ARMS[arm]]
    if not (folder / "result.json").is_file():
        marlx("train", "mappo", *options, "--out", str(folder))
    made = load_experiment(folder)
    numbers = list(range(made.train.seed, made.train.seed + made.train.seeds))
    rows, record = make_rows.measured_rows(
        made.settings() | {"episodes": EPISODES},
        [returns(folder, seed) for seed in numbers],
        study="greedy_lock",
        comparison=TASK,
        arm=arm,
        about=_study.about(),
        env=TASK,
        algorithm="mappo",
        seeds=numbers,
    )
    record["runs"][-1]["command"] = f"marlx train mappo {' '.join(options)}"
    _study.add(rows, record)


def main() -> None:
    parser: Any = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/greedy-lock"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=ARMS, default=list(ARMS))
    args = parser.parse_args()
    for arm in args.only:
        run(arm, args.out / arm, args.seeds)


if __name__ == "__main__":
    main()
