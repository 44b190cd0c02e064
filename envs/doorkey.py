"""DoorKey: fetch the key, open the door, reach the goal; alone, or locked apart from each other.

One agent: MiniGrid's DoorKey with the changes of GMAH (the goal is mostly on the agent's side of
the door, the reward falls to a half and not to a tenth, and the key or the door may be the aim).
`tests/envs/test_doorkey.py` holds steps and views to `minigrid`, state by state, where it is
installed, and to the rules as they are written here.

Several agents: our own task. One of them, drawn anew in each episode, starts on the left with the
key; the others are locked up on the right. The episode is won when all of them stand on the goal,
so whoever has the key must let the others out and nobody can win alone, wherever the goal is.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.plain import below, integers
from marlx.registry import Family
from marlx.types import Array, EnvSpec, Observation, Subgoals
from marlx.xla.materialise import materialise

if TYPE_CHECKING:
    from marlx.envs.raster import Canvas

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
NUM_ACTIONS = 7
EAST, SOUTH, WEST, NORTH = range(4)
"""Headings, clockwise, with MiniGrid's numbers."""
OPEN, CLOSED, LOCKED = range(3)
"""States of the door, MiniGrid's numbers."""
UNSEEN, EMPTY, WALL, DOOR, KEY, GOAL, AGENT = 0, 1, 2, 4, 5, 8, 10
"""Objects in views and in the global state, MiniGrid's numbers."""
RED, GREEN, YELLOW, GREY = 0, 1, 4, 5
"""Colours in views, MiniGrid's numbers."""


@flax.struct.dataclass
class DoorKeyState(EnvState):
    """One episode; rows and columns count from the top left cell, which is wall."""

    agent_pos: Array  # int32 [N, 2], (row, column)
    agent_dir: Array  # int32 [N], 0 east, 1 south, 2 west, 3 north
    wall_col: Array  # int32 [], the column of the wall between the rooms
    door_row: Array  # int32 [], where in that wall the door is
    door: Array  # int32 [], 0 open, 1 closed, 2 locked
    key_pos: Array  # int32 [2], (row, column); (-1, -1) while it is carried
    carrier: Array  # int32 [], the agent that carries the key, or -1
    goal_pos: Array  # int32 [2], (row, column)


class Pose(NamedTuple):
    """An agent, as single numbers."""

    row: Array  # int32 []
    col: Array  # int32 []
    dir: Array  # int32 []

    @property
    def ahead(self) -> tuple[Array, Array]:
        """Rows down and columns right of the cell in front, int32 [] each."""
        down = (self.dir == SOUTH).astype(jnp.int32) - (self.dir == NORTH)
        right = (self.dir == EAST).astype(jnp.int32) - (self.dir == WEST)
        return down, right


