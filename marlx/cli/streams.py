"""Standard output and error that never raise: a print must not end a training."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast


class Guarded:
    """A text stream whose errors (closed, broken pipe, full disk) are kept instead of raised.

    A write that fails is lost, and the next one is tried again: a full disk may have room later.

    Attributes:
      error: the first error; None if there was none.
    """

    def __init__(self, stream: TextIO | None, failed: Callable[[OSError], None]) -> None:
        """Guards `stream`, which is None where the process was started without it.

        Args:
          stream: it is not closed.
          failed: called at the first error.
        """
        self._stream, self._failed = stream, failed
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Writes `text`; characters that the encoding lacks become question marks."""
        self._try(lambda stream: _write(stream, text))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        if self._stream is not None:
            self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def finish(self) -> None:
        """Flushes; output that cannot be written is dropped, so that Python's own exit is quiet."""
        self.flush()
        if self.error is not None and self._stream in (sys.__stdout__, sys.__stderr__):
            self._drop()

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise AttributeError(f"this process has no such stream, so no {name}")
        return getattr(self._stream, name)

    def _try(self, action: Callable[[TextIO], None]) -> None:
        try:
            if self._stream is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            action(self._stream)
        except OSError as error:
            self._keep(error)
        except ValueError as error:  # I/O operation on a closed file
            self._keep(OSError(errno.EBADF, str(error)))

    def _keep(self, error: OSError) -> None:
        if self.error is None:
            self.error = error
            self._failed(error)

    def _drop(self) -> None:
        """Sends the stream, and all that it still holds, to nowhere."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        stream.write(text.encode(error.encoding, "replace").decode(error.encoding))


@contextlib.contextmanager
def guarded_streams(failed: Callable[[OSError], None]) -> Iterator[Guarded]:
    """Guards `sys.stdout` and `sys.stderr` inside a `with` block; yields the first.

    Args:
      failed: called at the first error of standard output, when standard error is guarded already.
    """
    out, err = sys.stdout, sys.stderr
    own_err = Guarded(err, lambda error: None)
    own_out = Guarded(out, failed)
    sys.stdout, sys.stderr = cast("TextIO", own_out), cast("TextIO", own_err)
    try:
        yield own_out
    finally:
        own_out.finish()
        own_err.finish()
        sys.stdout, sys.stderr = out, err


def open_closed_streams() -> None:
    """Opens what the process was started without, as with `>&-`, on the null device.

    Else the first file that is opened would get the number of a standard stream, and what libraries
    print would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
