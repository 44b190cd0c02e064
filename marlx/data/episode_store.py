"""The last episodes, whole: cut from a stream of rollouts, drawn as stretches of time.

Steps are kept once, in a ring of rollouts as they come; an episode is three numbers, of its first
step, its length and its environment. So an episode may span any number of rollouts and end anywhere
in them, and taking in a rollout is one copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree
from marlx.xla.sharding import replicate, shard


class EpisodeTable(NamedTuple):
    """Where episodes are."""

    first: Array  # int32 [...], its first step, counted from the beginning of all
    length: Array  # int32 [...], its steps
    env: Array  # int32 [...]


class EpisodeState(NamedTuple):
    """The storage."""

    steps: Tree  # [S, B, ...], a ring
    table: EpisodeTable  # [capacity], a ring
    ended: Array  # int32 [], episodes that have ended so far
    written: Array  # int32 [], steps per environment so far
    began: Array  # int32 [B], the first step of the episode under way


class Episodes(NamedTuple):
    """A record of pure functions; see `episodes`.

    Attributes:
      init: `(example) -> state`; `example` is `[T, B, ...]`, shapes are enough.
      add: `(state, steps [T, B, ...], done bool [T, B]) -> state`.
      held: `(state) -> int32 []`, whole episodes that are there.
      draw: `(state, key, number) -> EpisodeTable [number]`, all as likely: one of each of `number`
        equal shares of those that are there; void where none is.
      take: `(state, episodes [n], offset int32 [n, L]) -> steps [n, L, ...]`, the steps at these
        offsets from each episode's first; offsets beyond the episode give steps of no meaning.
    """

    init: Callable[[Tree], EpisodeState]
    add: Callable[[EpisodeState, Tree, Array], EpisodeState]
    held: Callable[[EpisodeState], Array]
    draw: Callable[[EpisodeState, Array, int], EpisodeTable]
    take: Callable[[EpisodeState, EpisodeTable, Array], Tree]


def episodes(capacity: int, horizon: int) -> Episodes:
    """A store of the last `capacity` episodes, none longer than `horizon` steps.

    Raises:
      ValueError: `capacity` is below 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity is {capacity} episodes; it must be at least 1")

    def init(example: Tree) -> EpisodeState:
        length, num_envs = jax.tree.leaves(example)[0].shape[:2]
        # whole rollouts: room for the episodes, and for those under way
        needed = math.ceil(capacity / num_envs) * horizon + horizon
        rows = math.ceil(needed / length + 1) * length
        return EpisodeState(
            jax.tree.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype), example),
            EpisodeTable(*(jnp.zeros(capacity, jnp.int32),) * 3),
            jnp.int32(0),
            jnp.int32(0),
            jnp.zeros(num_envs, jnp.int32),
        )

    def add(state: EpisodeState, steps: Tree, done: Array) -> EpisodeState:
        length, num_envs = done.shape
        rows = jax.tree.leaves(state.steps)[0].shape[0]
        ring = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice_in_dim(
                old, new.astype(old.dtype), state.written % rows, 0
            ),
            state.steps,
            steps,
        )
        done = replicate(done)  # where episodes are, every device knows
        now = state.written + jnp.arange(length)[:, None]
        begins = jnp.concatenate([state.began[None], jnp.where(done, now + 1, 0)])
        begins = jax.lax.cummax(begins, axis=0)  # the episode of step t began at begins[t]
        flat = done.reshape(-1)
        place = jnp.cumsum(flat) - 1
        kept = flat & (place >= place[-1] + 1 - capacity)
        slot = jnp.where(kept, (state.ended + place) % capacity, capacity)
        env = jnp.broadcast_to(jnp.arange(num_envs), done.shape)
        found = EpisodeTable(begins[:-1], now - begins[:-1] + 1, env)
        table = jax.tree.map(
            lambda old, new: old.at[slot].set(new.reshape(-1), mode="drop"), state.table, found
        )
        return EpisodeState(
            ring, table, state.ended + flat.sum(), state.written + length, begins[-1]
        )  # fmt: skip

    def whole(state: EpisodeState) -> Array:
        """Bool [capacity], entries whose steps have not been written over."""
        rows = jax.tree.leaves(state.steps)[0].shape[0]
        still: Array = state.table.first >= state.written - rows
        return still & (jnp.arange(capacity) < state.ended)

    def draw(state: EpisodeState, key: Array, number: int) -> EpisodeTable:
        upto = jnp.cumsum(whole(state))
        share = (jnp.arange(number) + jax.random.uniform(key, (number,))) / number
        rank = jnp.minimum((share * upto[-1]).astype(jnp.int32), upto[-1] - 1)
        entry = jnp.minimum(jnp.searchsorted(upto, rank, side="right"), capacity - 1)
        return EpisodeTable(*(x[entry] for x in state.table))

    def take(state: EpisodeState, chosen: EpisodeTable, offset: Array) -> Tree:
        rows = jax.tree.leaves(state.steps)[0].shape[0]
        row = (chosen.first[:, None] + offset) % rows
        return shard(jax.tree.map(lambda x: x[row, chosen.env[:, None]], state.steps), 0)

    return Episodes(init, add, lambda state: whole(state).sum(), draw, take)
