"""Rules for particle worlds: LIAM's predators and speakers, and those that cover landmarks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.mpe.core import DAMPING, MOVES, STEP, Particles
from marlx.envs.mpe.liam import MARKS, SYMBOLS, LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.roles import Partner, no_memory
from marlx.types import Array, Observation, Tree

COAST = STEP / DAMPING
"""How far a particle still rolls, per unit of velocity."""
PREDATORS = ("after_prey", "after_agent_far", "after_agent_close", "after_pred")
"""LIAM's four predators; a partner's `policy` is its place in this list."""
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
"""The ten teams that LIAM's prey meets, of predators 0, 1 and 2: places in a pool of `PREDATORS`
and six trained policies, the first three of which act at random as in training."""
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
"""The symbols that LIAM's ten speakers have for the three landmarks."""
COVERERS = ("nearest", "assigned", "stay", "reversed")
"""Rules for spread; likewise."""


def predator_heuristics(env: Particles) -> tuple[Partner, ...]:
    """LIAM's predators, for environments in which several of them chase one prey.

    Each pushes along the axis on which what it goes after is further away: `after_prey` the prey,
    `after_agent_close` the agent closest to it (prey or predator), `after_agent_far` the agent that
    is furthest on either axis, `after_pred` one of the other predators, drawn anew at every step.
    The prey itself, should it be a partner, does something at random. `action_signs` of the
    environment is respected, so that all go towards what they go after. They see positions only as
    a predator does: velocity, position, landmarks, other predators, prey, the prey's velocity.

    Source: the LIAM repository (github.com/uoe-agents/LIAM), Papoudakis et al. 2021, arXiv
    2006.09447. Differs from: the original in that any number of predators and landmarks will do.
    """
    act = functools.partial(_chase, env)
    return tuple(Partner(name, no_memory, act, rule) for rule, name in enumerate(PREDATORS))


def spread_heuristics(env: Spread) -> tuple[Partner, ...]:
    """Rules for spread: `nearest`, `assigned`, `stay`, `reversed`.

    That is: go to the nearest landmark, agent i to the i-th, nobody anywhere, and agent i to the
    i-th from behind. Those that go push against what is left of the way after rolling out, along
    the longer axis, and rest within half a push's way of their landmark.
    """
    act = functools.partial(_cover, env)
    return tuple(Partner(name, no_memory, act, rule) for rule, name in enumerate(COVERERS))


def speaker_heuristics(env: LiamSpeakerListener) -> tuple[Partner, ...]:
    """Ten partners that each speak and understand a code of their own: `code_012`, ...

    They say their symbol for the landmark that they know of, and go to the landmark that they were
    told of in the same code, pushing along the longer axis and resting near it, as in spread. What
    is no word of their code, and silence, leaves them where they are.

    Source: the codes are LIAM's (Papoudakis et al. 2021, arXiv 2006.09447). Differs from: LIAM,
    whose partners move by ten trained networks and speak by the code, but do not listen by it.
    """
    act = functools.partial(_converse, env)
    return tuple(
        Partner(f"code_{''.join(map(str, code))}", no_memory, act, np.array(code, np.int32))
        for code in LIAM_CODES
    )


def has_predators(env: Environment[Any, Any]) -> bool:
    """Whether all agents but the last are predators that see as `predator_heuristics` says."""
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
    """Actions of all agents, by one of `PREDATORS`."""
    others = len(env.agents) - 1
    first = 4 + 2 * len(env.landmarks)
    draws = jnp.unstack(jax.random.bits(key, (others + 1,)))
    actions = []
    for i, draw in enumerate(draws[:-1]):
        numbers = jnp.unstack(obs.local[i, first : first + 2 * others])
        ways = list(zip(numbers[::2], numbers[1::2], strict=True))  # to all others, prey last
        prey = jnp.int32(others - 1)
        close = _largest([-(x * x + y * y) for x, y in ways])
        far = _largest([jnp.maximum(jnp.abs(x), jnp.abs(y)) for x, y in ways])
        pred = (draw % (others - 1)).astype(jnp.int32)
        target = _case(rule, [prey, far, close, pred])
        x, y = (_case(target, way) for way in zip(*ways, strict=True))
        along_x = (jnp.abs(x) > jnp.abs(y)) | ((jnp.abs(x) == jnp.abs(y)) & (rule != 0))
        actions.append(_push(env, x, y, along_x))
    actions.append((draws[-1] % MOVES).astype(jnp.int32))
    return _as_actions(env, actions), memory


