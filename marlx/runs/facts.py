"""Versions and devices that a run's numbers depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from marlx.files import (
    ANYTHING,
    NUMBER_OR_NONE,
    TEXT,
    CannotRead,
    Each,
    Kind,
    Record,
    read_json,
)

OPTION = Kind(
    "text, a number, true, false, null or a list of texts",
    lambda value: (
        value is None
        or isinstance(value, str | int | float)
        or (isinstance(value, list) and all(isinstance(item, str) for item in value))
    ),
)
BRIDGED = ("gymnax", "jaxmarl", "jumanji")
"""Packages whose environments are played through bridges; their versions decide what is played."""
FACTS = Record(
    {},
    {
        "python": TEXT,
        "system": TEXT,
        "versions": Each(TEXT),
        "backend": TEXT,
        "devices": [TEXT],
        "processes": NUMBER_OR_NONE,
        "cpu_cores": NUMBER_OR_NONE,
        "output": Each(OPTION),
        "resumed": [Each(ANYTHING)],
        "warm_start": Each(ANYTHING),
    },
)
"""Schema of `environment.json`."""


def read_facts(folder: Path) -> dict[str, Any]:
    """Returns the content of `environment.json` in a run folder; empty if there is none.

    Raises:
      ValueError: it cannot be read or has another form; the message names file and key.
    """
    try:
        return dict(read_json(folder / "environment.json", FACTS))
    except CannotRead as error:
        if error.missing:
            return {}
        raise


def environment_facts() -> dict[str, Any]:
    """Returns the contents of `environment.json`; it holds nothing that identifies the machine."""
    import jax

    names = ("marlx", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            **{name: _version(name) for name in names},
            **{name: version for name in BRIDGED if (version := _version(name)) != "unknown"},
        },
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
