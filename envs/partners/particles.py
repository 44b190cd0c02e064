"""Heuristic partners for particle worlds: predators and speakers of LIAM, and spread."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.mpe.liam import MARKS, SYMBOLS, LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.mpe.world import DAMPING, MOVES, STEP, Particles
from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.types import Array, Observation, Tree

COAST = STEP / DAMPING
"""Distance that a particle still moves without pushes, per unit of velocity."""
PREDATORS = ("after_prey", "after_agent_far", "after_agent_close", "after_pred")
"""LIAM's four predators; a partner's `policy` is its index in this list."""
LIAM_TEAMS = (
    (1, 8, 0),
    (2, 5, 8),
    (3, 0, 1),
    (8, 8, 9),
    (6, 0, 1),
    (7, 3, 4),
    (7, 1, 2),
    (3, 7, 3),
    (9, 3, 5),
    (0, 4, 6),
)
"""The ten teams of predators 0, 1 and 2 that LIAM's prey meets: indices into a pool of `PREDATORS`
and six trained policies, the first three of which explore as in training."""
LIAM_CODES = (
    (0, 1, 2),
    (1, 2, 3),
    (1, 0, 3),
    (3, 0, 4),
    (0, 2, 4),
    (4, 3, 2),
    (3, 2, 1),
    (2, 4, 0),
    (3, 4, 1),
    (2, 1, 0),
)
"""The symbols of LIAM's ten speakers for the three landmarks."""
COVERERS = ("nearest", "assigned", "stay", "reversed")
"""Heuristics for spread; a partner's `policy` is its index in this list."""


def predator_heuristics(env: Particles) -> tuple[Partner, ...]:
    """Returns LIAM's predators, for environments in which several of them chase one prey.

    Each pushes towards a target, along the axis on which it is further away. The target is the prey
    (`after_prey`), the closest other agent, prey or predator (`after_agent_close`), the agent
    furthest away on either axis (`after_agent_far`), or another predator, drawn at every step
    (`after_pred`). A prey that is a partner acts at random. Pushes go towards the target with
    either setting of `action_signs`. Observations must be a predator's: velocity, position,
    landmarks, other predators, prey, the prey's velocity.

    Source: the LIAM repository (github.com/uoe-agents/LIAM), Papoudakis et al. 2021, arXiv
    2006.09447. Differs from the original in that it allows any number of predators and landmarks.
    """
    act = functools.partial(_chase, env)
    return tuple(Partner(name, no_memory, act, rule) for rule, name in enumerate(PREDATORS))


def spread_heuristics(env: Spread) -> tuple[Partner, ...]:
    """Returns the heuristics for spread: `nearest`, `assigned`, `stay`, `reversed`.

    Every agent goes to the nearest landmark, agent i goes to landmark i, nobody moves, and agent i
    goes to the i-th landmark from the end. A push goes along the longer axis of the distance that
    would remain after coasting; within half the way of one push of the landmark they do not push.
    """
    act = functools.partial(_cover, env)
    return tuple(Partner(name, no_memory, act, rule) for rule, name in enumerate(COVERERS))


def speaker_heuristics(env: LiamSpeakerListener) -> tuple[Partner, ...]:
    """Returns ten partners, each of which speaks and understands its own code: `code_012`, ...

    Each says its symbol for the landmark that it knows, and goes to the landmark whose symbol it
    receives, as in spread. Without a message in its code it stays where it is.

    Source: the codes are LIAM's (Papoudakis et al. 2021, arXiv 2006.09447). Differs from LIAM:
    there partners speak by the code but move by ten trained networks, without it.
    """
    act = functools.partial(_converse, env)
    return tuple(
        Partner(f"code_{''.join(map(str, code))}", no_memory, act, np.array(code, np.int32))
        for code in LIAM_CODES
    )


def has_predators(env: Environment[Any, Any]) -> bool:
    """Returns whether all agents but the last observe what `predator_heuristics` needs."""
    if not isinstance(env, Particles):
        return False
    spec, marks = env.spec(), len(env.landmarks)
    predators = spec.obs_sizes[:-1]
    width = 4 + 2 * marks + 2 * len(predators) + 2
    alike = len(predators) > 1 and all(size == width for size in predators)
    return alike and (len(predators),) in [members for _, members in spec.groups]