def _cover(
    env: Spread, rule: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Actions of all agents, by one of `COVERERS`."""
    del key
    actions = []
    for i, agent in enumerate(env.agents):
        vx, vy, _, _, *numbers = jnp.unstack(obs.local[i, : 4 + 2 * env.num_agents])
        ways = list(zip(numbers[::2], numbers[1::2], strict=True))
        near = _largest([-(x * x + y * y) for x, y in ways])
        mine, last = jnp.int32(i), jnp.int32(env.num_agents - 1)
        own = _case(rule, [near, mine, mine, last - mine])
        x, y = (_case(own, way) for way in zip(*ways, strict=True))
        push = _approach(env, agent.accel, x - COAST * vx, y - COAST * vy)
        actions.append(jnp.where(rule != 2, push, 0))
    return _as_actions(env, actions), memory


def _converse(
    env: LiamSpeakerListener, code: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Actions of both agents, by the code int32 [3]."""
    del key
    moves, symbols = [], []
    for i, (agent, size) in enumerate(zip(env.agents, env.spec().obs_sizes, strict=True)):
        seen = obs.local[i, :size]
        vx, vy, *numbers = jnp.unstack(seen[: 2 + 2 * MARKS])
        known, heard = seen[-MARKS - SYMBOLS : -SYMBOLS], seen[-SYMBOLS:]
        symbols.append(code[known.argmax()])
        meant = heard[code]  # f32 [3], 1 at the landmark that this symbol stands for
        ways = zip(numbers[::2], numbers[1::2], strict=True)
        x, y = (_case(meant.argmax(), way) for way in zip(*ways, strict=True))
        told = meant.max() > 0
        x, y = (jnp.where(told, way, 0.0) - COAST * v for way, v in ((x, vx), (y, vy)))
        moves.append(_approach(env, agent.accel, x, y))
    if env.continuous_actions:
        said = jax.nn.one_hot(jnp.stack(symbols), SYMBOLS)
        return jnp.concatenate([jax.nn.one_hot(jnp.stack(moves), MOVES), said], -1), memory
    return (jnp.stack(moves) + MOVES * jnp.stack(symbols)).astype(jnp.int32), memory


def _approach(env: Particles, accel: float, x: Array, y: Array) -> Array:
    """int32 [], the push towards what is (x, y) away after rolling out; none near it."""
    away = jnp.maximum(jnp.abs(x), jnp.abs(y)) > 0.5 * accel * STEP * COAST
    return jnp.where(away, _push(env, x, y, jnp.abs(x) >= jnp.abs(y)), 0)


def _push(env: Particles, x: Array, y: Array, along_x: Array) -> Array:
    """int32 [], the move towards (x, y) along one axis; a 0 counts as positive."""
    right, left, up, down = (2, 1, 4, 3) if env.action_signs == "mpe2" else (1, 2, 3, 4)
    return jnp.where(along_x, jnp.where(x >= 0, right, left), jnp.where(y >= 0, up, down))


def _as_actions(env: Particles, moves: Sequence[Array]) -> Array:
    """int32 [N], or f32 [N, A] where actions are continuous: a full push, and silence."""
    move = jnp.stack(moves).astype(jnp.int32)
    if not env.continuous_actions:
        return move
    return (move[:, None] == jnp.arange(max(env.spec().action_sizes))).astype(jnp.float32)


def _largest(numbers: Sequence[Array]) -> Array:
    """int32 [], the place of the largest, the first of several."""
    best = numbers[0]
    place: Array = jnp.int32(0)
    for i, number in enumerate(numbers[1:], 1):
        place = jnp.where(number > best, i, place)
        best = jnp.maximum(best, number)
    return place


def _case(place: Array, values: Sequence[Array]) -> Array:
    """The value at `place`."""
    chosen = values[0]
    for i, value in enumerate(values[1:], 1):
        chosen = jnp.where(place == i, value, chosen)
    return chosen
