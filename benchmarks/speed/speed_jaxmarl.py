"""Training steps per second against JaxMARL's own baseline scripts, in turns.

    python benchmarks/speed/speed_jaxmarl.py --jaxmarl CLONE [--python PYTHON] [--only NAME ...]

CLONE is a clone of JaxMARL's repository: its scripts are not in its package. They run with their
own YAML files, `make_train` compiled ahead of time (`jaxmarl_script.py`), in turns with ours at the
same sizes: theirs, ours, theirs, ours, each in a process of its own. A ratio is the median over
turns of ours over theirs in the same turn. PYTHON has what the scripts import (default: this one).

Both sides run from the first step to the last, warm-up without updates included, on
`simple_spread_v3`. `with evaluations`: 20 evaluations of 512 greedy episodes within the run, and
one before it, as the script's TEST_DURING_TRAINING has them; otherwise training alone. The scripts
of PPO evaluate nothing. Ours has no layer normalisation here, as theirs has none.

The first turn compiles without a cache, and its compilation times are stored; later turns reuse
what it compiled. `others` is how many cores all other processes kept busy, on average.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _timing

from marlx.config import layers as config_layers
from marlx.loop.run import Run

TASK = "mpe/simple_spread_v3"
SCRIPT = Path(__file__).with_name("jaxmarl_script.py")
EVALUATIONS, EPISODES = 20, 512
FIRST_SECONDS, TURN_SECONDS = 22, 17
"""Roughly what the first turn adds, which compiles, and what starting both takes in every turn."""
LONGEST = 900
"""Seconds after which a process has failed."""
Q_SIZES: dict[str, Any] = {
    "num_envs": 8,
    "rollout_length": 26,
    "learner": {
        "recurrent": True,
        "layer_norm": False,
        "window": 26,
        "batch": 32,
        "updates_per_step": 1 / (8 * 26),
        "capacity": 5_000 * 26,
        "warmup": 10_000,
        "target_period": 200,
        "hidden": 64,
        "lr": 5e-3,
        "gamma": 0.9,
        "lambda_": 0.0,
        "max_grad_norm": 25.0,
        "reward_scaling": "none",
    },
}
MIXER = {"mixer_norm": False, "mixer_hidden": 128, "mixer_embed": 32}
GRU: dict[str, Any] = {"hidden": 128, "recurrent": True, "window": 128}


class Case(NamedTuple):
    """A comparison.

    Attributes:
      theirs: name in `jaxmarl_script.SCRIPTS`.
      algorithm: ours.
      sizes: our settings.
      steps: of a run.
      pace: rough steps per second on two quiet cores, theirs and ours, to estimate the time.
      evaluations: whether both evaluate within the run.
    """

    theirs: str
    algorithm: str
    sizes: dict[str, Any]
    steps: int
    pace: tuple[int, int]
    evaluations: bool = False

    def seconds(self, steps: int, turns: int) -> float:
        """Returns roughly how long the case takes on two quiet cores."""
        trains = sum(steps / pace for pace in self.pace)
        return FIRST_SECONDS + turns * (trains + TURN_SECONDS)


def _ppo(**learner: Any) -> dict[str, Any]:
    return {"num_envs": 16, "rollout_length": 128, "learner": learner}


def _q_learning() -> dict[str, Case]:
    found = {}
    for name in ("qmix", "vdn", "iql"):
        learner = Q_SIZES["learner"] | (MIXER if name == "qmix" else {})
        sizes = {**Q_SIZES, "learner": learner}
        found[name] = Case(name, name, sizes, 200_000, (29_000, 37_000))
        found[f"{name}, with evaluations"] = Case(
            name, name, sizes, 400_000, (27_000, 36_000), evaluations=True
        )
    return found


CASES: dict[str, Case] = {
    **_q_learning(),
    "ippo feed-forward": Case(
        "ippo feed-forward", "ippo", _ppo(hidden=64), 400_000, (50_000, 80_000)
    ),
    "ippo recurrent, shared trunk": Case(
        *("ippo recurrent", "ippo", _ppo(**GRU, minibatches=2, trunk="shared"), 60_000),
        (9_200, 17_000),
    ),
    "ippo recurrent, two networks": Case(
        "ippo recurrent", "ippo", _ppo(**GRU, minibatches=2), 60_000, (9_200, 10_200)
    ),
    "mappo recurrent": Case("mappo recurrent", "mappo", _ppo(**GRU), 50_000, (4_450, 16_400)),
}


def measure(case: Case, steps: int) -> dict[str, Any]:
    """Trains ours in this process; returns its speed, compilation time and peak memory."""
    evals, episodes = (EVALUATIONS, EPISODES) if case.evaluations else (1, 1)
    made = config_layers.experiment(
        case.algorithm, TASK, **case.sizes, total_steps=steps, evals=evals, eval_episodes=episodes
    )
    env, params, learner = made.build()
    run = Run(env, params, learner, made.train)
    run.compile()
    busy = time.process_time()
    for _ in run.blocks():
        pass
    busy = time.process_time() - busy
    phases = dict(run.phases)
    if not case.evaluations:
        del phases["evaluation"]
    return {
        "steps": run.total_steps,
        "steps_per_second": round(run.total_steps / (sum(phases.values()) - phases["compile"])),
        "cpu_per_step_us": round(1e6 * busy / run.total_steps, 2),
        "compile_s": round(phases["compile"], 1),
        "peak_mb": round(_timing.peak_memory() / 1e6),
    }


class Failed(RuntimeError):
    """A side of a case that gave no numbers."""


def in_turns(
    commands: dict[str, Sequence[str]], turns: int, cache: str
) -> dict[str, list[dict[str, Any]]]:
    """Returns what each command prints as its last line, JSON, in each turn.

    Args:
      commands: by name, run one after the other in every turn.
      turns: how many.
      cache: folder of compiled programs, empty before the first turn.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    environ = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    for _ in range(turns):
        for name, command in commands.items():
            began, before = time.perf_counter(), _busy_seconds()
            try:
                done = subprocess.run(
                    command,
                    env=environ,
                    capture_output=True,
                    text=True,
                    timeout=LONGEST,
                    check=True,
                )
            except subprocess.TimeoutExpired:
                raise Failed(f"{name} took more than {LONGEST} s") from None
            except subprocess.CalledProcessError as error:
                last = " ".join(error.stderr.split())[-300:]
                raise Failed(f"{name} failed: {last}") from None
            measured = json.loads(done.stdout.splitlines()[-1])
            if before is not None and (after := _busy_seconds()) is not None:
                passed = time.perf_counter() - began
                measured["others"] = round(max(0.0, after - before) / passed, 2)
            found[name].append(measured)
    return found


