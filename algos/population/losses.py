"""Losses of listener and speakers on the rounds of a rollout."""

from __future__ import annotations

from typing import NamedTuple

import optax

from marlx.algos.population.config import PopulationConfig
from marlx.algos.population.games import Games, Layout, choice_loss, lesson_loss
from marlx.algos.population.networks import Listener, Speaker, outputs
from marlx.types import Array, EnvSpec, Tree


class Parts(NamedTuple):
    """The functions that the learner is made of."""

    spec: EnvSpec
    config: PopulationConfig
    layout: Layout
    speaker: Speaker
    listener: Listener
    optimisers: tuple[optax.GradientTransformation, ...]  # speaker, listener; no step size


def listener_loss(parts: Parts, games: Games, listener: Tree, weight: Array) -> Array:
    """Returns f32 [], the cross-entropy of the listener's choices in games; see `choice_loss`."""
    layout, obs = parts.layout, games.heard
    logits = outputs(parts.listener, listener, layout.message(obs), layout.candidates(obs))
    return choice_loss(logits, layout.part(obs, "answer"), weight * games.chooses)


def listener_lessons(parts: Parts, games: Games, listener: Tree) -> Array:
    """Returns f32 [], the same where language 0 speaks, of the objects that are taught."""
    layout, obs = parts.layout, games.heard
    lesson = layout.part(obs, "lesson")
    logits = outputs(parts.listener, listener, lesson, layout.candidates(obs))
    taught = layout.part(obs, "taught")[..., 0]
    return choice_loss(logits, layout.part(obs, "answer"), taught * games.chooses)


def speaker_lessons(parts: Parts, games: Games, spoken: Array) -> Array:
    """Returns f32 [], the cross-entropy of what the speaker and language 0 say; `lesson_loss`."""
    layout, obs = parts.layout, games.spoken
    mask = obs.action_mask[..., :-1, :]
    taught = layout.part(obs, "taught")[..., 0]
    return lesson_loss(spoken, mask, layout.part(obs, "lesson"), taught * games.speaks)
