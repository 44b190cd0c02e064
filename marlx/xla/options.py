"""Options of JAX that marlx cannot train with, refused in one line; and why JAX does not start."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

_OFF = ("", "0", "false", "off", "no", "n", "f", "none")
_GUARDS = ("allow", "log")

ACCEPTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "jax_enable_x64": (_OFF, "marlx computes in 32 bits"),
    "jax_disable_jit": (_OFF, "marlx compiles its programs whole"),
    "jax_check_tracer_leaks": (_OFF, "it takes the nested loops of a program for leaks"),
    "jax_numpy_rank_promotion": (("", "allow", "warn"), "programs rely on broadcasting"),
    "jax_numpy_dtype_promotion": (("", "standard"), "programs rely on the usual promotion"),
    "jax_transfer_guard": (_OFF + _GUARDS, "keys and settings go to the devices as they are used"),
    "jax_transfer_guard_host_to_device": (_OFF + _GUARDS, "keys and settings go to the devices"),
    "jax_transfer_guard_device_to_host": (_OFF + _GUARDS, "metrics are read on the host"),
    "jax_transfer_guard_device_to_device": (_OFF + _GUARDS, "arrays move between devices"),
}
"""Values that marlx works with, and the reason, by the name of JAX's option."""


def check_options() -> None:
    """Checks JAX's options, or before JAX is imported the variables that set them.

    Raises:
      ValueError: one has a value that marlx cannot train with.
    """
    jax = sys.modules.get("jax")
    for name, (accepted, reason) in ACCEPTED.items():
        value: Any = os.environ.get(name.upper(), "")
        if jax is not None and hasattr(jax, "config"):
            value = getattr(jax.config, name, None)
        if str("" if value is None else value).lower() not in accepted:
            raise ValueError(
                f"JAX's option {name} is {value}: {reason}; unset {name.upper()}, or turn it off "
                "with jax.config.update"
            )


def backend_error() -> str | None:
    """Returns why JAX has no device; None if it has one, or was not imported."""
    if (jax := sys.modules.get("jax")) is None:
        return None
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where no platform is left
        reason = " ".join(str(error).split()) or "no device of the chosen platforms"
        return reason[:200]
    return None
