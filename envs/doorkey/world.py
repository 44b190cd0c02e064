"""The DoorKey environment."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.checks import at_least, at_least_or_none, between, integers, one_of
from marlx.envs.doorkey.changes import move_goal, relock
from marlx.envs.doorkey.checks import check_state
from marlx.envs.doorkey.state import (
    AGENT,
    CLOSED,
    DOOR,
    DROP,
    FORWARD,
    KEY,
    LEFT,
    LOCKED,
    NUM_ACTIONS,
    OPEN,
    PICKUP,
    RIGHT,
    TOGGLE,
    YELLOW,
    DoorKeyState,
    Pose,
    can_enter,
    can_toggle,
    front_of,
    objects_at,
    poses,
)
from marlx.envs.doorkey.views import local_view
from marlx.envs.grid import positions
from marlx.envs.integers import below
from marlx.types import Array, EnvSpec, Observation, Scene, Subgoals

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
"""Names of the actions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoorKey(Environment[DoorKeyState, EnvParams]):
    """DoorKey: two rooms, a locked door between them, a key on the left, a goal.

    Board: `size` x `size` cells with walls around it and a wall between the rooms. The column of
    that wall is uniform over 2..size-3 and the row of its locked door over 1..size-3. The first
    agent, the key and, with `goal_left_probability`, the goal are on distinct cells of the left
    room, drawn uniformly in this order; otherwise the goal is in the bottom right corner of the
    right room. Which agent is the first is uniform too. The other agents start on the right, on
    distinct cells off the goal. Headings are uniform. Every board can be solved.

    Actions: 0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle, 6 done (nothing).
    All but turning act on the cell in front:
      - forward enters it, unless it holds a wall, the key, a door that is not open, or another
        agent off the goal (the goal has room for all);
      - pick up takes the key from it, drop puts the key on it if it is empty;
      - toggle opens a closed door, opens a locked door if the agent carries the key, and closes an
        open door with nobody in it.
    An action that cannot be done has no effect. Agents act one after another in index order.

    Reward: `1 - 0.5 t / horizon` for every agent at the step t = 1, 2, ... that reaches `target`,
    which terminates the episode: all agents on the goal, the key picked up by any, or the door
    opened.

    Local observation: the `view_size` x `view_size` cells ahead as MiniGrid encodes them, and the
    one-hot of the heading (east, south, west, north). `local[:-4].reshape(v, v, 3)` is indexed
    [from left to right, from far to near, (object, colour, state)]. The agent is in the middle of
    the nearest row and looks at the far ones. Objects: 0 not seen, 1 empty, 2 wall, 4 door, 5 key,
    8 goal, 10 another agent. Colours: 5 walls, 4 door and key, 1 goal, 0 an agent (4 if it carries
    the key). State: 0 open, 1 closed, 2 locked for a door; the heading of an agent. Walls and doors
    that are not open hide what is behind them. The agent's own cell shows the key while it carries
    it.
    Global state: the objects of all cells row by row, without agents and with the door as a door;
    the one-hot of the door's state (open, closed, locked); for each agent its row, column, the
    one-hot of its heading, and whether it carries the key.

    Subgoals, in this order in the task tree: `key` is achieved while this agent carries it, `door`
    while it is open (whoever opened it), `goal` while this agent stands on it. Available are
      - `key`, while it lies on the agent's side of a door that is not open, or anywhere if it is;
      - `door`, while it is closed, or locked and an agent carries the key;
      - `goal`, while the agent can get there, so also with a locked door if it is on its side.
    An agent does not see what is behind it and has no memory here, so `choices` excludes only what
    it knows to be impossible: `key` if it or a visible team mate carries it; `door` if it sees it
    open, or is alone, does not carry the key and does not see the door closed but not locked. The
    choice of `goal` is always allowed.

    Attributes:
      size: rows and columns of the board, walls included.
      num_agents: N.
      goal_left_probability: probability of a goal on the left.
      target: what ends and pays an episode.
      view_size: rows and columns that an agent sees, an odd number.
      useful_only: mask actions that would have no effect if no other agent acted before: forward
        into a blocked cell, and pick up, drop and toggle without effect. Otherwise every action is
        always legal, as in MiniGrid. Turning and done are always legal.
      goal_moves: the goal moves to another free cell, of either room, after every so many steps,
        unless an agent stands on it. 0: it stays.
      relocks: the door locks itself after every so many steps, unless an agent stands in it. 0: it
        stays as it is. An agent that left the key in the other room may then be shut in.
      horizon: steps after which an episode is truncated; None for 4 size^2.

    Raises:
      ValueError: at construction, for settings under which no episode can be played.

    Source: minigrid 3.2.0's DoorKey; the changes are those of the code of GMAH (arXiv 2408.11416,
      github.com/SICC-Group/GMAH at 36b3644).
    Differs from MiniGrid in GMAH's changes: the goal may be on the left, at most half instead of
      nine tenths of the reward is lost to time, and an episode has 4 size^2 steps instead of 10.
    Differs from GMAH in that the target is a setting (there one edits the code), that closing the
      door does not count as opening it, and that no mission text is observed.
    """

    size: int = 8
    num_agents: int = 1
    goal_left_probability: float = 0.8
    target: Literal["key", "door", "goal"] = "goal"
    view_size: int = 7
    useful_only: bool = False
    goal_moves: int = 0
    relocks: int = 0
    horizon: int | None = None

    def __post_init__(self) -> None:
        between(self, size=(5, 100))
        n = self.size
        if not 1 <= self.num_agents <= n - 2:
            raise ValueError(
                f"num_agents is {self.num_agents}; it must be between 1 and {n - 2}, since a room "
                f"of a {n}x{n} board may have no more cells"
            )
        between(self, goal_left_probability=(0, 1))
        one_of(self, target=("key", "door", "goal"))
        if not (3 <= self.view_size <= 31 and self.view_size % 2):
            raise ValueError(
                f"view_size is {self.view_size}; it must be an odd number between 3 and 31"
            )
        at_least(self, goal_moves=0, relocks=0)
        at_least_or_none(self, horizon=1)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        steps = 4 * self.size**2 if self.horizon is None else self.horizon
        return EnvParams(max_steps_in_episode=steps)

    @property
    def name(self) -> str:
        """The id, which holds those settings that an id can hold."""
        team = f"-{self.num_agents}p" if self.num_agents > 1 else ""
        return f"grid/doorkey-{self.size}x{self.size}{team}"

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; for one agent, `optimum` is that of the easiest board."""
        params = self.default_params if params is None else params
        horizon = int(params.max_steps_in_episode)
        # With the goal on the right: pick up, turn, toggle, forward, forward, turn, forward.
        goal = 1 if self.goal_left_probability > 0 or self.goal_moves else 7
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
            common_reward=True,
            outcomes=("success_rate",),
        )

    def reset_env(self, key: Array, params: EnvParams) -> DoorKeyState:
        """Returns a random board; the class describes its distribution."""
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
            agent_pos=positions((a.row, a.col) for a in agents),
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
        """Plays one step, agent by agent. `key` draws where the goal moves to."""
        agents = poses(state)
        now = state
        picked = opened = jnp.bool_(False)
        for i, act in enumerate(jnp.unstack(action)):
            me, front = agents[i], front_of(self.size, now, agents, i)
            down, right = me.ahead
            cell = jnp.stack([me.row + down, me.col + right])
            moves = (act == FORWARD) & can_enter(front, now)
            picks = (act == PICKUP) & front.key
            drops = (act == DROP) & front.empty & (now.carrier == i)
            toggles = (act == TOGGLE) & can_toggle(front, now, i)
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
            agent_pos=positions((a.row, a.col) for a in agents),
            agent_dir=jnp.stack([a.dir for a in agents]),
        )
        state = self._changed(key, state)
        reward = jnp.broadcast_to(pay.astype(jnp.float32), (self.num_agents,))
        return state, reward, reached, {"success_rate": reached}

    def _changed(self, key: Array, state: DoorKeyState) -> DoorKeyState:
        """Returns what the world makes of a state by itself, after the agents' step."""
        move = functools.partial(move_goal, key, self.size)
        for every, change in ((self.relocks, relock), (self.goal_moves, move)):
            if every:
                now = functools.partial(jnp.where, state.time % every == 0)
                state = jax.tree.map(now, change(state), state)
        return state

    def observe(self, state: DoorKeyState, params: EnvParams) -> Observation:
        """Returns local views, legal actions and the whole board."""
        del params
        agents = poses(state)

        def see(i: Any, me: Pose) -> Array:
            heading = jnp.stack([me.dir == d for d in range(4)])
            view = local_view(self.size, self.view_size, state, agents, i, me)
            return jnp.concatenate([view.reshape(-1), heading])

        if len(agents) <= 3:  # faster, but slow to compile for many
            views = jnp.stack([see(i, me) for i, me in enumerate(agents)])
        else:
            row, col = state.agent_pos.T
            views = jax.vmap(see)(jnp.arange(len(agents)), Pose(row, col, state.agent_dir))
        row, col = np.indices((self.size, self.size)).reshape(2, -1)
        whole = [objects_at(self.size, state, row, col)[0]]
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
        """Returns bool [7], the action mask of agent `i`."""
        if not self.useful_only:
            return jnp.ones(NUM_ACTIONS, bool)
        front = front_of(self.size, state, agents, i)
        always = jnp.bool_(True)
        drops = front.empty & (state.carrier == i)
        enters, toggles = can_enter(front, state), can_toggle(front, state, i)
        return jnp.stack([always, always, enters, front.key, drops, toggles, always])

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns the subgoals key, door and goal, as the class describes them."""
        del params
        v, count = self.view_size, self.num_agents

        def table(columns: list[list[Array]]) -> Array:
            return jnp.stack([jnp.stack(column) for column in columns], axis=-1)

        def achieved(state: DoorKeyState) -> Array:
            row, col = jnp.unstack(state.goal_pos)
            agents = poses(state)
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

            agents, lies = poses(state), state.carrier < 0
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
        """Returns uint8 [height, width, 3]: agents as arrowheads; cells anyone sees are bright."""
        from marlx.envs.doorkey import picture  # imported here, since it loads Pillow

        return picture.draw(self.size, self.view_size, state, self.spec(params).horizon)

    def scene(self, params: EnvParams | None = None) -> Scene:
        """Returns the board; everything on it is in each frame."""
        del params
        facts = {"size": self.size, "agents": self.num_agents}
        return Scene("doorkey", facts, _frame, ACTIONS)

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
        """Returns the state of one (unbatched) episode from arrays or lists.

        Args:
          agent_pos: integers [N, 2], (row, column) of each agent.
          agent_dir: integers [N], 0 east, 1 south, 2 west, 3 north.
          wall_col: column of the wall between the rooms.
          door_row: row of its door.
          goal_pos: (row, column) of the goal.
          key_pos: (row, column) of the key; None while it is carried.
          carrier: the agent that carries the key; -1 for none.
          door: 0 open, 1 closed, 2 locked.
          step: steps since the episode began.

        Raises:
          ValueError: the state cannot occur; the message says why.
        """
        count = self.num_agents
        agents = integers("agent_pos", agent_pos, (count, 2))
        heading = integers("agent_dir", agent_dir, (count,))
        goal = integers("goal_pos", goal_pos, (2,))
        key = integers("key_pos", (-1, -1) if key_pos is None else key_pos, (2,))
        check_state(
            self.size, agents, heading, wall_col, door_row, goal, key_pos, carrier, door, step
        )
        if self.target == "goal" and (agents == goal).all():
            raise ValueError("every agent is on the goal, so the episode has ended")
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


def _distinct(draws: list[Array], count: Array) -> list[Array]:
    """Returns distinct uniform numbers below `count`, int32 [] each.

    Each draws a rank among the free numbers, which is then moved past the used ones.
    """
    numbers: list[Array] = []
    used: list[Array] = []  # ascending
    for i, draw in enumerate(draws):
        number = below(draw, jnp.maximum(count - i, 1))  # below 1 only where it is not used
        for other in used:
            number = number + (number >= other)
        numbers.append(number)
        for k, other in enumerate(used):
            used[k], number = jnp.minimum(other, number), jnp.maximum(other, number)
        used.append(number)
    return numbers


def _frame(state: DoorKeyState) -> dict[str, Array]:
    """Returns what a viewer draws of a state."""
    return {
        "agent_pos": state.agent_pos,
        "agent_dir": state.agent_dir,
        "wall_col": state.wall_col,
        "door_row": state.door_row,
        "door": state.door,
        "key_pos": state.key_pos,
        "carrier": state.carrier,
        "goal_pos": state.goal_pos,
    }
