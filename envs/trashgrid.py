"""TrashGrid: a team with little room to carry collects trash, splits what is too big, fills a bin.

Inspired by the Trash-Grid of GMAH, whose environment is not in its public code: board, places and
actions follow what its logs show, rules and rewards are our own. Numbers of its paper cannot be
compared with those reached here.
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
from marlx.envs.plain import integers
from marlx.registry import Family
from marlx.types import Array, EnvSpec, Observation, Subgoals

if TYPE_CHECKING:
    from marlx.envs.raster import Canvas

FORWARD, LEFT, RIGHT, PICKUP, SPLIT, PUTDOWN = range(6)
NUM_ACTIONS = 6
EAST, SOUTH, WEST, NORTH = range(4)
"""Headings, clockwise."""
SMALL, BIG = 1, 2
"""Kinds of trash; a big one that was split is a small one."""
LIES = -1
"""Holder of what nobody holds; the number of agents stands for the bin."""
BIN_ROWS, BIN_COLS = 2, 4
PER_AGENT = 5
"""Numbers by which an agent is seen."""


@flax.struct.dataclass
class TrashGridState(EnvState):
    """One episode; trash keeps its slot, the small ones of the start come first."""

    agent_pos: Array  # int32 [N, 2], (row, column)
    agent_dir: Array  # int32 [N], 0 east, 1 south, 2 west, 3 north
    did: Array  # int32 [N], the action that had an effect in the last step, or -1
    trash_pos: Array  # int32 [M, 2], (row, column) where it lies or was picked up
    trash_kind: Array  # int32 [M], 1 small, 2 big
    holder: Array  # int32 [M], -1 lies there, i with agent i, N in the bin


class Robot(NamedTuple):
    """An agent, as single numbers."""

    row: Array  # int32 []
    col: Array  # int32 []
    dir: Array  # int32 []
    load: Array  # int32 [], how much it carries

    @property
    def ahead(self) -> tuple[Array, Array]:
        """Rows down and columns right of the cell in front, int32 [] each."""
        down = (self.dir == SOUTH).astype(jnp.int32) - (self.dir == NORTH)
        right = (self.dir == EAST).astype(jnp.int32) - (self.dir == WEST)
        return down, right


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrashGrid(Environment[TrashGridState, EnvParams]):
    """Agents pick trash up, one piece at a time, and put it down in the bin.

    Board: the bin is the last 2 rows by the last 4 columns. Trash lies on distinct cells, uniformly
    over the rows from the fourth to the one above the bin and all columns but the last. Agent i
    starts at row 0, column 2 i, heading south.

    Actions: 0 forward, 1 turn left, 2 turn right, 3 pick up, 4 split, 5 put down. Agents stand on
    trash and bin and act on their own cell; two agents are never in one cell. Small trash can be
    picked up by who carries less than `capacity`; big trash has to be split first, which makes it
    small; putting down in the bin delivers all that is carried. Whatever cannot be done (also
    going forward into another agent or off the board) does nothing and costs `penalty`.
    Only moves can be in each other's way. `sequential`: agents act in index order, so one can
    follow another, but only a later one an earlier one. `simultaneous`: a cell is entered by the
    only agent that wants it, if no agent was there at the start of the step; where several want
    one, all of them stay and pay.

    Reward: 1 for each piece of trash, to the agent that delivers it. An episode terminates when all
    trash is delivered.

    Local observation, everything in sight: the agents, itself first and the others in index order,
    each (row, column, heading down, heading right, load); then each piece of trash (row, column, 1
    small or 2 big), zeros when it lies there no more; then the 8 cells of the bin, row by row,
    (row, column). Rows and columns count from the agent's own cell. Global state: agents in index
    order and trash, likewise, counted from the top left cell, without the bin.

    Subgoals, by `subgoal_kind`. `items`: one for each piece of trash, achieved while this agent
    carries it (what is big has to be split on the way), available while it lies there and the agent
    has room for it; and `deliver`, achieved in the step of a delivery, available while the agent
    carries something. A team divides its work by choosing different pieces. `stages`: GMAH's four,
    `find` (stands on trash), `pick`, `split` and `deliver` (did so in the last step), available
    while there is any trash; small trash, and room; big trash; something carried. Everything is in
    sight, so `choices` is what is available, and `deliver` where nothing is.

    Attributes:
      size: rows and columns of the board.
      num_agents: N.
      num_small: pieces of trash that can be carried at once.
      num_big: pieces that have to be split first; M is the sum of both.
      capacity: pieces that an agent can carry.
      penalty: what an action costs that does nothing.
      order: whether agents act one after another or at once, see above.
      useful_only: mask actions that would do nothing before anyone else has acted. Otherwise every
        action is always legal. Turning is always legal.
      subgoal_kind: which subgoals `subgoals` declares.
      horizon: steps after which an episode is truncated.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: logs and scripts of github.com/SICC-Group/GMAH at 36b3644 (arXiv 2408.11416) for the
      board, the starting places, the actions, the capacity and what is observed.
    Differs from: those, as far as they tell, in the reward (theirs changed from run to run) and in
      an agent's entry in observations, where theirs has a number that is 0 throughout and ours has
      the heading.
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
        if not 1 <= self.capacity <= 100:
            raise ValueError(f"capacity is {self.capacity}; it must be between 1 and 100")
        if not self.penalty >= 0:
            raise ValueError(f"penalty is {self.penalty}; it must be 0 or more")
        if self.order not in ("sequential", "simultaneous"):
            raise ValueError(f"order is {self.order!r}; it must be 'sequential' or 'simultaneous'")
        if self.subgoal_kind not in ("items", "stages"):
            raise ValueError(
                f"subgoal_kind is {self.subgoal_kind!r}; it must be 'items' or 'stages'"
            )
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; it must be 1 or more")

    @property
    def num_trash(self) -> int:
        """M, pieces of trash."""
        return self.num_small + self.num_big

    @property
    def _cells(self) -> int:
        """Cells on which trash may lie."""
        return (self.size[0] - 3 - BIN_ROWS) * (self.size[1] - 1)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    @property
    def name(self) -> str:
        """The id that says as much of the settings as an id can."""
        return f"grid/trashgrid-{self.size[0]}x{self.size[1]}-{self.num_agents}p"

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Static facts for learners; the optimum is all trash, where there is time for it."""
        horizon = self.horizon if params is None else int(params.max_steps_in_episode)
        each = -(-self.num_trash // self.num_agents)  # pieces, if they are shared out evenly
        enough = horizon >= each * (2 * sum(self.size) + 5)  # there and back, turns, three acts
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
        )

    def reset_env(self, key: Array, params: EnvParams) -> TrashGridState:
        """Agents in the first row, trash anywhere in its part of the board."""
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
            holder=jnp.full(self.num_trash, LIES, jnp.int32),
        )

    def step_env(
        self, key: Array, state: TrashGridState, action: Array, params: EnvParams
    ) -> tuple[TrashGridState, Array, Array, dict[str, Any]]:
        """One step; `key` is not used."""
        del key, params
        robots, actions = _robots(state), jnp.unstack(action)
        places, moved = self._move(robots, actions)
        kind, holder = state.trash_kind, state.holder
        rewards, did, headings = [], [], []
        for i, (me, act) in enumerate(zip(robots, actions, strict=True)):
            here = _here(state, me)  # nobody else acts on this cell
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
            agent_pos=jnp.stack([n for place in places for n in place]).reshape(-1, 2),
            agent_dir=jnp.stack(headings),
            did=jnp.stack(did).astype(jnp.int32),
            trash_pos=state.trash_pos,
            trash_kind=kind,
            holder=holder,
        )
        cleared = (holder == self.num_agents).all()
        return state, jnp.stack(rewards).astype(jnp.float32), cleared, {}

    def _move(
        self, robots: list[Robot], actions: Any
    ) -> tuple[list[tuple[Array, Array]], list[Array]]:
        """Where the agents are after the step, and whether each has moved, bool []."""
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
                taken = after[j] if self.order == "sequential" else now[j]
                free &= (taken[0] != row) | (taken[1] != col)
                if self.order == "simultaneous":
                    free &= ~wants[j] | (targets[j][0] != row) | (targets[j][1] != col)
            goes = want & free
            moved.append(goes)
            after[i] = (jnp.where(goes, row, now[i][0]), jnp.where(goes, col, now[i][1]))
        return after, moved

    def _on_board(self, row: Array, col: Array) -> Array:
        return (row >= 0) & (row < self.size[0]) & (col >= 0) & (col < self.size[1])

    def _in_bin(self, me: Robot) -> Array:
        return (me.row >= self.size[0] - BIN_ROWS) & (me.col >= self.size[1] - BIN_COLS)

    def observe(self, state: TrashGridState, params: EnvParams) -> Observation:
        """What each agent sees, its legal actions, and the whole board."""
        del params
        robots = _robots(state)
        rows, cols = state.trash_pos[:, 0], state.trash_pos[:, 1]
        kind = jnp.where(state.holder == LIES, state.trash_kind, 0)
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
        """Bool [6], what an agent may do."""
        if not self.useful_only:
            return jnp.ones(NUM_ACTIONS, bool)
        down, right = me.ahead
        row, col = me.row + down, me.col + right
        free = self._on_board(row, col)
        for other in robots:
            free &= (other.row != row) | (other.col != col)
        here = _here(state, me)
        picks = (here & (state.trash_kind == SMALL)).any() & (me.load < self.capacity)
        splits = (here & (state.trash_kind == BIG)).any()
        always = jnp.bool_(True)
        return jnp.stack([free, always, always, picks, splits, (me.load > 0) & self._in_bin(me)])

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Pieces of trash and `deliver`, or GMAH's four; the class says what each means."""
        del params
        count, capacity = self.num_agents, self.capacity
        start = PER_AGENT * count + 2  # of the kinds of trash in `local`
        items = self.subgoal_kind == "items"

        def can(kind: Array, load: Array) -> Array:
            """Bool [G] from the kinds of trash that lie there, int [M], and the agent's load."""
            room, carries = load < capacity, (load > 0)[None]
            if items:
                return jnp.concatenate([(kind > 0) & room, carries])
            stages = [(kind > 0).any(), (kind == SMALL).any() & room, (kind == BIG).any()]
            return jnp.concatenate([jnp.stack(stages), carries])

        def achieved(state: TrashGridState) -> Array:
            put = (state.did == PUTDOWN)[:, None]
            if items:
                return jnp.concatenate([state.holder == jnp.arange(count)[:, None], put], axis=1)
            found = jnp.stack([_here(state, me).any() for me in _robots(state)])
            done = [found, state.did == PICKUP, state.did == SPLIT, state.did == PUTDOWN]
            return jnp.stack(done, axis=1)

        def available(state: TrashGridState) -> Array:
            kind = jnp.where(state.holder == LIES, state.trash_kind, 0)
            return jnp.stack([can(kind, me.load) for me in _robots(state)])

        def choices(local: Array) -> Array:
            kinds = local[:, start : start + 3 * self.num_trash : 3]
            free = jnp.stack([can(kinds[i], local[i, PER_AGENT - 1]) for i in range(count)])
            return free.at[:, -1].set(free[:, -1] | ~free.any(1))

        if items:
            names = [f"small {k}" for k in range(self.num_small)]
            names += [f"big {k}" for k in range(self.num_big)]
            requires: tuple[tuple[int, ...], ...] = ((),) * (self.num_trash + 1)  # any one will do
            return Subgoals((*names, "deliver"), requires, achieved, available, choices)
        tree = ((), (0,), (0,), (1,))
        return Subgoals(("find", "pick", "split", "deliver"), tree, achieved, available, choices)

    def render(self, state: TrashGridState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: agents as arrowheads with a dot for each piece they carry."""
        from marlx.envs import raster  # here, since few who import this module draw

        horizon = self.spec(params).horizon
        rows, cols = self.size
        cell, edge, foot = 40, 14, 28
        canvas = raster.Canvas(cols * cell + 2 * edge, rows * cell + 2 * edge + foot)
        right, bottom = edge + cols * cell, edge + rows * cell
        canvas.box(edge, edge, right, bottom, raster.WHITE)
        canvas.box(
            right - BIN_COLS * cell, bottom - BIN_ROWS * cell, right, bottom, (206, 222, 206)
        )
        canvas.grid(edge, edge, rows, cols, cell)
        middle = right - BIN_COLS * cell / 2, bottom - BIN_ROWS * cell / 2
        canvas.text(*middle, "bin", cell * 0.8, (150, 178, 150))
        pieces = zip(*(np.asarray(a) for a in (state.trash_pos, state.trash_kind, state.holder)))  # noqa: B905
        for (row, col), kind, holder in pieces:
            if holder == LIES:
                x, y = edge + (col + 0.5) * cell, edge + (row + 0.5) * cell
                _draw_trash(canvas, x, y, cell / 2, kind == BIG)
        for i, me in enumerate(_robots(state)):
            x, y = edge + (int(me.col) + 0.5) * cell, edge + (int(me.row) + 0.5) * cell
            canvas.arrow(x, y, cell * 0.4, int(me.dir), raster.TEAM[i % len(raster.TEAM)])
            for k in range(int(me.load)):
                spot = x + (k - (int(me.load) - 1) / 2) * cell * 0.2
                canvas.disc(spot, y, cell * 0.08, raster.WHITE, raster.INK)
        put = int((np.asarray(state.holder) == self.num_agents).sum())
        words = f"step {int(state.time)} of {horizon}, {put} of {self.num_trash} delivered"
        canvas.text(edge + cols * cell / 2, bottom + foot / 2 + 5, words, 13)
        return canvas.pixels()

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
        """The state of one (unbatched) episode from plain arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent, all different.
          agent_dir: integers [N], 0 east, 1 south, 2 west, 3 north.
          trash_pos: integers [M, 2], (row, column); what lies on the board is on different cells.
          trash_kind: integers [M], 1 small, 2 big; None for those of the start.
          holder: integers [M], -1 lies there, i carried by agent i, N in the bin; None for all -1.
          did: integers [N], the action that had an effect in the last step, or -1; None for all -1.
          step: steps taken since the episode began.

        Raises:
          ValueError: for a state that cannot be played, saying what is wrong with it.
        """
        (rows, cols), count, pieces = self.size, self.num_agents, self.num_trash
        agents = integers("agent_pos", agent_pos, (count, 2))
        heading = integers("agent_dir", agent_dir, (count,))
        trash = integers("trash_pos", trash_pos, (pieces, 2))
        kinds = [SMALL] * self.num_small + [BIG] * self.num_big
        kind = integers("trash_kind", kinds if trash_kind is None else trash_kind, (pieces,))
        held = integers("holder", [LIES] * pieces if holder is None else holder, (pieces,))
        done = integers("did", [-1] * count if did is None else did, (count,))
        for what, array, least, most in (
            ("agent_dir", heading, 0, 3),
            ("trash_kind", kind, SMALL, BIG),
            ("holder", held, LIES, count),
            ("did", done, -1, NUM_ACTIONS - 1),
        ):
            if ((array < least) | (array > most)).any():
                raise ValueError(
                    f"{what} is {array.tolist()}; its values go from {least} to {most}"
                )
        for what, places in (("agent", agents), ("trash", trash)):
            for i, (row, col) in enumerate(places):
                if not (0 <= row < rows and 0 <= col < cols):
                    raise ValueError(
                        f"{what} {i} is at ({row}, {col}), off the {rows}x{cols} board"
                    )
        for what, places in (("agents", agents), ("pieces of trash", trash[held == LIES])):
            if len({(int(row), int(col)) for row, col in places}) < len(places):
                raise ValueError(f"two {what} are in one cell: {places.tolist()}")
        if ((kind == BIG) & (held != LIES)).any():
            raise ValueError("big trash cannot be carried; split it, which makes its kind 1")
        for i in range(count):
            if (held == i).sum() > self.capacity:
                raise ValueError(
                    f"agent {i} carries {(held == i).sum()}; capacity is {self.capacity}"
                )
        if (held == count).all():
            raise ValueError("all trash is in the bin, so the episode has ended")
        if step < 0:
            raise ValueError(f"step is {step}; it must be 0 or more")
        return TrashGridState(
            time=jnp.int32(step),
            agent_pos=jnp.asarray(agents),
            agent_dir=jnp.asarray(heading),
            did=jnp.asarray(done),
            trash_pos=jnp.asarray(trash),
            trash_kind=jnp.asarray(kind),
            holder=jnp.asarray(held),
        )


def _robots(state: TrashGridState) -> list[Robot]:
    """The agents of a state as single numbers."""
    count = state.agent_dir.size
    numbers = jnp.unstack(state.agent_pos.reshape(2 * count))
    loads = [(state.holder == i).sum(dtype=jnp.int32) for i in range(count)]
    return list(map(Robot, numbers[::2], numbers[1::2], jnp.unstack(state.agent_dir), loads))


def _here(state: TrashGridState, me: Robot) -> Array:
    """Bool [M], the trash that lies in an agent's cell: at most one piece."""
    row, col = state.trash_pos[:, 0], state.trash_pos[:, 1]
    return (state.holder == LIES) & (row == me.row) & (col == me.col)


def _draw_trash(canvas: Canvas, x: float, y: float, half: float, big: bool) -> None:
    """A bag around (x, y), or a box."""
    if big:
        r = half * 0.7
        canvas.box(x - r, y - r, x + r, y + r, (186, 140, 92), (120, 84, 46), half * 0.1)
        canvas.line(x - r, y, x + r, y, fill=(120, 84, 46), width=1.5)
        canvas.line(x, y - r, x, y + r, fill=(120, 84, 46), width=1.5)
        return
    r = half * 0.42
    canvas.polygon(x, y, x - r * 0.6, y - r * 1.5, x + r * 0.6, y - r * 1.5, fill=(92, 100, 112))
    canvas.disc(x, y + r * 0.2, r, (92, 100, 112), (54, 60, 70))


PATTERN = r"grid/trashgrid-(?P<rows>\d+)x(?P<cols>\d+)-(?P<agents>\d+)p"
USAGE = "grid/trashgrid-{rows}x{cols}-{p}p"


def make(id: str) -> TrashGrid:
    """The environment of an id, e.g. `grid/trashgrid-10x10-3p`.

    Raises:
      ValueError: for an id that does not have the form of `USAGE`, or whose numbers cannot be.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a trashgrid id; they read {USAGE}")
    return TrashGrid(size=(int(match["rows"]), int(match["cols"])), num_agents=int(match["agents"]))


FAMILY = Family(
    name="trashgrid",
    pattern=PATTERN,
    usage=USAGE,
    examples=("grid/trashgrid-10x10-3p", "grid/trashgrid-8x8-2p"),
    make=make,
)
