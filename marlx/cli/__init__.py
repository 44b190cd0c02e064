"""The command line: `marlx train`, `marlx eval`, `marlx report` and so on.

JAX is imported only once a command needs it, so that help and most mistakes are answered at once.
Wrong input is one line on stderr and exit code 2, before anything is compiled.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from marlx._version import __version__
from marlx.cli.attack import attack_command
from marlx.cli.bench import bench_command
from marlx.cli.cache import without_cache
from marlx.cli.completion import completion_command
from marlx.cli.doctor import doctor_command
from marlx.cli.grid import train_command
from marlx.cli.language import language_command
from marlx.cli.listing import list_command
from marlx.cli.options import parse_train
from marlx.cli.partners import crossplay_command, embeddings_command, pool_command
from marlx.cli.play import eval_command, export_command, render_command
from marlx.cli.playing import play_command
from marlx.cli.protocol import protocol_command
from marlx.cli.report import plot_command, report_command
from marlx.cli.reproduce import reproduce_command
from marlx.cli.shared import complain, in_one_line
from marlx.cli.stopping import stoppable
from marlx.cli.streams import guarded_streams, open_closed_streams
from marlx.cli.sweep import sweep_command
from marlx.cli.watch import watch_command
from marlx.text import shortened, unknown
from marlx.xla.options import backend_error

USAGE = """\
usage: marlx COMMAND ...

Cooperative multi-agent reinforcement learning in JAX.

commands:
  train ALGO ENV [options]   train, several seeds at once, into a run folder
  train A,B ENV1,ENV2        every algorithm in every environment, with one report
  train --resume RUN         go on with a run, or a folder of several, that was stopped or killed
  eval RUN [options]         returns of a trained policy on fresh episodes
  render RUN [options]       an episode of a trained policy as a GIF, or a page to step through
  render ENV [options]       the same with random play
  play RUN [options]         take a seat in a trained team, in a browser
  watch [FOLDER] [options]   all runs under a folder as they go, in the terminal or a browser
  doctor RUN                 likely problems of a run, and the settings to look at
  export RUN [options]       a trained policy as StableHLO or ONNX, for other programs
  plot RUN... [options]      learning curves of several runs, with intervals
  report RUN... [options]    everything about runs as one HTML page
  sweep FILE [options]       try the settings that a sweep file describes
  embeddings RUN [options]   how well a run's embeddings separate its partners
  attack RUN [options]       return under trained attackers, failures and noise
  language RUN [options]     what a run's speakers say in a signalling game
  crossplay RUN... [options] every run's policy with every other's
  pool train ENV --out DIR   partners of several algorithms and seeds, some held out
  reproduce ID [options]     a stored result made again, and whether the two agree
  protocol run CARD ALGO     train as a card says, so that the numbers compare; also list, table
  bench SUITE [options]      how fast marlx is here, against others where they are installed
  list [algos | envs]        the algorithms and environments there are
  completion bash | zsh      a script that completes words of marlx on Tab

  marlx train qmix Foraging-8x8-2p-2f-coop-v3 --seeds 4
  marlx train qmix Foraging-8x8-2p-2f-coop-v3 --help      every setting, with its value
  marlx train qmix Foraging-8x8-2p-2f-coop-v3 --no-cache  keep no compiled programs
  marlx --version
