"""Memory of this machine, or of the container that this process runs in, in bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
"""The file system that the kernel's files are read from."""


def total_memory() -> int | None:
    """Memory that this process could have at most; None where the platform does not say."""
    if not hasattr(os, "sysconf"):
        return None
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _limits())])


def free_memory() -> int | None:
    """Memory that this process can still have: what the machine and every control group have left.

    What the kernel keeps of files and can give up counts as free. None where the platform, which
    is any but Linux, does not say.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        fields = _fields(ROOT / "proc/meminfo")
        machine = fields["MemAvailable"] * 1024
        return max(0, min([machine, *(limit - used for limit, used in _limits())]))
    return None


def _limits() -> Iterator[tuple[int, int]]:
    """Yields limit and use of the control groups that this process is in, and of those above."""
    with contextlib.suppress(OSError):
        lines = (ROOT / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
        for line in lines:
            number, controllers, path = line.split(":", 2)
            mounted = ROOT / "sys/fs/cgroup"
            names, cache = ("memory.max", "memory.current"), "inactive_file"
            if number != "0":
                if "memory" not in controllers.split(","):
                    continue
                mounted /= "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                cache = "total_inactive_file"
            group = mounted / path.lstrip("/")
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max": no limit here
                    limit, used = (int((folder / name).read_text()) for name in names)
                    kept = _fields(folder / "memory.stat").get(cache, 0)
                    yield limit, max(0, used - kept)
                if folder == mounted:
                    break


def _fields(path: Path) -> dict[str, int]:
    """Returns the names and numbers in the lines of a file of the kernel."""
    lines = path.read_text(encoding="ascii").splitlines()
    pairs = (line.replace(":", " ").split()[:2] for line in lines)
    return {name: int(number) for name, number in pairs}
