"""Retention: attention without softmax, whose past is one matrix per head that decays with time.

In a step, agents add the products of their keys and values to the matrix S, and read it with their
queries. So a step takes time and memory that grow with the number of agents and not with its
square, and the past takes as much memory after a thousand steps as after one. Whole rollouts are
computed in parallel but for the decaying sum over steps (`after_steps`) or, in small teams, over
pieces of a few steps whose rows are compared pair by pair (`over_steps`); acting computes the same
numbers step by step and agent by agent.

Source: Sun et al. 2023 (retention), eq. 6 and 7; Mahjoub et al. 2024 (Sable), section 4.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from marlx.types import Array

Retain = Callable[[Array, Array, Array], tuple[Array, Array]]
"""From queries, keys f32 [..., N, H, K] and values f32 [..., N, H, V] to f32 [..., N, H, V], and
the matrices after them f32 [..., H, K, V]."""
CHUNK = 32
"""Agents whose products are compared pair by pair; beyond it a sum is carried on."""
SMALL, ROWS = 4, 32
"""Teams of at most `SMALL` agents are compared pair by pair over steps too, about `ROWS` rows of
agents and steps at a time. Larger ones were slower that way on a CPU."""


def decays(heads: int, scale: float = 1.0) -> Array:
    """Returns what is left of each head's past after a step, f32 [heads].

    It is `1 - 1/32` for the first head to `1 - 1/512` for the last, times `scale`.

    Source: Sun et al. 2023, section 3.1; the scale is that of Mahjoub et al. 2024.
    """
    return jnp.asarray(scale * (1.0 - np.geomspace(1 / 32, 1 / 512, heads)), jnp.float32)


def added(key: Array, value: Array) -> Array:
    """Returns what agents add to the matrices, f32 [..., H, K, V]."""
    return jnp.einsum("...nhk,...nhv->...hkv", key, value)


def read(query: Array, matrix: Array) -> Array:
    """Returns what queries f32 [..., N, H, K] read from matrices f32 [..., H, K, V]."""
    return jnp.einsum("...nhk,...hkv->...nhv", query, matrix)


def after_steps(start: Array, sums: Array, done: Array, decay: Array) -> tuple[Array, Array]:
    """Returns matrices over T steps, f32 [T, b, H, K, V] each: what is left at a step, and after.

    Args:
      start: f32 [b, H, K, V], before the first step.
      sums: f32 [T, b, H, K, V], added at each step.
      done: bool [T, b], the episode ended at that step: the next one starts from zero. The matrices
        after a step are those before this reset.
      decay: f32 [H].
    """
    factor = decay[:, None, None]

    def step(before: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        total, done = at
        left = factor * before
        after = left + total
        return jnp.where(done[:, None, None, None], 0.0, after), (left, after)

    _, (left, after) = jax.lax.scan(step, start, (sums, done))
    return left, after


def causal(query: Array, key: Array, value: Array) -> Array:
    """Returns what each agent reads of those up to itself in the same step, f32 [..., N, H, V].

    Within chunks of `CHUNK` agents all pairs are compared; the sum of whole chunks is carried on.
    """
    number = query.shape[-3]
    if number <= CHUNK:
        return _pairs(query, key, value)
    gap = -number % CHUNK

    def cut(x: Array) -> Array:  # [..., C, CHUNK, H, K]
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, gap), (0, 0), (0, 0)])
        return x.reshape(*x.shape[:-3], -1, CHUNK, *x.shape[-2:])

    query, key, value = cut(query), cut(key), cut(value)
    sums = added(key, value)
    before = jnp.cumsum(sums, -4) - sums
    result = _pairs(query, key, value) + read(query, before)
    joined = result.reshape(*result.shape[:-4], -1, *result.shape[-2:])
    return joined[..., :number, :, :]


def _pairs(query: Array, key: Array, value: Array) -> Array:
    agents = jnp.arange(query.shape[-3])
    scores = jnp.einsum("...nhk,...mhk->...hnm", query, key)
    scores = jnp.where(agents <= agents[:, None], scores, 0.0)
    return jnp.einsum("...hnm,...mhv->...nhv", scores, value)


def together(start: Array, decay: Array) -> Retain:
    """Returns the retention of one step in which all agents read all; start f32 [..., H, K, V]."""

    def retain(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
        after = decay[:, None, None] * start + added(key, value)
        return read(query, after), after

    return retain


def together_over_steps(start: Array, done: Array, decay: Array) -> Retain:
    """Returns `together` of T steps, for arrays [T, b, ...]; see `after_steps`."""

    def retain(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
        _, after = after_steps(start, added(key, value), done, decay)
        return read(query, after), after

    return retain


def in_turn(start: Array) -> Retain:
    """Returns the retention of the next agents of a step, given the matrices before them."""

    def retain(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
        return causal(query, key, value) + read(query, start), start + added(key, value)

    return retain


def in_turn_over_steps(start: Array, done: Array, decay: Array) -> Retain:
    """Returns the retention of T steps in which each agent reads those up to itself.

    What it retains of earlier steps is of all agents. Arrays are [T, b, ...]; see `after_steps`.
    """

    def retain(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
        left, after = after_steps(start, added(key, value), done, decay)
        return causal(query, key, value) + read(query, left), after

    return retain


def over_steps(start: Array, done: Array, decay: Array, turns: bool) -> Retain:
    """Returns the retention of T steps: by pairs of rows in small teams, else step by step.

    Both give the same numbers, but for rounding. The matrices that it returns must not be read: of
    a small team they are only those after all steps.

    Args:
      start: f32 [b, H, K, V].
      done: bool [T, b].
      decay: f32 [H].
      turns: each agent reads those up to itself, as in `in_turn_over_steps`; else all.
    """
    by_steps = (in_turn_over_steps if turns else together_over_steps)(start, done, decay)

    def retain(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
        agents = query.shape[-3]
        if agents > SMALL:
            return by_steps(query, key, value)
        return _in_pieces(query, key, value, start, done, decay, turns)

    return retain


def _in_pieces(
    query: Array, key: Array, value: Array, start: Array, done: Array, decay: Array, turns: bool
) -> tuple[Array, Array]:
    """Returns what `over_steps` does, by pairs of rows within pieces of several steps.

    A row is an agent in a step. Of each earlier piece a query reads the matrix that it left.
    """
    length, agents = query.shape[0], query.shape[-3]
    pieces = -(-length // max(1, ROWS // agents))
    steps = -(-length // pieces)
    gap = pieces * steps - length

    def cut(x: Array) -> Array:  # to [pieces, b, H, steps * agents, K]
        x = jnp.pad(x, [(0, gap), *[(0, 0)] * (x.ndim - 1)])
        x = x.reshape(pieces, steps, *x.shape[1:]).transpose(0, 2, 4, 1, 3, 5)
        return x.reshape(*x.shape[:3], -1, x.shape[-1])

    step, agent = (x.ravel() for x in np.indices((steps, agents)))
    since = step[:, None] - step
    readable = (since > 0) | ((since == 0) & ((agent[:, None] >= agent) | (not turns)))
    factor = decay[:, None, None]
    weights = jnp.where(readable, factor ** np.maximum(since, 0), 0.0)

    def piece(matrix: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
        query, key, value, done = at
        ended = jnp.cumsum(done, 0, dtype=jnp.int32)
        episode = jnp.repeat((ended - done).T, agents, -1)  # [b, rows]
        last = ended[-1][:, None]
        same = (episode[:, :, None] == episode[:, None])[:, None]
        scores = jnp.einsum("bhik,bhjk->bhij", query, key) * jnp.where(same, weights, 0.0)
        before = jnp.where((episode == 0)[:, None], decay[:, None] ** (step + 1), 0.0)
        result = jnp.einsum("bhij,bhjv->bhiv", scores, value)
        result += before[..., None] * jnp.einsum("bhik,bhkv->bhiv", query, matrix)
        left = jnp.where((episode == last)[:, None], decay[:, None] ** (steps - 1 - step), 0.0)
        kept = jnp.where((last == 0)[..., None, None], factor**steps * matrix, 0.0)
        return kept + jnp.einsum("bhjk,bhjv->bhkv", left[..., None] * key, value), result

    ends = jnp.pad(done, [(0, gap), (0, 0)]).reshape(pieces, steps, -1)
    after, result = jax.lax.scan(piece, start, (cut(query), cut(key), cut(value), ends))
    result = result.reshape(*result.shape[:3], steps, agents, -1).transpose(0, 3, 1, 4, 2, 5)
    return result.reshape(-1, *result.shape[2:])[:length], after


class Retention(nn.Module):
    """Multi-head retention: heads normalised each by itself, then a gate.

    Weights begin with a deviation of 1 / width. So the result is near 0 at first, and a residual
    around it passes its input on. With weights of LeCun's size what is retained, which is noise at
    first, is as large as the input.

    Attributes:
      width: of the result, and of all heads together.
      heads: number of heads; `width` must be a multiple.

    Source: Sun et al. 2023, eq. 8; the initial weights are those of Mahjoub et al. 2024. Differs
    from: its group normalisation also takes off the mean.
    """

    width: int
    heads: int

    @nn.compact
    def __call__(
        self, x: Array, source: Array, place: Array, present: Array, retain: Retain
    ) -> tuple[Array, Array]:
        """Returns f32 [..., N, width] and the matrices after the step.

        Args:
          x: f32 [..., N, F], what asks.
          source: f32 [..., N, F], what is retained.
          place: f32 [..., 1, F], added to both: what tells the steps of an episode apart.
          present: bool [..., N], agents that add to the matrices.
          retain: how.
        """
        x, source = x + place, source + place

        def heads(x: Array) -> Array:
            return x.reshape(*x.shape[:-1], self.heads, -1)

        def linear(x: Array, name: str) -> Array:
            small = nn.initializers.normal(1 / self.width)
            result: Array = nn.Dense(self.width, use_bias=False, kernel_init=small, name=name)(x)
            return result

        key = heads(linear(source, "key")) / np.sqrt(self.width // self.heads)
        key = jnp.where(present[..., None, None], key, 0.0)
        result, matrix = retain(heads(linear(x, "query")), key, heads(linear(source, "value")))
        result = nn.RMSNorm(name="norm")(result).reshape(*x.shape[:-1], self.width)
        return linear(nn.silu(linear(x, "gate")) * result, "out"), matrix


class _Gated(nn.Module):
    """A gated linear unit with a residual and a normalisation, as after every retention.

    It begins as its residual alone: the weights of its last layer are 0.
    """

    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inner = nn.silu(nn.Dense(self.width)(x)) * nn.Dense(self.width)(x)
        last = nn.Dense(self.width, kernel_init=nn.initializers.zeros)
        result: Array = nn.RMSNorm()(x + last(inner))
        return result


class RetentionEncoderBlock(nn.Module):
    """Retention over agents and steps, then a gated part, each with a residual."""

    width: int
    heads: int

    @nn.compact
    def __call__(
        self, x: Array, place: Array, present: Array, retain: Retain
    ) -> tuple[Array, Array]:
        """Returns f32 [..., N, width] and matrices f32 [..., H, K, V]; see `Retention`."""
        inner, matrix = Retention(self.width, self.heads)(x, x, place, present, retain)
        return _Gated(self.width)(nn.RMSNorm()(x + inner)), matrix


class RetentionDecoderBlock(nn.Module):
    """Retention of actions by actions, then by the agents' observations, then a gated part."""

    width: int
    heads: int

    @nn.compact
    def __call__(
        self, x: Array, seen: Array, place: Array, present: Array, retain: tuple[Retain, Retain]
    ) -> tuple[Array, tuple[Array, Array]]:
        """Returns f32 [..., N, width] and the matrices of both retentions.

        Args:
          x: f32 [..., N, width], of the actions before each agent's.
          seen: f32 [..., N, width], of its observations, which are the second one's queries.
          place: f32 [..., 1, width].
          present: bool [..., N].
          retain: of the two retentions.
        """
        inner, own = Retention(self.width, self.heads)(x, x, place, present, retain[0])
        x = nn.RMSNorm()(x + inner)
        inner, cross = Retention(self.width, self.heads)(seen, x, place, present, retain[1])
        return _Gated(self.width)(nn.RMSNorm()(seen + inner)), (own, cross)
