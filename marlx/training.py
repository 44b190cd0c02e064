"""Training a learner in an environment: the loop, checkpoints and loggers put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.placement import Devices
from marlx.loop.program import loop
from marlx.loop.progress import Progress, Result
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig

if TYPE_CHECKING:
    from marlx.loggers import Logger


__all__ = ["Progress", "Result", "Run", "TrainConfig", "loop", "train"]


def train(
    env: Environment[Any, Any],
    learner: Learner,
    params: EnvParams | None = None,
    *,
    config: TrainConfig | None = None,
    report: Callable[[Progress], None] | Logger | Sequence[Logger] | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    devices: Devices = "auto",
    **settings: Any,
) -> Result:
    """Train `learner` in `env`, several seeds at once.

    Args:
      env: the environment.
      learner: built for `env.spec(params)`.
      params: the environment's parameters; its defaults if None.
      config: how long and how wide; defaults if None.
      report: called after every evaluation, on the host; a function, or loggers
        (`marlx.loggers`), which are also closed at the end and cannot stop the training.
      checkpoints: a folder to keep checkpoints in, one a minute at most; none if None.
      resume: go on from the newest checkpoint there, if there is one. With other `total_steps` than
        it had, evaluations stay as far apart as they were.
      devices: what computes it: `auto`, a device for each seed while they last; a number of devices
        or `all`, seeds first; or groups and the devices of each, as in `2x4`. The devices of a
        group share the environments of its seeds. Of several processes (`jax.distributed`) all call
        this alike; `report` is called and `checkpoints` are written in the first.
      **settings: fields of `TrainConfig`, over those of `config`.

    Returns:
      A `Result`.

    Raises:
      ValueError: settings that cannot work, or that are not those of the checkpoint, before
        anything is compiled.
    """
    from marlx.loggers.base import together
    from marlx.runs.result import result_record

    config = dataclasses.replace(config or TrainConfig(), **settings)
    params = env.default_params if params is None else params
    history: list[Progress] = []
    record = None
    if checkpoints is None:
        if resume:
            raise ValueError("resume is True; name the folder of its checkpoints")
        run, keep = Run(env, params, learner, config, devices=devices), None
    else:
        from marlx.runs.checkpoints import resumable  # orbax takes a second to import

        run, keep, history = resumable(env, params, learner, config, checkpoints, resume, devices)
    logger = together(report if multihost.is_first() else None)
    try:
        for progress in run.blocks():
            history.append(progress)
            logger.log(progress)
            if keep is not None:
                keep.step(run, history)
        returns, random_returns = run.final_returns(), run.random_returns()
        optimum = env.spec(params).optimum
        record = result_record(config, history[-1], returns, random_returns, optimum, run.phases)
    finally:
        logger.close(record)
    policies = jax.device_get(run.policies())
    return Result(history, policies, returns, random_returns, run.phases, learner)
