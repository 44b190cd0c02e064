"""Progress in the terminal, or as plain lines if the output is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np

from marlx.loop.progress import Progress
from marlx.text import duration, short


class Console:
    """Logger that shows two live lines in a terminal, or prints a line per evaluation.

    Args:
      seeds: number of seeds; steps per second are summed over them.
      optimum: best possible return, if known.
      stream: output; standard output by default.
    """

    def __init__(self, seeds: int, optimum: float | None, *, stream: TextIO | None = None) -> None:
        self.random_return: float | None = None
        """Return of the uniform policy, shown with the learner's once it is set."""
        self._seeds, self._optimum = seeds, optimum
        self._stream = stream or sys.stdout
        self._last: tuple[int, float] = (0, 0.0)
        self._began = time.perf_counter()
        self._shown = ("compiling", "", 0.0)
        self._live: Any = None

    def start(self) -> None:
        """Shows that the run is being compiled."""
        if not self._stream.isatty():
            print("  compiling", file=self._stream, flush=True)
            return
        from rich.console import Console as Terminal
        from rich.live import Live

        self._live = Live(
            get_renderable=self._lines,
            console=Terminal(file=self._stream),
            refresh_per_second=4,
            transient=True,
        )
        self._live.start(refresh=True)

    def log(self, progress: Progress) -> None:
        """Shows steps, speed, time left and returns."""
        rate, left = self._speed(progress)
        returns = np.asarray(progress.metrics["return"], float)
        text = f"return {returns.mean():.3f}"
        if self._seeds > 1:
            text += f" (seeds {returns.min():.3g} to {returns.max():.3g})"
        scale = [] if self.random_return is None else [f"random {self.random_return:.3g}"]
        scale += [] if self._optimum is None else [f"optimum {self._optimum:.3g}"]
        text += f"   {', '.join(scale)}"
        if self._live is not None:
            where = f"{short(progress.steps)} of {short(progress.total_steps)} steps"
            done = progress.steps / progress.total_steps
            self._shown = ("  ".join(filter(None, (where, rate, left))), text, done)
            self._live.refresh()
            return
        width = len(f"{progress.total_steps:,}")
        line = f"  {progress.steps:>{width},} / {progress.total_steps:,} steps"
        line += f"{rate:>18}{left:>14}   {text}"
        print(line, file=self._stream, flush=True)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Removes the live lines."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _lines(self) -> Any:
        """The two live lines."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        where, text, done = self._shown
        first = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=done, width=20, pulse=not done)
        elapsed = duration(time.perf_counter() - self._began)
        first.add_row(bar, Text(where, no_wrap=True), Text(elapsed, style="dim"))
        return Group(first, Text(text, style="bold", no_wrap=True, overflow="ellipsis"))

    def _speed(self, progress: Progress) -> tuple[str, str]:
        """Steps per second of the last block over all seeds, and time left."""
        (steps, seconds), self._last = self._last, (progress.steps, progress.seconds)
        elapsed, done = progress.seconds - seconds, progress.steps - steps
        if not steps or elapsed <= 0 or done <= 0:
            return "", ""  # the first block is the warm-up, which has another speed
        left = (progress.total_steps - progress.steps) * elapsed / done
        return f"{done * self._seeds / elapsed:,.0f} steps/s", f"{duration(left)} left"
