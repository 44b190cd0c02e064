"""The TrashGrid environment."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.checks import at_least, between, integers, one_of
from marlx.envs.grid import SOUTH, positions
from marlx.envs.trashgrid.checks import check_state
from marlx.envs.trashgrid.state import (
    BIG,
    BIN_COLS,
    BIN_ROWS,
    FORWARD,
    LEFT,
    NUM_ACTIONS,
    ON_BOARD,
    PICKUP,
    PUTDOWN,
    RIGHT,
    SMALL,
    SPLIT,
    Robot,
    TrashGridState,
    robots_of,
    trash_here,
)
from marlx.types import Array, EnvSpec, Observation, Subgoals

PER_AGENT = 5
"""Numbers in an agent's entry of an observation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrashGrid(Environment[TrashGridState, EnvParams]):
    """TrashGrid: agents pick up trash, piece by piece, and put it into the bin.

    Board: the bin is the last 2 rows by the last 4 columns. Trash is on distinct cells, uniformly
    over the rows from the fourth to the one above the bin and all columns but the last. Agent i
    starts at row 0, column 2 i, heading south.

    Actions: 0 forward, 1 turn left, 2 turn right, 3 pick up, 4 split, 5 put down. Agents can enter
    the cells of trash and bin, and act on their own cell; two agents are never in one cell. An
    agent that carries less than `capacity` can pick up small trash. Splitting big trash makes it
    small. Putting down in the bin delivers everything carried. An action that has no effect (also
    going forward into another agent or off the board) costs `penalty`.
    Only moves can conflict. `sequential`: agents act in index order, so an agent can enter the cell
    that an earlier one has just left. `simultaneous`: an agent enters a cell if it is the only one
    that wants it and nobody was there at the start of the step; if several want a cell, all of them
    stay and pay.

    Reward: 1 for each piece of trash, to the agent that delivers it. An episode terminates when all
    trash is delivered.

    Local observation, of the whole board: the agents, itself first and the others in index order,
    each (row, column, heading down, heading right, load); then each piece of trash (row, column, 1
    small or 2 big), zeros when it is not on the board; then the 8 cells of the bin, row by row,
    (row, column). Rows and columns count from the agent's own cell.
    Global state: agents in index order and trash, likewise, counted from the top left cell, without
    the bin.

    Subgoals, by `subgoal_kind`:
      - `items`: one for each piece of trash, achieved while this agent carries it (a big piece has
        to be split on the way), available while it is on the board and the agent has room for it;
        and `deliver`, achieved in the step of a delivery, available while the agent carries
        something. A team divides its work by choosing different pieces.
      - `stages`: GMAH's four. `find` is achieved while the agent stands on trash; `pick`, `split`
        and `deliver` if it did so in the last step. They are available while there is, in this
        order: any trash on the board; small trash and room for it; big trash; something carried.
    Agents see the whole board, so `choices` is what is available, and `deliver` if nothing is.

    Attributes:
      size: rows and columns of the board.
      num_agents: N.
      num_small: pieces of trash that are small at reset.
      num_big: pieces that are big at reset and have to be split; M is the sum of both.
      capacity: pieces that an agent can carry.
      penalty: cost of an action without effect.
      order: agents act in index order (`sequential`) or at once (`simultaneous`: of several that
        want a cell, none gets it).
      useful_only: mask actions that would have no effect if no other agent acted before. Otherwise
        every action is always legal. Turning is always legal.
      subgoal_kind: which subgoals `subgoals` declares.
      horizon: steps after which an episode is truncated.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: logs and scripts of github.com/SICC-Group/GMAH at 36b3644 (arXiv 2408.11416) for the
      board, the starting positions, the actions, the capacity and the observations.
    Differs from them, as far as they can be read, in the reward (theirs changes from run to run)
      and in an agent's entry in observations: theirs has a number that is always 0, ours the
      heading.
    """

    size: tuple[int, int] = (10, 10)
    num_agents: int = 3
    num_small: int = 5
    num_big: int = 5
    capacity: int = 3
    penalty: float = 0.05
    order: Literal["sequential", "simultaneous"] = "sequential"
    useful_only: bool = False
    subgoal_kind: Literal["items", "stages"] = "items"
    horizon: int = 256

    def __post_init__(self) -> None:
        rows, cols = self.size
        if not (6 <= rows <= 100 and 5 <= cols <= 100):
            raise ValueError(
                f"size is {self.size}; it must be at least 6 rows by 5 columns, at most 100 each"
            )
        if not 1 <= self.num_agents <= (cols + 1) // 2:
            raise ValueError(
                f"num_agents is {self.num_agents}; a board of {cols} columns has room for 1 to "
                f"{(cols + 1) // 2}, every other cell of its first row"
            )
        if min(self.num_small, self.num_big) < 0 or not 1 <= self.num_trash <= self._cells:
            raise ValueError(
                f"num_small is {self.num_small} and num_big {self.num_big}; together there must be "
                f"between 1 and {self._cells}, the cells for trash on a {rows}x{cols} board"
            )
        between(self, capacity=(1, 100))
        at_least(self, penalty=0, horizon=1)
        one_of(self, order=("sequential", "simultaneous"), subgoal_kind=("items", "stages"))

    @property
    def num_trash(self) -> int:
        """M, the number of pieces of trash."""
        return self.num_small + self.num_big

    @property
    def _cells(self) -> int:
        """Number of cells on which trash may start."""
        return (self.size[0] - 3 - BIN_ROWS) * (self.size[1] - 1)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    @property
    def name(self) -> str:
        """The id, which holds those settings that an id can hold."""
        return f"grid/trashgrid-{self.size[0]}x{self.size[1]}-{self.num_agents}p"

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is all trash, if the horizon is surely long enough."""
        horizon = self.horizon if params is None else int(params.max_steps_in_episode)
        each = -(-self.num_trash // self.num_agents)  # pieces for each agent
        enough = horizon >= each * (2 * sum(self.size) + 5)  # ways, turns, three actions
        return EnvSpec(
            id=self.name,
            num_agents=self.num_agents,
            num_actions=NUM_ACTIONS,
            obs_size=PER_AGENT * self.num_agents + 3 * self.num_trash + 2 * BIN_ROWS * BIN_COLS,
            state_size=PER_AGENT * self.num_agents + 3 * self.num_trash,
            horizon=horizon,
            reward_aggregation="sum",
            storage="int8",
            scale=float(max(self.size[0] - 1, self.size[1] - 1, self.capacity)),
            optimum=float(self.num_trash) if enough else None,
            outcomes=("success_rate",),
        )

    def reset_env(self, key: Array, params: EnvParams) -> TrashGridState:
        """Returns a random board; the class describes its distribution."""
        del params
        count, cols = self.num_agents, self.size[1] - 1
        cells = jax.random.permutation(key, self._cells)[: self.num_trash]
        kinds = [SMALL] * self.num_small + [BIG] * self.num_big
        return TrashGridState(
            time=jnp.int32(0),
            agent_pos=jnp.asarray([(0, 2 * i) for i in range(count)], jnp.int32),
            agent_dir=jnp.full(count, SOUTH, jnp.int32),
            did=jnp.full(count, -1, jnp.int32),
            trash_pos=jnp.stack([3 + cells // cols, cells % cols], axis=-1).astype(jnp.int32),
            trash_kind=jnp.asarray(kinds, jnp.int32),
            holder=jnp.full(self.num_trash, ON_BOARD, jnp.int32),
        )

    def step_env(
        self, key: Array, state: TrashGridState, action: Array, params: EnvParams
    ) -> tuple[TrashGridState, Array, Array, dict[str, Any]]:
        """Plays one step. `key` is not used."""
        del key, params
        robots, actions = robots_of(state), jnp.unstack(action)
        places, moved = self._move(robots, actions)
        kind, holder = state.trash_kind, state.holder
        rewards, did, headings = [], [], []
        for i, (me, act) in enumerate(zip(robots, actions, strict=True)):
            here = trash_here(state, me)  # no other agent acts on this cell
            small, big = here & (state.trash_kind == SMALL), here & (state.trash_kind == BIG)
            picks = (act == PICKUP) & small.any() & (me.load < self.capacity)
            splits = (act == SPLIT) & big.any()
            puts = (act == PUTDOWN) & (me.load > 0) & self._in_bin(me)
            turns = (act == LEFT) | (act == RIGHT)
            holder = jnp.where(picks & small, i, holder)
            holder = jnp.where(puts & (state.holder == i), self.num_agents, holder)
            kind = jnp.where(splits & big, SMALL, kind)
            works = moved[i] | picks | splits | puts | turns
            earned = jnp.where(puts, me.load.astype(jnp.float32), 0.0)
            rewards.append(jnp.where(works, earned, -self.penalty))
            did.append(jnp.where(works, act, -1))
            headings.append((me.dir + (act == RIGHT) - (act == LEFT)) & 3)
        state = TrashGridState(
            time=state.time + 1,
            agent_pos=positions(places),
            agent_dir=jnp.stack(headings),
            did=jnp.stack(did).astype(jnp.int32),
            trash_pos=state.trash_pos,
            trash_kind=kind,
            holder=holder,
        )
        cleared = (holder == self.num_agents).all()
        reward = jnp.stack(rewards).astype(jnp.float32)
        return state, reward, cleared, {"success_rate": cleared}

    def _move(
        self, robots: list[Robot], actions: Any
    ) -> tuple[list[tuple[Array, Array]], list[Array]]:
        """Returns the agents' cells after the step, and whether each has moved, bool []."""
        now = [(me.row, me.col) for me in robots]
        targets, wants = [], []
        for me, act in zip(robots, actions, strict=True):
            down, right = me.ahead
            targets.append((me.row + down, me.col + right))
            wants.append((act == FORWARD) & self._on_board(*targets[-1]))
        moved: list[Array] = []
        after = list(now)
        for i, (want, (row, col)) in enumerate(zip(wants, targets, strict=True)):
            free = jnp.bool_(True)
            for j in range(len(robots)):
                if j == i:
                    continue
                place = after[j] if self.order == "sequential" else now[j]
                free &= (place[0] != row) | (place[1] != col)
                if self.order == "simultaneous":
                    free &= ~wants[j] | (targets[j][0] != row) | (targets[j][1] != col)
            goes = want & free
            moved.append(goes)
            after[i] = (jnp.where(goes, row, now[i][0]), jnp.where(goes, col, now[i][1]))
        return after, moved

    def _on_board(self, row: Array, col: Array) -> Array:
        """Returns bool [], whether a cell is on the board."""
        return (row >= 0) & (row < self.size[0]) & (col >= 0) & (col < self.size[1])

    def _in_bin(self, me: Robot) -> Array:
        """Returns bool [], whether an agent stands on the bin."""
        return (me.row >= self.size[0] - BIN_ROWS) & (me.col >= self.size[1] - BIN_COLS)

    def observe(self, state: TrashGridState, params: EnvParams) -> Observation:
        """Returns local views, legal actions and the whole board."""
        del params
        robots = robots_of(state)
        rows, cols = state.trash_pos[:, 0], state.trash_pos[:, 1]
        kind = jnp.where(state.holder == ON_BOARD, state.trash_kind, 0)
        bin_row, bin_col = np.mgrid[-BIN_ROWS:0, -BIN_COLS:0].reshape(2, -1) + np.array(
            [[self.size[0]], [self.size[1]]]
        )

        def trash(row: Any, col: Any) -> Array:
            shown = [jnp.where(kind > 0, rows - row, 0), jnp.where(kind > 0, cols - col, 0), kind]
            return jnp.stack(shown, -1).reshape(-1)

        def team(order: list[Robot], row: Any, col: Any) -> Array:
            return jnp.stack(
                [n for r in order for n in (r.row - row, r.col - col, *r.ahead, r.load)]
            )

        views = []
        for i, me in enumerate(robots):
            order = [me, *robots[:i], *robots[i + 1 :]]
            bins = jnp.stack([bin_row - me.row, bin_col - me.col], -1).reshape(-1)
            parts = [team(order, me.row, me.col), trash(me.row, me.col), bins]
            views.append(jnp.concatenate(parts))
        return Observation(
            local=jnp.stack(views).astype(jnp.float32),
            action_mask=jnp.stack([self._legal(state, robots, me) for me in robots]),
            global_state=jnp.concatenate([team(robots, 0, 0), trash(0, 0)]).astype(jnp.float32),
        )

    def _legal(self, state: TrashGridState, robots: list[Robot], me: Robot) -> Array:
        """Returns bool [6], the action mask of an agent."""
        if not self.useful_only:
            return jnp.ones(NUM_ACTIONS, bool)
        down, right = me.ahead
        row, col = me.row + down, me.col + right
        free = self._on_board(row, col)
        for other in robots:
            free &= (other.row != row) | (other.col != col)
        here = trash_here(state, me)
        picks = (here & (state.trash_kind == SMALL)).any() & (me.load < self.capacity)
        splits = (here & (state.trash_kind == BIG)).any()
        always = jnp.bool_(True)
        return jnp.stack([free, always, always, picks, splits, (me.load > 0) & self._in_bin(me)])

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns the subgoals of `subgoal_kind`; the class says what each means."""
        del params
        count, capacity = self.num_agents, self.capacity
        start = PER_AGENT * count + 2  # index of the first kind of trash in `local`
        items = self.subgoal_kind == "items"

        def can(kind: Array, load: Array) -> Array:
            """Returns bool [G]; `kind` int [M] is 0 for trash that is not on the board."""
            room, carries = load < capacity, (load > 0)[None]
            if items:
                return jnp.concatenate([(kind > 0) & room, carries])
            stages = [(kind > 0).any(), (kind == SMALL).any() & room, (kind == BIG).any()]
            return jnp.concatenate([jnp.stack(stages), carries])

        def achieved(state: TrashGridState) -> Array:
            put = (state.did == PUTDOWN)[:, None]
            if items:
                return jnp.concatenate([state.holder == jnp.arange(count)[:, None], put], axis=1)
            found = jnp.stack([trash_here(state, me).any() for me in robots_of(state)])
            done = [found, state.did == PICKUP, state.did == SPLIT, state.did == PUTDOWN]
            return jnp.stack(done, axis=1)

        def available(state: TrashGridState) -> Array:
            kind = jnp.where(state.holder == ON_BOARD, state.trash_kind, 0)
            return jnp.stack([can(kind, me.load) for me in robots_of(state)])

        def choices(local: Array) -> Array:
            kinds = local[:, start : start + 3 * self.num_trash : 3]
            free = jnp.stack([can(kinds[i], local[i, PER_AGENT - 1]) for i in range(count)])
            return free.at[:, -1].set(free[:, -1] | ~free.any(1))

        if items:
            names = [f"small {k}" for k in range(self.num_small)]
            names += [f"big {k}" for k in range(self.num_big)]
            tree: tuple[tuple[int, ...], ...] = ((),) * (self.num_trash + 1)
            return Subgoals((*names, "deliver"), tree, achieved, available, choices)
        tree = ((), (0,), (0,), (1,))
        return Subgoals(("find", "pick", "split", "deliver"), tree, achieved, available, choices)

    def render(self, state: TrashGridState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: arrowheads, with a dot for each piece carried."""
        from marlx.envs.trashgrid import picture  # imported here, since it loads Pillow

        return picture.draw(self.size, state, self.spec(params).horizon)

    def make_state(
        self,
        agent_pos: Any,
        agent_dir: Any,
        trash_pos: Any,
        trash_kind: Any = None,
        holder: Any = None,
        did: Any = None,
        step: int = 0,
    ) -> TrashGridState:
        """Returns the state of one (unbatched) episode from arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent, all different.
          agent_dir: integers [N], 0 east, 1 south, 2 west, 3 north.
          trash_pos: integers [M, 2], (row, column); all different for trash on the board.
          trash_kind: integers [M], 1 small, 2 big; None for the kinds at reset.
          holder: integers [M], -1 on the board, i carried by agent i, N in the bin; None for all
            on the board.
          did: integers [N], the action that had an effect in the last step, or -1; None for all -1.
          step: steps since the episode began.

        Raises:
          ValueError: the state cannot occur; the message says why.
        """
        count, pieces = self.num_agents, self.num_trash
        agents = integers("agent_pos", agent_pos, (count, 2))
        heading = integers("agent_dir", agent_dir, (count,))
        trash = integers("trash_pos", trash_pos, (pieces, 2))
        kinds = [SMALL] * self.num_small + [BIG] * self.num_big
        kind = integers("trash_kind", kinds if trash_kind is None else trash_kind, (pieces,))
        held = integers("holder", [ON_BOARD] * pieces if holder is None else holder, (pieces,))
        done = integers("did", [-1] * count if did is None else did, (count,))
        check_state(self.size, self.capacity, agents, heading, trash, kind, held, done, step)
        return TrashGridState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(agents),
            agent_dir=jnp.asarray(heading),
            did=jnp.asarray(done),
            trash_pos=jnp.asarray(trash),
            trash_kind=jnp.asarray(kind),
            holder=jnp.asarray(held),
        )
