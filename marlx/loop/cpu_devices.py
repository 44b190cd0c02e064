"""Splitting the CPU into the devices that a command line asks for."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os

MOST_CPU_DEVICES = 256
"""Most devices that the CPU is split into: each one has threads of its own."""


def cpu_devices(devices: str, seeds: int, processes: int = 1) -> int:
    """Number of devices that a process splits its CPU into.

    Args:
      devices: the value of `--devices`.
      seeds: runs trained at once.
      processes: number of processes that train together.

    Raises:
      ValueError: `devices` cannot be parsed, or does not divide over the processes.
    """
    from marlx.loop.placement import Layout, parse_devices

    requested = parse_devices(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if requested == "auto":
        return 1 if processes > 1 else min(cores or 1, seeds)
    if requested == "all":
        return cores or 1
    if isinstance(requested, Layout):
        count = requested.groups * requested.group_size
    else:
        count = int(requested)
    if count % processes:
        raise ValueError(
            f"devices is {devices}, of all {processes} processes together; it must be a multiple "
            f"of {processes}"
        )
    if count // processes > MOST_CPU_DEVICES:
        raise ValueError(
            f"devices is {devices}; a CPU is split into at most {MOST_CPU_DEVICES} devices, and "
            f"this one has {cores} cores"
        )
    return count // processes


def _compiler_crashes() -> bool:
    """Whether this jaxlib's CPU compiler crashes on learners over several devices.

    Seen with jaxlib 0.11.2 and Q-learners: the process dies without a Python error. 0.10.2 and
    0.12.0 compile the same programs.
    """
    return importlib.metadata.version("jaxlib").startswith("0.11.")


def use_cpu_devices(count: int) -> None:
    """Splits the CPU into `count` devices; has an effect only before JAX starts its backend.

    Accelerators are left as they are. A count that the user set in `XLA_FLAGS` is kept.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has started already, in the user's own program
        jax.config.update("jax_num_cpu_devices", 1 if _compiler_crashes() else count)
