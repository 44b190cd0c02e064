"""`python child.py FAULT WORDS...`: runs marlx in this process with one thing of the system broken.

kill:N      SIGKILL at the N-th call that makes a file durable (rename, fsync)
rename:N    every rename from the N-th on fails
clock       the clock goes back by an hour again and again
none        nothing
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


def break_system(fault: str) -> None:
    """Breaks what `fault` names, in this process."""
    name, _, number = fault.partition(":")
    calls = itertools.count(1)

    def kill(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return counted

    def fail(function: Callable[..., Any]) -> Callable[..., Any]:
        def refused(*args: Any, **kwargs: Any) -> Any:
            if next(calls) >= int(number):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return function(*args, **kwargs)

        return refused

    if name == "kill":
        os.replace, os.rename, os.fsync = kill(os.replace), kill(os.rename), kill(os.fsync)
    elif name == "rename":
        os.replace, os.rename = fail(os.replace), fail(os.rename)
    elif name == "clock":
        clock = time.time
        time.time = lambda: clock() - 3600 * (next(calls) % 7)  # type: ignore[assignment]


if __name__ == "__main__":
    from marlx import cli

    break_system(sys.argv[1])
    cli.main(sys.argv[2:])
