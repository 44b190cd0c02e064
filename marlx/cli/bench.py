"""`marlx bench`: runs the speed benchmarks of the repository, each in a separate process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import marlx
from marlx.cli.options import run_and_options
from marlx.cli.records import BenchOptions
from marlx.text import unknown

if TYPE_CHECKING:
    from marlx.analysis.result_rows import Row

BENCH_USAGE = """\
usage: marlx bench SUITE [options]

Time marlx on this machine. The results are rows of speed.jsonl in the --out folder.

  marlx bench table          all ratios of the documentation's table; needs --jaxmarl CLONE
  marlx bench environments   steps per second of foraging and particle worlds, against jumanji,
                             lbforaging, JaxMARL and mpe2
  marlx bench jaxmarl        training in turns with JaxMARL's own scripts; needs --jaxmarl CLONE
  marlx bench replay         adding, sampling and updating, against flashbax
  marlx bench training       every learner; QMIX, IPPO and MAPPO at JaxMARL's sizes; CLAM and PPO
  marlx bench scaling        more environments, agents, seeds, replay, devices and processes
  marlx bench roofline       operations and bytes of the hottest programs, and the machine's peaks
  marlx bench all            all of these; without --jaxmarl CLONE all but its scripts

options:
  --quick              shorter and fewer repeats, for rough numbers
  --out FOLDER         folder for the results (default: bench)
  --jaxmarl CLONE      clone of JaxMARL's repository
  --peer-python FILE   Python that has what JaxMARL's scripts import (default: this one)
  --only CASE...       of JaxMARL's scripts these cases, such as qmix or 'ippo feed-forward'

