"""Store of the last whole episodes, cut from a stream of rollouts.

Steps are stored once, in a ring of rollouts. An episode is an entry of a table: its first step, its
length and its environment. So it may span any number of rollouts and end anywhere in them, and
adding a rollout is one copy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree
from marlx.xla.sharding import replicate, shard


class EpisodeTable(NamedTuple):
    """Where episodes are in the ring."""

    first: Array  # int32 [...], its first step, counted from the first step ever added
    length: Array  # int32 [...], number of steps
    env: Array  # int32 [...]


class EpisodeState(NamedTuple):
    """State of an episode store."""

    steps: Tree  # [S, B, ...], a ring
    table: EpisodeTable  # [capacity], a ring
    ended: Array  # int32 [], episodes that have ended so far
    written: Array  # int32 [], steps per environment so far
    began: Array  # int32 [B], the first step of the current episode


class Episodes(NamedTuple):
    """An episode store as a record of pure functions; see `episodes`.

    Attributes:
      init: `(example) -> state`; `example` is `[T, B, ...]`, shapes are enough.
      add: `(state, steps [T, B, ...], done bool [T, B]) -> state`.
      size: `(state) -> int32 []`, whole episodes in the store.
      sample: `(state, key, number) -> EpisodeTable [number]`, uniform and stratified: the i-th
        comes from the i-th of `number` equal parts of the store. Void where the store is empty.
      take: `(state, episodes [n], offset int32 [n, L]) -> steps [n, L, ...]`, the steps at these
        offsets from each episode's first; steps beyond the episode's end have no meaning.
    """

    init: Callable[[Tree], EpisodeState]
    add: Callable[[EpisodeState, Tree, Array], EpisodeState]
    size: Callable[[EpisodeState], Array]
    sample: Callable[[EpisodeState, Array, int], EpisodeTable]
    take: Callable[[EpisodeState, EpisodeTable, Array], Tree]


def episodes(capacity: int, horizon: int) -> Episodes:
    """Returns a store of the last `capacity` episodes, none longer than `horizon` steps.

    Raises:
      ValueError: `capacity` is below 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity is {capacity} episodes; it must be at least 1")

    def init(example: Tree) -> EpisodeState:
        length, num_envs = jax.tree.leaves(example)[0].shape[:2]
        # whole rollouts, with room for the episodes and for the unfinished ones
        needed = math.ceil(capacity / num_envs) * horizon + horizon
        rows = math.ceil(needed / length + 1) * length
        return EpisodeState(
            jax.tree.map(lambda x: jnp.zeros((rows, *x.shape[1:]), x.dtype), example),
            EpisodeTable(*(jnp.zeros(capacity, jnp.int32) for _ in range(3))),
            jnp.int32(0),
            jnp.int32(0),
            jnp.zeros(num_envs, jnp.int32),
        )

    def sample(state: EpisodeState, key: Array, number: int) -> EpisodeTable:
        upto = jnp.cumsum(_whole(state))
        quantile = (jnp.arange(number) + jax.random.uniform(key, (number,))) / number
        rank = jnp.minimum((quantile * upto[-1]).astype(jnp.int32), upto[-1] - 1)
        entry = jnp.minimum(jnp.searchsorted(upto, rank, side="right"), capacity - 1)
        return EpisodeTable(*(x[entry] for x in state.table))

    def take(state: EpisodeState, chosen: EpisodeTable, offset: Array) -> Tree:
        rows = jax.tree.leaves(state.steps)[0].shape[0]
        row = (chosen.first[:, None] + offset) % rows
        return shard(jax.tree.map(lambda x: x[row, chosen.env[:, None]], state.steps), 0)

    return Episodes(
        init, functools.partial(_add, capacity), lambda state: _whole(state).sum(), sample, take
    )


def _add(capacity: int, state: EpisodeState, steps: Tree, done: Array) -> EpisodeState:
    """Returns `state` with `steps` [T, B, ...] and the episodes that end in them."""
    length, num_envs = done.shape
    rows = jax.tree.leaves(state.steps)[0].shape[0]
    ring = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(
            old, new.astype(old.dtype), state.written % rows, 0
        ),
        state.steps,
        steps,
    )
    done = replicate(done)  # the table is replicated on every device
    now = state.written + jnp.arange(length)[:, None]
    begins = jnp.concatenate([state.began[None], jnp.where(done, now + 1, 0)])
    begins = jax.lax.cummax(begins, axis=0)  # the episode of step t began at begins[t]
    ends = done.reshape(-1)
    order = jnp.cumsum(ends) - 1  # how many episodes ended before
    kept = ends & (order >= order[-1] + 1 - capacity)
    slot = jnp.where(kept, (state.ended + order) % capacity, capacity)  # `capacity`: dropped
    env = jnp.broadcast_to(jnp.arange(num_envs), done.shape)
    found = EpisodeTable(begins[:-1], now - begins[:-1] + 1, env)
    table = jax.tree.map(
        lambda old, new: old.at[slot].set(new.reshape(-1), mode="drop"), state.table, found
    )
    return EpisodeState(
        ring, table, state.ended + ends.sum(), state.written + length, begins[-1]
    )  # fmt: skip


def _whole(state: EpisodeState) -> Array:
    """Returns bool [capacity], the entries whose steps are all still in the ring."""
    rows = jax.tree.leaves(state.steps)[0].shape[0]
    stored: Array = state.table.first >= state.written - rows
    return stored & (jnp.arange(len(stored)) < state.ended)
