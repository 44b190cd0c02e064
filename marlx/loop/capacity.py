"""Whether a run fits into memory, before anything is compiled."""

from __future__ import annotations

from marlx.loop import multihost
from marlx.loop.run import Run
from marlx.text import bytes_text
from marlx.xla.memory import device_memory


def require_memory(run: Run) -> None:
    """Checks that the devices of this process have the memory that a run needs.

    The run is traced here, which compiling it needs as well. Its state is checked first, since
    sizes that are far too large cannot be traced. Several processes share a run evenly.

    Raises:
      ValueError: they have less; the message says what to make smaller.
    """
    available = device_memory()
    if available is None:
        return
    processes = multihost.num_processes()
    _require(sum(run.sizes().values()) * run.num_seeds // processes, available)
    plan = run.memory_plan()
    _require(plan.training // processes, available)
    _require(plan.evaluation // processes, available, "evaluations", "a smaller eval_episodes")


def _require(needed: int, available: int, what: str = "this run", give: str = "") -> None:
    if needed > available:
        give = give or "fewer seeds, fewer environments or a smaller replay"
        need = "needs" if what == "this run" else "need"
        raise ValueError(
            f"{what} {need} {bytes_text(needed)} and there are {bytes_text(available)}; give it "
            f"{give}"
        )
