"""Several processes that train one run: how they meet, start, stop and end."""

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
    """Refuse options of several processes that do not go together.

    Raises:
      ValueError: see above.
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
    """Meet the other processes of a run, before JAX starts; how many there are.

    What is not given is what JAX detects, on a Slurm or Kubernetes cluster, under Open MPI and on
    TPU pods.

    Raises:
      ValueError: nothing was detected, or the others were not met in time.
    """
    import jax
    from jax._src import distributed  # the only place that tells how many there are by then

    # its handler would take SIGTERM from ours, which stops all processes at the same block
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


def agree_to_start(error: ValueError | None, settings: str, standing: int) -> None:
    """Start in all processes or in none; all must call it.

    Args:
      error: why this one cannot.
      settings: of the run, which must be the same for all.
      standing: where the run stands, as this process reads its folder.

    Raises:
      ValueError: this process or another cannot, or they are not about to do the same.
    """
    from marlx.loop import multihost

    digest = zlib.crc32(settings.encode()) & 0x7FFFFFFF
    told = multihost.gathered(error is not None, digest, standing)
    if error is not None:
        raise error
    for process, (cannot, there, where) in enumerate(told):
        if cannot:
            raise ValueError(f"process {process} cannot start, and says why; all of them stop")
        if there != told[0, 1]:
            raise ValueError(
                f"process {process} was started with other settings than process 0; all must be "
                "started alike, but for --process-id"
            )
        if where != told[0, 2]:
            raise ValueError(
                f"process {process} sees the run at {where} steps and process 0 at {told[0, 2]}; "
                "the run folder must be on a disk that all share"
            )


def heard_by_any(stop: Stop) -> int:
    """The number of a signal that a process has heard, the same in all; 0 if none has.

    One that comes while they tell each other is for the next time.
    """
    from marlx.loop import multihost

    return int(multihost.gathered(stop.number).max())


def follow(training: Run, checkpoints: Checkpoints | None, history: Sequence[Progress]) -> int:
    """What the other processes do while the first one trains, tells and writes: train.

    Args:
      training: new, or restored.
      checkpoints: nothing is written to them, but all processes are asked for their part.
      history: what a restored run has reported until then.
    """
    seen = list(history)
    with stoppable(lambda: complain(WAITING), lambda: None) as stop:
        stop.patient = True
        training.compile()
        for progress in training.blocks():
            seen.append(progress)
            stopped = heard_by_any(stop)
            if checkpoints is not None:
                checkpoints.step(training, seen, now=bool(stopped))
            if stopped and progress.steps < progress.total_steps:
                return 128 + stopped
        training.final_returns()
    return 0


def leave_together(run: Callable[[], T], *passes: type[Exception]) -> T:
    """What `run` returns, in one of several processes; errors that it `passes` on are raised.

    After any other error the process leaves at once: while it waits for the others to end, they
    would wait for it.
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
