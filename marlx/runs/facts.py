"""Versions and devices that a run's numbers depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any


def environment_facts() -> dict[str, Any]:
    """Returns the contents of `environment.json`; it holds nothing that identifies the machine."""
    import jax

    names = ("marlx", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in names},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.local_devices()],
        **({"processes": jax.process_count()} if jax.process_count() > 1 else {}),
        "cpu_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
