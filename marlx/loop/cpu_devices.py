"""The devices that a command line asks for."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os


def cpu_devices(devices: str, seeds: int, processes: int = 1) -> int:
    """Into how many devices a process splits its CPU.

    Args:
      devices: as `--devices` has it.
      seeds: runs trained at once.
      processes: how many train together.

    Raises:
      ValueError: `devices` cannot be read, or does not divide over the processes.
    """
    from marlx.loop.placement import Layout, parse_devices

    asked = parse_devices(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if asked == "auto":
        return 1 if processes > 1 else min(cores or 1, seeds)
    if asked == "all":
        return cores or 1
    count = asked.groups * asked.share if isinstance(asked, Layout) else int(asked)
    if count % processes:
        raise ValueError(
            f"devices is {devices}, of all {processes} processes together; it must be a multiple "
            f"of {processes}"
        )
    return count // processes


def _compiler_dies() -> bool:
    """Whether the CPU compiler crashes on learners over several devices.

    Seen with jaxlib 0.11.2 and Q-learners (no Python error: the process dies); 0.10.2 and 0.12.0
    compile the same programs.
    """
    return importlib.metadata.version("jaxlib").startswith("0.11.")


def use_cpu_devices(count: int) -> None:
    """Split the CPU into devices before JAX starts it; accelerators are left as they are."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has started already, in a program of the user's
        jax.config.update("jax_num_cpu_devices", 1 if _compiler_dies() else count)
