"""Level-based foraging: agents with levels collect foods that are too heavy for one of them.

The rules, observations and reset distribution are those of lbforaging 2.0.0 (ids ending in `-v3`),
held to it step by step in `tests/envs/test_foraging.py`.

Everything is arithmetic on single numbers, unrolled over agents and foods: under `vmap` each number
becomes one contiguous `[B]` vector, which is what makes thousands of episodes cheap on a CPU.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState, settle
from marlx.registry import Family
from marlx.types import Array, EnvSpec, Observation, Tree

if TYPE_CHECKING:
    from marlx.envs.raster import Canvas

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
NUM_ACTIONS = 6
WORD = 32
"""Bits of the integers that stand for sets: of foods, and of cells in one row of the board."""
MOST = 999
"""Largest size and level: a row, a column and a level share one integer, see `_encode`."""
EMPTY = 1 << 30
"""What stands for no thing there; above all that stand for one."""
MANY = 3
"""Agents or foods from which on repeated work costs more than keeping it from being repeated."""


@flax.struct.dataclass
class ForagingState(EnvState):
    """One episode: agents and foods on the board.

    Foods are listed row by row from the top, left to right, without gaps; slots that are left over
    (eaten, or never spawned) come last and hold position (-1, -1) and level 0.
    """

    agent_pos: Array  # int32 [N, 2], (row, column), row 0 is north
    agent_level: Array  # int32 [N]
    food_pos: Array  # int32 [F, 2], (row, column)
    food_level: Array  # int32 [F], 0 in an empty slot
    food_spawned: Array  # int32 [], sum of the food levels the episode began with


class Thing(NamedTuple):
    """An agent or a food, as single numbers."""

    row: Array  # int32 []
    col: Array  # int32 []
    level: Array  # int32 []


class Near(NamedTuple):
    """The foods around an agent, int32 [] each: bit f stands for food f, 0 where there is none."""

    north: Array
    south: Array
    west: Array
    east: Array

    @property
    def any(self) -> Array:
        """All foods next to the agent."""
        return self.north | self.south | self.west | self.east

    @property
    def first(self) -> Array:
        """The food the agent faces: the first to its north, south, west, east."""
        beside = jnp.where(self.west > 0, self.west, self.east)
        return jnp.where(self.north > 0, self.north, jnp.where(self.south > 0, self.south, beside))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foraging(Environment[ForagingState, EnvParams]):
    """Level-based foraging: agents stand next to a food and load it together.

    Actions: 0 nothing, 1 north, 2 south, 3 west, 4 east, 5 load. A move is legal when its cell is
    on the board and holds no food (agents do not block), a load when a food is next to the agent;
    an illegal action counts as nothing. All agents move at once: a cell that two or more want (an
    agent that stays wants its own) is given to nobody. Then agents that load the same food together
    get it if their levels sum to at least its level, and share a reward in proportion to their
    levels. An episode terminates when no food is left.

    Local observation: `vector` is F times (row, column, level) of the visible foods, row by row
    from the top, then the agent itself and then the other visible agents in index order, each
    (row, column, level), or (row, column) without `observe_levels`; positions count from the top
    left cell the agent sees, empty slots hold -1, -1, 0. Near the north and west border agents, but
    not foods, are seen further than `sight`, as in lbforaging. `grid` is three layers of
    (2 sight + 1) x (2 sight + 1) cells around the agent, flattened layer by layer: agent levels (or
    1 without `observe_levels`), food levels, and 1 where a cell is on the board and free.
    Global state: all foods, then all agents in index order, each (row, column, level) counted from
    the top left cell of the board, whatever `sight` and `observe_levels` say.

    Attributes:
      size: rows and columns of the board.
      num_agents: N.
      num_food: foods per episode; fewer when no cell is left for one (lbforaging: max_num_food).
      sight: cells an agent sees in each direction; None for the whole board.
      force_coop: every food has the highest level it may have.
      min_player_level: lowest level of an agent.
      max_player_level: highest level of an agent.
      min_food_level: lowest level of a food; not used with `force_coop`.
      max_food_level: highest level of a food; None for the sum of the three lowest agent levels
        of the episode.
      normalize_reward: divide rewards so that an episode's sum to 1 when all food is eaten.
      penalty: what each agent of a load that fails loses.
      observation: what agents see, see above.
      observe_levels: agents see each other's levels, and their own.
      horizon: steps after which an episode is truncated.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: lbforaging 2.0.0; Papoudakis et al. 2021, arXiv 2006.07869.
    Differs from: lbforaging, where the time limit is a termination (here: a truncation), where
      loads are resolved in the order of a Python set (here: in agent order, which matters only on
      hand-made boards where an agent is next to two foods), where level ranges may differ between
      agents and between foods, and where a food is given up after 1000 random cells (here: only if
      no cell is left for it).
    """

    size: tuple[int, int] = (8, 8)
    num_agents: int = 2
    num_food: int = 2
    sight: int | None = None
    force_coop: bool = False
    min_player_level: int = 1
    max_player_level: int = 2
    min_food_level: int = 1
    max_food_level: int | None = None
    normalize_reward: bool = True
    penalty: float = 0.0
    observation: Literal["vector", "grid"] = "vector"
    observe_levels: bool = True
    horizon: int = 50

    def __post_init__(self) -> None:
        _check(self)

    @property
    def view(self) -> int:
        """Cells an agent sees in each direction, `sight` with None resolved as lbforaging does."""
        return max(self.size) if self.sight is None else self.sight

    @property
    def _largest(self) -> int:
        """The largest number any observation holds."""
        top = 3 * self.max_player_level if self.max_food_level is None else self.max_food_level
        return max(self.size[0] - 1, self.size[1] - 1, self.max_player_level, top)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Static facts for learners; the optimum is given where every food can surely be eaten."""
        per_agent = 3 if self.observe_levels else 2
        if self.observation == "grid":
            obs_size = 3 * (2 * self.view + 1) ** 2
        else:
            obs_size = 3 * self.num_food + per_agent * self.num_agents
        around = min(self.num_agents, 4) * self.min_player_level
        edible = self.max_food_level is None or self.max_food_level <= around
        return EnvSpec(
            id=self.name,
            num_agents=self.num_agents,
            num_actions=NUM_ACTIONS,
            obs_size=obs_size,
            state_size=3 * (self.num_food + self.num_agents),
            horizon=self.horizon if params is None else int(params.max_steps_in_episode),
            reward_aggregation="sum",
            storage="int8" if self._largest < 2**7 else "int16",
            scale=float(self._largest),
            optimum=1.0 if self.normalize_reward and edible else None,
        )

    @property
    def name(self) -> str:
        """The id that says as much of the settings as an id can."""
        seen = "" if self.view == max(self.size) else f"-{self.sight}s"
        return (
            f"Foraging{'-grid' if self.observation == 'grid' else ''}{seen}"
            f"-{self.size[0]}x{self.size[1]}-{self.num_agents}p-{self.num_food}f"
            f"{'-coop' if self.force_coop else ''}{'-pen' if self.penalty else ''}-v3"
        )

    def reset_env(self, key: Array, params: EnvParams) -> ForagingState:
        """A fresh board: agents anywhere, foods apart from each other and off the border.

        Agents stand on distinct cells, uniformly. Each food is uniform over the cells off the
        border that hold no agent and are neither within one cell of an earlier food (diagonals
        included) nor two cells away from one in its row or column.
        """
        del params
        draws = iter(jnp.unstack(jax.random.bits(key, (2 * (self.num_agents + self.num_food),))))
        levels = [
            self.min_player_level
            + _below(next(draws), self.max_player_level - self.min_player_level + 1)
            for _ in range(self.num_agents)
        ]
        cells = self._agent_cells([next(draws) for _ in levels])
        agents = [Thing(cell // self.size[1], cell % self.size[1], level)
                  for cell, level in zip(cells, levels, strict=True)]  # fmt: skip
        agents = settle(agents, agents[0].row)
        lowest, highest = self._food_levels(levels)
        places = self._food_places(agents, [next(draws) for _ in range(self.num_food)])
        codes: list[Array] = []  # ascending, which is row by row
        for row, col in places:
            level = lowest + _below(next(draws), highest - lowest + 1)
            code = jnp.where(row < 0, EMPTY, _encode(Thing(row, col, level)))
            for k, other in enumerate(codes):
                codes[k], code = jnp.minimum(other, code), jnp.maximum(other, code)
            codes.append(code)
        foods = [_decode(code) for code in settle(codes, agents[0].row)]
        spawned = sum((food.level for food in foods), start=jnp.int32(0))
        return _state(jnp.int32(0), agents, foods, spawned)

    def _agent_cells(self, draws: list[Array]) -> list[Array]:
        """Distinct cells, int32 [] each: one of the free ones, counted past those taken."""
        cells: list[Array] = []
        taken: list[Array] = []  # ascending
        for i, draw in enumerate(draws):
            cell = _below(draw, self.size[0] * self.size[1] - i)
            for other in taken:
                cell = cell + (cell >= other)
            cells.append(cell)
            for k, other in enumerate(taken):
                taken[k], cell = jnp.minimum(other, cell), jnp.maximum(other, cell)
            taken.append(cell)
        return cells

    def _food_levels(self, levels: list[Array]) -> tuple[Array, Array]:
        """Lowest and highest level of the episode's foods, int32 [] each."""
        if self.max_food_level is None:
            three: list[Array] = []  # the three lowest levels, ascending
            for level in levels:
                for k, other in enumerate(three):
                    three[k], level = jnp.minimum(other, level), jnp.maximum(other, level)
                three = [*three, level][:3]
            highest = sum(three, start=jnp.int32(0))
        else:
            highest = jnp.int32(self.max_food_level)
        return (highest if self.force_coop else jnp.int32(self.min_food_level)), highest

    def _food_places(self, agents: list[Thing], draws: list[Array]) -> list[tuple[Array, Array]]:
        """(row, column) of each food in the order of their draw, (-1, -1) where no cell is left.

        The cells a food may take are bits, a word for every 32 columns of a board row, so that
        counting them and finding the n-th are a few integer operations per row.
        """
        row, first = np.mgrid[1 : self.size[0] - 1, 1 : self.size[1] - 1 : WORD].reshape(2, -1)
        widths = np.minimum(WORD, self.size[1] - 1 - first)
        free = jnp.asarray([(1 << int(width)) - 1 for width in widths], jnp.uint32)
        for agent in agents:
            free = free & ~jnp.where(agent.row == row, _bits(agent.col - first, 0, most=0), 0)
        places = []
        for draw in draws:
            counts = jax.lax.population_count(free).astype(jnp.int32)
            before = jnp.where(np.tri(row.size, k=-1, dtype=bool), counts, 0).sum(1)
            total = counts.sum()
            rank = _below(draw, jnp.maximum(total, 1)) - before  # among each word's cells
            here = (rank >= 0) & (rank < counts)
            place_row = jnp.where(here, row, 0).sum()
            place_col = jnp.where(here, first + _nth_bit(free, rank), 0).sum()
            off = jnp.abs(place_row - row)
            wide = jnp.where(off > 2, -1, 2 - off)  # columns to either side that become too close
            free = free & ~jnp.where(total > 0, _bits(place_col - first, wide, most=2), 0)
            free, place_row, place_col, total = settle(
                (free, place_row, place_col, total), agents[0].row
            )
            places.append(
                (jnp.where(total > 0, place_row, -1), jnp.where(total > 0, place_col, -1))
            )
        return places

    def step_env(
        self, key: Array, state: ForagingState, action: Array, params: EnvParams
    ) -> tuple[ForagingState, Array, Array, dict[str, Any]]:
        """One step: all move, then all load; `key` is not used."""
        del key, params
        agents, foods = _things(state)
        actions = jnp.unstack(action)
        near = settle([_near(agent, foods) for agent in agents], state.time)
        moved = self._move(agents, actions, near, state.time)
        loading = [act == LOAD for act in actions]
        rewards, eaten = self._load(agents, foods, near, loading, state)
        rewards, eaten = settle((rewards, eaten), state.time)
        keep = [(food.level > 0) & (eaten & 1 << f == 0) for f, food in enumerate(foods)]
        left = _pack(foods, keep, state.time)
        moved, left = settle((moved, left), state.time)
        state = _state(state.time + 1, moved, left, state.food_spawned)
        return state, jnp.stack(rewards), left[0].level == 0, {}

    def _move(
        self, agents: list[Thing], actions: Sequence[Array], near: list[Near], time: Array
    ) -> list[Thing]:
        """The agents after everyone's move, in one pass: agents may swap, or end in one cell."""
        wanted = []
        for agent, act, food in zip(agents, actions, near, strict=True):
            legal = self._legal_moves(agent, food)
            north, south, west, east = [(act == NORTH + k) & may for k, may in enumerate(legal)]
            row, col = agent.row + south - north, agent.col + east - west
            wanted.append((row, col, row * self.size[1] + col))
        if len(agents) > MANY:
            wanted = settle(wanted, time)
        moved = []
        for i, (agent, (row, col, cell)) in enumerate(zip(agents, wanted, strict=True)):
            others = [cell == other for j, (_, _, other) in enumerate(wanted) if j != i]
            refused = functools.reduce(jnp.logical_or, others, jnp.bool_(False))
            row, col = jnp.where(refused, agent.row, row), jnp.where(refused, agent.col, col)
            moved.append(Thing(row, col, agent.level))
        return moved

    def _legal_moves(self, agent: Thing, near: Near) -> tuple[Array, Array, Array, Array]:
        """Which of north, south, west, east an agent may go, bool [] each; agents do not block."""
        rows, cols = self.size
        return (
            (agent.row > 0) & (near.north == 0),
            (agent.row < rows - 1) & (near.south == 0),
            (agent.col > 0) & (near.west == 0),
            (agent.col < cols - 1) & (near.east == 0),
        )

    def _load(
        self,
        agents: list[Thing],
        foods: list[Thing],
        near: list[Near],
        loading: list[Array],
        state: ForagingState,
    ) -> tuple[list[Array], Array]:
        """Rewards f32 [] per agent, and the foods eaten as bits of an int32 [].

        The first agent that loads takes everyone with it who loads next to the food it faces (the
        first to its north, south, west, east); then the first of those that remain, and so on.
        """
        rewards = [jnp.float32(0)] * len(agents)
        eaten = jnp.int32(0)
        reach = [jnp.where(load, n.any, 0) for load, n in zip(loading, near, strict=True)]
        for i, sees in enumerate(near):
            facing = jnp.where(reach[i] > 0, sees.first, 0)
            need = sum(
                (jnp.where(facing & 1 << f > 0, food.level, 0) for f, food in enumerate(foods)),
                start=jnp.int32(0),
            )
            # Agents before this one have either loaded already or do not load.
            joins = {j: reach[j] & facing > 0 for j in range(i, len(agents))}
            total = sum(
                (jnp.where(join, agents[j].level, 0) for j, join in joins.items()),
                start=jnp.int32(0),
            )
            if len(agents) > MANY:
                facing, need, total = settle((facing, need, total), state.time)
                joins = {j: reach[j] & facing > 0 for j in joins}
            lifted = total >= need
            share = need.astype(jnp.float32)
            if self.normalize_reward:
                share = share / jnp.maximum(total * state.food_spawned, 1)
            for j, join in joins.items():
                reward = jnp.where(lifted, agents[j].level * share, -self.penalty)
                rewards[j] = jnp.where(join, reward, rewards[j])
                reach[j] = jnp.where(join, 0, reach[j])
            eaten = eaten | jnp.where(lifted, facing, 0)
        return rewards, eaten

    def observe(self, state: ForagingState, params: EnvParams) -> Observation:
        """What each agent sees, its legal actions, and the whole board."""
        del params
        agents, foods = _things(state)
        near = _settle_many([_near(agent, foods) for agent in agents], state.time)
        return Observation(
            local=self._local(state, agents, foods),
            action_mask=jnp.stack([self._legal(*pair) for pair in zip(agents, near, strict=True)]),
            global_state=_flat([*foods, *agents]),
        )

    def _local(self, state: ForagingState, agents: list[Thing], foods: list[Thing]) -> Array:
        """f32 [N, O], what each agent sees."""
        if self.observation == "grid":
            views = [self._grid_view(i, agents, foods) for i in range(len(agents))]
        elif self.view < max(self.size) - 1:
            see = functools.partial(self._window_view, agents, foods, state.time)
            row, col = state.agent_pos.T
            return jax.vmap(see)(jnp.arange(len(agents)), Thing(row, col, state.agent_level))
        else:
            shown = 3 if self.observe_levels else 2
            own = [agent[:shown] for agent in agents]
            views = [_flat([*foods, own[i], *own[:i], *own[i + 1 :]]) for i in range(len(own))]
        return jnp.stack(views)

    def _legal(self, agent: Thing, near: Near) -> Array:
        """Bool [6], the actions that would not count as nothing, and nothing."""
        return jnp.stack([jnp.bool_(True), *self._legal_moves(agent, near), near.any > 0])

    def _window_view(
        self, agents: list[Thing], foods: list[Thing], time: Array, i: Array, me: Thing
    ) -> Array:
        """f32 [3 F + 3 N] (2 N without levels), what agent `i` sees of a part of the board."""
        sight = self.view
        top, left = jnp.maximum(me.row - sight, 0), jnp.maximum(me.col - sight, 0)

        def shifted(thing: Thing) -> Thing:
            return Thing(thing.row - top, thing.col - left, thing.level)

        near = [
            (food.level > 0)
            & (jnp.abs(food.row - me.row) <= sight)
            & (jnp.abs(food.col - me.col) <= sight)
            for food in foods
        ]
        # Not the same window: near the north and west border agents are seen further.
        others = [shifted(agent) for agent in agents]
        seen = [
            (i != j) & (a.row >= 0) & (a.row <= 2 * sight) & (a.col >= 0) & (a.col <= 2 * sight)
            for j, a in enumerate(others)
        ]
        foods = _pack([shifted(food) for food in foods], near, time)
        others = _pack(others, seen, time)[:-1]  # without the agent itself
        shown = 3 if self.observe_levels else 2
        return _flat([*foods, *[agent[:shown] for agent in (shifted(me), *others)]])

    def _grid_view(self, i: int, agents: list[Thing], foods: list[Thing]) -> Array:
        """f32 [3 (2 sight + 1)^2], what agent `i` sees, as three layers centred on it."""
        offsets = jnp.arange(-self.view, self.view + 1)
        row, col = (agents[i].row + offsets)[:, None], (agents[i].col + offsets)[None, :]
        food_layer = agent_layer = jnp.zeros((offsets.size, offsets.size), jnp.int32)
        on_board = (row >= 0) & (row < self.size[0]) & (col >= 0) & (col < self.size[1])
        for food in foods:  # an empty slot writes a 0 beyond the board
            food_layer = jnp.where((row == food.row) & (col == food.col), food.level, food_layer)
        occupied = food_layer > 0
        for agent in agents:  # of two agents in one cell the later one shows
            here = (row == agent.row) & (col == agent.col)
            agent_layer = jnp.where(here, agent.level if self.observe_levels else 1, agent_layer)
            occupied = occupied | here
        layers = jnp.stack([agent_layer, food_layer, (on_board & ~occupied).astype(jnp.int32)])
        return layers.reshape(layers.size).astype(jnp.float32)

    def render(self, state: ForagingState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: foods as apples, agents as lettered tiles, levels on both."""
        from marlx.envs import raster  # here, since few who import this module draw

        horizon = self.spec(params).horizon
        cell, edge, foot = 48, 16, 28
        rows, cols = self.size
        canvas = raster.Canvas(cols * cell + 2 * edge, rows * cell + 2 * edge + foot)
        canvas.box(edge, edge, edge + cols * cell, edge + rows * cell, raster.WHITE)
        canvas.grid(edge, edge, rows, cols, cell)
        pos = [(int(row), int(col)) for row, col in state.agent_pos]
        for (row, col), level in zip(state.food_pos, state.food_level, strict=True):
            if level > 0:
                _draw_apple(
                    canvas, edge + (col + 0.5) * cell, edge + (row + 0.5) * cell, int(level)
                )
        for i, (row, col) in enumerate(pos):
            here = [j for j, other in enumerate(pos) if other == (row, col)]
            half, right, down = 17.0, 0, 0
            if len(here) > 1:  # a quarter of the cell each; opposite ones for two
                right, down = ((-11, -11), (11, 11), (11, -11), (-11, 11))[here.index(i) % 4]
                half = 10.0
            x, y = edge + (col + 0.5) * cell + right, edge + (row + 0.5) * cell + down
            _draw_agent(canvas, x, y, half, i, int(state.agent_level[i]))
        words = f"step {int(state.time)} of {horizon}"
        canvas.text(edge + cols * cell / 2, edge + rows * cell + foot / 2 + 6, words, 13)
        return canvas.pixels()

    def make_state(
        self,
        agent_pos: Any,
        agent_level: Any,
        food_grid: Any,
        step: int = 0,
        food_spawned: int | None = None,
    ) -> ForagingState:
        """The state of one (unbatched) episode from plain arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent; agents may share a cell.
          agent_level: integers [N], at least 1.
          food_grid: integers [rows, columns], food levels, 0 where there is none.
          step: steps taken since the episode began.
          food_spawned: sum of the food levels the episode began with; None for those on the board.

        Raises:
          ValueError: for a state that cannot be played, saying what is wrong with it.
        """
        pos, level = _integers("agent_pos", agent_pos), _integers("agent_level", agent_level)
        grid = _integers("food_grid", food_grid)
        n, (rows, cols) = self.num_agents, self.size
        for what, array, shape in (
            ("agent_pos", pos, (n, 2)),
            ("agent_level", level, (n,)),
            ("food_grid", grid, self.size),
        ):
            if array.shape != shape:
                raise ValueError(f"{what} has shape {array.shape}; it must be {shape}")
        for i, (row, col) in enumerate(pos):
            if not (0 <= row < rows and 0 <= col < cols):
                raise ValueError(f"agent {i} is at ({row}, {col}), off the {rows}x{cols} board")
            if grid[row, col]:
                raise ValueError(f"agent {i} is at ({row}, {col}), where there is a food")
        if (level < 1).any() or (level > MOST).any():
            raise ValueError(f"agent_level is {level.tolist()}; levels go from 1 to {MOST}")
        if (grid < 0).any() or (grid > MOST).any():
            wrong = grid.min() if grid.min() < 0 else grid.max()
            raise ValueError(f"food_grid holds {wrong}; levels go from 1 to {MOST}, 0 is no food")
        where = np.argwhere(grid)
        for row, col in where:
            if row in (0, rows - 1) or col in (0, cols - 1):
                raise ValueError(
                    f"there is a food at ({row}, {col}); foods cannot be on the border"
                )
        if len(where) > self.num_food:
            raise ValueError(f"food_grid holds {len(where)} foods; num_food is {self.num_food}")
        if step < 0:
            raise ValueError(f"step is {step}; it must be 0 or more")
        on_board = int(grid.sum())
        spawned = on_board if food_spawned is None else food_spawned
        if spawned < on_board:
            raise ValueError(
                f"food_spawned is {spawned}; the foods on the board alone sum to {on_board}"
            )
        food_pos = np.full((self.num_food, 2), -1, np.int32)
        food_level = np.zeros(self.num_food, np.int32)
        food_pos[: len(where)] = where
        food_level[: len(where)] = grid[where[:, 0], where[:, 1]]
        return ForagingState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(pos),
            agent_level=jnp.asarray(level),
            food_pos=jnp.asarray(food_pos),
            food_level=jnp.asarray(food_level),
            food_spawned=jnp.int32(spawned),
        )

    def food_grid(self, state: ForagingState) -> Array:
        """int32 [rows, columns], the food levels of one (unbatched) state, 0 elsewhere."""
        empty = jnp.zeros(self.size, jnp.int32)  # an empty slot adds its level, 0, to the last cell
        return empty.at[state.food_pos[:, 0], state.food_pos[:, 1]].add(state.food_level)


def _things(state: ForagingState) -> tuple[list[Thing], list[Thing]]:
    """The agents and foods of a state as single numbers."""

    def split(pos: Array, level: Array) -> list[Thing]:
        numbers = jnp.unstack(pos.reshape(pos.size))
        return list(map(Thing, numbers[::2], numbers[1::2], jnp.unstack(level)))

    return split(state.agent_pos, state.agent_level), split(state.food_pos, state.food_level)


def _state(time: Array, agents: list[Thing], foods: list[Thing], spawned: Array) -> ForagingState:
    """The inverse of `_things`."""

    def positions(things: list[Thing]) -> Array:
        return jnp.stack([n for t in things for n in (t.row, t.col)]).reshape(len(things), 2)

    return ForagingState(
        time=time,
        agent_pos=positions(agents),
        agent_level=jnp.stack([agent.level for agent in agents]),
        food_pos=positions(foods),
        food_level=jnp.stack([food.level for food in foods]),
        food_spawned=spawned,
    )


def _draw_apple(canvas: Canvas, x: float, y: float, level: int) -> None:
    """A food around (x, y)."""
    canvas.line(x, y - 10, x + 2, y - 19, fill=(110, 74, 42), width=2.5)
    canvas.polygon(x + 2, y - 14, x + 7, y - 20, x + 14, y - 19, x + 9, y - 13, fill=(86, 160, 70))
    for side in (-4, 4):
        canvas.disc(x + side, y + 2, 13, (206, 52, 48))
    canvas.text(x, y + 2, f"{level}", 17, (255, 255, 255))


def _draw_agent(canvas: Canvas, x: float, y: float, half: float, i: int, level: int) -> None:
    """Agent `i` around (x, y): its level, and its letter in the corner."""
    from marlx.envs import raster

    color = raster.TEAM[i % len(raster.TEAM)]
    dark = (color[0] * 3 // 5, color[1] * 3 // 5, color[2] * 3 // 5)
    canvas.box(x - half, y - half, x + half, y + half, color, dark, round=half / 2.5)
    canvas.text(x, y + half * 0.12, f"{level}", half * 1.05, (255, 255, 255))
    left, top, badge = x - half * 0.85, y - half * 0.85, 2.5 + half * 0.3
    canvas.disc(left, top, badge, (255, 255, 255), dark)
    canvas.text(left, top, chr(ord("A") + i % 26), badge * 1.45, dark)


def _near(agent: Thing, foods: list[Thing]) -> Near:
    """Where there is food around an agent; an empty slot at (-1, -1) is next to no cell."""
    north = south = west = east = jnp.int32(0)
    for f, food in enumerate(foods):
        down, right = food.row - agent.row, food.col - agent.col
        above, beside = right == 0, down == 0
        north = north | jnp.where((down == -1) & above, 1 << f, 0)
        south = south | jnp.where((down == 1) & above, 1 << f, 0)
        west = west | jnp.where((right == -1) & beside, 1 << f, 0)
        east = east | jnp.where((right == 1) & beside, 1 << f, 0)
    return Near(north, south, west, east)


def _encode(thing: Thing) -> Array:
    """One integer for a thing, so that a selection moves all of it; ordered row by row."""
    return (thing.row << 20) | (thing.col << 10) | thing.level


def _decode(code: Array) -> Thing:
    """The inverse of `_encode`; EMPTY is a slot that is left over."""
    empty = code == EMPTY
    row, col, level = code >> 20, (code >> 10) & 1023, code & 1023
    return Thing(jnp.where(empty, -1, row), jnp.where(empty, -1, col), jnp.where(empty, 0, level))


def _pack(things: list[Thing], keep: list[Array], time: Array) -> list[Thing]:
    """The things to keep in their order, then empty slots up to as many as there were."""
    places, count = [], jnp.int32(0)
    for kept in keep:
        places.append(jnp.where(kept, count, -1))
        count = count + kept
    places = _settle_many(places, time)
    slots = [jnp.int32(EMPTY)] * len(things)
    for i, (thing, place) in enumerate(zip(things, places, strict=True)):
        code = _encode(thing)
        for k in range(i + 1):
            slots[k] = jnp.where(place == k, code, slots[k])
    return [_decode(code) for code in _settle_many(slots, time)]


def _settle_many(tree: Tree, time: Array) -> Tree:
    """`settle`, unless there is so little that it is not worth it."""
    return settle(tree, time) if len(jax.tree.leaves(tree)) > MANY else tree


def _flat(things: Sequence[Sequence[Array]]) -> Array:
    """f32 [numbers], those of all things in a row."""
    return jnp.stack([number for thing in things for number in thing]).astype(jnp.float32)


def _below(draw: Array, count: Array | int) -> Array:
    """An integer in [0, count) from 32 random bits, uniform up to a bias below count / 2**32."""
    return jnp.asarray(draw % jnp.asarray(count).astype(jnp.uint32), jnp.int32)


def _bits(centre: Array, wide: Array | int, most: int) -> Array:
    """uint32, the bits of a word at most `wide` (which is at most `most`) from `centre`."""
    bits: Array = jnp.uint32(0)
    for side in range(-most, most + 1):
        at = centre + side
        inside = (at >= 0) & (at < WORD) & (abs(side) <= wide)
        bits = bits | jnp.where(inside, jnp.uint32(1) << (at & (WORD - 1)).astype(jnp.uint32), 0)
    return bits


def _nth_bit(word: Array, rank: Array) -> Array:
    """Position of the set bit of `word` that has `rank` set bits below it, by halving the word."""
    position = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        below = jax.lax.population_count(low).astype(jnp.int32)
        up = rank >= below
        rank = jnp.where(up, rank - below, rank)
        word = jnp.where(up, word >> half, low)
        position = jnp.where(up, position + half, position)
    return position


def _integers(what: str, values: Any) -> np.ndarray:
    """int32 array; anything that is not whole numbers is refused."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{what} holds {array.dtype} values; it must hold integers")
    return array.astype(np.int32)


def _check(env: Foraging) -> None:
    """Raises ValueError for settings under which no episode can be played."""
    rows, cols = env.size
    if not (3 <= rows <= MOST and 3 <= cols <= MOST):
        raise ValueError(f"size is {env.size}; rows and columns must be between 3 and {MOST}")
    if env.num_agents < 1:
        raise ValueError(f"num_agents is {env.num_agents}; it must be 1 or more")
    if env.num_food < 1:
        raise ValueError(f"num_food is {env.num_food}; it must be 1 or more")
    most = most_foods(rows, cols)
    if env.num_food > most:
        raise ValueError(
            f"num_food is {env.num_food}; a {rows}x{cols} board can hold no more than {most} "
            "(foods keep off the border and apart from each other)"
        )
    if env.num_food > WORD - 1:
        raise ValueError(f"num_food is {env.num_food}; it must be at most {WORD - 1}")
    if env.num_agents > rows * cols - 1:
        raise ValueError(
            f"num_agents is {env.num_agents}; a {rows}x{cols} board has room for "
            f"{rows * cols - 1} agents and a food"
        )
    if env.sight is not None and env.sight < 1:
        raise ValueError(f"sight is {env.sight}; it must be 1 or more, or None for the whole board")
    if env.min_player_level < 1:
        raise ValueError(f"min_player_level is {env.min_player_level}; it must be 1 or more")
    if env.max_player_level < env.min_player_level:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at least min_player_level, "
            f"{env.min_player_level}"
        )
    if 3 * env.max_player_level > MOST:
        raise ValueError(
            f"max_player_level is {env.max_player_level}; it must be at most {MOST // 3}"
        )
    if env.min_food_level < 1:
        raise ValueError(f"min_food_level is {env.min_food_level}; it must be 1 or more")
    if env.max_food_level is not None and env.max_food_level < env.min_food_level:
        raise ValueError(
            f"max_food_level is {env.max_food_level}; it must be at least min_food_level, "
            f"{env.min_food_level}, or None"
        )
    if env.max_food_level is not None and env.max_food_level > MOST:
        raise ValueError(f"max_food_level is {env.max_food_level}; it must be at most {MOST}")
    lowest_sum = min(env.num_agents, 3) * env.min_player_level
    if env.max_food_level is None and not env.force_coop and env.min_food_level > lowest_sum:
        raise ValueError(
            f"min_food_level is {env.min_food_level}; with max_food_level None it must be at most "
            f"{lowest_sum}, the lowest sum of three agents' levels"
        )
    if env.penalty < 0:
        raise ValueError(f"penalty is {env.penalty}; it must be 0 or more")
    if env.observation not in ("vector", "grid"):
        raise ValueError(f"observation is {env.observation!r}; it must be 'vector' or 'grid'")
    if env.horizon < 1:
        raise ValueError(f"horizon is {env.horizon}; it must be 1 or more")


