"""Ctrl-C and SIGTERM: the first lets the current block finish, the second exits at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WAITING = "stopping after the current block; a second signal stops at once"


class Stopped(BaseException):
    """Raised where a run is asked to stop; like KeyboardInterrupt, it is no `Exception`."""


class Stop:
    """Whether the run was asked to stop.

    Attributes:
      number: of the signal; 0 before one came.
      patient: True while a signal only sets `number`, for the run to check. While False, a signal
        raises `Stopped`.
    """

    def __init__(self) -> None:
        self.number = 0
        self.patient = False


@contextlib.contextmanager
def stoppable(first: Callable[[], None], second: Callable[[], None]) -> Iterator[Stop]:
    """Handles SIGINT and SIGTERM inside a `with` block.

    Python's own handlers do not run while compiled code runs. They would be too late to report the
    first signal and to act on the second, so a thread listens to Python's wake-up descriptor.
    In another thread than the main one, signals are left to the program.

    Args:
      first: called for the first signal, if `Stop.patient`.
      second: called for any later one, just before the process exits.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python lets only the main thread handle signals
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def handle(number: int, frame: object) -> None:
        stop.number = number
        if not stop.patient:
            raise Stopped

    def listen() -> None:
        count = 0
        while data := receiver.recv(1):
            if data[0] not in SIGNALS:
                continue
            count += 1
            if count > 1:
                second()
                os._exit(128 + data[0])
            if stop.patient:
                first()

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    old_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in old.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: one that is not Python's
        sender.close()
        listener.join()
        receiver.close()
