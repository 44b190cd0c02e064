"""Contract of agents' networks: a few functions, and the record that a maker of one is given.

Learners know networks by this contract alone. `marlx.nets.makers` has those that a setting names;
any function `(NetworkSpec) -> Network` can stand in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from marlx.types import Array, Entities, Planes, Tree

Step = Callable[[Tree, Array, Array], tuple[Array, Array, Array]]
Unroll = Callable[[Tree, Array, Array, Array], tuple[Array, Array, Array]]


class NetworkSpec(NamedTuple):
    """Sizes and structure of the inputs and outputs of a network to make.

    Attributes:
      width: F, numbers that it reads. First the observation, then what else the agent is told: its
        index, as a one-hot vector, where `agent_id` is set.
      outputs: O, numbers that it gives.
      hidden: width of its layers.
      recurrent: whether a GRU follows the encoder, where the network leaves that open.
      layer_norm: normalise the encoder's output.
      head_scale: standard deviation of the head's initial weights, relative to LeCun's; with 0.01
        policies start near uniform.
      steps: that a network over time sees, with the present one.
      planes: how the first numbers are an image; None where they are not.
      entities: which numbers are rows of other things; () where none are declared.
      env: id of the environment, for messages.
    """

    width: int
    outputs: int
    hidden: int = 64
    recurrent: bool = False
    layer_norm: bool = False
    head_scale: float = 1.0
    steps: int = 16
    planes: Planes | None = None
    entities: tuple[Entities, ...] = ()
    env: str = "the environment"


class Network(NamedTuple):
    """The network of one agent, or of several with the same parameters.

    Features are what the head reads: mixers and metrics look at them. They need not have the width
    `hidden`.

    Attributes:
      init: `(key) -> params`.
      memory: M, numbers that an agent keeps from one step to the next. All are 0 when an episode
        starts. 0: it has no memory.
      step: `(params, memory [..., M], x [..., F]) -> outputs [..., O], features [..., H], memory`,
        all f32.
      unroll: `(params, memory [b, N, M], x [T, b, N, F], done [T, b]) -> outputs, features,
        memories`, the same for a sequence that may hold several episodes. `done` says that an
        episode ended at that step: the next one starts from a memory of zeros. Memories
        [T, b, N, M] are those after each step, before any reset. None: `step` is scanned.
    """

    init: Callable[[Array], Tree]
    memory: int
    step: Step
    unroll: Unroll | None = None


@runtime_checkable
class Maker(Protocol):
    """A function `(NetworkSpec) -> Network`."""

    def __call__(self, spec: NetworkSpec, /) -> Network:
        """Returns a network for `spec`."""


def scanned(step: Step) -> Unroll:
    """Returns the `Network.unroll` that takes `step` after `step`, with resets between episodes."""

    def unroll(params: Tree, memory: Array, x: Array, done: Array) -> tuple[Array, Array, Array]:
        def one(memory: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, ...]]:
            outputs, features, after = step(params, memory, at[0])
            ended = at[1].reshape(-1, *[1] * (after.ndim - 1))
            return jnp.where(ended, 0.0, after), (outputs, features, after)

        return jax.lax.scan(one, memory, (x, done))[1]  # type: ignore[return-value]

    return unroll


def has_memory(memory: Tree) -> bool:
    """Whether memories [..., M] hold any numbers."""
    return any(x.shape[-1] > 0 for x in jax.tree.leaves(memory))
