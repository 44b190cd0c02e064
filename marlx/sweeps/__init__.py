"""Sweeps: files, search, and trials trained in one program."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.sweeps import file as file
    from marlx.sweeps import heartbeat as heartbeat
    from marlx.sweeps import memory as memory
    from marlx.sweeps import parameters as parameters
    from marlx.sweeps import plots as plots
    from marlx.sweeps import search as search
    from marlx.sweeps import storage as storage
    from marlx.sweeps import study as study
    from marlx.sweeps import trials as trials
    from marlx.sweeps import vmapped as vmapped
    from marlx.sweeps import worker as worker
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
