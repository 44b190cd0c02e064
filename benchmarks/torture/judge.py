"""Runs one command line of marlx in this process, and says what is wrong with what it did."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LIMIT = 5.0
"""Seconds of CPU time that a command may take to refuse or to answer."""
COMPILES = 20.0
"""The same for a command that builds a large learner or compiles a small program."""
STUCK = 60.0
"""Seconds on the clock after which a command is stopped, on a machine that does nothing else."""
LONGEST = 4000
"""Characters of the longest message."""
RAW = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters, which a terminal obeys."""


class Case(NamedTuple):
    """A command line, and what may come of it.

    Attributes:
      words: after `marlx`.
      codes: exit codes that are right.
      compiles: whether it compiles a program.
      files: path -> bytes to write first, relative to the folder that the command runs in.
      shapes: whether a training gets as far as its shapes and its memory plan, which takes seconds;
        otherwise it stops once environment and learner are made.
    """

    words: Sequence[str]
    codes: tuple[int, ...] = (0, 2)
    compiles: bool = False
    files: dict[str, bytes] = {}  # noqa: RUF012
    shapes: bool = True


class Outcome(NamedTuple):
    """Outcome of a command: its exit code, output and time.

    Attributes:
      code: exit code; None if it came to the place where it would have compiled.
      out: what it wrote to stdout.
      err: what it wrote to stderr.
      seconds: of CPU time.
      error: an exception that left it, as text.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    error: str = ""


class Reached(BaseException):
    """Raised where a training would be compiled."""


class Stuck(BaseException):
    """Raised when a command takes too long."""


def slowness() -> float:
    """Returns how many seconds on the clock a second of CPU time takes now; 1 on an idle machine.

    Limits on the clock are multiplied by it, so that other programs make no hangs.
    """
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < 0.2:
        pass
    return max(1.0, (time.monotonic() - began) / (time.thread_time() - used))


def faults(case: Case, outcome: Outcome) -> list[str]:
    """Returns the kinds of faults of an outcome."""
    found, code, text = [], outcome.code, outcome.out + outcome.err
    if outcome.error.startswith("Stuck"):
        found.append("hang")
    elif outcome.error or "Traceback (most recent call last)" in text:
        found.append("traceback")
    elif outcome.seconds > (LIMIT if code is not None and not case.compiles else COMPILES):
        found.append("slow")
    if not outcome.error:
        if (0 if code is None else code) not in case.codes:
            found.append("exit code")
        elif code == 2 and not re.fullmatch(r"(marlx: .*\n)+|usage: (.|\n)*", outcome.err):
            found.append("no plain line")  # wrong input is answered by lines of marlx alone
    if any(len(line) > LONGEST for line in outcome.err.splitlines()) or len(outcome.err) > LONGEST:
        found.append("long message")
    if RAW.search(text):
        found.append("raw control code")
    return found


_shapes = True
"""Whether the case that runs now computes shapes; see `Case.shapes`."""


def run(case: Case) -> Outcome:
    """Runs a command line in an empty folder, up to where it would compile a training."""
    from marlx import cli

    global _shapes
    _shapes = case.shapes
    out, err, code, error = io.StringIO(), io.StringIO(), None, ""
    here = os.getcwd()
    scratch = tempfile.mkdtemp(prefix="torture-")
    began = time.process_time()
    try:
        os.chdir(scratch)
        for name, content in case.files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
        with (
            _alarm(), limited_memory(),
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        ):  # fmt: skip
            code = cli.run(list(case.words))
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
    except Reached:
        code = None
    except BaseException as caught:  # whatever left it is what is looked for
        lines = traceback.format_exception(caught)
        error = f"{type(caught).__name__}: {str(caught)[:200]} | {_place(lines)}"
    finally:
        seconds = time.process_time() - began
        os.chdir(here)
        shutil.rmtree(scratch, ignore_errors=True)
    return Outcome(code, out.getvalue(), err.getvalue(), seconds, error)


def _place(lines: list[str]) -> str:
    """Returns the last line of marlx in a traceback."""
    ours = [line for line in lines if "/marlx/" in line or "/envs/" in line or "/algos/" in line]
    return " ".join((ours or lines)[-1].split())[:200]


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    began = time.monotonic()

    def ring(*_: Any) -> None:
        left = STUCK * slowness() - (time.monotonic() - began)
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, left)
            return
        raise Stuck(f"after {time.monotonic() - began:.0f} s")

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, STUCK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@contextlib.contextmanager
def limited_memory(more: int = 3 << 30) -> Iterator[None]:
    """Gives this process `more` bytes of address space beyond what it has, inside a `with` block.

    A command that reads /dev/zero to its end then gets a MemoryError, and the machine stays alive.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").exists() else 0
    old = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        soft = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (soft, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def stop_before_compiling(
    change: Callable[[Any, str, Any], None] = setattr, *, shapes: bool = True
) -> None:
    """Makes trainings and sweeps raise `Reached` where they would compile, in this process.

    Args:
      change: sets an attribute.
      shapes: False stops every training before its shapes, whatever its case says.
    """
    import subprocess

    from marlx.loop.run import Run
    from marlx.sweeps.study import Study

    make = Run.__init__

    def reached(*_: Any, **__: Any) -> Any:
        raise Reached

    def made(run: Run, *args: Any, **named: Any) -> None:
        if not (shapes and _shapes):
            raise Reached
        make(run, *args, **named)

    change(Run, "__init__", made)
    change(Run, "random_returns", reached)
    change(Run, "compile", reached)
    change(Study, "take", reached)
    change(subprocess, "run", reached)  # `marlx bench`
