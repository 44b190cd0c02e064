"""`train`: the function that joins the training loop, checkpoints and loggers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from marlx.environment import Environment, EnvParams, require_environment
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.capacity import require_memory
from marlx.loop.drive import Save, drive
from marlx.loop.placement import Devices
from marlx.loop.program import loop
from marlx.loop.progress import Progress, Result
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig, TrainSettings
from marlx.registry import algorithms, make_env, prepared
from marlx.testing.checks import require_types
from marlx.text import unknown
from marlx.types import EnvSpec

if TYPE_CHECKING:
    from marlx.loggers import Logger


__all__ = ["Progress", "Result", "Run", "TrainConfig", "loop", "train"]


def train(
    env: Environment[Any, Any] | str,
    learner: Learner,
    params: EnvParams | None = None,
    *,
    config: TrainConfig | None = None,
    report: Callable[[Progress], None] | Logger | Sequence[Logger] | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    devices: Devices = "auto",
    check_finite: bool = False,
    **settings: Unpack[TrainSettings],
) -> Result:
    """Trains `learner` in `env`, several seeds at once.

    Args:
      env: the environment, or its id.
      learner: built for `env.spec(params)`.
      params: the environment's parameters; its defaults if None.
      config: settings of the loop; defaults if None.
      report: called on the host after every evaluation; a function, or loggers (`marlx.loggers`),
        which are closed at the end and whose errors do not stop the training.
      checkpoints: a folder to keep checkpoints in, at most one a minute; none if None.
      resume: continue from the newest checkpoint there, if any. With other `total_steps` than it
        had, evaluations stay as far apart as they were.
      devices: `auto`, one for each seed as far as they go; a number or `all`, seeds first; or
        groups and the devices of each, as in `2x4`, which share the environments of the group's
        seeds. Of several processes (`jax.distributed`) all make the same call; the first calls
        `report` and writes `checkpoints`.
      check_finite: look for NaN and infinity in rewards and observations at every step, not only at
        the end of a block. The program is another, and so are the last bits of the training.
      **settings: fields of `TrainConfig`, over those of `config`.

    Returns:
      A `Result`.

    Raises:
      ValueError: before anything is compiled: settings that cannot work, or are not those of the
        checkpoint; an environment whose shapes, dtypes or horizon are not as its spec says, in the
        words of `marlx.testing.check_env`; a `warm_start` of other arrays than the learner's.
      NotFinite: a `FloatingPointError` (`marlx.loop.finite`): NaN or infinity in rewards,
        observations, losses or the policy, found after the block that has them. The message names
        the array, who made it and the seeds. Checkpoints are those before it.
    """
    from marlx.loggers.base import together

    config = _configured(config or TrainConfig(), settings)
    env = _environment(env, learner)
    params = env.default_params if params is None else params
    require_types(env, params)
    _require_fit(env.spec(params), learner)
    make_run = functools.partial(
        Run, env, params, learner, devices=devices, check_finite=check_finite
    )
    run, save, history = _start(make_run, learner, config, checkpoints, resume)
    if not run.started:
        run.read_warm_start()
    require_memory(run)
    logger = together(report if multihost.is_first() else None)
    return _driven(run, history, save, logger, config, env.spec(params).optimum)


def _driven(
    run: Run,
    history: list[Progress],
    save: Save | None,
    logger: Logger,
    config: TrainConfig,
    optimum: float | None,
) -> Result:
    """Returns the result of the rest of a run, and closes the logger with a summary of it."""
    from marlx.runs.result import summary

    final = None
    try:
        result = drive(run, history, log=logger.log, save=save)
        assert result is not None, "nothing stops it"
        final = summary(config, result, optimum)
    finally:
        logger.close(final)
    return result


def _configured(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Returns `config` with `settings` over it."""
    own = ("config", "report", "checkpoints", "resume", "devices", "check_finite")
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in settings:
        if name not in known:
            raise unknown("setting", name, [*known, *own], "marlx.train")
    return dataclasses.replace(config, **settings)


def _environment(env: Environment[Any, Any] | str, learner: Learner) -> Environment[Any, Any]:
    """Returns the environment; one given by its id in the wrapper that the learner needs."""
    _require_learner(learner)
    if isinstance(env, str):
        made = make_env(env)
        return made if learner.recipe is None else prepared(learner.recipe.algorithm, made)
    require_environment(env)
    return env


def _require_learner(learner: Any) -> None:
    """Raises ValueError for the name of an algorithm, or anything else in place of a learner."""
    if isinstance(learner, Learner):
        return
    name = getattr(learner, "__name__", None) or getattr(learner, "name", learner)
    name = name if isinstance(name, str) and name in algorithms() else "qmix"
    given = repr(learner) if isinstance(learner, str) else f"of type {type(learner).__name__}"
    raise ValueError(
        f"learner is {given}; it must be a Learner, as marlx.algos.{name}(env) returns it"
    )


def _require_fit(spec: EnvSpec, learner: Learner) -> None:
    """Raises ValueError for a learner that was made for an environment of other sizes."""
    made_for = None if learner.recipe is None else learner.recipe.spec
    if made_for is None:
        return
    for name in ("num_agents", "num_actions", "obs_size", "state_size", "continuous"):
        here, there = getattr(spec, name), getattr(made_for, name)
        if here != there:
            hint = "; train in marlx.with_subgoals(env)" if made_for.subgoals else ""
            raise ValueError(
                f"the learner was made for {made_for.id}, whose {name} is {there}; that of "
                f"{spec.id} is {here}{hint if spec.subgoals is None else ''}"
            )


def _start(
    make_run: Callable[[TrainConfig], Run],
    learner: Learner,
    config: TrainConfig,
    checkpoints: str | Path | None,
    resume: bool,
) -> tuple[Run, Save | None, list[Progress]]:
    """Returns a run, new or restored, what saves its checkpoints, and its history so far."""
    if checkpoints is None:
        if resume:
            raise ValueError("resume is True; name the folder of its checkpoints")
        return make_run(config), None, []
    from marlx.runs.checkpoints import resumable  # orbax takes a second to import

    run, store, history = resumable(make_run, learner, config, checkpoints, resume)
    return run, store.step, history
