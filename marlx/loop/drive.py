"""Driving a run to its end: the one loop that trains, logs, saves, stops and evaluates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import jax

from marlx.loop.finite import check_returns, watch
from marlx.loop.progress import Progress, Result
from marlx.loop.run import Run


class Save(Protocol):
    """`save(run, history, now=...)`, called after every evaluation."""

    def __call__(self, run: Run, history: Sequence[Progress], *, now: bool) -> None:
        """Saves the run if it is time to, and in any case if `now`."""


def drive(
    run: Run,
    history: list[Progress],
    *,
    log: Callable[[Progress], None] | None = None,
    save: Save | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result | None:
    """Trains `run` to its end and returns its result; None if it was stopped before.

    After every evaluation: its `Progress` is appended to `history`, logged, checked for NaN and
    infinity, and saved. So nothing that is saved has them, and the log shows them. At the end:
    final returns, policies, random returns. Of several processes all must call it.

    Args:
      run: new, or restored from a checkpoint.
      history: evaluations so far: those of a restored run, or none. It is appended to.
      log: called with each evaluation of this call.
      save: called after `log`; `now` is True where the run is about to stop.
      stop: called after `log`; where it returns True, the run is saved and, if it is not at its
        end, left. Of several processes it must return the same in all.

    Returns:
      The result. Of a run with variants, `random_returns` are those of the first one.

    Raises:
      NotFinite: the environment or the learner gave NaN or infinity; `marlx.loop.finite` says how
        it is found. Not raised for a run with variants.
    """
    check = watch(run)
    for progress in run.blocks():
        history.append(progress)
        if log is not None:
            log(progress)
        check(history)
        stopping = stop is not None and stop()
        if save is not None:
            save(run, history, now=stopping)
        if stopping and progress.steps < progress.total_steps:
            return None
    evaluated = run.final_evaluation()
    returns = evaluated["return"]
    check_returns(run, returns, history)
    return Result(
        history,
        jax.device_get(run.policies()),
        returns,
        run.random_returns(),
        run.phases,
        run.modes[0],
        evaluated,
        run.learner,
    )


def variant_result(run: Run, result: Result, variant: int, history: list[Progress]) -> Result:
    """Returns the part of `result` that belongs to one variant of `run`.

    Args:
      run: with variants.
      result: of `drive(run, ...)`.
      variant: index of the variant.
      history: its evaluations.
    """
    seeds = slice(variant * run.config.seeds, (variant + 1) * run.config.seeds)
    return result._replace(
        history=history,
        policies=jax.tree.map(lambda x: x[seeds], result.policies),
        returns=result.returns[seeds],
        evaluated={name: values[seeds] for name, values in result.evaluated.items()},
        random_returns=run.random_returns(variant),
    )
