"""Where compiled programs are kept between commands, so that the same run starts faster next time.

A program that XLA compiled for one CPU may hold instructions that another lacks, and a home folder
may be shared by both; a cached program of another JAX is of no use. So there is one folder for each
version of JAX and kind of machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from marlx.text import print_line, printable
from marlx.xla.options import check_options

REFUSED = "--no-cache"
"""Word of a command line that keeps no compiled programs."""


def use_compilation_cache() -> None:
    """Caches compiled programs between commands; a user's JAX variables take precedence.

    A folder that cannot be written is one line on stderr, and nothing is cached.

    Raises:
      ValueError: an option of JAX has a value that marlx cannot train with.
    """
    check_options()
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & {*os.environ}:
        return
    folder = cache_folder()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        print_line(
            f"marlx: compiled programs are not kept: cannot write to {printable(str(folder))} "
            f"({reason})"
        )
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def without_cache(argv: Sequence[str]) -> list[str]:
    """Returns a command line without `--no-cache`, which it obeys where it is given."""
    if REFUSED in argv:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    return [word for word in argv if word != REFUSED]


def cache_folder() -> Path | None:
    """Returns the folder of compiled programs, in the user's cache; None where there is no home."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        base = Path(given)
    else:
        try:
            home = Path.home()
        except RuntimeError:  # neither HOME nor an entry of this user
            return None
        if sys.platform == "darwin":
            base = home / "Library" / "Caches"
        elif sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        else:
            base = home / ".cache"
    return base / "marlx" / "xla" / kind_of_programs()


def kind_of_programs() -> str:
    """Returns versions and machine as the name of a folder, `jax-0.10.2-x86_64-1a2b3c4d`."""
    versions = [_version(name) for name in ("jax", "jaxlib")]
    shown = versions[0] if versions[0] == versions[1] else "-".join(versions)
    digest = hashlib.sha256(_features().encode()).hexdigest()[:8]
    return f"jax-{shown}-{platform.machine() or 'machine'}-{digest}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _features() -> str:
    """Returns the instructions that the CPU has, or its name where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    features = [line for line in lines if line.lower().startswith(("flags", "features"))]
    return " ".join(sorted(features[0].split(":", 1)[1].split())) if features else ""
