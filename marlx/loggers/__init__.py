"""Loggers of a run's progress: run folder, terminal, Weights & Biases, TensorBoard.

A logger is any object with `log(progress)` and `close(result)`; pass your own to
`marlx.train(..., report=...)`. An exception in a logger never stops the training: it is printed in
one line.
"""

from marlx.loggers.base import Background, JsonLines, Logger, Loggers, SeedMetrics, by_seed
from marlx.loggers.console import Console
from marlx.loggers.tensorboard import TensorBoard
from marlx.loggers.wandb import Wandb

__all__ = [
    "Background",
    "Console",
    "JsonLines",
    "Logger",
    "Loggers",
    "SeedMetrics",
    "TensorBoard",
    "Wandb",
    "by_seed",
]
