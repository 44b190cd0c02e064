"""`--workers N`: a run whose seeds are trained by several processes of one machine."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.cli.records import Output
    from marlx.config.layers import Experiment
    from marlx.loop.run import Run
    from marlx.loop.workers import Parts


def check_workers(output: Output, seeds: int) -> None:
    """Checks `--workers`.

    Raises:
      ValueError: it is out of range, or does not go with another option or this machine.
    """
    count = output.workers
    if not 1 <= count <= seeds:
        raise ValueError(
            f"--workers is {count}; it must be from 1 to the number of seeds, which is {seeds}"
        )
    if count == 1:
        return
    if output.devices not in ("auto", "1"):
        raise ValueError(
            f"--workers {count} and --devices {output.devices}: a worker has one device; give one "
            "of the two"
        )
    if output.distributed:
        raise ValueError(f"--workers {count} does not go with --distributed")
    import jax

    if (backend := jax.default_backend()) != "cpu":
        raise ValueError(f"--workers {count} shares the cores of a CPU; this run is on a {backend}")


def made_run(experiment: Experiment, output: Output, parts: Parts) -> Run:
    """Returns the run of an experiment, with the processes or devices that were asked for.

    Args:
      experiment: to train.
      output: its options.
      parts: environment, parameters and learner of the experiment.

    Raises:
      ValueError: settings that do not go together.
    """
    from marlx.loop.run import Run

    env, params, learner = parts
    train, check = experiment.train, output.check_finite
    if output.workers == 1:
        return Run(env, params, learner, train, devices=output.devices, check_finite=check)
    from marlx.loop.workers import SharedRun
    from marlx.runs.folder import config_text

    make = functools.partial(parts_of, config_text(experiment))
    return SharedRun(env, params, learner, train, make, output.workers, check_finite=check)


def parts_of(config: str) -> Parts:
    """Returns environment, parameters and learner of the text of a `config.yaml`."""
    from marlx.config.yaml_text import parse
    from marlx.runs.folder import experiment_of

    source = "the settings of a worker"
    return experiment_of(parse(config, source), source).build()
