"""The language of a speaker that has learned a signalling game: its messages, and their structure.

Topographic similarity (Brighton and Kirby 2006) says whether like objects get like messages.
Agreement with another language says how far a speaker has drifted from it, or whether two speakers
would understand each other.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from marlx.environment import EnvParams
from marlx.learner import Learner
from marlx.types import Array, Tree

if TYPE_CHECKING:
    from marlx.runs.policies import Policy

MOST_OBJECTS = 1000
"""Objects whose messages are read, drawn from a split that has more."""


@dataclasses.dataclass(frozen=True)
class SpokenLanguage:
    """Messages of a speaker about some objects.

    Attributes:
      objects: int32 [K], the objects.
      values: int32 [K, P], their properties.
      messages: int32 [K, M], the speaker's symbols.
    """

    objects: np.ndarray
    values: np.ndarray
    messages: np.ndarray

    @property
    def different(self) -> int:
        """How many different messages there are. Fewer than objects: the speaker pools them."""
        return len(np.unique(self.messages, axis=0))

    @property
    def topographic_similarity(self) -> float:
        """Rank correlation of distances between objects and between messages; 0 if all are one."""
        return topographic_similarity(self.values, self.messages)

    def agreement(self, messages: np.ndarray) -> float:
        """Returns the share of symbols that another language, [K, M], says at the same place."""
        return float((self.messages == messages).mean())


def topographic_similarity(values: np.ndarray, messages: np.ndarray) -> float:
    """Returns Spearman's correlation of two Hamming distances over all pairs of objects.

    1 for a language in which each property has its own position and each value its own symbol;
    about 0 for one whose messages mean nothing in part. A language, or a set of objects, in which
    all distances are equal has no order to correlate, and gets 0.

    Args:
      values: int [K, P], properties of K objects.
      messages: int [K, M], what is said of them.
    """
    first, second = np.triu_indices(len(values), 1)
    of_objects, of_messages = ((x[first] != x[second]).sum(-1) for x in (values, messages))
    if min(len(np.unique(of_objects)), len(np.unique(of_messages))) < 2:
        return 0.0
    return float(np.corrcoef(ranks(of_objects), ranks(of_messages))[0, 1])


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Returns f64 [K], the rank of each number; equal ones share the mean of their ranks."""
    _, which, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[which]


def spoken_language(policy: Policy, most: int = MOST_OBJECTS, seed: int = 0) -> SpokenLanguage:
    """Returns what a policy's speaker says of the objects of its game; see `language_of`.

    Raises:
      ValueError: the policy's environment is no signalling game.
    """
    if not hasattr(policy.env, "values_of") or not hasattr(policy.env, "speaking"):
        raise ValueError(
            f"{policy.spec.id} is no signalling game; give a run in a signal/... environment"
        )
    return language_of(policy.env, policy.params, policy.learner, policy.arrays, most, seed)


def language_of(
    env: Any,
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    most: int = MOST_OBJECTS,
    seed: int = 0,
) -> SpokenLanguage:
    """Returns what a team's speaker says of the objects of its game, by its greedy actions.

    Each object is the target of the first round of a fresh episode.

    Args:
      env: a signalling game.
      params: its parameters.
      learner: of the whole team, speakers included.
      policy: parameters for `learner.act`.
      most: objects to ask for; of a larger split so many are drawn.
      seed: draws them, and the other candidates, which a speaker does not see.
    """
    objects = np.asarray(env.members)
    if len(objects) > most:
        objects = np.sort(np.random.default_rng(seed).choice(objects, most, replace=False))

    def speak(target: Array, key: Array) -> Array:
        """Returns int32 [M], the message of one object."""
        state, memory = env.reset_env(key, params).replace(target=target), learner.memory(1)
        for _ in range(env.speaking):
            obs = jax.tree.map(lambda x: x[None], env.observe(state, params))
            action, memory, _ = learner.act(policy, memory, obs, key, False)
            state = env.step_env(key, state, action[0], params)[0]
        message: Array = state.message
        return message

    keys = jax.random.split(jax.random.key(seed), len(objects))
    messages = jax.jit(jax.vmap(speak))(objects, keys)
    return SpokenLanguage(objects, np.asarray(env.values_of(objects)), np.asarray(messages))
