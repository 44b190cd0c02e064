"""Study `attack`: attackers of a team whose best attack is known, and of trained teams.

    python benchmarks/studies/attack.py                       # ten seeds
    python benchmarks/studies/attack.py --only consensus ami  # one arm
    python benchmarks/studies/attack.py --teams               # trained teams; hours

`consensus`, `consensus-sparse`: one agent against three that follow most others. What no training,
and the best play, come to is exact; attackers are PPO without influence (lambda 0), AMI and its
controls, with the same steps.

`--teams`: five seeds of MAPPO in spread and in foraging, each attacked by five attackers of a kind.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

import _study
import numpy as np

import marlx
from marlx import cli, training
from marlx.analysis import attack_results, attacks, make_rows
from marlx.config import layers as config_layers
from marlx.envs.matrix import MatrixGame, best_attack, value_against
from marlx.envs.partners import majority_chances

EXACT = ("consensus", "consensus-sparse")
ARMS: dict[str, dict[str, Any]] = {
    "lambda 0": {"influence": 0.0},
    "ami": {},
    "taken": {"influence_of": "taken"},
    "drawn": {"targets": "drawn"},
    "random": {"targets": "random"},
    "shuffled": {"targets": "shuffled"},
    "untargeted": {"targets": "none"},
    "log": {"distance": "log"},
}
"""Settings of `ami`, by arm."""
TEAMS = {
    "mpe/simple_spread_v3": 2_000_000,
    "Foraging-8x8-3p-2f-v3": 2_000_000,
}
"""Environment steps of a team, by environment."""


def exact(game: MatrixGame) -> dict[str, float]:
    """Returns the others' returns against play that is not trained, and against the best."""
    chances = majority_chances(game).astype(float)
    plays = {
        "none": chances[:, 0],
        "random": np.full(3, 1 / 3),
        "constant": np.eye(3)[0],
    }
    found = {name: value_against(game, 0, chances, rule) for name, rule in plays.items()}
    return {**found, "best": best_attack(game, 0, chances).value}


def run_exact(name: str, arm: str, seeds: int, steps: int) -> None:
    """Trains an arm on an exact game and stores its rows."""
    env: dict[str, Any] = {"pool": ("majority",), "reward": "against", "privileged": True}
    made = config_layers.experiment(
        "ami", f"partners/matrix/{name}", env=env, learner=ARMS[arm],
        total_steps=steps, seeds=seeds, evals=25, eval_episodes=256,
    )  # fmt: skip
    built, params, learner = made.build()
    result = training.train(built, learner, params, config=made.train, report=_study.report)
    game = marlx.make(f"matrix/{name}")[0]
    assert isinstance(game, MatrixGame)
    rows, record = make_rows.training_rows(
        made,
        result,
        study="attack",
        comparison=name,
        arm=arm,
        about=_study.about(),
        extra=exact(game),
        keep_returns=False,
    )
    _study.add(rows, record)


def run_team(env_id: str, victims: int, attackers: int, steps: int) -> None:
    """Trains a team, attacks it, and stores a row for each of its seeds and kinds of attack."""
    name = env_id.rpartition("/")[2]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "team")
        words = ["mappo", env_id, "--seeds", str(victims), "--total-steps", str(TEAMS[env_id])]
        if code := cli.run(["train", *words, "--out", path, "--quiet"]):
            raise SystemExit(code)
        team = attacks.load_victims(path)
        for kind in attacks.KINDS:
            if kind in attacks.TRAINED:
                made = attacks.attack_experiment(team, (0,), kind, steps)
                returns = attacks.train_attackers(team, made, attackers, 200, 0).returns
            else:
                returns = attacks.untrained(team, (0,), kind, 200, 0)
            record = attack_results.attack_record(kind, attacks.KINDS[kind], returns)
            low, high = record["low"], record["high"]
            print(f"{name:24} {kind:12} {record['mean']:8.3f} [{low:.3f}, {high:.3f}]", flush=True)
            settings = {
                "algorithm": "mappo",
                "environment": env_id,
                "team_steps": TEAMS[env_id],
                "attack": kind,
                "agents": [0],
                "total_steps": steps,
                "attackers": attackers,
            }
            rows, stored = make_rows.measured_rows(
                settings,
                [{"return": round(float(np.mean(one)), 4)} for one in record["returns"]],
                study="attack",
                comparison=name,
                arm=kind,
                about=_study.about(),
                env=env_id,
                algorithm="mappo",
                seeds=team.seeds,
                extra={"mean": record["mean"], "interval": [low, high], "attackers": attackers},
            )
            _study.add(rows, stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500_000, help="of each attacker")
    parser.add_argument("--only", nargs="*", default=[], help="a game or task, an arm, or both")
    parser.add_argument("--teams", action="store_true", help="trained teams, not exact games")
    parser.add_argument("--victims", type=int, default=5, help="seeds of a team")
    args = parser.parse_args()
    only = set(args.only)
    if args.teams:
        for env_id in TEAMS:
            if only <= {env_id}:
                run_team(env_id, args.victims, args.victims, args.steps)
        return
    for name in EXACT:
        for arm in ARMS:
            if only <= {name, arm}:
                run_exact(name, arm, args.seeds, args.steps)


if __name__ == "__main__":
    main()
