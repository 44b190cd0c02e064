"""Several processes that train one run: connecting, starting, stopping and leaving together."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from marlx.cli.records import CLUSTER_OPTIONS
from marlx.cli.shared import complain
from marlx.cli.stopping import WAITING, Stop, stoppable

if TYPE_CHECKING:
    from marlx.cli.records import Output
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints

T = TypeVar("T")


def check_cluster(output: Output) -> None:
    """Checks the options for several processes.

    Raises:
      ValueError: one is invalid, or needs another.
    """
    given = [name for name in CLUSTER_OPTIONS if getattr(output, name) is not None]
    if given and not output.distributed:
        raise ValueError(f"--{given[0].replace('_', '-')} needs --distributed")
    coordinator, count, index = output.coordinator, output.num_processes, output.process_id
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(
                f"--coordinator is {coordinator}; it must be HOST:PORT, of process 0 and the same "
                "for all"
            )
    if count is not None and count < 1:
        raise ValueError(f"--num-processes is {count}; it must be at least 1")
    if index is not None and not 0 <= index < (count or index + 1):
        last = f"to {count - 1}" if count else "up"
        raise ValueError(f"--process-id is {index}; it must be a number from 0 {last}")


def join(output: Output) -> int:
    """Connects to the other processes of a run, before JAX starts, and returns their number.

    Options that are not given are detected by JAX, on a Slurm or Kubernetes cluster, under Open MPI
    and on TPU pods.

    Raises:
      ValueError: nothing was detected, or the others did not connect in time.
    """
    import jax
    from jax._src import distributed  # public functions would start JAX

    # its handler would replace ours for SIGTERM, which stops all processes at the same block
    with contextlib.suppress(AttributeError):
        jax.config.update("jax_enable_preemption_service", False)
    if distributed.global_state.client is None:
        try:
            jax.distributed.initialize(output.coordinator, output.num_processes, output.process_id)
        except ValueError:
            raise ValueError(
                "--distributed: no cluster was detected that says which processes there are; give "
                "--coordinator HOST:PORT, --num-processes N and --process-id I"
            ) from None
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"--distributed: the processes did not meet: {reason[:200]}") from None
    return int(distributed.global_state.num_processes)


def agree_to_start(error: ValueError | None, settings: str, steps: int) -> None:
    """Makes sure that all processes start the same run, or none does; all must call it.

    Args:
      error: why this process cannot start; None if it can.
      settings: of the run, which must be the same for all.
      steps: environment steps of the run so far, as this process reads its folder.

    Raises:
      ValueError: a process cannot start, or its settings or steps differ from the first one's.
    """
    from marlx.loop import multihost

    digest = zlib.crc32(settings.encode()) & 0x7FFFFFFF
    gathered = multihost.all_gather(error is not None, digest, steps)
    if error is not None:
        raise error
    for process, (cannot_start, other_digest, other_steps) in enumerate(gathered):
        if cannot_start:
            raise ValueError(f"process {process} cannot start, and says why; all of them stop")
        if other_digest != gathered[0, 1]:
            raise ValueError(
                f"process {process} was started with other settings than process 0; all must be "
                "started alike, but for --process-id"
            )
        if other_steps != gathered[0, 2]:
            raise ValueError(
                f"process {process} sees the run at {other_steps} steps and process 0 at "
                f"{gathered[0, 2]}; the run folder must be on a disk that all share"
            )


def any_stopped(stop: Stop) -> bool:
    """Whether a process was asked to stop, the same in all; `stop.number` becomes its signal.

    All must call it. A signal that comes while they communicate counts at the next call.
    """
    from marlx.loop import multihost

    number = int(multihost.all_gather(stop.number).max())
    if number:
        stop.number = number
    return bool(number)


def follow(training: Run, checkpoints: Checkpoints | None, history: Sequence[Progress]) -> int:
    """Trains in a process that is not the first: it writes and prints nothing; the exit code.

    Args:
      training: new, or restored.
      checkpoints: this process contributes its part of the arrays; None if none are kept.
      history: evaluations so far of a restored run.
    """
    from marlx.loop.drive import drive
    from marlx.loop.finite import NotFinite

    with contextlib.suppress(NotFinite), stoppable(lambda: complain(WAITING), lambda: None) as stop:
        stop.patient = True
        result = drive(
            training,
            list(history),
            save=None if checkpoints is None else checkpoints.step,
            stop=lambda: any_stopped(stop),
        )
        return 128 + stop.number if result is None else 0
    return 1  # all processes find the same NaN or infinity, and the first one says so


def leave_together(run: Callable[[], T], *passes: type[Exception]) -> T:
    """Returns `run()` in one of several processes, and exits at once if that fails.

    Without the exit this process and the others would wait for each other to end.

    Args:
      run: called once.
      passes: errors that are raised as usual.
    """
    import jax

    try:
        return run()
    except passes:
        raise
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())
        complain(
            f"another process is gone, or this one failed: {reason[:200]}; --resume goes on from "
            "the last checkpoint"
        )
    except Exception:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
