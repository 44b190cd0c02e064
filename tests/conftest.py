"""What every test shares: JAX on two CPU devices, compiled programs kept, and a tiny algorithm."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("WANDB_MODE", "offline")
# Tests spend their time compiling, not running: half-optimised code is ready much sooner.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax
import jax.numpy as jnp
import pytest

from marlx import registry
from marlx.learner import Learner
from marlx.types import EnvSpec

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Settings of the tiny algorithm."""

    lr: float = 0.5
    """How fast it comes to like action 0."""
    batch: int = 4
    """Not used."""
    capacity: int = 8
    """At least `batch`."""

    def __post_init__(self) -> None:
        if self.capacity < self.batch:
            raise ValueError(f"capacity is {self.capacity}; a batch needs {self.batch}")


def tiny(spec: EnvSpec, config: TinyConfig) -> Learner:
    """A learner that compiles at once: it learns a table of logits which favours action 0."""
    shape = (spec.num_agents, spec.num_actions)

    def act(policy, memory, obs, key, explore):
        logits = jnp.where(obs.action_mask, policy["logits"], -jnp.inf)
        action = jnp.argmax(logits, -1)
        if explore:
            action = jax.random.categorical(key, logits, -1)
        return action.astype(jnp.int32), memory + 1, ()

    return Learner(
        init=lambda key, example: {"logits": jax.random.normal(key, shape)},
        memory=lambda num_envs: jnp.zeros((num_envs, 1)),
        policy=lambda state: state,
        act=act,
        observe=lambda state, rollout: state,
        update=lambda state, key: (
            {"logits": state["logits"].at[:, 0].add(config.lr)},
            {"loss": jnp.float32(0)},
        ),
        config=config,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairConfig:
    """Settings of a learner made of two others."""

    first: TinyConfig = TinyConfig(lr=0.25)
    """Acts and learns."""
    second: TinyConfig = TinyConfig()
    """Is only there."""
    share: float = 0.5
    """Not used."""


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
