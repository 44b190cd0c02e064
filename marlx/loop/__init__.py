"""The training loop, all in JAX, and its placement on devices."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.loop import capacity as capacity
    from marlx.loop import cpu_devices as cpu_devices
    from marlx.loop import drive as drive
    from marlx.loop import evaluation as evaluation
    from marlx.loop import finite as finite
    from marlx.loop import multihost as multihost
    from marlx.loop import placement as placement
    from marlx.loop import program as program
    from marlx.loop import programs as programs
    from marlx.loop import progress as progress
    from marlx.loop import rollout as rollout
    from marlx.loop import run as run
    from marlx.loop import settings as settings
    from marlx.loop import vector as vector
    from marlx.loop import warm_start as warm_start
    from marlx.loop import workers as workers
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
