"""CLAM's agent model: an encoder of the agent's own trajectory, trained by contrast.

Two views of one trajectory are to have more similar embeddings than views of different ones. Acting
uses a target copy of the encoder that follows it slowly. `trajectory_encoder` has the encoder.

Source: Ma et al. 2024 (CLAM), arXiv 2401.00132, and its authors' repository (two asymmetric views,
blanked steps, NT-Xent, momentum copy). Differs from: the repository, where tokens attend to each
other (here each sees the one before it, and seeds attend to tokens); views are sampled per
trajectory, not per batch, and half of the second ones are beginnings, as in acting; the first
embedding is 0 instead of the last episode's.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.agent_modelling.config import ContrastConfig, EncoderConfig
from marlx.algos.agent_modelling.models import AgentModel, partner_part
from marlx.algos.agent_modelling.projector import Projector
from marlx.algos.agent_modelling.tokens import PackedStep, PreviousStep, Tokenizer
from marlx.algos.agent_modelling.trajectory_encoder import encode, extend, first_memory
from marlx.algos.agent_modelling.views import blank_mask, sample_pair
from marlx.data.episode_store import Episodes, EpisodeState, episodes
from marlx.learning.contrastive_losses import nt_xent, supervised_contrastive
from marlx.learning.part_rates import with_part_rates
from marlx.learning.schedule import due_updates, repeat_updates
from marlx.nets.set_attention import PooledEncoder
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class LabelledStep(NamedTuple):
    """A stored step."""

    step: PackedStep
    label: Array  # int16 [], index of the partner; -1 without labels


class EncoderParams(NamedTuple):
    """Trained parameters."""

    encoder: Tree
    projector: Tree


class EncoderState(NamedTuple):
    """State of the model."""

    params: EncoderParams
    target: Tree  # the encoder's moving average, for acting
    optimiser: optax.OptState
    store: EpisodeState
    pending: Array  # f32 [], gradient steps to be made, with fractions


class Training(NamedTuple):
    """The part of the state that gradient steps change."""

    params: EncoderParams
    target: Tree
    optimiser: optax.OptState


class Views(NamedTuple):
    """Two views of each of b trajectories."""

    tokens: Array  # f32 [2, b, L, F]
    valid: Array  # bool [2, b, L], False for padding
    label: Array  # int16 [b]


class Parts(NamedTuple):
    """The fixed parts of the model."""

    spec: EnvSpec
    config: ContrastConfig
    tokenizer: Tokenizer
    encoder: PooledEncoder
    projector: Projector
    store: Episodes
    labels: slice | None  # of the global state: the partner's one-hot index; None: NT-Xent

    @property
    def longest(self) -> int:
        """Steps of the longest view; no view is longer than an episode."""
        return min(self.config.longest, self.spec.horizon)


def stored_step(parts: Parts, previous: PreviousStep, obs: Observation) -> LabelledStep:
    """Returns the step as it is stored."""
    label = jnp.full(obs.global_state.shape[:-1], -1, jnp.int16)
    if parts.labels is not None:
        label = obs.global_state[..., parts.labels].argmax(-1).astype(jnp.int16)
    return LabelledStep(parts.tokenizer.pack(previous, obs), label)


def views_of(parts: Parts, state: EpisodeState, key: Array) -> Views:
    """Returns two views of each of `batch` stored trajectories, of one random agent each.

    The first has a share of its steps set to 0.
    """
    c, longest = parts.config, parts.longest
    key_sample, key_agent, key_rows, key_blank = jax.random.split(key, 4)
    trajectories = parts.store.sample(state, key_sample, c.batch)
    agent = jax.random.randint(key_agent, (c.batch,), 0, parts.spec.num_agents)
    start, size = jax.vmap(lambda key, length: sample_pair(key, length, c))(
        jax.random.split(key_rows, c.batch), trajectories.length
    )
    rows = start[..., None] + jnp.arange(longest)  # [b, 2, L]
    stored: LabelledStep = parts.store.take(state, trajectories, rows.reshape(c.batch, -1))
    tokens = parts.tokenizer.unpack(stored.step)[jnp.arange(c.batch), :, agent]
    first, second = jnp.unstack(tokens.reshape(c.batch, 2, longest, -1), axis=1)
    blank = jax.vmap(lambda key, size: blank_mask(key, size, longest, c.mask))(
        jax.random.split(key_blank, c.batch), size[:, 0]
    )
    valid = jnp.arange(longest) < size.T[..., None]
    first = jnp.where(blank[..., None], 0.0, first)
    return Views(jnp.stack([first, second]), valid, stored.label[:, 0])


def contrastive_loss(parts: Parts, params: EncoderParams, views: Views) -> tuple[Array, Array]:
    """Returns the loss f32 [] and NT-Xent f32 [], which are the same without labels."""
    _, batch, length, width = views.tokens.shape
    tokens, valid = views.tokens.reshape(-1, length, width), views.valid.reshape(-1, length)
    embedding = encode(parts.encoder, params.encoder, tokens, valid)
    project: Any = parts.projector.apply
    h, temperature = project(params.projector, embedding), parts.config.temperature
    loss = nt_xent(h[:batch], h[batch:], temperature)
    if parts.labels is None:
        return loss, loss
    return supervised_contrastive(h, jnp.tile(views.label, 2), temperature), loss


def adam(config: ContrastConfig) -> optax.GradientTransformation:
    """Returns Adam with an epsilon above rounding errors.

    A bias before a normalisation has a gradient of 0 but for rounding. With the usual 1e-8 it would
    take steps of full size at random.
    """
    return with_part_rates(optax.adam(config.lr, eps=1e-5))


def kept_share(momentum: float, updates: Array) -> Array:
    """Returns the share of the acting encoder that stays at a gradient update, f32 [].

    It is `n / (n + 1)` after n updates, up to `momentum`: the acting encoder is the mean of all
    trained ones until that many are as many as the momentum averages over. So its start, which
    nothing was learned in, counts for nothing after the first update.

    Args:
      momentum: the largest share.
      updates: int32 [], n, gradient updates made before.
    """
    made = updates.astype(jnp.float32)
    return jnp.minimum(momentum, made / (made + 1.0))


def encoder_step(
    parts: Parts, training: Training, views: Views
) -> tuple[Training, dict[str, Array]]:
    """Returns parameters and target after one gradient step on the contrastive loss."""
    t, loss = training, functools.partial(contrastive_loss, parts)
    (_, nt), gradient = jax.value_and_grad(loss, has_aux=True)(t.params, views)
    change, optimiser = adam(parts.config).update(gradient, t.optimiser, t.params)
    params = optax.apply_updates(t.params, change)
    keep = kept_share(parts.config.momentum, t.optimiser[0].count)
    target = optax.incremental_update(params.encoder, t.target, 1.0 - keep)
    metrics = {"contrastive_loss": nt, "contrastive_grad_norm": optax.tree.norm(gradient)}
    return Training(params, target, optimiser), metrics


def update(parts: Parts, state: EncoderState, key: Array) -> tuple[EncoderState, dict[str, Array]]:
    """Returns the state after the pending gradient steps, and metrics; nan if there were none."""
    ready = parts.store.size(state.store) >= parts.config.batch
    pending = jnp.where(ready, state.pending + parts.config.updates, 0.0)
    due, pending = due_updates(pending)

    def step(training: Training, key: Array) -> tuple[Training, dict[str, Array]]:
        return encoder_step(parts, training, views_of(parts, state.store, key))

    t = Training(state.params, state.target, state.optimiser)
    names = ("contrastive_loss", "contrastive_grad_norm")
    t, sums = repeat_updates(step, t, key, due, names)
    metrics = {name: total / due for name, total in sums.items()}
    return EncoderState(t.params, t.target, t.optimiser, state.store, pending), metrics


def init(parts: Parts, key: Array, example: Transition) -> EncoderState:
    """Returns the first state, with an empty store."""
    p = parts
    key_encoder, key_projector = jax.random.split(key)
    x, valid = jnp.zeros((1, 2 * p.tokenizer.width)), jnp.ones(1, bool)
    embeddings = jnp.zeros((2, p.encoder.size))
    params = EncoderParams(
        p.encoder.init(key_encoder, x, valid), p.projector.init(key_projector, embeddings)
    )
    steps = jax.eval_shape(functools.partial(stored_step, p), example.memory.previous, example.obs)
    optimiser = adam(p.config).init(params)
    target = jax.tree.map(jnp.copy, params.encoder)  # own buffers, so that the state can be donated
    return EncoderState(params, target, optimiser, p.store.init(steps), jnp.float32(0))


def encoder_parts(
    spec: EnvSpec,
    tokenizer: Tokenizer,
    size: int,
    sizes: EncoderConfig,
    config: ContrastConfig,
    *,
    labels: bool = False,
) -> Parts:
    """Returns the parts of a model.

    Args:
      spec: the environment's.
      tokenizer: of the encoder's input.
      size: E, of the embedding.
      sizes: of the encoder.
      config: its training.
      labels: positives are all trajectories with the same partner: an upper bound, not CLAM.

    Raises:
      ValueError: labels without the partner's index in the global state.
    """
    return Parts(
        spec,
        config,
        tokenizer,
        PooledEncoder(size, sizes.width, sizes.heads, sizes.seeds, spec.horizon),
        Projector(2 * config.projection, config.projection),
        episodes(config.capacity, spec.horizon),
        partner_part(spec)[0] if labels else None,
    )


def contrastive_model(parts: Parts) -> AgentModel:
    """Returns CLAM's agent model."""
    p = parts

    def observe(state: EncoderState, rollout: Transition) -> EncoderState:
        steps = stored_step(p, rollout.memory.previous, rollout.obs)
        return state._replace(store=p.store.add(state.store, steps, rollout.done))

    return AgentModel(
        init=functools.partial(init, p),
        memory=functools.partial(first_memory, p.spec, p.encoder, p.tokenizer),
        params=lambda state: state.target,
        embed=lambda params, memory, obs: memory.embedding,
        advance=functools.partial(extend, p.encoder, p.tokenizer),
        observe=observe,
        update=functools.partial(update, p),
    )
