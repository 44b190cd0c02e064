"""`marlx bench`: runs the speed benchmarks of the repository, each in a separate process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import marlx
from marlx.cli.options import run_and_options
from marlx.cli.records import BenchOptions
from marlx.text import unknown

BENCH_USAGE = """\
usage: marlx bench SUITE [options]

Time marlx on this machine. The results are rows of speed.jsonl in the --out folder.

  marlx bench environments   steps per second of foraging and particle worlds, against jumanji,
                             lbforaging, JaxMARL and mpe2
  marlx bench replay         adding, sampling and updating, against flashbax
  marlx bench training       every learner; QMIX, IPPO and MAPPO at JaxMARL's sizes; CLAM and PPO
  marlx bench scaling        more environments, agents, seeds, replay, devices and processes
  marlx bench roofline       operations and bytes of the hottest programs, and the machine's peaks
  marlx bench all            all of these

options:
  --quick              fewer sizes and repeats, for rough numbers
  --out FOLDER         folder for the results (default: bench)

The packages to compare with are in the extra `peers`. Those not installed are named and left out.
"""


class Script(NamedTuple):
    """A script of `benchmarks/speed/`.

    Attributes:
      name: its file, without `.py`.
      peers: packages that it compares marlx with.
      quick: arguments of a quick run.
    """

    name: str
    peers: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)


SUITES: dict[str, tuple[Script, ...]] = {
    "environments": (
        Script(
            "speed_foraging",
            ("jumanji", "lbforaging"),
            ("--sizes", "1", "64", "--repeats", "3", "--seconds", "0.1"),
        ),
        Script(
            "speed_mpe",
            ("jaxmarl", "mpe2"),
            ("--sizes", "1", "64", "--repeats", "3", "--seconds", "0.1"),
        ),
    ),
    "replay": (Script("speed_replay", ("flashbax",)),),
    "training": (
        Script("speed_learners"),
        Script("speed_qmix"),
        Script("speed_ppo", quick=("--updates", "2", "--blocks", "2")),
        Script("speed_clam", quick=("--repeats", "2", "--rollouts", "1")),
    ),
    "scaling": (Script("speed_scaling"),),
    "roofline": (Script("roofline"),),
}


def bench_command(argv: Sequence[str]) -> int:
    """Runs `marlx bench SUITE [options]`; returns 1 if a script failed."""
    if not argv or argv[0] in ("-h", "--help"):
        print(BENCH_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    suite, options = run_and_options(argv, "bench", BenchOptions, "suite", "SUITE")
    if suite not in (*SUITES, "all"):
        raise unknown("suite", suite, (*SUITES, "all"))
    scripts = [script for name in SUITES if suite in (name, "all") for script in SUITES[name]]
    folder = repository_scripts(scripts)
    out = Path(options.out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {options.out}: {error.strerror}") from None
    failed = []
    for script in scripts:
        began = time.perf_counter()
        print(f"== {script.name}{_without(script)}", flush=True)
        code = subprocess.run(
            [sys.executable, f"{script.name}.py", *(script.quick if options.quick else ())],
            cwd=folder,
            env=os.environ | {"MARLX_BENCH_RESULTS": str(out)},
            check=False,
        ).returncode
        print(f"== {script.name}: {time.perf_counter() - began:.0f} s", flush=True)
        if code:
            failed.append(script.name)
    written = ", ".join(sorted(path.name for path in out.glob("*.jsonl")))
    print(f"{options.out}: {written or 'nothing was written'}")
    if failed:
        print(f"marlx: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def repository_scripts(scripts: Sequence[Script]) -> Path:
    """Returns the folder of the scripts.

    Raises:
      ValueError: it does not have them, as after `pip install`.
    """
    folder = Path(marlx.__file__).absolute().parents[1] / "benchmarks" / "speed"
    absent = [script.name for script in scripts if not (folder / f"{script.name}.py").is_file()]
    if len(absent) == len(scripts):
        raise ValueError(
            "marlx bench runs scripts of the repository, which are not installed with the package; "
            "run it in a clone after `pip install -e .`"
        )
    if absent:
        raise ValueError(f"{folder} has no {', '.join(f'{name}.py' for name in absent)}")
    return folder


def _without(script: Script) -> str:
    absent = [peer for peer in script.peers if importlib.util.find_spec(peer) is None]
    return f" without {' and '.join(absent)}, not installed" if absent else ""
