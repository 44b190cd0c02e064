"""`marlx bench`: runs the speed benchmarks of the repository, each in a separate process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
  marlx bench jaxmarl        training in turns with JaxMARL's own scripts; needs --jaxmarl CLONE
  marlx bench scaling        more environments, agents, seeds, replay, devices and processes
  marlx bench roofline       operations and bytes of the hottest programs, and the machine's peaks
  marlx bench all            all of these; without --jaxmarl CLONE all but that one

options:
  --quick              fewer sizes and repeats, for rough numbers
  --out FOLDER         folder for the results (default: bench)
  --jaxmarl CLONE      clone of JaxMARL's repository
  --peer-python FILE   Python that has what JaxMARL's scripts import (default: this one)

The packages to compare with are in the extra `peers`. Those not installed are named and left out.
At the end every ratio stands beside that of the documentation. The exit code is 1 where one is more
than a tenth below it, or a script failed. Of --quick, ratios are too rough to be judged.
"""


class Script(NamedTuple):
    """A script of `benchmarks/speed/`.

    Attributes:
      name: its file, without `.py`.
      peers: packages that it compares marlx with.
      quick: arguments of a quick run.
      clone: whether it needs a clone of JaxMARL's repository.
    """

    name: str
    peers: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    clone: bool = False


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
    "jaxmarl": (Script("speed_jaxmarl", clone=True),),
    "scaling": (Script("speed_scaling"),),
    "roofline": (Script("roofline"),),
}


def bench_command(argv: Sequence[str]) -> int:
    """Runs `marlx bench SUITE [options]`; returns 1 if a script failed or a ratio fell behind."""
    if not argv or argv[0] in ("-h", "--help"):
        print(BENCH_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    suite, options = run_and_options(argv, "bench", BenchOptions, "suite", "SUITE")
    if suite not in (*SUITES, "all"):
        raise unknown("suite", suite, (*SUITES, "all"))
    scripts = [script for name in SUITES if suite in (name, "all") for script in SUITES[name]]
    clone = _clone(options, suite)
    scripts = [script for script in scripts if clone or not script.clone]
    folder = repository_scripts(scripts)
    out = Path(options.out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {options.out}: {error.strerror}") from None
    failed = [script.name for script in scripts if _run(script, folder, out, options, clone)]
    written = ", ".join(sorted(path.name for path in out.glob("*.jsonl")))
    print(f"{options.out}: {written or 'nothing was written'}")
    behind = _judged(out, [script.name for script in scripts])
    if failed:
        print(f"marlx: failed: {', '.join(failed)}", file=sys.stderr)
    if behind and not options.quick:
        print(f"marlx: slower than documented: {'; '.join(behind)}", file=sys.stderr)
    return 1 if failed or (behind and not options.quick) else 0


def _clone(options: BenchOptions, suite: str) -> list[str]:
    """Returns the arguments about JaxMARL's repository; none where it was not named.

    Raises:
      ValueError: it is needed, or the folder is not one.
    """
    if options.jaxmarl is None:
        if suite == "jaxmarl":
            raise ValueError("marlx bench jaxmarl needs --jaxmarl CLONE, JaxMARL's repository")
        if suite == "all":
            print("without JaxMARL's scripts: --jaxmarl CLONE names a clone of its repository")
        return []
    if not (Path(options.jaxmarl) / "baselines").is_dir():
        raise ValueError(
            f"--jaxmarl is {options.jaxmarl}; it must be a clone of JaxMARL's repository, with its "
            "folder baselines"
        )
    python = ["--python", str(Path(options.peer_python).absolute())] if options.peer_python else []
    return ["--jaxmarl", str(Path(options.jaxmarl).absolute()), *python]


def _run(script: Script, folder: Path, out: Path, options: BenchOptions, clone: list[str]) -> int:
    """Runs a script, and returns its exit code."""
    began = time.perf_counter()
    print(f"== {script.name}{_without(script)}", flush=True)
    arguments = [*(script.quick if options.quick else ()), *(clone if script.clone else ())]
    code = subprocess.run(
        [sys.executable, f"{script.name}.py", *arguments],
        cwd=folder,
        env=os.environ | {"MARLX_BENCH_RESULTS": str(out)},
        check=False,
    ).returncode
    print(f"== {script.name}: {time.perf_counter() - began:.0f} s", flush=True)
    return code


def _judged(out: Path, scripts: Sequence[str]) -> list[str]:
    """Prints the measured ratios beside the documented ones; returns the cases that fell behind."""
    import importlib.resources

    from marlx.analysis import result_rows

    reference = importlib.resources.files("marlx.reference")
    try:
        here = result_rows.read_study(out, "speed").rows
        stored = result_rows.read_study(reference, "speed").rows
    except (OSError, ValueError):
        return []
    cases = compared(here, stored, scripts)
    if cases:
        print(f"{'case':50}  documented  at least   here")
    for case in cases:
        print(f"{case.name:50}  {case.documented:10.2f}  {case.least:8.2f}  {case.here:5.2f}")
    return [f"{case.name}, {case.here:.2f}" for case in cases if case.here < case.least]


class Compared(NamedTuple):
    """A ratio against another package."""

    name: str
    documented: float
    here: float

    @property
    def least(self) -> float:
        """A tenth below the documented one."""
        return 0.9 * self.documented


def compared(
    here: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]], scripts: Sequence[str]
) -> list[Compared]:
    """Returns the ratios of rows `here` that `stored` has too, of these scripts."""

    def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return {
            f"{row['comparison']}: {row['arm']}": float(row["measured"]["ratio"])
            for row in rows
            if row["comparison"] in scripts and row["measured"].get("ratio") is not None
        }

    documented = ratios(stored)
    return [Compared(k, documented[k], v) for k, v in ratios(here).items() if k in documented]


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
