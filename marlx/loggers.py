"""Where a run's progress goes: the run folder, the terminal, Weights & Biases."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np

from marlx.runs import RunFolder, metrics_record

if TYPE_CHECKING:
    from marlx.training import Progress


class Logger(Protocol):
    """What a run tells its progress to."""

    def log(self, progress: Progress) -> None:
        """Take in an evaluation and the training before it."""

    def close(self, result: Mapping[str, Any] | None) -> None:
        """The run is over; `result` as in `result.json`, or None where it was stopped."""


class JsonLines:
    """`metrics.jsonl` in the run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def log(self, progress: Progress) -> None:
        """Append a line."""
        self._folder.append("metrics.jsonl", metrics_record(progress))

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Nothing to close: every line is flushed as it is written."""


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


class Wandb:
    """Weights & Biases; whatever goes wrong with it costs a line, never the training.

    Args:
      mode: `offline` writes to the run folder, `online` also sends. Nothing ever prompts: `online`
        without being logged in is `offline`, with a line that says so.
      folder: the run folder.
      config: every setting, as in `config.yaml`.
      project: of Weights & Biases.
    """

    def __init__(
        self, mode: str, folder: Path, config: Mapping[str, Any], project: str = "marlx"
    ) -> None:
        self._run: Any = None
        os.environ.setdefault("WANDB_SILENT", "true")
        logging.getLogger("wandb").setLevel(logging.ERROR)
        with _harmless("start"):
            import wandb

            if mode == "online" and not _logged_in(wandb):
                print("wandb: not logged in, so this run is kept offline", file=sys.stderr)
                mode = "offline"
            self._run = wandb.init(
                mode="online" if mode == "online" else "offline",
                project=project,
                name=folder.name,
                dir=str(folder),
                config=dict(config),
                settings=wandb.Settings(silent=True, init_timeout=30),
            )

    def log(self, progress: Progress) -> None:
        """Send means over seeds under the metric's name, and each seed's under `seed_{i}/`."""
        values: dict[str, float] = {"seconds": progress.seconds}
        for name, per_seed in progress.metrics.items():
            each = np.atleast_1d(np.asarray(per_seed, float))
            values[name] = float(each.mean())
            if len(each) > 1:
                values |= {f"seed_{i}/{name}": float(value) for i, value in enumerate(each)}
        if self._run is not None:
            with _harmless("log"):
                self._run.log(values, step=progress.steps)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Hand over the result as the run's summary."""
        if self._run is not None:
            with _harmless("finish"):
                self._run.summary.update(json.loads(json.dumps(result or {})))
                self._run.finish(exit_code=0 if result else 1)


def _logged_in(wandb: Any) -> bool:
    """Whether runs can be sent, found out without a prompt."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False))
    return bool(wandb.api.api_key)  # before wandb had the argument


class _harmless:  # noqa: N801
    """A block that may fail, with a line on stderr and nothing else."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"wandb: could not {self._what}: {reason[:200]}", file=sys.stderr)
            return True
        return False


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    clock = f"{minutes}:{whole % 60:02d}"
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else clock


def short(number: float) -> str:
    """`20k`, `1.5M`."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
