"""Shared by all tests: JAX on two CPU devices, compiled programs kept, and a tiny algorithm."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("WANDB_MODE", "offline")
# An eighth of all the time went into writing down which line each operation comes from.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS", "0")
# Tests spend their time compiling, not running: half-optimised code is ready much sooner, and
# without MLIR on the way in half of that again (an XLA that does not know a flag would exit).
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + " --xla_cpu_use_fusion_emitters=false"
    * (tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11)),
)

import jax
import pytest
from tiny import PairConfig, TinyConfig, tiny

from marlx import registry

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices()  # now: commands that tests run would set another number


@pytest.fixture
def tiny_algorithm(monkeypatch: pytest.MonkeyPatch) -> Iterator[registry.Algorithm]:
    """An algorithm named `tiny` that compiles in no time, and a `pair` made of two of it."""
    record = registry.Algorithm("tiny", "likes action 0", TinyConfig, tiny)
    pair = registry.Algorithm(
        "pair",
        "a composite",
        PairConfig,
        lambda spec, config: tiny(spec, config.first),
        parts=(("first", "tiny"), ("second", "tiny")),
    )
    everything = {**registry.algorithms(), "tiny": record, "pair": pair}
    monkeypatch.setattr(registry, "algorithms", lambda: everything)
    yield record