"""

TRAINING = ("train", "sweep", "pool", "reproduce", "protocol run")
"""Commands that train for long and whose results are in files."""
COMPILING = ("eval", "render", "play", "export", "embeddings", "crossplay", "language", "attack")
"""Commands that a signal ends at once, also while XLA compiles."""
CACHING = ("train", "sweep", "pool", "reproduce", "protocol", *COMPILING)
"""Commands that compile, keep what they compiled, and take `--no-cache`."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The `marlx` command; leaves through `SystemExit`."""
    open_closed_streams()
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: Sequence[str]) -> int:
    """Runs a command line and returns its exit code.

    Output that cannot be written (a closed or broken pipe, a full disk) stops nothing. Trainings
    keep their exit code, since their results are in files. Other commands return 141 for a broken
    pipe, as if killed by SIGPIPE, and 1 for anything else.
    """
    trains = any(" ".join(argv[:words]) in TRAINING for words in (1, 2))
    trains = trains and not {"-h", "--help"} & {*argv}

    def failed(error: OSError) -> None:
        if trains:
            complain(f"cannot write to standard output ({error.strerror}); the training goes on")
        elif error.errno != errno.EPIPE:
            complain(f"cannot write to standard output: {error.strerror}")

    with guarded_streams(failed) as out, _plain_warnings():
        code = _run(argv)
        out.flush()
        if out.error is None or trains or code:
            return code
        return 128 + signal.SIGPIPE if out.error.errno == errno.EPIPE else 1


def _run(argv: Sequence[str]) -> int:
    """Runs a command line and returns the exit code of the command."""
    quick = bool(argv) and argv[0] in COMPILING
    try:
        try:
            with stoppable(_nothing, _flush) if quick else contextlib.nullcontext():
                done = _command(argv)
        except (ValueError, OSError) as error:
            # every error of ours is raised before anything is compiled, and is a single line
            if os.environ.get("MARLX_DEBUG") or not _is_about_input(error):
                raise
            complain(in_one_line(error))
            return 2
        except (RuntimeError, AssertionError):
            if (reason := backend_error()) is None:
                raise
            complain(f"JAX cannot start, see JAX_PLATFORMS: {reason}")
            return 2
        return done if isinstance(done, int) else done()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, MemoryError, RuntimeError) as error:
        # no memory, disk, file or process left: a traceback would not say more
        if os.environ.get("MARLX_DEBUG") or (reason := _exhausted(error)) is None:
            raise
        complain(reason)
        return 1


def _exhausted(error: Exception) -> str | None:
    """Returns the line about an error of the system or of its memory; None for any other."""
    text = in_one_line(error)
    if isinstance(error, OSError):
        return f"{text} (MARLX_DEBUG=1 shows where)"
    if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):  # NumPy's, XLA's
        return f"out of memory: {shortened(text, 200) or 'no more is given to this process'}"
    return None


def _nothing() -> None:
    """Does nothing: these commands leave at the first signal."""


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _is_about_input(error: Exception) -> bool:
    """Whether an error is about what the user gave; of the system's, those about a named file."""
    return isinstance(error, ValueError) or getattr(error, "filename", None) is not None


def _command(argv: Sequence[str]) -> int | Callable[[], int]:
    """Run a command, or return the training that it asks for, whose errors are no wrong input."""
    commands: dict[str, Callable[[Sequence[str]], int | Callable[[], int]]] = {
        "train": train_command,
        "eval": eval_command,
        "render": render_command,
        "play": play_command,
        "watch": watch_command,
        "doctor": doctor_command,
        "export": export_command,
        "plot": plot_command,
        "report": report_command,
        "sweep": sweep_command,
        "embeddings": embeddings_command,
        "crossplay": crossplay_command,
        "language": language_command,
        "attack": attack_command,
        "pool": pool_command,
        "reproduce": reproduce_command,
        "protocol": protocol_command,
        "bench": bench_command,
        "list": list_command,
        "completion": lambda words: completion_command(words, list(commands)),
    }
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] in ("--version", "-V"):
        print(f"marlx {__version__}")
        return 0
    if argv[0] not in commands:
        raise unknown("command", argv[0], commands)
    words = without_cache(argv[1:]) if argv[0] in CACHING else argv[1:]
    return commands[argv[0]](words)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as one line each, without the place in the code."""

    def line(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"marlx: warning: {message}\n"

    old, warnings.formatwarning = warnings.formatwarning, line
    try:
        yield
    finally:
        warnings.formatwarning = old


__all__ = ["main", "parse_train", "run"]
