"""The loggers that a command line asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.cli.records import Output
    from marlx.config.layers import Experiment
    from marlx.loggers import Console, Loggers
    from marlx.runs.folder import RunFolder


def check_loggers(output: Output) -> None:
    """Check that the loggers' packages are installed.

    Raises:
      ValueError: a package is missing; the line says how to install it.
    """
    if output.tensorboard:
        from marlx.loggers.tensorboard import check_tensorboard

        check_tensorboard()


def loggers_of(
    experiment: Experiment, folder: RunFolder, output: Output, console: Console
) -> Loggers:
    """Returns one logger for the run folder, the terminal and the services that are asked for."""
    from marlx.loggers import JsonLines, Logger, Loggers, TensorBoard, Wandb
    from marlx.runs.facts import environment_facts

    settings, train = experiment.settings(), experiment.train
    seeds = range(train.seed, train.seed + train.seeds)
    loggers: list[Logger] = [JsonLines(folder), console]
    if output.tensorboard:
        loggers.append(TensorBoard(folder.path, seeds, settings))
    if output.wandb != "off":
        wandb = Wandb(
            output.wandb,
            folder.path,
            settings,
            output.wandb_project,
            entity=output.wandb_entity,
            group=output.wandb_group,
            tags=output.wandb_tags,
            seeds=seeds,
            runs=output.wandb_runs,
            facts=environment_facts(),
        )
        loggers.append(wandb)
    return Loggers(loggers)
