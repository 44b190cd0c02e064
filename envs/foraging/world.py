"""The level-based foraging environment."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.checks import integers
from marlx.envs.foraging import arrays, boards, checks, unrolled
from marlx.envs.foraging.settings import ForagingSettings
from marlx.envs.foraging.state import ForagingState
from marlx.types import Array, Entities, EnvSpec, Observation, Planes, Scene, Subgoals

NUM_ACTIONS = 6
ACTIONS = ("stay", "north", "south", "west", "east", "load")
"""Names of the actions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foraging(ForagingSettings, Environment[ForagingState, EnvParams]):
    """Level-based foraging: agents stand next to a food and load it together.

    Actions: 0 nothing, 1 north, 2 south, 3 west, 4 east, 5 load. A move is legal when its cell is
    on the board and holds no food (agents do not block). A load is legal when a food is next to the
    agent. An illegal action counts as nothing. All agents move at once: a cell that two or more
    want (an agent that stays wants its own) is given to nobody. Then the agents that load the same
    food together get it if their levels sum to at least its level. They share a reward in
    proportion to their levels. An episode terminates when no food is left.

    Local observation, `vector`: (row, column, level) of the F foods, the visible ones row by row
    from the top; then the agent itself; then the other visible agents in index order. An agent is
    (row, column, level), or (row, column) without `observe_levels`. Positions count from the top
    left cell that the agent sees. Empty slots are -1, -1, 0. As in lbforaging, near the north and
    west border agents, but not foods, are seen further than `sight`.
    Local observation, `grid`: three layers of (2 sight + 1) x (2 sight + 1) cells around the agent,
    flattened layer by layer: agent levels (1 without `observe_levels`), food levels, and 1 where a
    cell is on the board and free.
    Global state: all foods, then all agents in index order, each (row, column, level) counted from
    the top left cell of the board. `sight` and `observe_levels` do not change it.

    Subgoals: `food f` for f in 0..F-1 is the f-th food in the order above of those the agent sees
    (also with `grid` observations), available while the agent sees more than f foods. `rest` is
    always available and achieved at once, so that an agent that rests may choose again at every
    step. `subgoal_kind` says when a food is achieved: while the agent is next to it (`beside`), or
    when it has just tried to load it, with success or without (`load`). A food moves up in the list
    when one before it is eaten or goes out of sight, so `food 1` may become another food.

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
      observation: the form of local observations: lists of foods and agents (`vector`) or three
        layers of the cells around the agent (`grid`).
      observe_levels: agents see each other's levels, and their own.
      subgoal_kind: the subgoal of a food is achieved while the agent is next to it (`beside`) or
        when it has just tried to load it (`load`).
      horizon: steps after which an episode is truncated.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: lbforaging 2.0.0; Papoudakis et al. 2021, arXiv 2006.07869.
    Differs from lbforaging in:
      - the time limit, which is a termination there and a truncation here;
      - loads, which are resolved there in the order of a Python set and here in agent order (this
        matters only on hand-made boards where an agent is next to two foods);
      - level ranges, which may differ there between agents and between foods;
      - placing foods, which gives up there after 1000 random cells and here if no cell is left.
    """

    def __post_init__(self) -> None:
        checks.check_settings(self)

    @property
    def _rules(self) -> ModuleType:
        """The module with the rules for this number of agents and foods; both compute the same."""
        return unrolled if self.unrolled else arrays

    @property
    def _largest(self) -> int:
        """The largest number in any observation."""
        top = 3 * self.max_player_level if self.max_food_level is None else self.max_food_level
        return max(self.size[0] - 1, self.size[1] - 1, self.max_player_level, top)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is given where every food can be eaten for certain."""
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
            outcomes=("success_rate",),
            planes=self._planes,
            entities=self._entities,
        )

    @property
    def _planes(self) -> Planes | None:
        """How a local observation is an image: three layers of cells, with `grid`."""
        side = 2 * self.view + 1
        return Planes(side, side, 3, channels_first=True) if self.observation == "grid" else None

    @property
    def _entities(self) -> tuple[Entities, ...]:
        """Foods and other agents as rows of a local observation, with `vector`.

        What is not seen has level 0, or, where levels are not shown, -1 for its row of the board.
        """
        if self.observation == "grid":
            return ()
        foods = Entities.block("foods", 0, self.num_food, 3, present=2)
        if self.num_agents == 1:
            return (foods,)
        shown, there = (3, (2, 0.0)) if self.observe_levels else (2, (0, -0.5))
        first = 3 * self.num_food + shown  # behind the agent itself
        return foods, Entities.block("agents", first, self.num_agents - 1, shown, *there)

    @property
    def name(self) -> str:
        """The id, which holds those settings that an id can hold."""
        seen = "" if self.view == max(self.size) else f"-{self.sight}s"
        return (
            f"Foraging{'-grid' if self.observation == 'grid' else ''}{seen}"
            f"-{self.size[0]}x{self.size[1]}-{self.num_agents}p-{self.num_food}f"
            f"{'-coop' if self.force_coop else ''}{'-pen' if self.penalty else ''}-v3"
        )

    def reset_env(self, key: Array, params: EnvParams) -> ForagingState:
        """Returns a random board: agents anywhere, foods apart from each other, off the border.

        Agents stand on distinct cells, uniformly. Each food is uniform over the cells off the
        border that hold no agent and are neither within one cell of an earlier food (diagonals
        included) nor two cells away from one in its row or column.
        """
        del params
        return self._with_tried(boards.first_state(self, key))

    def step_env(
        self, key: Array, state: ForagingState, action: Array, params: EnvParams
    ) -> tuple[ForagingState, Array, Array, dict[str, Any]]:
        """Plays one step: all move, then all load. `key` is not used.

        An episode ends with success if all food was collected, which is its only end but time.
        """
        del key, params
        state, reward, terminated = self._rules.step(self, state, action)
        return state, reward, terminated, {"success_rate": terminated}

    def observe(self, state: ForagingState, params: EnvParams) -> Observation:
        """Returns local views, legal actions and the whole board."""
        del params
        seen: Observation = self._rules.observe(self, state)
        return seen

    def _with_tried(self, state: ForagingState) -> ForagingState:
        """Returns a first state with the field `tried`, if `subgoal_kind` needs it."""
        if self.subgoal_kind == "beside":
            return state
        return dataclasses.replace(state, tried=jnp.full(self.num_agents, -1, jnp.int32))

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns one subgoal per visible food, and `rest`; the class says what each means."""
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

        def mark(picture: np.ndarray, state: ForagingState, goals: np.ndarray) -> np.ndarray:
            from marlx.envs.foraging.picture import mark_foods  # loads Pillow

            return mark_foods(self, picture, state, goals)

        names = (*(f"food {f}" for f in range(slots)), "rest")
        return Subgoals(names, ((),) * (slots + 1), achieved, available, choices, mark)

    def render(self, state: ForagingState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: apples for foods, lettered tiles for agents, levels."""
        from marlx.envs.foraging import picture  # imported here, since it loads Pillow

        return picture.draw(self, state, self.spec(params).horizon)

    def scene(self, params: EnvParams | None = None) -> Scene:
        """Returns the board; foods and agents are in each frame."""
        del params
        facts: dict[str, Any] = {
            "size": list(self.size),
            "view": self.view,
            "agents": self.num_agents,
        }
        if self.subgoal_kind == "beside":  # what a page needs to play it
            facts["rules"] = {
                "food": self.num_food,
                "view": self.view,
                "normalize": self.normalize_reward,
                "penalty": self.penalty,
                "observation": self.observation,
                "levels": self.observe_levels,
            }
        return Scene("foraging", facts, _frame, ACTIONS)

    def make_state(
        self,
        agent_pos: Any,
        agent_level: Any,
        food_grid: Any,
        step: int = 0,
        food_spawned: int | None = None,
    ) -> ForagingState:
        """Returns the state of one (unbatched) episode from arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent; agents may share a cell.
          agent_level: integers [N], at least 1.
          food_grid: integers [rows, columns], food levels, 0 where there is none.
          step: steps since the episode began.
          food_spawned: sum of the food levels at the start; None for those on the board.

        Raises:
          ValueError: the state cannot occur; the message says why.
        """
        pos = integers("agent_pos", agent_pos, (self.num_agents, 2))
        level = integers("agent_level", agent_level, (self.num_agents,))
        grid = integers("food_grid", food_grid, self.size)
        spawned = int(grid.sum()) if food_spawned is None else food_spawned
        checks.check_state(self, pos, level, grid, step, spawned)
        cells = np.argwhere(grid)
        food_pos = np.full((self.num_food, 2), -1, np.int32)
        food_level = np.zeros(self.num_food, np.int32)
        food_pos[: len(cells)] = cells
        food_level[: len(cells)] = grid[cells[:, 0], cells[:, 1]]
        state = ForagingState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(pos),
            agent_level=jnp.asarray(level),
            food_pos=jnp.asarray(food_pos),
            food_level=jnp.asarray(food_level),
            food_spawned=jnp.int32(spawned),
        )
        return self._with_tried(state)

    def food_grid(self, state: ForagingState) -> Array:
        """Returns int32 [rows, columns], the food levels of one (unbatched) state, 0 elsewhere."""
        empty = jnp.zeros(self.size, jnp.int32)
        # The position (-1, -1) of an empty slot is the last cell, which gets its level 0 added.
        return empty.at[state.food_pos[:, 0], state.food_pos[:, 1]].add(state.food_level)


def _frame(state: ForagingState) -> dict[str, Array]:
    """Returns what a viewer draws of a state."""
    return {
        "agent_pos": state.agent_pos,
        "agent_level": state.agent_level,
        "food_pos": state.food_pos,
        "food_level": state.food_level,
        "food_spawned": state.food_spawned,
    }
