"""Where a run's progress goes: the run folder, the terminal, Weights & Biases, TensorBoard.

A logger is anything with `log(progress)` and `close(result)`; give your own to
`marlx.train(..., report=...)`. None of those here, and none of yours, can stop a training: what one
of them raises costs a line.
"""

from marlx.loggers.base import Background, Filed, JsonLines, Logger, Loggers, by_seed
from marlx.loggers.console import Console
from marlx.loggers.tensorboard import TensorBoard
from marlx.loggers.wandb import Wandb
from marlx.text import duration, short

__all__ = [
    "Background",
    "Console",
    "Filed",
    "JsonLines",
    "Logger",
    "Loggers",
    "TensorBoard",
    "Wandb",
    "by_seed",
    "duration",
    "short",
]
