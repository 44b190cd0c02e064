"""Partners with a fixed language, for signalling games."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.envs.signal import Signal, compositional, holistic, num_bijections
from marlx.types import Array, Observation, Tree

LANGUAGES = 50
"""Languages of each kind, where not all bijections are listed."""
MOST_HOLISTIC = 10_000
"""Objects up to which there are holistic languages: they are tables of all objects."""


def signal_languages(env: Signal) -> tuple[Partner, ...]:
    """Returns partners that speak a fixed language, or understand one; in the pool, any of them.

    `language_{k}` is compositional: a bijection of symbols and property values, and an order of
    the positions, both drawn with seed k. In a Lewis game of at most five targets they are all
    bijections. `holistic_{k}` has a message for each object, drawn with seed k, whose parts mean
    nothing; a Lewis game has none, since a single symbol has no parts.

    As speaker a partner says its language's message. As listener it chooses the candidate whose
    message agrees with the one it heard at the most positions, the first of those with as many.
    The bot of a seeded language is that of Lowe et al. (2020), section 5.1.
    """
    values = env.properties, env.values
    count = num_bijections(env.values, env.vocabulary) if env.properties == 1 else 0
    made = []
    if _has_words(env):
        speak = functools.partial(_by_language, env)
        for k in range(count or LANGUAGES):
            language = compositional(k, *values, env.vocabulary)
            policy = (language.order, language.words)
            made.append(Partner(f"language_{k}", no_memory, speak, policy))
    if _has_tables(env):
        recite = functools.partial(_by_table, env)
        for k in range(LANGUAGES):
            table = holistic(k, env.objects, env.length, env.vocabulary)
            made.append(Partner(f"holistic_{k}", no_memory, recite, table))
    return tuple(made)


def _by_language(
    env: Signal, policy: tuple[Array, Array], memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns the actions of all agents by a compositional language, and the memory as it is."""
    del key
    order, words = (jnp.asarray(part) for part in policy)

    def messages(values: Array) -> Array:
        said = words[jnp.arange(env.properties), values]
        return jnp.zeros_like(said).at[..., order].set(said)

    return _actions(env, messages, obs), memory


def _by_table(
    env: Signal, table: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns the actions of all agents by a holistic language, and the memory as it is."""
    del key
    weights = jnp.asarray(env.values ** np.arange(env.properties)[::-1], jnp.int32)
    table = jnp.asarray(table)
    return _actions(env, lambda values: table[(values * weights).sum(-1)], obs), memory


def _actions(env: Signal, messages: Any, obs: Observation) -> Array:
    """Returns int32 [N], of speakers and of the listener.

    Args:
      env: the game.
      messages: `(values int32 [..., P]) -> symbols int32 [..., M]`.
      obs: of the whole team, which the partner reads as an agent would.
    """
    target, heard = env.properties * env.values, env.length * env.vocabulary
    mouth, listener = obs.local[0], obs.local[-1]

    def values(features: Array) -> Array:
        shape = (*features.shape[:-1], env.properties, env.values)
        return features.reshape(shape).argmax(-1)

    said = messages(values(mouth[:target]))
    speaks = obs.action_mask[:-1, 0]
    if env.candidates:
        shown = listener[1 + heard : 1 + heard + env.candidates * target]
        candidates = values(shown.reshape(env.candidates, target))
    else:
        candidates = env.values_of(jnp.arange(env.objects))
    message = listener[1 : 1 + heard].reshape(env.length, env.vocabulary)
    position = jnp.arange(env.length)
    agree = message[position, messages(candidates)].sum(-1)
    choice = jnp.where(obs.action_mask[-1, 0], agree.argmax(), env.choices)
    words = jnp.where(speaks, said, env.vocabulary)
    return jnp.concatenate([words, choice[None]]).astype(jnp.int32)


def _listener(env: Signal) -> tuple[int, ...]:
    return (env.length,)


def _has_words(env: Signal) -> bool:
    """Whether each property can have a position, and each property value a symbol."""
    return env.length == env.properties and env.vocabulary >= env.properties * env.values


def _has_tables(env: Signal) -> bool:
    """Whether each object can have a message without parts, in a table of sensible size."""
    few = 1 < env.properties and env.objects <= MOST_HOLISTIC
    return few and env.vocabulary**env.length >= env.objects


def _fits(env: Signal) -> bool:
    """Whether symbols and positions are enough for one kind of language."""
    return _has_words(env) or _has_tables(env)


HEURISTICS = HeuristicSet(kind=Signal, make=signal_languages, fits=_fits, ego=_listener)
