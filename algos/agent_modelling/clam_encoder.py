"""CLAM's model of the partners: an encoder of one's own trajectory that learns by contrast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from marlx.algos.agent_modelling.config import ContrastConfig, EncoderConfig
from marlx.algos.agent_modelling.models import Before, Model, Step, Tokens, partner_of
from marlx.data.episode_store import EpisodeState, EpisodeTable, episodes
from marlx.learning.contrastive_losses import nt_xent, supervised_contrastive
from marlx.learning.schedule import due_updates, repeat_updates
from marlx.nets.set_attention import Pool, PooledEncoder
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class Reading(NamedTuple):
    """The encoder's acting memory: a trajectory so far, of any length, in a fixed size."""

    pool: Pool  # [B, N, ...]
    vector: Array  # f32 [B, N, E], the embedding of the steps so far; 0 where there is none
    token: Array  # f32 [B, N, F], the last one; 0 at first
    before: Before
    time: Array  # int32 [B], tokens so far


class Record(NamedTuple):
    """What the store keeps of a step."""

    step: Step
    label: Array  # int16 [], the partner, where the environment tells; -1 elsewhere


class ContrastState(NamedTuple):
    """The contrastive model."""

    params: Tree  # encoder and projector
    target: Tree  # the encoder's acting copy
    optimiser: optax.OptState
    store: EpisodeState
    pending: Array  # f32 [], gradient updates still to make, fractions included


class Projector(nn.Module):
    """Embeddings to where they are compared; batch statistics, since only losses use it."""

    hidden: int
    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f32 [M, size] of f32 [M, E]."""
        x = nn.Dense(self.hidden, use_bias=False)(x)
        x = (x - x.mean(0)) * jax.lax.rsqrt(x.var(0) + 1e-5)
        scale = self.param("scale", nn.initializers.ones, (self.hidden,))
        bias = self.param("bias", nn.initializers.zeros, (self.hidden,))
        return nn.Dense(self.size)(nn.relu(x * scale + bias))


def unit(x: Array) -> Array:
    """`x` f32 [..., E] at length 1."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def with_context(token: Array) -> Array:
    """f32 [..., L, 2 F], each token of f32 [..., L, F] beside the one before it (0 at first)."""
    before = jnp.concatenate([jnp.zeros_like(token[..., :1, :]), token[..., :-1, :]], -2)
    return jnp.concatenate([token, before], -1)


def view_rows(
    key: Array, length: Array, shortest: int, longest: int, prefix: float
) -> tuple[Array, Array]:
    """A random part of a trajectory: first step and number of steps, int32 [] each.

    `shortest` to `longest` steps in a row from anywhere or, with probability `prefix`, 1 to
    `longest` from the beginning; less where the trajectory, int32 [] `length`, is shorter.
    """
    key_coin, key_size, key_start = jax.random.split(key, 3)
    most = jnp.minimum(longest, length)
    whether = jax.random.uniform(key_coin) < prefix
    least = jnp.where(whether, 1, jnp.minimum(shortest, most))
    size = jax.random.randint(key_size, (), least, most + 1)
    start = jax.random.randint(key_start, (), 0, length - size + 1)
    return jnp.where(whether, 0, start), size


def two_views(key: Array, length: Array, config: ContrastConfig) -> tuple[Array, Array]:
    """First steps and numbers of steps, int32 [2] each, of a pair of views of a trajectory.

    Where `config.apart`, the second lies before a random cut and the first behind it; of a
    trajectory of a single step the first is then empty.
    """
    c = config
    key_cut, key_first, key_second = jax.random.split(key, 3)
    begin, first, second = jnp.zeros_like(length), length, length
    if c.apart:
        cut = jax.random.randint(key_cut, (), 1, jnp.maximum(length, 2))
        begin, first, second = cut, length - cut, cut
    one = view_rows(key_first, first, c.shortest, c.longest, 0.0)
    other = view_rows(key_second, second, c.shortest, c.longest, c.prefix)
    return jnp.stack([begin + one[0], other[0]]), jnp.stack([one[1], other[1]])


def blanks(key: Array, size: Array, width: int, share: float) -> Array:
    """Bool [width], True at `ceil(share * size)` random ones of the first `size` steps."""
    rank = jnp.where(jnp.arange(width) < size, jax.random.uniform(key, (width,)), 2.0)
    number = jnp.ceil(share * size).astype(jnp.int32)
    smallest = jnp.sort(rank)[jnp.maximum(number - 1, 0)]
    return (rank <= smallest) & (number > 0)


