"""Compilation, sharding and memory: hints to XLA."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.xla import auto_reset as auto_reset
    from marlx.xla import compiling as compiling
    from marlx.xla import host_memory as host_memory
    from marlx.xla import materialise as materialise
    from marlx.xla import memory as memory
    from marlx.xla import names as names
    from marlx.xla import options as options
    from marlx.xla import sharding as sharding
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
