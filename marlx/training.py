"""`train`: the function that joins the training loop, checkpoints and loggers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.drive import Save, drive
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
    """Trains `learner` in `env`, several seeds at once.

    Args:
      env: the environment.
      learner: built for `env.spec(params)`.
      params: the environment's parameters; its defaults if None.
      config: settings of the loop; defaults if None.
      report: called on the host after every evaluation; a function, or loggers (`marlx.loggers`),
        which are closed at the end and whose errors do not stop the training.
      checkpoints: a folder to keep checkpoints in, at most one a minute; none if None.
      resume: continue from the newest checkpoint there, if there is one. If `total_steps` is not
        what it had, evaluations stay as far apart as they were.
      devices: `auto`, one device for each seed as far as they go; a number of devices or `all`,
        seeds first; or groups and the devices of each, as in `2x4`. The devices of a group share
        the environments of its seeds. Of several processes (`jax.distributed`) all make the same
        call; `report` is called and `checkpoints` are written in the first.
      **settings: fields of `TrainConfig`, over those of `config`.

    Returns:
      A `Result`.

    Raises:
      ValueError: settings that cannot work, or that are not those of the checkpoint, before
        anything is compiled.
      NotFinite: a `FloatingPointError` (`marlx.loop.finite`): NaN or infinity in rewards,
        observations, losses or the policy, found after the block that has them. The message names
        the array, who made it and the seeds. Checkpoints are those before it.
    """
    from marlx.loggers.base import together
    from marlx.runs.result import summary

    config = dataclasses.replace(config or TrainConfig(), **settings)
    params = env.default_params if params is None else params
    run, save, history = _make_run(env, params, learner, config, checkpoints, resume, devices)
    logger = together(report if multihost.is_first() else None)
    final = None
    try:
        result = drive(run, history, log=logger.log, save=save)
        assert result is not None, "nothing stops it"
        final = summary(config, result, env.spec(params).optimum)
    finally:
        logger.close(final)
    return result


def _make_run(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    config: TrainConfig,
    checkpoints: str | Path | None,
    resume: bool,
    devices: Devices,
) -> tuple[Run, Save | None, list[Progress]]:
    """Returns a run, new or restored, what saves its checkpoints, and its history so far."""
    if checkpoints is None:
        if resume:
            raise ValueError("resume is True; name the folder of its checkpoints")
        return Run(env, params, learner, config, devices=devices), None, []
    from marlx.runs.checkpoints import resumable  # orbax takes a second to import

    run, store, history = resumable(env, params, learner, config, checkpoints, resume, devices)
    return run, store.step, history
