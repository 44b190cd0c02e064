"""Dynamic populations: a listener learns to learn languages, of speakers that are added one by one.

Phases take turns. In the listener's phase it meets all speakers there are, and is trained to do
well after a few gradient steps on the games of any of them. In the speaker's phase a copy of the
newest speaker is trained by REINFORCE with the listener as it is, and joins the population. Lessons
of language 0, of a few objects, go beside the games, so that languages do not drift from it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.population.acting import Policy, outputs_of
from marlx.algos.population.config import PopulationConfig
from marlx.algos.population.games import (
    ACTIONS,
    games_of,
    layout_of,
    reinforce_loss,
)
from marlx.algos.population.losses import (
    Parts,
    listener_lessons,
    listener_loss,
    speaker_lessons,
)
from marlx.algos.population.meta import meta_loss
from marlx.algos.population.networks import Listener, Speaker, outputs
from marlx.algos.population.schedule import (
    LISTEN,
    SEED,
    SPEAK,
    Phase,
    phase_of,
    speaker_of,
)
from marlx.algos.ppo_losses import weighted_mean
from marlx.learner import Learner
from marlx.learning.part_rates import with_part_rates
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class PopulationState(NamedTuple):
    """State of the learner between two updates."""

    speakers: Tree  # [T + 1, ...]
    listener: Tree
    optimisers: tuple[optax.OptState, optax.OptState]  # of the speaker that learns, and listener
    baseline: Array  # f32 [], running mean of hits
    rollout: Transition  # the last one, [T, B, ...]
    updates: Array  # int32 []


# --- the update ---


def gradients(
    parts: Parts, state: PopulationState, phase: Phase, speaker: Tree
) -> tuple[tuple[Tree, Tree], dict[str, Array]]:
    """Returns gradients of the speaker that learns and of the listener, and metrics.

    Those of the one that does not learn in this phase are 0.
    """
    c, games = parts.config, games_of(state.rollout)
    size = 1 + c.population * c.growing
    who = speaker_of(phase, games.envs)

    def of_listener(listener: Tree) -> tuple[Array, dict[str, Array]]:
        lessons = listener_lessons(parts, games, listener)
        loss = functools.partial(listener_loss, parts, games)
        met = meta_loss(
            loss, listener, who, phase.newest + 1, size, rate=c.inner_lr, steps=c.inner_steps,
            second_order=c.second_order,
        )  # fmt: skip
        weight = jnp.where(phase.kind == SEED, 1.0, c.supervised)
        total = jnp.where(phase.kind == LISTEN, met, 0.0) + weight * lessons
        return total, {"listener_loss": met, "listener_lessons": lessons}

    def of_speaker(speaker: Tree) -> tuple[Array, dict[str, Array]]:
        spoken = outputs(parts.speaker, speaker, games.spoken.local[..., :-1, :])
        lessons = speaker_lessons(parts, games, spoken)
        played = reinforce_loss(spoken, games, state.baseline, c.entropy)
        weight = jnp.where(phase.kind == SEED, 1.0, c.supervised)
        total = jnp.where(phase.kind == SPEAK, played, 0.0) + weight * lessons
        return total, {"speaker_loss": played, "speaker_lessons": lessons}

    of_s, first = jax.grad(of_speaker, has_aux=True)(speaker)
    of_l, second = jax.grad(of_listener, has_aux=True)(state.listener)
    return (of_s, of_l), {**first, **second}


def update(
    parts: Parts, state: PopulationState, key: Array
) -> tuple[PopulationState, dict[str, Array]]:
    """Returns the state after one gradient step of the phase's learner, and metrics."""
    del key
    c, phase = parts.config, phase_of(parts.config, state.updates)
    speaker = jax.tree.map(lambda x: x[phase.newest], state.speakers)
    (grad_s, grad_l), metrics = gradients(parts, state, phase, speaker)

    def stepped(who: int, params: Tree, gradient: Tree, learns: Array) -> tuple[Tree, Tree]:
        before = state.optimisers[who]
        change, after = parts.optimisers[who].update(gradient, before, params)
        moved = jax.tree.map(lambda p, s: p - c.lr * s, params, change)
        keep = functools.partial(jnp.where, learns)
        return jax.tree.map(keep, moved, params), jax.tree.map(keep, after, before)

    speaker, of_s = stepped(0, speaker, grad_s, phase.kind != LISTEN)
    listener, of_l = stepped(1, state.listener, grad_l, phase.kind != SPEAK)
    games = games_of(state.rollout)
    hits = weighted_mean(games.hit, games.speaks)
    state = state._replace(
        speakers=jax.tree.map(lambda x, y: x.at[phase.newest].set(y), state.speakers, speaker),
        listener=listener,
        optimisers=(of_s, of_l),
        baseline=state.baseline + c.baseline_rate * (hits - state.baseline),
        updates=state.updates + 1,
    )
    shown = {"phase": phase.kind, "speakers": phase.newest + 1}
    metrics = {**metrics, **{name: x.astype(jnp.float32) for name, x in shown.items()}}
    return added(parts, state), {**metrics, "hits": hits, "samples": games.chooses.sum()}


