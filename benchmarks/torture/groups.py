"""Processes of marlx that end with the check that started them, and what holds for every one."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from judge import RAW, slowness

CHILD = str(Path(__file__).with_name("child.py"))
STUCK = 240.0
"""Seconds after which a process is killed; times `slowness` on a busy machine."""


class Done(NamedTuple):
    """A finished process."""

    code: int
    out: str
    err: str


class Faulty(AssertionError):
    """A check that failed; its text says how."""


class Group:
    """A process, and all that it starts: none of them outlives the check, or this process.

    Attributes:
      process: the first of them.
    """

    alive: ClassVar[set[Group]] = set()

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        """Starts the process, in a group of its own; `options` are those of `Popen`."""
        self.process = subprocess.Popen(command, start_new_session=True, **options)
        Group.alive.add(self)

    def left(self) -> bool:
        """Whether a process of the group still runs; ended ones that nobody waits for do not."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        states = [_group_and_state(path) for path in Path("/proc").glob("[0-9]*/stat")]
        return not states or any(
            group == self.process.pid and state not in "ZX" for group, state in states
        )

    def end(self) -> None:
        """Kills what is there of the group."""
        Group.alive.discard(self)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _group_and_state(path: Path) -> tuple[int, str]:
    """Returns group and state of a process, from its file in /proc."""
    try:
        state, _, group = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):  # it has just ended
        return 0, "X"
    return int(group), state


@atexit.register
def end_all() -> None:
    """Kills every process that is left; a second signal does not stop it."""
    for group in list(Group.alive):
        group.end()


PIPES = {
    "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
    "text": True, "errors": "replace",
}  # fmt: skip


def start(words: Sequence[str], fault: str = "none", **options: Any) -> Group:
    """Starts marlx in a process of its own."""
    return Group([sys.executable, CHILD, fault, *words], **(PIPES | options))


def shell(line: str) -> Group:
    """Starts a line of bash. `MARLX` in it is marlx."""
    marlx = f"{shlex.quote(sys.executable)} {shlex.quote(CHILD)} none"
    return Group(["bash", "-c", line.replace("MARLX", marlx)], **PIPES)


def ended(group: Group, codes: Sequence[int] = (0,)) -> Done:
    """Waits for a process, and checks what holds for every one.

    Raises:
      Faulty: it hangs, shows a traceback or a control code, leaves with another code, or leaves
        another process behind.
    """
    began, process = time.monotonic(), group.process
    while True:
        try:
            out, err = process.communicate(timeout=STUCK)
            break
        except subprocess.TimeoutExpired:
            if time.monotonic() - began > STUCK * slowness():
                group.end()
                raise Faulty("hang") from None
    done = Done(process.returncode, out or "", err or "")
    until = time.monotonic() + 2 * slowness()
    while group.left() and time.monotonic() < until:
        time.sleep(0.05)
    left = group.left()
    group.end()
    if "Traceback (most recent call last)" in done.out + done.err:
        raise Faulty(f"traceback | {done.err.strip().splitlines()[-1][:150]}")
    if RAW.search(done.out + done.err):
        raise Faulty("raw control code")
    if done.code not in codes:
        raise Faulty(f"exit code | {done.code}, expected {codes} | {done.err[-150:]}")
    if left:
        raise Faulty("process left")
    return done