def contrastive(
    spec: EnvSpec,
    token: Tokens,
    size: int,
    sizes: EncoderConfig,
    config: ContrastConfig,
    *,
    labels: bool = False,
) -> Model:
    """The contrastive model: an encoder of the agent's own trajectory, and its training.

    At step t it gives the embedding, at length 1, of the tokens 0 to t-1 of this episode, and 0
    before the first. Acting extends a pooled average by a token (`marlx.nets.set_attention`), with
    a copy of the encoder that follows it slowly; where that copy changes within an episode, tokens
    taken in earlier stay as they were.

    Source: Ma et al. 2024 (CLAM), arXiv 2401.00132, and its authors' repository (two asymmetric
    views, blanked steps, NT-Xent, momentum copy). Differs from: the repository, where tokens attend
    to each other (here each sees the one before it, and seeds attend to tokens); views are drawn
    per trajectory, not per batch, and half of the second ones are beginnings, which acting reads;
    the first embedding is 0 instead of the last episode's.

    Args:
      spec: the environment's.
      token: what it reads.
      size: E, of the embedding.
      sizes: of the encoder.
      config: its training.
      labels: positives are all trajectories with the same partner: an upper bound, not CLAM.

    Raises:
      ValueError: labels that the environment does not tell.
    """
    c = config
    part, _ = partner_of(spec) if labels else (slice(0, 0), 0)
    encoder = PooledEncoder(size, sizes.width, sizes.heads, sizes.seeds, spec.horizon)
    projector = Projector(2 * c.projection, c.projection)
    longest = min(c.longest, spec.horizon)  # no view is longer than an episode
    store = episodes(c.capacity, spec.horizon)
    adam = optax.adam(c.lr)
    encode: Callable[..., Any] = encoder.apply
    project: Callable[..., Any] = projector.apply

    def record(memory: Before, obs: Observation) -> Record:
        label = jnp.full(obs.global_state.shape[:-1], -1, jnp.int16)
        if labels:
            label = obs.global_state[..., part].argmax(-1).astype(jnp.int16)
        return Record(token.step(memory, obs), label)

    def memory(num_envs: int) -> Reading:
        batch = (num_envs, spec.num_agents)
        return Reading(
            encoder.empty(batch),
            jnp.zeros((*batch, size)),
            jnp.zeros((*batch, token.width)),
            token.before(num_envs),
            jnp.zeros(num_envs, jnp.int32),
        )

    def push(params: Tree, memory: Reading, obs: Observation, action: Array) -> Reading:
        new = token.expand(token.step(memory.before, obs))
        x = jnp.concatenate([new, memory.token], -1)
        pool, out = encode(params, memory.pool, x, memory.time[:, None], method="step")
        before = token.after(memory.before, obs, action)
        return Reading(pool, unit(out), new, before, memory.time + 1)

    def init(key: Array, example: Transition) -> ContrastState:
        key_encoder, key_projector = jax.random.split(key)
        x, there = jnp.zeros((1, 2 * token.width)), jnp.ones(1, bool)
        params = {
            "encoder": encoder.init(key_encoder, x, there),
            "projector": projector.init(key_projector, jnp.zeros((2, size))),
        }
        kept = jax.eval_shape(record, example.memory.before, example.obs)
        return ContrastState(
            params, params["encoder"], adam.init(params), store.init(kept), jnp.float32(0)
        )

    def observe(state: ContrastState, rollout: Transition) -> ContrastState:
        kept = record(rollout.memory.before, rollout.obs)
        return state._replace(store=store.add(state.store, kept, rollout.done))

    def views(state: ContrastState, key: Array) -> tuple[Array, Array, Array]:
        """Tokens f32 [2, b, L, F], which of them are there bool [2, b, L], labels int [b]."""
        key_draw, key_agent, key_rows, key_blank = jax.random.split(key, 4)
        drawn: EpisodeTable = store.sample(state.store, key_draw, c.batch)
        agent = jax.random.randint(key_agent, (c.batch,), 0, spec.num_agents)
        start, size = jax.vmap(lambda key, length: two_views(key, length, c))(
            jax.random.split(key_rows, c.batch), drawn.length
        )
        rows = start[..., None] + jnp.arange(longest)  # [b, 2, L]
        kept: Record = store.take(state.store, drawn, rows.reshape(c.batch, -1))
        seen = token.expand(kept.step)[jnp.arange(c.batch), :, agent]
        first, second = jnp.unstack(seen.reshape(c.batch, 2, longest, -1), axis=1)
        blank = jax.vmap(lambda key, size: blanks(key, size, longest, c.mask))(
            jax.random.split(key_blank, c.batch), size[:, 0]
        )
        there = jnp.arange(longest) < size.T[..., None]
        first = jnp.where(blank[..., None], 0.0, first)
        return jnp.stack([first, second]), there, kept.label[:, 0]

    def loss(params: Tree, tokens: Array, there: Array, label: Array) -> tuple[Array, Array]:
        x = with_context(tokens).reshape(2 * c.batch, longest, -1)
        out = encode(params["encoder"], x, there.reshape(2 * c.batch, longest))
        h = project(params["projector"], out)
        own = nt_xent(h[: c.batch], h[c.batch :], c.temperature)
        if not labels:
            return own, own
        return supervised_contrastive(h, jnp.tile(label, 2), c.temperature), own

    def step(state: ContrastState, key: Array) -> tuple[ContrastState, dict[str, Array]]:
        seen = views(state, key)
        (_, own), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, *seen)
        change, optimiser = adam.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, change)
        target = optax.incremental_update(params["encoder"], state.target, 1.0 - c.momentum)
        metrics = {"contrastive_loss": own, "contrastive_grad_norm": optax.tree.norm(gradient)}
        return state._replace(params=params, target=target, optimiser=optimiser), metrics

    def update(state: ContrastState, key: Array) -> tuple[ContrastState, dict[str, Array]]:
        ready = store.size(state.store) >= c.batch
        pending = jnp.where(ready, state.pending + c.updates, 0.0)
        due, pending = due_updates(pending)
        state, sums = repeat_updates(
            step, state, key, due, ("contrastive_loss", "contrastive_grad_norm")
        )
        metrics = {name: total / due for name, total in sums.items()}  # nan without any update
        return state._replace(pending=pending), metrics

    return Model(
        init=init,
        memory=memory,
        policy=lambda state: state.target,
        read=lambda params, memory, obs: memory.vector,
        push=push,
        observe=observe,
        update=update,
    )