def added(parts: Parts, state: PopulationState) -> PopulationState:
    """Returns the state with a new speaker, a copy of the newest, where its phase begins now."""
    phase = phase_of(parts.config, state.updates)
    if not parts.config.growing:
        return state
    last = jax.tree.map(lambda x: x[jnp.maximum(phase.newest - 1, 0)], state.speakers)
    begins = functools.partial(jnp.where, phase.begins)
    speakers = jax.tree.map(
        lambda x, y: x.at[phase.newest].set(begins(y, x[phase.newest])), state.speakers, last
    )
    of_s, of_l = state.optimisers
    *_, rates = of_s
    of_s = jax.tree.map(begins, (*parts.optimisers[0].init(last)[:-1], rates), of_s)
    return state._replace(speakers=speakers, optimisers=(of_s, of_l))


# --- the learner ---


def init(parts: Parts, key: Array, example: Transition) -> PopulationState:
    """Returns the first state, in which all speakers are the same.

    Raises:
      ValueError: a rollout is no two whole rounds.
    """
    config, layout = parts.config, parts.layout
    length = example.terminated.shape[0]
    if length < 4 or length % 2:
        raise ValueError(
            f"rollout_length is {length}; it must be even, 4 or more: rounds of two steps, the "
            "first half of them to adapt to, the others to judge by"
        )
    of_speaker, of_listener = jax.random.split(key)
    mouth = jnp.zeros((1, parts.spec.obs_size))
    message = jnp.zeros((1, layout.heard))
    candidates = jnp.zeros((1, layout.shown, layout.target))
    speaker = parts.speaker.init(of_speaker, mouth)
    listener = parts.listener.init(of_listener, message, candidates)
    size = 1 + config.population * config.growing
    return PopulationState(
        jax.tree.map(lambda x: jnp.repeat(x[None], size, 0), speaker),
        listener,
        (parts.optimisers[0].init(speaker), parts.optimisers[1].init(listener)),
        jnp.float32(1 / parts.listener.choices),
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example),
        jnp.int32(0),
    )


def act(
    parts: Parts,
    everyone: bool,
    policy: Policy,
    memory: Array,
    obs: Observation,
    key: Array,
    explore: bool,
) -> tuple[Array, Array, Tree]:
    """Returns what `Act` does; the newest speaker speaks unless `everyone` and `explore`."""
    newest = jnp.full_like(memory, policy.phase.newest)
    who = speaker_of(policy.phase, memory) if explore and everyone else newest
    logits, mask = outputs_of(parts, policy, who, obs), obs.action_mask
    drawn = ACTIONS.sample(key, logits, mask) if explore else ACTIONS.mode(logits, mask)
    return drawn, memory, ()


def population_learner(spec: EnvSpec, config: PopulationConfig) -> Learner:
    """Returns the learner of dynamic populations, for signalling games with lessons.

    In evaluations the newest speaker speaks.

    Raises:
      ValueError: the game is none; see `layout_of`.

    Source: after Gupta, Lanctot, Lazaridou 2021, "Dynamic population-based meta-learning for
    multi-agent communication with natural language", whose text and code we could not read: phases,
    losses and sizes are our reading. Seeded self-play: Lowe et al. 2020. The listener of each phase
    is trained with all speakers there are, where a few might be drawn.
    """
    layout = layout_of(spec)
    choices = dict(spec.state_parts)["answer"]
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    adam = optax.chain(clip, optax.scale_by_adam(eps=1e-5))
    parts = Parts(
        spec,
        config,
        layout,
        Speaker(config.hidden, spec.num_actions),
        Listener(config.hidden, choices),
        (with_part_rates(adam, "speakers"), with_part_rates(adam, "listener")),
    )

    def policy(state: PopulationState) -> Policy:
        return Policy(state.speakers, state.listener, phase_of(config, state.updates))

    return Learner(
        init=functools.partial(init, parts),
        memory=lambda num_envs: jnp.arange(num_envs, dtype=jnp.int32),
        policy=policy,
        act=functools.partial(act, parts, True),
        observe=lambda state, t: state._replace(rollout=t),
        update=functools.partial(update, parts),
        config=config,
        judged="drawn",
        act_drawn=functools.partial(act, parts, False),
    )


def dynamic_population(
    spec: EnvSpec, config: PopulationConfig | None = None, **settings: Any
) -> Learner:
    """A listener that meta-learns with a growing population of speakers, in signalling games."""
    return population_learner(spec, dataclasses.replace(config or PopulationConfig(), **settings))


ALGORITHMS = (
    Algorithm(
        "dynamic_population",
        "a listener meta-learns with many speakers",
        PopulationConfig,
        dynamic_population,
        example="signal/lewis-5",
    ),
)
"""The dynamic population, as `marlx train` finds it."""