def _busy_seconds() -> float | None:
    """Returns the processor time of all processes but our children, in seconds; None: unknown."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft = map(int, words[:7])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft) / ticks - used.ru_utime - used.ru_stime


def compare(name: str, case: Case, clone: Path, python: str, turns: int) -> dict[str, Any]:
    """Runs a case in turns; returns the medians of both sides, and of the turns' ratios.

    Raises:
      Failed: a process of either side did.
    """
    theirs = [python, str(SCRIPT), str(clone), case.theirs, "--steps", str(case.steps)]
    ours = [sys.executable, __file__, "--one", name, "--steps", str(case.steps)]
    if case.evaluations:
        theirs.append("--tests")
    with tempfile.TemporaryDirectory() as cache:
        found = in_turns({"jaxmarl": theirs, "marlx": ours}, turns, cache)
    pairs = zip(found["marlx"], found["jaxmarl"], strict=True)
    ratios = [a["steps_per_second"] / b["steps_per_second"] for a, b in pairs]
    row: dict[str, Any] = {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }
    for side, label in (("marlx", ""), ("jaxmarl", "jaxmarl_")):
        for key in ("steps_per_second", "cpu_per_step_us", "peak_mb", "others"):
            values = [one[key] for one in found[side] if key in one]
            row[f"{label}{key}"] = statistics.median(values) if values else None
        row[f"{label}compile_s"] = found[side][0]["compile_s"]
    for key in ("steps_per_second", "jaxmarl_steps_per_second"):
        row[key] = round(row[key])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jaxmarl", type=Path, help="clone of JaxMARL's repository")
    parser.add_argument("--python", default=sys.executable, help="for JaxMARL's scripts")
    parser.add_argument("--turns", type=int, help="of each case (default: 3, quick 2)")
    parser.add_argument("--steps", type=int, help="of each run (default: by case)")
    parser.add_argument("--only", nargs="*", default=[], choices=CASES, help="these cases")
    parser.add_argument("--quick", action="store_true", help="two short turns each, rough")
    parser.add_argument("--one", choices=CASES, help="measure ours in this process, print JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(CASES[args.one], args.steps or CASES[args.one].steps)))
        return
    if args.jaxmarl is None or not (args.jaxmarl / "baselines").is_dir():
        parser.error("--jaxmarl needs a clone of JaxMARL's repository, with its folder baselines")
    chosen = {name: CASES[name] for name in args.only or CASES}
    if args.quick:
        chosen = {n: one._replace(steps=one.steps // 2) for n, one in chosen.items()}
    if args.steps:
        chosen = {n: one._replace(steps=args.steps) for n, one in chosen.items()}
    turns = args.turns or (2 if args.quick else 3)
    minutes = sum(one.seconds(one.steps, turns) for one in chosen.values()) / 60
    print(f"{len(chosen)} cases in {turns} turns: about {minutes:.0f} minutes on two quiet cores")
    failed = [
        name
        for name, case in chosen.items()
        if not measured_and_written(name, case, turns, args)
    ]  # fmt: skip
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


def measured_and_written(name: str, case: Case, turns: int, args: argparse.Namespace) -> bool:
    """Runs a case, prints and writes its row; False if that failed, which is printed."""
    began = time.perf_counter()
    try:
        row = compare(name, case, args.jaxmarl, args.python, turns)
    except Failed as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return False
    settings = {"what": "training, simple_spread_v3", "case": name, "settings": case.sizes}
    settings |= {"steps": case.steps, "turns": turns, "evaluations": case.evaluations}
    _timing.write(
        "speed_jaxmarl", name, settings, row, ("marlx", "flax", "optax", "jaxmarl"),
        env=TASK, algorithm=case.algorithm, quick=args.quick,
    )  # fmt: skip
    print(f"{name}, {time.perf_counter() - began:.0f} s: {row}", flush=True)
    return True


if __name__ == "__main__":
    main()