def _chase(
    env: Particles, rule: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns actions of all agents, by one of `PREDATORS`, and the memory as it is."""
    others = len(env.agents) - 1
    first = 4 + 2 * len(env.landmarks)
    draws = jnp.unstack(jax.random.bits(key, (others + 1,)))
    actions = []
    for i, draw in enumerate(draws[:-1]):
        numbers = jnp.unstack(obs.local[i, first : first + 2 * others])
        ways = list(zip(numbers[::2], numbers[1::2], strict=True))  # towards all others, prey last
        prey = jnp.int32(others - 1)
        close = _argmax([-(x * x + y * y) for x, y in ways])
        far = _argmax([jnp.maximum(jnp.abs(x), jnp.abs(y)) for x, y in ways])
        pred = (draw % (others - 1)).astype(jnp.int32)
        target = _select(rule, [prey, far, close, pred])
        x, y = (_select(target, way) for way in zip(*ways, strict=True))
        along_x = (jnp.abs(x) > jnp.abs(y)) | ((jnp.abs(x) == jnp.abs(y)) & (rule != 0))
        actions.append(_push(env, x, y, along_x))
    actions.append((draws[-1] % MOVES).astype(jnp.int32))
    return _as_actions(env, actions), memory


def _cover(
    env: Spread, rule: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns actions of all agents, by one of `COVERERS`, and the memory as it is."""
    del key
    actions = []
    for i, agent in enumerate(env.agents):
        vx, vy, _, _, *numbers = jnp.unstack(obs.local[i, : 4 + 2 * env.num_agents])
        ways = list(zip(numbers[::2], numbers[1::2], strict=True))
        near = _argmax([-(x * x + y * y) for x, y in ways])
        mine, last = jnp.int32(i), jnp.int32(env.num_agents - 1)
        own = _select(rule, [near, mine, mine, last - mine])
        x, y = (_select(own, way) for way in zip(*ways, strict=True))
        push = _approach(env, agent.accel, x - COAST * vx, y - COAST * vy)
        actions.append(jnp.where(rule != 2, push, 0))
    return _as_actions(env, actions), memory


def _converse(
    env: LiamSpeakerListener, code: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns actions of both agents, by the code int32 [3], and the memory as it is."""
    del key
    moves, symbols = [], []
    for i, (agent, size) in enumerate(zip(env.agents, env.spec().obs_sizes, strict=True)):
        seen = obs.local[i, :size]
        vx, vy, *numbers = jnp.unstack(seen[: 2 + 2 * MARKS])
        known, heard = seen[-MARKS - SYMBOLS : -SYMBOLS], seen[-SYMBOLS:]
        symbols.append(code[known.argmax()])
        meant = heard[code]  # f32 [3], 1 at the landmark that this symbol stands for
        ways = zip(numbers[::2], numbers[1::2], strict=True)
        x, y = (_select(meant.argmax(), way) for way in zip(*ways, strict=True))
        understood = meant.max() > 0
        x, y = (jnp.where(understood, way, 0.0) - COAST * v for way, v in ((x, vx), (y, vy)))
        moves.append(_approach(env, agent.accel, x, y))
    if env.continuous_actions:
        said = jax.nn.one_hot(jnp.stack(symbols), SYMBOLS)
        return jnp.concatenate([jax.nn.one_hot(jnp.stack(moves), MOVES), said], -1), memory
    return (jnp.stack(moves) + MOVES * jnp.stack(symbols)).astype(jnp.int32), memory


def _approach(env: Particles, accel: float, x: Array, y: Array) -> Array:
    """Returns int32 [], the push towards a relative position; none if it is close to 0."""
    away = jnp.maximum(jnp.abs(x), jnp.abs(y)) > 0.5 * accel * STEP * COAST
    return jnp.where(away, _push(env, x, y, jnp.abs(x) >= jnp.abs(y)), 0)


def _push(env: Particles, x: Array, y: Array, along_x: Array) -> Array:
    """Returns int32 [], the move towards (x, y) along one axis; 0 counts as positive."""
    right, left, up, down = (2, 1, 4, 3) if env.action_signs == "mpe2" else (1, 2, 3, 4)
    return jnp.where(along_x, jnp.where(x >= 0, right, left), jnp.where(y >= 0, up, down))


def _as_actions(env: Particles, moves: Sequence[Array]) -> Array:
    """Returns int32 [N], or f32 [N, A] for continuous actions: a full push, and no message."""
    move = jnp.stack(moves).astype(jnp.int32)
    if not env.continuous_actions:
        return move
    return (move[:, None] == jnp.arange(max(env.spec().action_sizes))).astype(jnp.float32)


def _argmax(numbers: Sequence[Array]) -> Array:
    """Returns int32 [], the index of the largest number, the first of equal ones."""
    best = numbers[0]
    place: Array = jnp.int32(0)
    for i, number in enumerate(numbers[1:], 1):
        place = jnp.where(number > best, i, place)
        best = jnp.maximum(best, number)
    return place


def _select(index: Array, values: Sequence[Array]) -> Array:
    """Returns `values[index]`."""
    chosen = values[0]
    for i, value in enumerate(values[1:], 1):
        chosen = jnp.where(index == i, value, chosen)
    return chosen


def _prey(env: Particles) -> tuple[int, ...]:
    """Returns the last agent: in LIAM's setting the prey learns and the predators are partners."""
    return (len(env.agents) - 1,)


def _second_speaker(env: Particles) -> tuple[int, ...]:
    """Returns the agent that learns in LIAM."""
    return (1,)


HEURISTICS = (
    HeuristicSet(kind=Spread, make=spread_heuristics),
    HeuristicSet(kind=LiamSpeakerListener, make=speaker_heuristics, ego=_second_speaker),
    HeuristicSet(kind=Particles, make=predator_heuristics, fits=has_predators, ego=_prey),
)
