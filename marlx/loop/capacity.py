"""Whether a run fits into memory, before anything is compiled."""

from __future__ import annotations

from marlx.loop import multihost
from marlx.loop.run import Run
from marlx.text import bytes_text
from marlx.xla.memory import device_memory


def require_memory(run: Run) -> None:
    """Checks that the devices of this process have the free memory that a run needs.

    The run is traced here, which compiling it needs as well. Its state is checked first, since
    sizes that are far too large cannot be traced. Several processes share a run evenly.

    Raises:
      ValueError: they have less; the message says what to make smaller.
    """
    total, free = device_memory(), device_memory(free=True)
    if total is None or free is None:
        return
    free += run.allocated()  # restored from a checkpoint, it has its state already
    processes = multihost.num_processes()
    _require(sum(run.sizes().values()) * run.num_seeds // processes, total, free)
    plan = run.memory_plan()
    _require(plan.training // processes, total, free)
    _require(plan.evaluation // processes, total, free, "evaluations", "a smaller eval_episodes")


def _require(needed: int, total: int, free: int, what: str = "this run", give: str = "") -> None:
    if needed <= free:
        return
    give = give or "fewer seeds, fewer environments or a smaller replay"
    need = "needs" if what == "this run" else "need"
    have = f"there are {bytes_text(total)}"
    if needed <= total:
        have = f"{bytes_text(free)} of {bytes_text(total)} are free"
    raise ValueError(f"{what} {need} {bytes_text(needed)} and {have}; give it {give}")