class Front(NamedTuple):
    """What is in the cell before an agent, bool [] each."""

    wall: Array
    door: Array
    key: Array
    goal: Array
    agent: Array

    @property
    def empty(self) -> Array:
        """Nothing at all."""
        return ~(self.wall | self.door | self.key | self.goal | self.agent)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoorKey(Environment[DoorKeyState, EnvParams]):
    """Two rooms, a locked door between them, a key on the left, a goal.

    Board: `size` x `size` cells with walls around and a wall between the rooms, whose column is
    uniform over 2..size-3; its door is locked, its row uniform over 1..size-3. The first agent, the
    key, and with `goal_left_probability` the goal, are on distinct cells of the left room, drawn
    uniformly in this order; otherwise the goal is in the bottom right corner of the right room.
    Which agent is "the first" is uniform too; the others start on the right, on distinct cells off
    the goal. Headings are uniform. Every board can be solved.

    Actions: 0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle, 6 done (nothing).
    All but turning concern the cell in front: forward enters it unless it holds a wall, the key, a
    door that is not open, or another agent off the goal (the goal has room for all); the key is
    picked up from it, and dropped on it if it is empty; toggling opens a door that is closed, or
    locked if the agent carries the key, and closes one that is open and has nobody in it. Whatever
    cannot be done does nothing. Agents act one after another in index order within a step.

    Reward: `1 - 0.5 t / horizon` for every agent at step t = 1, 2, ... that reaches `target`, which
    terminates the episode: all agents on the goal, the key picked up by any, or the door opened.

    Local observation: the `view_size` x `view_size` cells ahead as MiniGrid encodes them, and the
    heading's one-hot (east, south, west, north). `local[:-4].reshape(v, v, 3)` is indexed [from
    left to right, from far to near, (object, colour, state)]; the agent is in the middle of the
    nearest row, looking to the far ones. Objects: 0 not seen, 1 empty, 2 wall, 4 door, 5 key, 8
    goal, 10 another agent; colours: 5 walls, 4 door and key, 1 goal, 0 an agent (4 if it carries
    the key); state: 0 open, 1 closed, 2 locked for a door, the heading of an agent. Walls and doors
    that are not open hide what is behind them. The agent's own cell shows the key while it carries
    it.
    Global state: the objects of all cells row by row without agents and with the door as such, the
    door's state as one-hot (open, closed, locked), and for each agent row, column, its heading's
    one-hot and whether it carries the key.

    Subgoals: `key` (this agent carries it), `door` (it is open, whoever opened it) and `goal` (this
    agent stands on it), in this order in the task tree. `key` is available while it lies on the
    agent's side of a door that is not open, or anywhere if it is; `door` while it is not open but
    could be, for an agent carries the key or it is only closed; `goal` while the agent can get
    there, so also with the door locked if it is on its side. An agent never sees what is behind it
    and remembers nothing here, so `choices` excludes only what it knows to be impossible: `key` if
    it or a team mate it sees carries it; `door` if it sees it open, or is alone and neither carries
    the key nor sees the door closed but not locked. `goal` may always be chosen.

    Attributes:
      size: rows and columns of the board, walls included.
      num_agents: N.
      goal_left_probability: of the goal being on the left.
      target: what ends and pays an episode.
      view_size: rows and columns that an agent sees, an odd number.
      useful_only: mask actions that would do nothing before anyone else has acted: forward into
        what cannot be entered, picking up, dropping and toggling in vain. Otherwise every action is
        always legal, as in MiniGrid. Turning and done are always legal.
      horizon: steps after which an episode is truncated; None for 4 size^2.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: minigrid 3.2.0's DoorKey; the changes are those of the code of GMAH (arXiv 2408.11416,
      github.com/SICC-Group/GMAH at 36b3644).
    Differs from: MiniGrid in GMAH's changes (goal on the left, half instead of nine tenths of the
      reward lost to time, 4 size^2 steps instead of 10); from GMAH, where the target is chosen by
      editing the code, toggling the door shut also counts as opening it (which cannot be the first
      time), and the mission is a sentence among the observations.
    """

    size: int = 8
    num_agents: int = 1
    goal_left_probability: float = 0.8
    target: Literal["key", "door", "goal"] = "goal"
    view_size: int = 7
    useful_only: bool = False
    horizon: int | None = None

    def __post_init__(self) -> None:
        n = self.size
        if not 5 <= n <= 100:
            raise ValueError(f"size is {n}; it must be between 5 and 100")
        if not 1 <= self.num_agents <= n - 2:
            raise ValueError(
                f"num_agents is {self.num_agents}; it must be between 1 and {n - 2}, for a room "
                f"of a {n}x{n} board may be no larger"
            )
        if not 0 <= self.goal_left_probability <= 1:
            raise ValueError(
                f"goal_left_probability is {self.goal_left_probability}; it must be in 0..1"
            )
        if self.target not in ("key", "door", "goal"):
            raise ValueError(f"target is {self.target!r}; it must be 'key', 'door' or 'goal'")
        if not (3 <= self.view_size <= 31 and self.view_size % 2):
            raise ValueError(
                f"view_size is {self.view_size}; it must be an odd number between 3 and 31"
            )
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; it must be 1 or more, or None")

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        steps = 4 * self.size**2 if self.horizon is None else self.horizon
        return EnvParams(max_steps_in_episode=steps)

    @property
    def name(self) -> str:
        """The id that says as much of the settings as an id can."""
        team = f"-{self.num_agents}p" if self.num_agents > 1 else ""
        return f"grid/doorkey-{self.size}x{self.size}{team}"

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Static facts for learners; for one agent, the optimum is that of the luckiest board."""
        params = self.default_params if params is None else params
        horizon = int(params.max_steps_in_episode)
        # With the goal on the right: pick up, turn, toggle, forward, forward, turn, forward.
        goal = 1 if self.goal_left_probability > 0 else 7
        fewest = {"key": 1, "door": 3, "goal": goal}[self.target]
        possible = self.num_agents == 1 and fewest <= horizon
        return EnvSpec(
            id=self.name,
            num_agents=self.num_agents,
            num_actions=NUM_ACTIONS,
            obs_size=3 * self.view_size**2 + 4,
            state_size=self.size**2 + 3 + 7 * self.num_agents,
            horizon=horizon,
            reward_aggregation="mean",
            storage="int8",
            scale=float(max(AGENT, self.size - 1)),
            optimum=1 - 0.5 * fewest / horizon if possible else None,
        )

    def reset_env(self, key: Array, params: EnvParams) -> DoorKeyState:
        """A fresh board; see the class for its distribution."""
        del params
        n, count = self.size, self.num_agents
        draws = iter(jnp.unstack(jax.random.bits(key, (6 + 2 * count,))))
        wall_col = 2 + below(next(draws), n - 4)
        door_row = 1 + below(next(draws), n - 3)
        left, right = wall_col - 1, n - 2 - wall_col  # columns of the rooms
        on_left = (next(draws) >> 8) * jnp.float32(2**-24) < self.goal_left_probability
        first = below(next(draws), count)
        # Cells of a room are counted row by row; the goal's corner is the last of the right room.
        near = _distinct([next(draws) for _ in range(3)], left * (n - 2))
        far = _distinct([next(draws) for _ in range(count - 1)], right * (n - 2) - ~on_left)
        places = [(1 + cell // left, 1 + cell % left) for cell in near]
        others = [(1 + cell // right, wall_col + 1 + cell % right) for cell in far]
        agents = []
        for i in range(count):
            row, col = places[0]
            for j, other in enumerate(others):  # the first takes one index, the others the rest
                mine = (first != i) & (j == i - (first < i).astype(jnp.int32))
                row, col = jnp.where(mine, other[0], row), jnp.where(mine, other[1], col)
            agents.append(Pose(row, col, below(next(draws), 4)))
        goal = [jnp.where(on_left, place, n - 2) for place in places[2]]
        return DoorKeyState(
            time=jnp.int32(0),
            agent_pos=jnp.stack([number for a in agents for number in a[:2]]).reshape(count, 2),
            agent_dir=jnp.stack([a.dir for a in agents]),
            wall_col=wall_col,
            door_row=door_row,
            door=jnp.int32(LOCKED),
            key_pos=jnp.stack(places[1]),
            carrier=jnp.int32(-1),
            goal_pos=jnp.stack(goal),
        )

    def step_env(
        self, key: Array, state: DoorKeyState, action: Array, params: EnvParams
    ) -> tuple[DoorKeyState, Array, Array, dict[str, Any]]:
        """One step, agent by agent; `key` is not used."""
        del key
        agents = _poses(state)
        now = state
        picked = opened = jnp.bool_(False)
        for i, act in enumerate(jnp.unstack(action)):
            me, front = agents[i], _front(self.size, now, agents, i)
            down, right = me.ahead
            cell = jnp.stack([me.row + down, me.col + right])
            moves = (act == FORWARD) & _enterable(front, now)
            picks = (act == PICKUP) & front.key
            drops = (act == DROP) & front.empty & (now.carrier == i)
            toggles = (act == TOGGLE) & _toggles(front, now, i)
            turn = (act == RIGHT).astype(jnp.int32) - (act == LEFT)
            agents[i] = Pose(me.row + down * moves, me.col + right * moves, (me.dir + turn) & 3)
            opened |= toggles & (now.door != OPEN)
            picked |= picks
            now = dataclasses.replace(
                now,
                door=jnp.where(toggles, jnp.where(now.door == OPEN, CLOSED, OPEN), now.door),
                carrier=jnp.where(picks, i, jnp.where(drops, -1, now.carrier)),
                key_pos=jnp.where(picks, -1, jnp.where(drops, cell, now.key_pos)),
            )
        goal_row, goal_col = jnp.unstack(now.goal_pos)
        arrived = jnp.bool_(True)
        for me in agents:
            arrived &= (me.row == goal_row) & (me.col == goal_col)
        reached = {"key": picked, "door": opened, "goal": arrived}[self.target]
        time = state.time + 1
        pay = jnp.where(reached, 1 - 0.5 * time / params.max_steps_in_episode, 0.0)
        state = dataclasses.replace(
            now,
            time=time,
            agent_pos=jnp.stack([number for a in agents for number in a[:2]]).reshape(-1, 2),
            agent_dir=jnp.stack([a.dir for a in agents]),
        )
        reward = jnp.broadcast_to(pay.astype(jnp.float32), (self.num_agents,))
        return state, reward, reached, {}

    def observe(self, state: DoorKeyState, params: EnvParams) -> Observation:
        """What each agent sees, its legal actions, and the whole board."""
        del params
        agents = _poses(state)

        def see(i: Any, me: Pose) -> Array:
            heading = jnp.stack([me.dir == d for d in range(4)])
            return jnp.concatenate([self._view(state, agents, i, me).reshape(-1), heading])

        if len(agents) <= 3:  # faster, but it would take long to compile for many
            views = jnp.stack([see(i, me) for i, me in enumerate(agents)])
        else:
            row, col = state.agent_pos.T
            views = jax.vmap(see)(jnp.arange(len(agents)), Pose(row, col, state.agent_dir))
        row, col = np.indices((self.size, self.size)).reshape(2, -1)
        whole = [_look(self.size, state, row, col)[0]]
        whole.append(jnp.stack([state.door == s for s in (OPEN, CLOSED, LOCKED)]))
        for i, me in enumerate(agents):
            heading = [me.dir == d for d in range(4)]
            whole.append(jnp.stack([me.row, me.col, *heading, state.carrier == i]))
        return Observation(
            local=views.astype(jnp.float32),
            action_mask=jnp.stack([self._legal(state, agents, i) for i in range(len(agents))]),
            global_state=jnp.concatenate(whole).astype(jnp.float32),
        )

    def _legal(self, state: DoorKeyState, agents: list[Pose], i: int) -> Array:
        """Bool [7], what agent `i` may do."""
        if not self.useful_only:
            return jnp.ones(NUM_ACTIONS, bool)
        front = _front(self.size, state, agents, i)
        always = jnp.bool_(True)
        drops = front.empty & (state.carrier == i)
        enters, toggles = _enterable(front, state), _toggles(front, state, i)
        return jnp.stack([always, always, enters, front.key, drops, toggles, always])

    def _cells(self, me: Pose) -> tuple[Array, Array]:
        """Rows and columns int32 [v v] of what would be seen without walls, as views are laid."""
        v = self.view_size
        across, deep = np.mgrid[:v, :v].reshape(2, -1)
        ahead, aside = v - 1 - deep, across - v // 2
        down, right = me.ahead
        return me.row + down * ahead + right * aside, me.col + right * ahead - down * aside

    def _view(self, state: DoorKeyState, agents: list[Pose], i: Any, me: Pose) -> Array:
        """int32 [v v, 3], what agent `i`, which is at `me`, sees; laid out as the class says.

        Cells are one long axis until the end: short ones do not vectorise.
        """
        v = self.view_size
        row, col = materialise(self._cells(me), state.time)
        kind, color, detail = _look(self.size, state, row, col)
        clear = (kind != WALL) & ((kind != DOOR) | (detail == OPEN))
        if len(agents) > 1:
            for j, other in enumerate(agents):
                here = (row == other.row) & (col == other.col) & jnp.asarray(i != j)
                kind = jnp.where(here, AGENT, kind)
                color = jnp.where(here, jnp.where(state.carrier == j, YELLOW, RED), color)
                detail = jnp.where(here, other.dir, detail)
        seen = materialise(_lit(clear, v, state.time), state.time)
        own = np.arange(v * v) == v // 2 * v + v - 1
        carries = state.carrier == i
        kind = jnp.where(own, jnp.where(carries, KEY, EMPTY), jnp.where(seen, kind, UNSEEN))
        color = jnp.where(own, jnp.where(carries, YELLOW, 0), jnp.where(seen, color, 0))
        detail = jnp.where(~own & seen, detail, 0)
        return jnp.stack([kind, color, detail], -1)

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Key, door and goal; the class says what each means."""
        del params
        v, count = self.view_size, self.num_agents

        def table(columns: list[list[Array]]) -> Array:
            return jnp.stack([jnp.stack(column) for column in columns], axis=-1)

        def achieved(state: DoorKeyState) -> Array:
            row, col = jnp.unstack(state.goal_pos)
            agents = _poses(state)
            return table(
                [
                    [state.carrier == i for i in range(count)],
                    [state.door == OPEN] * count,
                    [(me.row == row) & (me.col == col) for me in agents],
                ]
            )

        def available(state: DoorKeyState) -> Array:
            def reach(me: Pose, col: Array) -> Array:
                same = (me.col < state.wall_col) == (col < state.wall_col)
                return same | (state.door == OPEN)

            agents, lies = _poses(state), state.carrier < 0
            opens = (state.door == CLOSED) | (state.door == LOCKED) & ~lies
            return table(
                [
                    [lies & reach(me, state.key_pos[1]) for me in agents],
                    [opens] * count,
                    [reach(me, state.goal_pos[1]) for me in agents],
                ]
            )

        def choices(local: Array) -> Array:
            kind, color, detail = (local[:, c : 3 * v * v : 3] for c in range(3))
            carries = kind[:, v // 2 * v + v - 1] == KEY
            mate = ((kind == AGENT) & (color == YELLOW)).any(-1)
            door_open = ((kind == DOOR) & (detail == OPEN)).any(-1)
            closed = ((kind == DOOR) & (detail == CLOSED)).any(-1)
            door = ~door_open & (carries | closed | (count > 1))
            return jnp.stack([~carries & ~mate, door, jnp.ones_like(door)], axis=-1)

        return Subgoals(("key", "door", "goal"), ((), (0,), (1,)), achieved, available, choices)

    def render(self, state: DoorKeyState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: agents as arrowheads; what anyone sees is brighter."""
        from marlx.envs import raster  # here, since few who import this module draw

        horizon = self.spec(params).horizon
        n = self.size
        cell = 40 if n <= 10 else 26
        edge, foot = 12, 28
        canvas = raster.Canvas(n * cell + 2 * edge, n * cell + 2 * edge + foot)
        agents = [Pose(*map(jnp.int32, pose)) for pose in _poses(state)]
        lit = np.zeros((n, n), bool)
        for i, me in enumerate(agents):
            seen = np.asarray(self._view(state, agents, i, me))[..., 0] != UNSEEN
            row, col = (np.asarray(c)[seen] for c in self._cells(me))
            inside = (row >= 0) & (row < n) & (col >= 0) & (col < n)
            lit[row[inside], col[inside]] = True
        kinds = np.asarray(_look(n, state, *np.indices((n, n)))[0])
        for row, col in np.ndindex(n, n):
            x, y = edge + col * cell, edge + row * cell
            bright = bool(lit[row, col])
            if kinds[row, col] == WALL:
                fill = (104, 110, 124) if bright else (78, 83, 96)
            else:
                fill = (255, 252, 232) if bright else (226, 226, 220)
            canvas.box(x, y, x + cell, y + cell, fill, (196, 196, 190), round=0.0)
        for row, col in np.ndindex(n, n):
            x, y = edge + (col + 0.5) * cell, edge + (row + 0.5) * cell
            if kinds[row, col] == GOAL:
                r = cell * 0.4
                canvas.box(x - r, y - r, x + r, y + r, (96, 184, 110), (52, 128, 68), cell * 0.1)
            elif kinds[row, col] == DOOR:
                _draw_door(canvas, x, y, cell / 2, int(state.door))
            elif kinds[row, col] == KEY:
                _draw_key(canvas, x, y, cell / 2)
        for i, me in enumerate(agents):
            row, col = int(me.row), int(me.col)
            here = [j for j, a in enumerate(agents) if (int(a.row), int(a.col)) == (row, col)]
            shift = (here.index(i) - (len(here) - 1) / 2) * cell * 0.3
            x, y = edge + (col + 0.5) * cell + shift, edge + (row + 0.5) * cell + shift
            half = cell * (0.4 if len(here) == 1 else 0.28)
            canvas.arrow(x, y, half, int(me.dir), raster.TEAM[i % len(raster.TEAM)])
            if int(state.carrier) == i:  # a badge in the corner behind the agent
                down, right = (int(a) for a in me.ahead)
                x, y = x - half * (0.6 * right - 0.7 * down), y - half * (0.6 * down + 0.7 * right)
                canvas.disc(x, y, half * 0.68, raster.WHITE, (214, 160, 20))
                _draw_key(canvas, x, y, half * 0.56)
        words = f"step {int(state.time)} of {horizon}, {('open', 'closed', 'locked')[state.door]}"
        canvas.text(edge + n * cell / 2, edge + n * cell + foot / 2 + 4, words, 12)
        return canvas.pixels()

    def make_state(
        self,
        agent_pos: Any,
        agent_dir: Any,
        wall_col: int,
        door_row: int,
        goal_pos: Any,
        key_pos: Any = None,
        carrier: int = -1,
        door: int = LOCKED,
        step: int = 0,
    ) -> DoorKeyState:
        """The state of one (unbatched) episode from plain arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent.
          agent_dir: integers [N], 0 east, 1 south, 2 west, 3 north.
          wall_col: column of the wall between the rooms.
          door_row: row of its door.
          goal_pos: (row, column) of the goal.
          key_pos: (row, column) of the key; None while it is carried.
          carrier: the agent that carries the key; -1 for none.
          door: 0 open, 1 closed, 2 locked.
          step: steps taken since the episode began.

        Raises:
          ValueError: for a state that cannot be played, saying what is wrong with it.
        """
        n, count = self.size, self.num_agents
        agents = integers("agent_pos", agent_pos, (count, 2))
        heading = integers("agent_dir", agent_dir, (count,))
        goal = integers("goal_pos", goal_pos, (2,))
        carried = key_pos is None
        key = integers("key_pos", (-1, -1) if carried else key_pos, (2,))
        if not 2 <= wall_col <= n - 3:
            raise ValueError(f"wall_col is {wall_col}; it must be in 2..{n - 3}")
        if not 1 <= door_row <= n - 2:
            raise ValueError(f"door_row is {door_row}; it must be in 1..{n - 2}")
        if door not in (OPEN, CLOSED, LOCKED):
            raise ValueError(f"door is {door}; it must be 0 (open), 1 (closed) or 2 (locked)")
        if not (-1 <= carrier < count and (carrier >= 0) == carried):
            raise ValueError(
                f"carrier is {carrier} and key_pos {key_pos}; the key must either lie somewhere or "
                f"be carried by one of the agents 0..{count - 1}"
            )
        if ((heading < 0) | (heading > 3)).any():
            raise ValueError(f"agent_dir is {heading.tolist()}; headings go from 0 to 3")

        def place(what: str, cell: np.ndarray, doorway: bool) -> tuple[int, int]:
            row, col = int(cell[0]), int(cell[1])
            floor = 1 <= row <= n - 2 and 1 <= col <= n - 2 and col != wall_col
            if not (floor or (doorway and (row, col) == (door_row, wall_col))):
                raise ValueError(f"{what} is at ({row}, {col}), which is no free cell")
            return row, col

        at_goal = place("the goal", goal, False)
        taken = [] if carried else [place("the key", key, False)]
        if at_goal in taken:
            raise ValueError(f"the key is at {at_goal}, where the goal is")
        for i, agent in enumerate(agents):
            cell = place(f"agent {i}", agent, door == OPEN)
            if cell in taken:
                raise ValueError(f"agent {i} is at {cell}, where there is something already")
            if cell != at_goal:
                taken.append(cell)
        if self.target == "goal" and (agents == goal).all():
            raise ValueError("every agent is on the goal, so the episode has ended")
        if step < 0:
            raise ValueError(f"step is {step}; it must be 0 or more")
        return DoorKeyState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(agents),
            agent_dir=jnp.asarray(heading),
            wall_col=jnp.int32(wall_col),
            door_row=jnp.int32(door_row),
            door=jnp.int32(door),
            key_pos=jnp.asarray(key),
            carrier=jnp.int32(carrier),
            goal_pos=jnp.asarray(goal),
        )


def _poses(state: DoorKeyState) -> list[Pose]:
    """The agents of a state as single numbers."""
    numbers = jnp.unstack(state.agent_pos.reshape(state.agent_pos.size))
    return list(map(Pose, numbers[::2], numbers[1::2], jnp.unstack(state.agent_dir)))


def _distinct(draws: list[Array], count: Array) -> list[Array]:
    """Distinct numbers below `count`, int32 [] each: free ones, counted past those taken."""
    numbers: list[Array] = []
    taken: list[Array] = []  # ascending
    for i, draw in enumerate(draws):
        number = below(draw, jnp.maximum(count - i, 1))  # fewer only where it will not be used
        for other in taken:
            number = number + (number >= other)
        numbers.append(number)
        for k, other in enumerate(taken):
            taken[k], number = jnp.minimum(other, number), jnp.maximum(other, number)
        taken.append(number)
    return numbers


def _look(size: int, state: DoorKeyState, row: Any, col: Any) -> tuple[Array, Array, Array]:
    """Object, colour and state of cells on and off the board, as MiniGrid encodes them.

    Args:
      size: of the board.
      state: of one episode; agents are not looked at.
      row: int32 [...].
      col: int32 [...].

    Returns:
      int32 [...] each.
    """
    between, doorway = col == state.wall_col, row == state.door_row
    border = (row <= 0) | (row >= size - 1) | (col <= 0) | (col >= size - 1)
    door = between & doorway
    wall = border | between & ~doorway
    key = (row == state.key_pos[0]) & (col == state.key_pos[1]) & (state.carrier < 0)
    goal = (row == state.goal_pos[0]) & (col == state.goal_pos[1])
    kind = jnp.where(wall, WALL, jnp.where(door, DOOR, jnp.where(key, KEY, EMPTY)))
    kind = jnp.where(goal, GOAL, kind)
    color = jnp.where(wall, GREY, jnp.where(door | key, YELLOW, jnp.where(goal, GREEN, 0)))
    return kind, color, jnp.where(door, state.door, 0)


def _front(size: int, state: DoorKeyState, agents: list[Pose], i: int) -> Front:
    """What agent `i` has before it."""
    down, right = agents[i].ahead
    row, col = agents[i].row + down, agents[i].col + right
    kind, _, _ = _look(size, state, row, col)
    mate = jnp.bool_(False)
    for j, other in enumerate(agents):
        if j != i:
            mate |= (row == other.row) & (col == other.col)
    return Front(kind == WALL, kind == DOOR, kind == KEY, kind == GOAL, mate)


def _enterable(front: Front, state: DoorKeyState) -> Array:
    """Bool [], whether the agent could go forward."""
    blocked = front.wall | front.key | front.door & (state.door != OPEN)
    return ~blocked & (front.goal | ~front.agent)


def _toggles(front: Front, state: DoorKeyState, i: int) -> Array:
    """Bool [], whether agent `i` could open or close the door."""
    return front.door & ~front.agent & ((state.door != LOCKED) | (state.carrier == i))


def _lit(clear: Array, v: int, time: Array) -> Array:
    """Bool [v v], the cells of a view that can be seen, from those that one can see through.

    From the agent's cell on, row by row ahead: whoever is seen in a run of clear cells is seen with
    all of that run, the two cells at its ends, and what lies ahead of all these. This is what comes
    of MiniGrid's passes to the right and to the left through each row; a row is the bits of an
    integer here.
    """
    bit = np.arange(v)[:, None]
    marks = jnp.where(clear.reshape(v, v), 1 << bit, 0)
    through = materialise(marks.sum(0, dtype=jnp.int32), time)
    rows: list[Array] = [jnp.int32(0)] * v
    lit = jnp.int32(1 << (v // 2))
    for deep in reversed(range(v)):
        run, down = lit & through[deep], through[deep]
        run = ((down + run) ^ down | run) & down  # carries go up to the end of a run
        reach = 1
        while reach < v:
            run, down, reach = run | down & run >> reach, down & down >> reach, 2 * reach
        around = (run | run << 1 | run >> 1) & (1 << v) - 1
        rows[deep], lit = lit | around, around
    seen: Array = materialise(jnp.stack(rows), time) >> bit & 1 > 0
    return seen.reshape(v * v)


def _draw_key(canvas: Canvas, x: float, y: float, half: float) -> None:
    """A key around (x, y)."""
    gold = (214, 160, 20)
    canvas.line(x - half * 0.1, y, x + half * 0.75, y, fill=gold, width=half * 0.22)
    for at, long in ((0.45, 0.35), (0.68, 0.45)):
        tooth = x + half * at
        canvas.line(tooth, y, tooth, y + half * long, fill=gold, width=half * 0.18)
    canvas.disc(x - half * 0.35, y, half * 0.36, gold)
    canvas.disc(x - half * 0.35, y, half * 0.14, (255, 255, 255))


def _draw_door(canvas: Canvas, x: float, y: float, half: float, door: int) -> None:
    """A door around (x, y): a bar at the side when it is open, with a keyhole when locked."""
    gold, dark = (236, 190, 56), (150, 112, 10)
    if door == OPEN:
        canvas.box(x - half, y - half, x + half, y - half * 0.65, gold, dark)
        return
    canvas.box(x - half * 0.9, y - half * 0.9, x + half * 0.9, y + half * 0.9, gold, dark, 2)
    if door == LOCKED:
        canvas.disc(x, y - half * 0.15, half * 0.22, dark)
        canvas.line(x, y - half * 0.1, x, y + half * 0.45, fill=dark, width=half * 0.2)
    else:
        canvas.disc(x + half * 0.5, y, half * 0.15, dark)


PATTERN = r"grid/doorkey-(?P<rows>\d+)x(?P<cols>\d+)(?:-(?P<agents>\d+)p)?"
USAGE = "grid/doorkey-{n}x{n}[-{p}p]"


def make(id: str) -> DoorKey:
    """The environment of an id, e.g. `grid/doorkey-8x8-2p`.

    Raises:
      ValueError: for an id that does not have the form of `USAGE`, or whose numbers cannot be.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None or match["rows"] != match["cols"]:
        raise ValueError(f"{id!r} is not a doorkey id; they read {USAGE}")
    return DoorKey(size=int(match["rows"]), num_agents=int(match["agents"] or 1))


FAMILY = Family(
    name="doorkey",
    pattern=PATTERN,
    usage=USAGE,
    examples=(
        "grid/doorkey-5x5",
        "grid/doorkey-6x6",
        "grid/doorkey-8x8",
        "grid/doorkey-16x16",
        "grid/doorkey-8x8-2p",
    ),
    make=make,
)
