"""Heuristic partners, and environments with partners by name: `partners/{environment}`.

A heuristic acts on what its agent observes, never on the state. All are `Partner` records, to be
given to `marlx.envs.roles.with_partners`; `heuristics(env)` tells which fit an environment.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.foraging import EAST, LOAD, NORTH, SOUTH, WEST, Foraging
from marlx.envs.matrix import MatrixGame
from marlx.envs.mpe.core import DAMPING, MOVES, STEP, Particles
from marlx.envs.mpe.liam import MARKS, SYMBOLS, LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.roles import Partner, Roles, from_runs, make_cast
from marlx.registry import Family, make_env, settings_of
from marlx.returns import uniform_action
from marlx.suggest import unknown
from marlx.types import Array, Observation, Tree

FAR = 1 << 30
"""More than any squared distance on a board."""


def heuristics(env: Environment[Any, Any]) -> dict[str, Partner]:
    """The heuristic partners that fit `env`, by name; `random` fits every environment."""
    made: tuple[Partner, ...] = ()
    if isinstance(env, Foraging):
        made = foraging_heuristics(env)
    elif isinstance(env, MatrixGame):
        made = game_heuristics(env)
    elif isinstance(env, Spread):
        made = spread_heuristics(env)
    elif isinstance(env, LiamSpeakerListener):
        made = speaker_heuristics(env)
    elif isinstance(env, Particles) and has_predators(env):
        made = predator_heuristics(env)
    return {partner.name: partner for partner in (*made, random(env))}


def random(env: Environment[Any, Any]) -> Partner:
    """A partner that does something legal, all of it equally likely, at every step."""
    spec = env.spec()

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        return uniform_action(key, spec, obs.action_mask), memory

    return Partner("random", _nothing, act)


def _nothing() -> Tree:
    """The memory of those that need none."""
    return ()


# ------------------------------------------------------------------------------ foraging


class Taste(NamedTuple):
    """What a foraging heuristic goes for."""

    centre: Any  # bool [], the food closest to the centre of the agents in sight, not to itself
    limit: Any  # int32 [], only foods up to: 0 any level, 1 its own, 2 that of all agents in sight


TASTES = {
    "h1": Taste(False, 0),
    "h2": Taste(True, 0),
    "h3": Taste(False, 1),
    "h4": Taste(True, 2),
}
"""Lbforaging's four heuristics."""


class Sight(NamedTuple):
    """What one agent sees, as single numbers; lengths in cells, rows grow southwards."""

    row: Array  # int32 [], its own position
    col: Array
    level: Array  # int32 [], its own
    centre_row: Array  # int32 [], rounded mean position of the agents in sight, itself included
    centre_col: Array
    levels: Array  # int32 [], summed over them
    closest: Callable[[Array, Array, Array], tuple[Array, Array, Array]]
    # (row, col, limit) -> the food closest to (row, col) among those of at most that level:
    # whether there is one, bool [], and where, int32 [] each


def foraging_heuristics(env: Foraging) -> tuple[Partner, ...]:
    """Lbforaging's heuristics h1 to h4, for any setting of foraging in which they can be.

    h1 goes to the closest food in sight; h2 to the food closest to the centre of the agents in
    sight, itself included; h3 as h1, but only to foods of at most its own level; h4 as h2, but only
    to foods that all agents in sight together can load. Next to it, they load; on the way they walk
    along the column first; where they cannot go on, or see no such food, they do something legal at
    random. Without `observe_levels`, h3 and h4, who need levels, are left out.

    Source: `lbforaging.agents.heuristic_agent` of lbforaging 2.0.0 (the original also of LIAM's
    foraging partners). Differs from: the original where `observation` is `grid`, since it acts on
    that observation: agents are seen no further than the grid, and of two in one cell only one.
    """
    act = functools.partial(_forage, env)
    return tuple(
        Partner(name, _nothing, act, taste)
        for name, taste in TASTES.items()
        if env.observe_levels or taste.limit == 0
    )


