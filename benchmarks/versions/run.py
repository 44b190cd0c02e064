"""Runs `smoke.py` with the lowest versions that `pyproject.toml` allows, and with the newest.

    make test-versions                      all of them
    python benchmarks/versions/run.py low   the lowest alone

For the lowest versions it takes the oldest Python that marlx allows; for the newest every Python
that is found on the path or in pyenv, from 3.11 up (`PYTHONS="/usr/bin/python3.12 ..."` names
others). Each gets a venv below `.cache/versions`, which a second call uses again. With the newest,
a DeprecationWarning about a line of marlx is a failure. Prints a table; exit code 1 on failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENVS = ROOT / ".cache" / "versions"
EXTRAS = ("sweep", "tensorboard")
EXPECTED = ("3.11", "3.12", "3.13", "3.14")
"""Versions of Python that the table names even where there is no interpreter of them."""
SHOWN = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "wandb", "optuna")


def requirements() -> list[str]:
    """Returns what marlx and the smoke suite need, as `pyproject.toml` writes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    peers = [one for one in extras["peers"] if one.startswith("pettingzoo")]
    return [*project["dependencies"], *peers, *(one for name in EXTRAS for one in extras[name])]


def lowest(requirement: str) -> str:
    """Returns a requirement that only its floor meets; without a floor as it is."""
    return re.sub(r">=\s*([\w.]+).*", r"==\1", requirement)


def newest(requirement: str) -> str:
    """Returns a requirement without its bounds."""
    return re.split(r"[<>=!~ ;]", requirement)[0]


def interpreters() -> dict[str, str]:
    """Returns a Python for each minor version from 3.11 up that is found, oldest first."""
    given = os.environ.get("PYTHONS", "").split()
    found = [
        *(shutil.which(f"python3.{minor}") for minor in range(11, 20)),
        *sorted(map(str, Path.home().glob(".pyenv/versions/3.*/bin/python"))),
        sys.executable,
    ]
    by_version: dict[tuple[int, int], str] = {}
    for python in given or [one for one in found if one]:
        code = "import sys, venv; print(*sys.version_info[:2])"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor = map(int, done.stdout.split())
            if (major, minor) >= (3, 11):
                by_version.setdefault((major, minor), python)
    return {f"{major}.{minor}": by_version[major, minor] for major, minor in sorted(by_version)}


def installed(python: str, name: str, needed: list[str]) -> Path:
    """Returns the interpreter of a venv with `needed` and this marlx.

    Raises:
      subprocess.CalledProcessError: pip found no such set of versions.
    """
    venv = VENVS / name
    inside = venv / "bin" / "python"
    wanted = "\n".join([python, *needed])
    stamp = venv / "wanted.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([python, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(inside), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "--upgrade", *needed], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    pip = [str(inside), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(ROOT)], check=True)
    return inside


def versions(python: Path) -> str:
    """Returns the installed versions that the table shows; of a broken venv why there are none."""
    code = (
        "import importlib.metadata as m, platform\n"
        "have = {one.metadata['Name'].lower(): one.version for one in m.distributions()}\n"
        "print('python', platform.python_version(), end='')\n"
        f"for name in {SHOWN!r}: print(f', {{name}} {{have.get(name, \"missing\")}}', end='')"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout or f"{python} fails: {done.stderr.strip()[-100:]}"


def smoke(python: Path, *options: str) -> tuple[bool, float]:
    """Runs the suite; returns whether it passed, and its seconds. A failure prints its output."""
    began = time.perf_counter()
    script = str(ROOT / "benchmarks" / "versions" / "smoke.py")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(python), script, *options],
        capture_output=True, text=True, check=False, env=clean, cwd="/",
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode == 0, time.perf_counter() - began


def main() -> int:
    """Runs what the command line names, `low` and `new`, and prints the table."""
    kinds = sys.argv[1:] or ["low", "new"]
    pythons, needed, rows = interpreters(), requirements(), []
    rows += [["newest", f"python {one}", "not found", ""] for one in EXPECTED if one not in pythons]
    jobs = [("lowest", next(iter(pythons)), lowest, ())] if "low" in kinds else []
    if "new" in kinds:
        jobs += [("newest", version, newest, ("--strict",)) for version in pythons]
    for kind, version, bound, options in jobs:
        python, wanted, name = pythons[version], list(map(bound, needed)), f"{kind}-{version}"
        print(f"{kind}, Python {version}: installing and running", flush=True)
        try:
            inside = installed(python, name, wanted)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"  {error}")
            rows.append([kind, f"python {version}", "cannot be installed", ""])
            continue
        passed, seconds = smoke(inside, *options)
        rows.append([kind, versions(inside), "passed" if passed else "FAILED", f"{seconds:.0f} s"])
        print_table(rows)
    print_table(rows)
    return 0 if all(row[2] in ("passed", "not found") for row in rows) else 1


def print_table(rows: list[list[str]]) -> None:
    """Prints what was run so far: a later part may fail, or be stopped."""
    print()
    for row in rows:
        print("  ".join(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
