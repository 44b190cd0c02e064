"""Ctrl-C and SIGTERM: the first lets the block under way end, the second leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WAITING = "stopping when the block under way is done; a second signal stops at once"


class Stopped(BaseException):
    """The run was asked to stop; not an error, and so not to be caught as one."""


class Stop:
    """Whether the run was asked to stop.

    Attributes:
      number: of the signal; 0 before one came.
      patient: True once a signal should wait for `number` to be looked at. Before, it raises
        `Stopped`.
    """

    def __init__(self) -> None:
        self.number = 0
        self.patient = False


@contextlib.contextmanager
def stoppable(first: Callable[[], None], second: Callable[[], None]) -> Iterator[Stop]:
    """Watch for signals inside the block.

    While compiled code runs, Python's own handlers do not: they would come too late to say that the
    signal was heard, and too late for a second one. A thread hears of them at once.

    Args:
      first: called for the first signal that has to wait.
      second: called for any after it, just before the process ends.
    """
    stop = Stop()
    heard, signalled = socket.socketpair()
    signalled.setblocking(False)

    def handle(number: int, frame: object) -> None:
        stop.number = number
        if not stop.patient:
            raise Stopped

    def listen() -> None:
        count = 0
        while data := heard.recv(1):
            if data[0] not in SIGNALS:
                continue
            count += 1
            if count > 1:
                second()
                os._exit(128 + data[0])
            if stop.patient:
                first()

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    old_descriptor = signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in old.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: one that is not Python's
        signalled.close()
        listener.join()
        heard.close()