def _forage(
    env: Foraging, taste: Taste, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """What a heuristic does in the place of each agent, int32 [N]."""
    see = _see_grid if env.observation == "grid" else _see_vector
    draws = jnp.unstack(jax.random.bits(key, (env.num_agents,)))
    actions = []
    for i, draw in enumerate(draws):
        sees = see(env, obs.local[i])
        legal = jnp.unstack(obs.action_mask[i])
        # A limit of 0 is none in the original, but levels are at least 1.
        limit = jnp.where(taste.limit == 1, sees.level, sees.levels)
        limit = jnp.where(taste.limit == 0, FAR, limit)
        row = jnp.where(taste.centre, sees.centre_row, sees.row)
        col = jnp.where(taste.centre, sees.centre_col, sees.col)
        found, food_row, food_col = sees.closest(row, col, limit)
        action = _any_of(legal, draw)
        down, right = food_row - sees.row, food_col - sees.col
        for move, wanted in (
            (WEST, right < 0),
            (EAST, right > 0),
            (SOUTH, down > 0),
            (NORTH, down < 0),
        ):  # the last that is wanted and legal holds
            action = jnp.where(found & wanted & legal[move], move, action)
        beside = jnp.abs(down) + jnp.abs(right) == 1
        actions.append(jnp.where(found & beside, LOAD, action))
    return jnp.stack(actions).astype(jnp.int32), memory


def _see_vector(env: Foraging, local: Array) -> Sight:
    """Reads a `vector` observation f32 [O]."""
    numbers = [number.astype(jnp.int32) for number in jnp.unstack(local)]
    foods = [numbers[3 * f : 3 * f + 3] for f in range(env.num_food)]
    per_agent = 3 if env.observe_levels else 2
    rest = numbers[3 * env.num_food :]
    agents = [rest[per_agent * i : per_agent * (i + 1)] for i in range(env.num_agents)]
    seen = [agent[0] >= 0 for agent in agents]
    count = sum(seen, start=jnp.int32(0))

    def total(k: int) -> Array:
        return sum(
            (jnp.where(here, agent[k], 0) for here, agent in zip(seen, agents, strict=True)),
            start=jnp.int32(0),
        )

    def closest(row: Array, col: Array, limit: Array) -> tuple[Array, Array, Array]:
        best, best_row, best_col = jnp.int32(FAR), jnp.int32(0), jnp.int32(0)
        for food_row, food_col, level in foods:
            far = (food_row - row) ** 2 + (food_col - col) ** 2
            far = jnp.where((level > 0) & (level <= limit), far, FAR)
            closer = far < best  # of two that are as close the first holds
            best = jnp.where(closer, far, best)
            best_row = jnp.where(closer, food_row, best_row)
            best_col = jnp.where(closer, food_col, best_col)
        return best < FAR, best_row, best_col

    return Sight(
        row=agents[0][0],
        col=agents[0][1],
        level=agents[0][2] if env.observe_levels else jnp.int32(1),
        centre_row=_rounded(total(0), count),
        centre_col=_rounded(total(1), count),
        levels=total(2) if env.observe_levels else count,
        closest=closest,
    )


def _see_grid(env: Foraging, local: Array) -> Sight:
    """Reads a `grid` observation f32 [3 W^2].

    Positions count from the top left cell *of the board* in sight, as in vector observations:
    rounding to even makes the centre of two agents depend on where counting begins.
    """
    width = 2 * env.view + 1
    agents, foods, free = local.reshape(3, width, width).astype(jnp.int32)
    on_board = (agents > 0) | (foods > 0) | (free > 0)
    me = env.view
    top = me - on_board[:me, me].sum(dtype=jnp.int32)  # rows of the grid beyond the board
    left = me - on_board[me, :me].sum(dtype=jnp.int32)
    rows, cols = np.mgrid[:width, :width].astype(np.int32)
    seen = agents > 0
    count = seen.sum(dtype=jnp.int32)
    sum_row = jnp.where(seen, rows, 0).sum(dtype=jnp.int32) - count * top
    sum_col = jnp.where(seen, cols, 0).sum(dtype=jnp.int32) - count * left

    def closest(row: Array, col: Array, limit: Array) -> tuple[Array, Array, Array]:
        far = (rows - top - row) ** 2 + (cols - left - col) ** 2
        far = jnp.where((foods > 0) & (foods <= limit), far, FAR).reshape(width * width)
        place = far.argmin().astype(jnp.int32)
        return far.min() < FAR, place // width - top, place % width - left

    return Sight(
        row=me - top,
        col=me - left,
        level=agents[me, me],
        centre_row=_rounded(sum_row, count),
        centre_col=_rounded(sum_col, count),
        levels=agents.sum(dtype=jnp.int32),
        closest=closest,
    )


def _rounded(total: Array, count: Array) -> Array:
    """int32 [], `total / count` to the nearest integer, halves to the even one; none negative."""
    count = jnp.maximum(count, 1)
    down, twice = total // count, 2 * (total % count)
    up = (twice > count) | ((twice == count) & (down % 2 == 1))
    return jnp.where(up, down + 1, down)


def _any_of(legal: Sequence[Array], draw: Array) -> Array:
    """int32 [], one of the actions that are legal, from 32 random bits."""
    count = sum((may.astype(jnp.uint32) for may in legal), start=jnp.uint32(0))
    rank = (draw % jnp.maximum(count, 1)).astype(jnp.int32)
    action: Array = jnp.int32(0)
    for i, may in enumerate(legal):
        action = jnp.where(may & (rank == 0), i, action)
        rank = rank - may
    return action


# ------------------------------------------------------------------------------ particles


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
    return tuple(Partner(name, _nothing, act, rule) for rule, name in enumerate(PREDATORS))


def spread_heuristics(env: Spread) -> tuple[Partner, ...]:
    """Rules for spread: `nearest`, `assigned`, `stay`, `reversed`.

    That is: go to the nearest landmark, agent i to the i-th, nobody anywhere, and agent i to the
    i-th from behind. Those that go push against what is left of the way after rolling out, along
    the longer axis, and rest within half a push's way of their landmark.
    """
    act = functools.partial(_cover, env)
    return tuple(Partner(name, _nothing, act, rule) for rule, name in enumerate(COVERERS))


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
        Partner(f"code_{''.join(map(str, code))}", _nothing, act, np.array(code, np.int32))
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


# ------------------------------------------------------------------------------ games


MOSTLY = 0.7
"""How often the `mostly_...` of `game_heuristics` follow their habit."""


def game_heuristics(env: MatrixGame) -> tuple[Partner, ...]:
    """Players with a habit: `mostly_2` chooses action 2 in 70% of the steps, `always_2` in all.

    Otherwise any of the other actions, all of them equally likely; an action beyond an agent's own
    is its last. Habits are what there is to learn of a partner in a repeated game, from what it
    did: ours, the field has no set of them that is standard.
    """
    act = functools.partial(_by_habit, env.num_actions)
    return tuple(
        Partner(f"{name}_{i}", _nothing, act, (i, how_often))
        for name, how_often in (("mostly", MOSTLY), ("always", 1.0))
        for i in range(max(env.num_actions))
    )


def _by_habit(
    sizes: Sequence[int], habit: tuple[Array, Array], memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Actions of all agents, by a favourite and how often it is chosen."""
    favourite, how_often = habit
    size = jnp.asarray(sizes)
    favourite = jnp.minimum(favourite, size - 1)
    key_habit, key_other = jax.random.split(key)
    follows = jax.random.uniform(key_habit, size.shape) < how_often
    others = jnp.maximum(size - 1, 1)
    other = jax.random.randint(key_other, size.shape, 0, others)
    other = jnp.minimum(other + (other >= favourite), size - 1)
    return jnp.where(follows, favourite, other).astype(jnp.int32), memory


# ------------------------------------------------------------------------------ by name


class _Named(Roles):
    """Base of the environments called `partners/...`, whose fields are made by `_class_for`."""

    name: str
    pool: tuple[str, ...]
    ego: tuple[int, ...]
    every_seed: bool
    epsilon: float
    privileged: bool

    def __post_init__(self) -> None:
        inner_id = self.name.removeprefix("partners/")
        settings = {name: getattr(self, name) for name in settings_of(make_env(inner_id))}
        env = make_env(inner_id, **settings)
        policies = pool_of(env, self.pool, every_seed=self.every_seed, epsilon=self.epsilon)
        object.__setattr__(self, "cast", make_cast(env, policies, self.ego))


SETTINGS = {
    "pool": (
        tuple[str, ...],
        (),
        "heuristics (h1), run folders and folders of them, one of which is drawn for each episode; "
        "none given: every heuristic made for the environment, or random where there is none.",
    ),
    "ego": (tuple[int, ...], (0,), "the agents that learn; the partners play the others."),
    "every_seed": (bool, False, "all seeds of a run are in the pool, not its best one alone."),
    "epsilon": (
        float,
        0.0,
        "how often an agent of a run's policy does something random instead.",
    ),
    "privileged": (
        bool,
        False,
        "the global state also tells who the partner is, what the partners see and what they did.",
    ),
}
"""What `partners/...` adds to the settings of the environment: type, default, help."""


def pool_of(
    env: Environment[Any, Any],
    pool: Sequence[str] = (),
    *,
    every_seed: bool = False,
    epsilon: float = 0.0,
) -> tuple[Partner, ...]:
    """Partners by name.

    Args:
      env: what they are to play in.
      pool: names of `heuristics(env)`, run folders, and folders of run folders; empty: every
        heuristic made for `env`, or `random` where there is none.
      every_seed: all seeds of a run, not its best one alone.
      epsilon: how often agents of trained policies do something random; see `from_runs`.

    Raises:
      ValueError: neither a heuristic that fits `env` nor a folder with a policy that does.
    """
    known = heuristics(env)
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}; it must be between 0 and 1")
    for name in pool:
        if name not in known and not Path(name).is_dir():
            where = f"the pool of {env.spec().id} (heuristics, or the folders of runs)"
            raise unknown("partner", name, known, where)
    paths = [path for name in pool if name not in known for path in _runs_in(name)]
    trained = from_runs(paths, env, every_seed=every_seed, epsilon=epsilon)
    names = pool or [name for name in known if name != "random"] or ["random"]
    return (*[known[name] for name in names if name in known], *trained)


def _runs_in(name: str) -> list[str]:
    """The folder itself or, where it is not a run's, those of the runs in it."""
    inside = [str(path) for path in sorted(Path(name).iterdir()) if (path / "policy").is_dir()]
    return inside or [name]


@functools.cache
def _class_for(inner: type[Environment[Any, Any]]) -> type[Any]:
    """The dataclass of `inner` with partners: its settings are those of both."""
    fields: list[Any] = [("name", str, dataclasses.field())]
    fields += [
        (name, hint, dataclasses.field(default=default))
        for name, (hint, default, _) in SETTINGS.items()
    ]
    fields += [(name, hint, dataclasses.field()) for name, hint in settings_of(inner).items()]
    own = "\n".join(f"  {name}: {text}" for name, (_, _, text) in SETTINGS.items())
    doc = (
        f"{inner.__name__} with partners: the learner controls `ego`, fixed policies the others."
        f"\n\nAttributes:\n{own}\n{_attributes(inner)}"
    )
    return dataclasses.make_dataclass(
        f"{inner.__name__}WithPartners",
        fields,
        bases=(_Named,),
        namespace={"__doc__": doc},
        frozen=True,
        kw_only=True,
        eq=False,
    )


def _attributes(cls: type[Any]) -> str:
    """What docstrings say of a class's attributes, its bases' included, for the command line."""
    documents = [inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__]
    blocks = [re.search(r"^Attributes:\n((?:  .*\n?)+)", text, re.M) for text in documents]
    return "\n".join(block[1].rstrip() for block in blocks if block)


def make(id: str) -> Roles:
    """The environment of an id `partners/{environment}`, with the default pool.

    The learner controls agent 0 or, where predators chase a prey, the prey; of LIAM's speakers the
    second, as there.

    Raises:
      ValueError: the environment is unknown, or has a setting whose name is taken.
    """
    inner = make_env(id.removeprefix("partners/"))
    settings = settings_of(inner)
    if taken := sorted(settings.keys() & SETTINGS.keys()):
        raise ValueError(
            f"{id}: the environment has a setting {taken[0]!r} of its own; use with_partners"
        )
    values = {name: getattr(inner, name) for name in settings}
    if has_predators(inner):  # LIAM's setting: the prey learns, the predators are given
        values["ego"] = (inner.spec().num_agents - 1,)
    if isinstance(inner, LiamSpeakerListener):
        values["ego"] = (1,)
    made: Roles = _class_for(type(inner))(name=id, **values)
    return made


FAMILY = Family(
    name="partners",
    pattern=r"partners/.+",
    usage="partners/{environment}, for instance partners/Foraging-8x8-2p-2f-coop-v3",
    examples=(
        "partners/Foraging-8x8-2p-2f-coop-v3",
        "partners/Foraging-2s-8x8-3p-2f-v3",
        "partners/mpe/liam_predator_prey",
        "partners/mpe/liam_speaker_listener",
    ),
    make=make,
)
