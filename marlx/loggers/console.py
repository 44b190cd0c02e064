"""Progress for people, in a terminal or in a file of lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from marlx.text import duration, short

if TYPE_CHECKING:
    from marlx.loop.progress import Progress


class Console:
    """Progress for people: two live lines in a terminal, a plain line per evaluation elsewhere.

    Args:
      seeds: how many runs train at once; steps per second are over all of them.
      optimum: the best possible return, where it is known.
      stream: where to print.
    """

    def __init__(self, seeds: int, optimum: float | None, *, stream: TextIO | None = None) -> None:
        self.random_return: float | None = None
        """Return of the uniform policy, shown beside the learner's once it is known."""
        self._seeds, self._optimum = seeds, optimum
        self._stream = stream or sys.stdout
        self._last: tuple[int, float] = (0, 0.0)
        self._began = time.perf_counter()
        self._shown = ("compiling", "", 0.0)
        self._live: Any = None

    def start(self) -> None:
        """Show that the run is being compiled, which can take a while."""
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
        """Show where the run stands."""
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
        """Take the live lines down."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _lines(self) -> Any:
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
        spent, taken = progress.seconds - seconds, progress.steps - steps
        if not steps or spent <= 0 or taken <= 0:
            return "", ""  # the first look is at the warm-up, which tells nothing of what follows
        left = (progress.total_steps - progress.steps) * spent / taken
        return f"{taken * self._seeds / spent:,.0f} steps/s", f"{duration(left)} left"