The packages to compare with are in the extra `peers`. Those not installed are named and left out.
Every case is stored as soon as it is done, so what an interruption leaves can be run by itself.
At the end the documentation's table is printed with what was measured now. The exit code is 1 where
a ratio is below the one that the documentation claims, or a script failed.
"""


class Script(NamedTuple):
    """A script of `benchmarks/speed/`.

    Attributes:
      name: its file, without `.py`.
      minutes: roughly, in full and quick, on two quiet cores.
      peers: packages that it compares marlx with.
      quick: arguments of a quick run.
      arguments: of every run.
      clone: whether it needs a clone of JaxMARL's repository.
    """

    name: str
    minutes: tuple[float, float]
    peers: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    arguments: tuple[str, ...] = ()
    clone: bool = False


_SHORT = ("--repeats", "3", "--seconds", "0.2")
ENVIRONMENTS = (
    Script("speed_foraging", (3, 1.5), ("jumanji", "lbforaging"), (*_SHORT, "--no-early")),
    Script("speed_mpe", (4, 2), ("jaxmarl", "mpe2"), _SHORT),
)
JAXMARL = (Script("speed_jaxmarl", (20, 11), clone=True),)
SEEDS = (Script("speed_qmix", (5, 2), arguments=("seeds",)),)
SUITES: dict[str, tuple[Script, ...]] = {
    "table": (*ENVIRONMENTS, *JAXMARL, *SEEDS),
    "environments": ENVIRONMENTS,
    "jaxmarl": JAXMARL,
    "replay": (Script("speed_replay", (5, 1), ("flashbax",)),),
    "training": (
        Script("speed_learners", (9, 5)),
        *SEEDS,
        Script("speed_qmix", (5, 1), arguments=("return",)),
        Script("speed_ppo", (2, 1.5), quick=("--updates", "2", "--blocks", "2")),
        Script("speed_clam", (2, 1), quick=("--repeats", "2", "--rollouts", "1")),
    ),
    "scaling": (Script("speed_scaling", (15, 4)),),
    "roofline": (Script("roofline", (3, 1)), Script("kernels", (4, 2))),
}


def bench_command(argv: Sequence[str]) -> int:
    """Runs `marlx bench SUITE [options]`; returns 1 if a script failed or a ratio is behind."""
    if not argv or argv[0] in ("-h", "--help"):
        print(BENCH_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    suite, options = run_and_options(argv, "bench", BenchOptions, "suite", "SUITE")
    if suite not in (*SUITES, "all"):
        raise unknown("suite", suite, (*SUITES, "all"))
    clone = _clone(options, suite)
    chosen = (script for name in SUITES if suite in (name, "all") for script in SUITES[name])
    scripts = [script for script in dict.fromkeys(chosen) if clone or not script.clone]
    folder = repository_scripts(scripts)
    out = Path(options.out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {options.out}: {error.strerror}") from None
    page, before = _page_rows(), _rows(out)
    minutes = sum(script.minutes[options.quick] for script in scripts)
    print(f"{len(scripts)} scripts, about {minutes:.0f} minutes in all on two quiet cores")
    failed, interrupted = list[str](), False
    try:
        for script in scripts:
            failed += [script.name] if _run(script, folder, out, options, clone) else []
    except KeyboardInterrupt:  # what was done until then is stored, and shown
        interrupted = True
    written = ", ".join(sorted(path.name for path in out.glob("*.jsonl")))
    print(f"{options.out}: {written or 'nothing was written'}")
    behind = _compared([row for row in _rows(out) if row not in before], page)
    if failed:
        print(f"marlx: failed: {', '.join(failed)}", file=sys.stderr)
    return 130 if interrupted else int(bool(failed or behind))


def _clone(options: BenchOptions, suite: str) -> list[str]:
    """Returns the arguments about JaxMARL's repository; none where it was not named.

    Raises:
      ValueError: it is needed, or the folder is not one.
    """
    if options.jaxmarl is None:
        if suite in ("jaxmarl", "table"):
            raise ValueError(f"marlx bench {suite} needs --jaxmarl CLONE, JaxMARL's repository")
        if suite == "all":
            print("without JaxMARL's scripts: --jaxmarl CLONE names a clone of its repository")
        return []
    if not (Path(options.jaxmarl) / "baselines").is_dir():
        raise ValueError(
            f"--jaxmarl is {options.jaxmarl}; it must be a clone of JaxMARL's repository, with its "
            "folder baselines"
        )
    python = ["--python", str(Path(options.peer_python).absolute())] if options.peer_python else []
    only = ["--only", *options.only] if options.only else []
    return ["--jaxmarl", str(Path(options.jaxmarl).absolute()), *python, *only]


def _run(script: Script, folder: Path, out: Path, options: BenchOptions, clone: list[str]) -> int:
    """Runs a script, and returns its exit code."""
    began = time.perf_counter()
    name = " ".join([script.name, *script.arguments])
    print(f"== {name}{_without(script)}", flush=True)
    arguments = [*script.arguments, *(script.quick if options.quick else ())]
    arguments += clone if script.clone else []
    code = subprocess.run(
        [sys.executable, f"{script.name}.py", *arguments],
        cwd=folder,
        env=os.environ | {"MARLX_BENCH_RESULTS": str(out)},
        check=False,
    ).returncode
    print(f"== {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return code


def _rows(folder: Path) -> list[Row]:
    """Returns the rows of timings in a folder; none where there are no files."""
    from marlx.analysis import result_rows

    try:
        return result_rows.read_study(folder, "speed").rows
    except FileNotFoundError:
        return []


def _page_rows() -> list[Row]:
    """Returns the rows that the documentation's table is made of."""
    import importlib.resources

    from marlx.analysis import result_rows

    return result_rows.read_study(importlib.resources.files("marlx.reference"), "speed").rows


def _compared(rows: Sequence[Row], page: Sequence[Row]) -> list[str]:
    """Prints the documentation's table with rows measured now; returns what fell behind it.

    Args:
      rows: of this call alone: those of other days were made by other code.
      page: that the documentation is made of.
    """
    from marlx.cli import bench_claims

    judged = bench_claims.all_judged(rows, page)
    if any(one.measured is not None for one in judged):
        print(bench_claims.text(rows, page))
    behind = bench_claims.failures(judged)
    for line in behind:
        print(f"marlx: slower than documented: {line}", file=sys.stderr)
    return behind


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
