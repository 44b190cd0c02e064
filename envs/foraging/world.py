"""The rules of level-based foraging."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.foraging import arrays, boards, checks, unrolled
from marlx.envs.foraging.things import MOST, ForagingState
from marlx.envs.plain import integers
from marlx.types import Array, EnvSpec, Observation, Subgoals

NUM_ACTIONS = 6
FEW = 9
"""Agents and foods together up to which single numbers are worth their longer programs.

With thousands of episodes on a CPU they are nearly twice as fast as arrays at four, and a fifth
faster at nine; at ten arrays are as fast or faster with tens of episodes, and up to a sixth slower
with thousands.
"""


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

    Subgoals: `food f` for f in 0..F-1, the f-th food of the agent's own list of those it sees, in
    the order above (also with `grid` observations), available while the list is that long; and
    `rest`, always available and achieved at once, so that whoever rests may choose anew at every
    step. By `subgoal_kind`, a food is achieved while the agent stands next to it (`beside`), or
    when it has just tried to load it, whether or not there were enough (`load`). Foods move up in
    the list when one before them is eaten or goes out of sight, so `food 1` may become another.

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
      subgoal_kind: when the subgoal of a food is achieved, see above.
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
    subgoal_kind: Literal["beside", "load"] = "beside"
    horizon: int = 50

    def __post_init__(self) -> None:
        checks.check(self)

    @property
    def few(self) -> bool:
        """There are so few agents and foods that they are best written out in single numbers."""
        return self.num_agents + self.num_food <= FEW

    @property
    def _rules(self) -> ModuleType:
        return unrolled if self.few else arrays

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
        return self._remembering(boards.fresh(self, key))

    def step_env(
        self, key: Array, state: ForagingState, action: Array, params: EnvParams
    ) -> tuple[ForagingState, Array, Array, dict[str, Any]]:
        """One step: all move, then all load; `key` is not used."""
        del key, params
        state, reward, terminated = self._rules.step(self, state, action)
        return state, reward, terminated, {}

    def observe(self, state: ForagingState, params: EnvParams) -> Observation:
        """What each agent sees, its legal actions, and the whole board."""
        del params
        seen: Observation = self._rules.observe(self, state)
        return seen

    def _remembering(self, state: ForagingState) -> ForagingState:
        """A first state, with what `subgoal_kind` asks states to tell of the last step."""
        if self.subgoal_kind == "beside":
            return state
        return dataclasses.replace(state, tried=jnp.full(self.num_agents, -1, jnp.int32))

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """One subgoal per visible food, and rest; the class says what each means."""
        del params
        count, slots = self.num_agents, self.num_food

        def with_rest(foods: Array) -> Array:
            return jnp.concatenate([foods, jnp.ones((count, 1), bool)], axis=1)

        def achieved(state: ForagingState) -> Array:
            if self.subgoal_kind == "load":
                assert state.tried is not None, "made by reset and step of this environment"
                return with_rest(state.tried[:, None] == jnp.arange(slots))
            return with_rest(self._rules.beside(self, state))

        def available(state: ForagingState) -> Array:
            return with_rest(self._rules.visible(self, state)[:, None] > jnp.arange(slots))

        def choices(local: Array) -> Array:
            if self.observation == "grid":
                side = (2 * self.view + 1) ** 2
                total = (local[:, side : 2 * side] > 0).sum(1, keepdims=True)
                foods = total > jnp.arange(slots)
            else:
                foods = local[:, 2 : 3 * slots : 3] > 0
            return with_rest(foods)

        names = (*(f"food {f}" for f in range(slots)), "rest")
        return Subgoals(names, ((),) * (slots + 1), achieved, available, choices)

    def render(self, state: ForagingState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: foods as apples, agents as lettered tiles, levels on both."""
        from marlx.envs.foraging import picture  # here, since few who import this module draw

        return picture.draw(self, state, self.spec(params).horizon)

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
        pos, level = integers("agent_pos", agent_pos), integers("agent_level", agent_level)
        grid = integers("food_grid", food_grid)
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
        state = ForagingState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(pos),
            agent_level=jnp.asarray(level),
            food_pos=jnp.asarray(food_pos),
            food_level=jnp.asarray(food_level),
            food_spawned=jnp.int32(spawned),
        )
        return self._remembering(state)

    def food_grid(self, state: ForagingState) -> Array:
        """int32 [rows, columns], the food levels of one (unbatched) state, 0 elsewhere."""
        empty = jnp.zeros(self.size, jnp.int32)  # an empty slot adds its level, 0, to the last cell
        return empty.at[state.food_pos[:, 0], state.food_pos[:, 1]].add(state.food_level)
