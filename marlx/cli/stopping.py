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
LAST_WORDS = 2.0
"""Seconds that leaving at once may take to say so; a terminal or pipe may not accept it."""


class Stop:
    """Whether the run was asked to stop.

    Attributes:
      number: of the signal; 0 before one came.
      patient: True while a signal only sets `number`, for the run to check. While False, the first
        signal already exits.
    """

    def __init__(self) -> None:
        self.number = 0
        self.patient = False


@contextlib.contextmanager
def stoppable(first: Callable[[], None], leaving: Callable[[], None]) -> Iterator[Stop]:
    """Handles SIGINT and SIGTERM inside a `with` block.

    Python's own handlers do not run while compiled code or the compiler runs. They would be too
    late to report the first signal and to act on the second, so a thread listens to Python's
    wake-up descriptor. It exits without Python's own shutdown, which crashes while XLA compiles.

    In another thread than the main one signals cannot be handled, and nothing is done.

    Args:
      first: called for the first signal, if `Stop.patient`.
      leaving: called just before the process exits at once.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def handle(number: int, frame: object) -> None:
        stop.number = number

    def listen() -> None:
        count = 0
        while data := receiver.recv(1):
            if data[0] not in SIGNALS:
                continue
            count += 1
            if count > 1 or not stop.patient:
                leave(data[0], leaving)
            # a terminal or pipe may not accept it, and the next signal must be heard
            threading.Thread(target=first, daemon=True).start()

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


def leave(number: int, leaving: Callable[[], None]) -> None:
    """Exits at once, as killed by signal `number`, after `leaving` or `LAST_WORDS` seconds."""

    def say() -> None:
        with contextlib.suppress(Exception):
            leaving()

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    thread.join(LAST_WORDS)
    os._exit(128 + number)