@functools.cache
def most_foods(rows: int, cols: int) -> int:
    """No more foods than this fit on a board; exact up to 8x8, an upper bound beyond.

    Two foods are at least 3 steps apart, so the plus shapes of five cells around them are disjoint,
    and no such shape covers a corner of the board.
    """
    if rows > 8 or cols > 8:
        return (rows * cols - 4) // 5
    cells = [(r, c) for r in range(1, rows - 1) for c in range(1, cols - 1)]
    apart = [
        sum(1 << j for j, (r, c) in enumerate(cells) if abs(r - row) + abs(c - col) > 2)
        for row, col in cells
    ]

    @functools.cache
    def most(free: int) -> int:
        if not free:
            return 0
        first = (free & -free).bit_length() - 1
        return max(1 + most(free & apart[first]), most(free & (free - 1)))

    return most((1 << len(cells)) - 1)


PATTERN = (
    r"Foraging(?P<grid>-grid)?(?:-(?P<sight>\d+)s)?-(?P<rows>\d+)x(?P<cols>\d+)"
    r"-(?P<agents>\d+)p-(?P<foods>\d+)f(?P<coop>-coop)?(?P<pen>-pen)?-v3"
)
USAGE = "Foraging[-grid][-{k}s]-{rows}x{cols}-{p}p-{f}f[-coop][-pen]-v3"


def make(id: str) -> Foraging:
    """The environment of an lbforaging id; sizes and numbers need not be ones it registers.

    Raises:
      ValueError: for an id that does not have the form of `USAGE`, or whose numbers cannot be.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a foraging id; they read {USAGE}")
    return Foraging(
        size=(int(match["rows"]), int(match["cols"])),
        num_agents=int(match["agents"]),
        num_food=int(match["foods"]),
        sight=None if match["sight"] is None else int(match["sight"]),
        force_coop=match["coop"] is not None,
        penalty=0.0 if match["pen"] is None else 0.1,
        observation="vector" if match["grid"] is None else "grid",
    )


FAMILY = Family(
    name="foraging",
    pattern=PATTERN,
    usage=USAGE,
    examples=(
        "Foraging-8x8-2p-2f-coop-v3",
        "Foraging-2s-8x8-2p-2f-coop-v3",
        "Foraging-10x10-3p-3f-v3",
        "Foraging-15x15-3p-5f-v3",
        "Foraging-grid-2s-8x8-3p-2f-v3",
    ),
    make=make,
)
