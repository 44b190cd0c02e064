"""Rounds of a signalling game in a rollout, and the losses of listener and speaker on them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.ppo_losses import weighted_mean
from marlx.learning.distributions import Categorical
from marlx.types import Array, EnvSpec, Observation, Transition

ACTIONS = Categorical()
PARTS = ("target", "said", "answer", "lesson", "taught")
"""Parts of the global state that the learner needs."""


class Layout(NamedTuple):
    """Where things stand in the observations of a signalling game with lessons.

    Attributes:
      mouths: M, agents that speak; the listener is the last agent.
      target: numbers of an object.
      heard: numbers of a message.
      shown: C, candidates that the listener sees; 0: it chooses among all objects.
      parts: the slice of the global state of each of `PARTS`.
    """

    mouths: int
    target: int
    heard: int
    shown: int
    parts: dict[str, slice]

    def part(self, obs: Observation, name: str) -> Array:
        """Returns f32 [..., size], a part of the global state."""
        return obs.global_state[..., self.parts[name]]

    def message(self, obs: Observation) -> Array:
        """Returns f32 [..., heard], the message that the listener hears; zeros while it waits."""
        return obs.local[..., self.mouths, 1 : 1 + self.heard]

    def candidates(self, obs: Observation) -> Array:
        """Returns f32 [..., C, target], what the listener may choose among."""
        first = 1 + self.heard
        flat = obs.local[..., self.mouths, first : first + self.shown * self.target]
        return flat.reshape(*flat.shape[:-1], self.shown, self.target)


def layout_of(spec: EnvSpec) -> Layout:
    """Returns where things stand in the observations of a game.

    Raises:
      ValueError: it is no signalling game with lessons whose mouths speak at once.
    """
    sizes = dict(spec.state_parts)
    missing = [name for name in PARTS if name not in sizes]
    if missing:
        raise ValueError(
            f"{spec.id} has no part {missing[0]!r} in its global state; the learner needs a "
            "signalling game that teaches a language: signal/... with --env.lessons 1 or more"
        )
    mouths, target, heard = spec.num_agents - 1, sizes["target"], sizes["said"]
    assert spec.obs_sizes is not None, "its agents see different things"
    if spec.obs_sizes[0] != target + mouths + 1:
        raise ValueError(f"in {spec.id} mouths speak in sequence; order must be 'parallel'")
    seen = spec.obs_sizes[-1] - 1 - heard
    shown = sizes["answer"] if seen >= sizes["answer"] * target else 0
    return Layout(mouths, target, heard, shown, {name: spec.state_part(name) for name in PARTS})


class Games(NamedTuple):
    """A rollout of T steps as R = T / 2 rounds, in each of which mouths speak, then one chooses."""

    spoken: Observation  # [R, B, ...], when the mouths speak
    said: Array  # int32 [R, B, M]
    speaks: Array  # f32 [R, B], 1; 0 where no round begins at this step
    heard: Observation  # [R, B, ...], when the listener chooses
    hit: Array  # f32 [R, B], the reward of the round
    chooses: Array  # f32 [R, B], 1; 0 where the listener does not choose at this step
    envs: Array  # int32 [R, B], which environment it is, by which its speaker is told


def games_of(t: Transition) -> Games:
    """Returns a rollout [T, B] as rounds; T is even."""
    spoken, heard = (
        jax.tree.map(lambda x, first=first: x[first::2], t._replace(weight=None, credit=None))
        for first in (0, 1)
    )
    return Games(
        spoken.obs,
        spoken.action[..., :-1],
        spoken.obs.action_mask[..., 0, 0].astype(jnp.float32),
        heard.obs,
        heard.reward[..., -1],
        heard.obs.action_mask[..., -1, 0].astype(jnp.float32),
        heard.memory,
    )


def choice_loss(logits: Array, answer: Array, weight: Array) -> Array:
    """Returns f32 [], the cross-entropy of choices: `-mean log L(answer | message, candidates)`.

    Args:
      logits: f32 [..., C].
      answer: f32 [..., C], one-hot.
      weight: f32 [...].
    """
    return weighted_mean(optax.softmax_cross_entropy(logits, answer), weight)


def lesson_loss(outputs: Array, mask: Array, lesson: Array, weight: Array) -> Array:
    """Returns f32 [], the cross-entropy of what mouths say and what language 0 says of the target.

    Args:
      outputs: f32 [..., M, A], logits.
      mask: bool [..., M, A].
      lesson: f32 [..., M * W], one-hot symbol by symbol.
      weight: f32 [...].
    """
    symbols = lesson.reshape(*outputs.shape[:-1], -1).argmax(-1)
    return weighted_mean(-ACTIONS.log_prob(outputs, mask, symbols).sum(-1), weight)


def reinforce_loss(outputs: Array, games: Games, baseline: Array, entropy: Array | float) -> Array:
    """Returns f32 [], `-mean((hit - b) log pi(message) + c_H H)`, of what was said in games.

    Args:
      outputs: f32 [R, B, M, A], the speaker's logits.
      games: [R, B].
      baseline: b, f32 [].
      entropy: c_H.

    Source: Williams 1992, REINFORCE with a running mean of rewards.
    """
    mask = games.spoken.action_mask[..., :-1, :]
    log_prob = ACTIONS.log_prob(outputs, mask, games.said).sum(-1)
    gain = weighted_mean((games.hit - baseline) * log_prob, games.speaks)
    spread = weighted_mean(ACTIONS.entropy(outputs, mask, games.said).sum(-1), games.speaks)
    return -gain - entropy * spread
