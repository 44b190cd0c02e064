"""A transformer over time that sees a window of the last steps of the episode.

An agent's memory is its last embedded observations, oldest first, and how many of them there are.
So a step costs the same wherever it stands in the episode, acting needs no other state, and a
training window that starts at a stored memory computes what acting computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.nets.contract import Network, NetworkSpec
from marlx.nets.encoders import ABSENT, HEADS, by_head
from marlx.types import Array, Tree


class Window(NamedTuple):
    """Keys that steps of a sequence may attend to."""

    embedded: Array  # f32 [K, b, N, H], the memory's entries, oldest first, then the T steps
    seen: Array  # bool [T, b, N, K], entries that each step sees: of its episode, itself included


class WindowNetwork(nn.Module):
    """Encoder, one block of causal attention over the last steps, linear head.

    A block is attention and a dense layer, each on normalised inputs and added to what goes on
    (pre-norm). Scores have a learned bias for each age, in place of positions.

    Attributes:
      num_outputs: width of the head.
      hidden: H, width of all layers, a multiple of `HEADS`.
      steps: that are seen, with the present one.
      layer_norm: normalise the encoder's output.
      head_scale: see `marlx.nets.agents.AgentNetwork`.

    Source: Vaswani et al. 2017; Dai et al. 2019 (Transformer-XL) for memories without gradient and
    relative positions. Differs from: Parisotto et al. 2020, who gate what is added. One block,
    whose inputs are the memory, is our reading of a stored window.
    """

    num_outputs: int
    hidden: int = 64
    steps: int = 16
    layer_norm: bool = False
    head_scale: float = 1.0

    @property
    def memory_size(self) -> int:
        """M, numbers in one agent's memory: `steps - 1` embedded observations and their count."""
        return (self.steps - 1) * self.hidden + 1

    def setup(self) -> None:  # noqa: D102  flax's hook
        self.encoder = nn.Dense(self.hidden)
        self.norm = nn.LayerNorm() if self.layer_norm else None
        self.before, self.between = nn.LayerNorm(), nn.LayerNorm()
        self.query = nn.Dense(self.hidden, use_bias=False)
        self.key = nn.Dense(self.hidden, use_bias=False)
        self.value = nn.Dense(self.hidden, use_bias=False)
        self.age = self.param("age", nn.initializers.zeros, (HEADS, self.steps))
        self.read, self.refine = nn.Dense(self.hidden), nn.Dense(self.hidden)
        head = nn.initializers.variance_scaling(self.head_scale**2, "fan_in", "truncated_normal")
        self.readout = nn.Dense(self.num_outputs, kernel_init=head)

    def encode(self, x: Array) -> Array:
        """Returns f32 [..., H] from inputs f32 [..., F]."""
        x = self.encoder(x)
        return nn.relu(x if self.norm is None else self.norm(x))

    def attend(self, window: Window) -> tuple[Array, Array]:
        """Returns outputs f32 [T, b, N, O] and features f32 [T, b, N, H] of a window's T steps."""
        steps, entries = window.seen.shape[0], window.seen.shape[-1]
        rows = self.before(window.embedded)
        query = by_head(self.query(rows[-steps:])) / (self.hidden // HEADS) ** 0.5
        key, value = by_head(self.key(rows)), by_head(self.value(rows))
        ages = jnp.arange(entries - steps, entries)[:, None] - jnp.arange(entries)  # [T, K]
        bias = jnp.moveaxis(self.age[:, jnp.clip(ages, 0, self.steps - 1)], 0, 1)  # [T, HEADS, K]
        score = jnp.einsum("tbnhd,kbnhd->tbnhk", query, key) + bias[:, None, None]
        score = jnp.where(window.seen[..., None, :], score, ABSENT)
        read = jnp.einsum("tbnhk,kbnhd->tbnhd", jax.nn.softmax(score, -1), value)
        now = window.embedded[-steps:]
        now = now + self.read(read.reshape(now.shape))
        now = now + nn.relu(self.refine(self.between(now)))
        return self.readout(now), now

    def __call__(self, memory: Array, x: Array, done: Array) -> tuple[Array, Array, Array]:
        """Returns outputs, features and memories of a sequence, see `marlx.nets.Network.unroll`."""
        window = window_of(memory, self.encode(x), done, self.steps)
        return *self.attend(window), memories_after(window, self.steps)


def window_of(memory: Array, embedded: Array, done: Array, steps: int) -> Window:
    """Returns what each step of a sequence may attend to.

    Args:
      memory: f32 [b, N, M], before the first step.
      embedded: f32 [T, b, N, H], the steps' own.
      done: bool [T, b], the episode ended at that step.
      steps: W, that are seen, with the present one.
    """
    length, batch, agents, hidden = embedded.shape
    past = jnp.moveaxis(memory[..., :-1].reshape(batch, agents, steps - 1, hidden), 2, 0)
    count = memory[..., -1]  # [b, N]
    ended = jnp.cumsum(done.astype(jnp.int32), 0)
    episode = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])  # [T, b], of each step
    same = episode[:, :, None] == episode.T  # [T, b, T]
    filled = count[..., None] >= jnp.arange(steps - 1, 0, -1)  # [b, N, W - 1]
    stored = (episode == 0)[..., None, None] & filled  # [T, b, N, W - 1]
    taken = jnp.broadcast_to(same[:, :, None], (length, batch, agents, length))
    place, first = jnp.arange(steps - 1 + length), jnp.arange(length)[:, None]
    near = (place >= first) & (place < first + steps)  # the last W entries up to the step itself
    seen = jnp.concatenate([stored, taken], -1) & near[:, None, None]
    return Window(jnp.concatenate([past, embedded]), seen)


def memories_after(window: Window, steps: int) -> Array:
    """Returns memories f32 [T, b, N, M] after each step: what it sees, less the oldest entry."""
    length, batch, agents, _ = window.seen.shape
    place = jnp.arange(length)[:, None] + jnp.arange(1, steps)  # [T, W - 1], oldest first
    entries = jnp.moveaxis(window.embedded[place], 1, 3)  # [T, b, N, W - 1, H]
    kept = jnp.take_along_axis(
        window.seen, jnp.broadcast_to(place[:, None, None], (length, batch, agents, steps - 1)), -1
    )
    flat = jnp.where(kept[..., None], entries, 0.0).reshape(length, batch, agents, -1)
    return jnp.concatenate([flat, kept.sum(-1, keepdims=True).astype(flat.dtype)], -1)


def window_network(spec: NetworkSpec) -> Network:
    """Returns the transformer that sees the last `spec.steps` steps of an episode."""
    module = WindowNetwork(spec.outputs, spec.hidden, spec.steps, spec.layer_norm, spec.head_scale)
    apply: Callable[..., Any] = module.apply

    def init(key: Array) -> Tree:
        memory, x = jnp.zeros((1, 1, module.memory_size)), jnp.zeros((1, 1, 1, spec.width))
        return module.init(key, memory, x, jnp.zeros((1, 1), bool))

    def step(params: Tree, memory: Array, x: Array) -> tuple[Array, Array, Array]:
        """As a sequence of one step; all leading axes are one batch."""
        axes = x.shape[:-1]
        flat = x.reshape(1, -1, 1, spec.width)
        before = memory.reshape(-1, 1, module.memory_size)
        results = apply(params, before, flat, jnp.zeros(flat.shape[:2], bool))
        outputs, features, after = (one.reshape(*axes, one.shape[-1]) for one in results)
        return outputs, features, after

    return Network(init, module.memory_size, step, apply)
