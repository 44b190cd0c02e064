"""Whether a run is being trained right now, found out without touching its folder.

A training locks its folder. Trying that lock could make a training that starts at the same moment
fail, so it is read from the system's list of locks instead. Other machines' locks are not in it: on
a disk of the network, and where there is no list, a run is live while its files change.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LOCKS, MOUNTS = Path("/proc/locks"), Path("/proc/self/mountinfo")
REMOTE = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "glusterfs",
    "9p",
    "afs",
    "fuse",
)
"""Beginnings of the names of file systems that other machines may write to."""
QUIET_SECONDS = 180.0
"""Without a lock to go by, a run whose files have not changed for longer is stopped."""
_LOCK = re.compile(r"FLOCK +\w+ +WRITE +(\d+) +([0-9a-f]+):([0-9a-f]+):(\d+)")


class Locks:
    """The folders that are locked on this machine, at one moment."""

    def __init__(self, locks: Path = LOCKS, mounts: Path = MOUNTS) -> None:
        """Reads the lists; `known` is False where the system has none."""
        try:
            text = locks.read_text("utf-8", errors="replace")
            self.known = True
        except OSError:
            text, self.known = "", False
        self._locked = {
            (int(major, 16), int(minor, 16), int(inode)): int(process)
            for process, major, minor, inode in _LOCK.findall(text)
        }
        self._remote = _remote_devices(mounts)

    def live(self, folder: Path, changed: float, now: float) -> bool:
        """Returns whether a run that has not ended is being trained.

        Args:
          folder: of the run.
          changed: when a file in it last changed, in seconds since the epoch.
          now: likewise.

        Raises:
          OSError: the folder is gone.
        """
        about = os.stat(folder)
        device = os.major(about.st_dev), os.minor(about.st_dev)
        if (*device, about.st_ino) in self._locked:
            return True
        if self.known and device not in self._remote:
            return False
        return now - changed < QUIET_SECONDS

    def memory(self, folder: Path) -> int | None:
        """Returns the bytes of memory that a run's process holds; None where that is not known."""
        try:
            about = os.stat(folder)
            device = os.major(about.st_dev), os.minor(about.st_dev)
            process = self._locked.get((*device, about.st_ino))
            text = Path(f"/proc/{process}/status").read_text("utf-8", errors="replace")
        except OSError:
            return None
        found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.M)
        return None if found is None else 1024 * int(found[1])


def _remote_devices(mounts: Path) -> set[tuple[int, int]]:
    """Returns the devices `(major, minor)` of file systems that other machines may write to."""
    try:
        lines = mounts.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    devices = set()
    for line in lines:
        before, _, after = line.partition(" - ")
        numbers = re.search(r" (\d+):(\d+) ", before)
        if numbers and after.split(" ")[0].startswith(REMOTE):
            devices.add((int(numbers[1]), int(numbers[2])))
    return devices
