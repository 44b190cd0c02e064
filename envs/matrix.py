"""Matrix games: known payoffs, known optima, one table look-up per step.

The smallest tasks in which learners of teams differ: miscoordination that costs (climbing,
penalty), values that do not add up (two-step, 8/-12), interests that conflict (the ordinal games).

Source: github.com/uoe-agents/matrix-games as EPyMARL runs it, for everything that it registers;
`_GAMES` names the source of the rest. Differs from: that package, where `nonconflict-19` has two 0s
for the rank 1 (here 1), `twostep-2p` crashes and `-laststate` observations change their shape
after reset (here `observation="last_action"`); EPyMARL's returns are sums over agents, ours are
means, the unit of the benchmark of Papoudakis et al. 2021.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import re
import reprlib
from typing import TYPE_CHECKING, Any, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.registry import Family
from marlx.types import Array, EnvSpec, Observation

if TYPE_CHECKING:
    import PIL.Image

    Table = Any  # nested lists or tuples, a numpy or jax array, or text such as "[[1, 0], [0, 1]]"
else:
    Table = str  # what the field holds, and what the command line takes

Shown = Literal["none", "last_action", "stage"]
End = Literal["truncated", "terminated"]


@flax.struct.dataclass
class MatrixState(EnvState):
    """Where a game stands."""

    stage: Array  # int32 [], which payoff table is played next; the last one at a true end
    played: Array  # int32 [], the stage in which `last_action` was taken
    last_action: Array  # int32 [N], -1 at reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixGame(Environment[MatrixState, EnvParams]):
    """All agents choose at once, a table says what each is paid; repeated, or in several stages.

    Tables may be nested lists or tuples, arrays, or text; they are kept as text, which can be
    hashed, compared, printed and typed on a command line.

    Attributes:
      payoff: shape `[*A]`, the reward of every agent for each joint action, with one axis per agent
        (of any length each); `[N, *A]` where `per_agent`; with a leading `[K]` where `transition`
        is given. Must be set before the game is used.
      per_agent: whether each agent has its own table.
      transition: int `[K, *A]`, the stage that follows each joint action in each of `K` stages, -1
        for the episode's true end. Episodes start in stage 0. None: one stage, forever.
      horizon: steps per episode.
      end_at_horizon: whether reaching `horizon` is a time limit (`truncated`: what would follow has
        value, as in EPyMARL's repeated games) or a true end (`terminated`).
      observation: `none` is a constant zero vector of length N, `last_action` the concatenated
        one-hots of what each agent did in the last step (zeros at reset), `stage` the one-hot of
        the stage. All agents see the same.
      name: the id that `spec` tells.

    Raises:
      ValueError: a table is ragged, not finite or of the wrong shape, or a setting is unknown.
    """

    payoff: Table = ""
    per_agent: bool = False
    transition: Table | None = None
    horizon: int = 25
    end_at_horizon: End = "truncated"
    observation: Shown = "none"
    name: str = "matrix/custom"

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; an episode has at least 1 step")
        for setting, known in (("end_at_horizon", End), ("observation", Shown)):
            if getattr(self, setting) not in get_args(known):
                raise ValueError(
                    f"{setting} is {getattr(self, setting)!r}; it must be one of {get_args(known)}"
                )
        if isinstance(self.payoff, str) and not self.payoff:
            return  # `matrix/custom` before its settings; using it is an error
        for setting in ("payoff", "transition"):
            if getattr(self, setting) is not None:
                table = _read(setting, getattr(self, setting))
                object.__setattr__(self, setting, str(table.tolist()))
        self._check_shapes()

    def _check_shapes(self) -> None:
        shape = _read("payoff", self.payoff).shape
        stages = "[K]" if self.transition is not None else ""
        axes = shape[1:] if stages else shape
        if self.per_agent and (len(axes) < 2 or len(axes) != axes[0] + 1):
            raise ValueError(
                f"payoff has shape {shape}; with per_agent it must be {stages}[N, A_1, ..., A_N], "
                "one table for each of the N agents"
            )
        if not axes:
            raise ValueError(f"payoff has shape {shape}; it must be {stages}[A_1, ..., A_N]")
        if self.transition is None:
            return
        table = _read("transition", self.transition)
        expected = shape[:1] + (axes[1:] if self.per_agent else axes)
        if table.shape != expected:
            raise ValueError(f"transition has shape {table.shape}; payoff's asks for {expected}")
        if table.dtype.kind not in "iu" or table.min() < -1 or table.max() >= shape[0]:
            raise ValueError(f"transition must hold stages 0..{shape[0] - 1}, or -1 for the end")

    @functools.cached_property
    def _payoff(self) -> np.ndarray:
        """f64 [K, *A, N]."""
        if not self.payoff:
            raise ValueError(f"{self.name} has no payoff; give one, e.g. payoff=[[1, 0], [0, 1]]")
        table = _read("payoff", self.payoff).astype(np.float64)
        table = table if self.transition is not None else table[None]
        if self.per_agent:
            return np.moveaxis(table, 1, -1)
        num_agents = table.ndim - 1
        return np.repeat(table[..., None], num_agents, axis=-1)

    @functools.cached_property
    def _next(self) -> np.ndarray:
        """int32 [K, *A], -1 for the end."""
        if self.transition is None:
            return np.zeros(self._payoff.shape[:-1], np.int32)
        return _read("transition", self.transition).astype(np.int32)

    @property
    def num_actions(self) -> tuple[int, ...]:
        """How many actions each agent has."""
        return self._payoff.shape[1:-1]

    @property
    def default_params(self) -> EnvParams:
        """The setting's horizon."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Static facts; `optimum` is exact, found by trying every joint action in every stage."""
        horizon = int((self.default_params if params is None else params).max_steps_in_episode)
        forever = self.end_at_horizon == "truncated"
        stages, num_agents = self._payoff.shape[0], self._payoff.shape[-1]
        sizes = {"none": num_agents, "last_action": sum(self.num_actions), "stage": stages}
        return EnvSpec(
            id=self.name,
            num_agents=num_agents,
            num_actions=max(self.num_actions),
            obs_size=sizes[self.observation],
            state_size=stages if stages > 1 else sizes[self.observation],
            horizon=horizon,
            reward_aggregation="mean",
            storage="int8",
            optimum=self._optimum(horizon if forever else min(horizon, self.horizon)),
        )

    def _optimum(self, horizon: int) -> float:
        team = self._payoff.mean(-1)
        if self.transition is None:
            return float(horizon * team.max())
        value = np.zeros(len(team))
        for _ in range(horizon):  # value[-1] of the padded vector is the end's: 0
            following = np.append(value, 0.0)[self._next]
            value = (team + following).reshape(len(team), -1).max(-1)
        return float(value[0])

    def reset_env(self, key: Array, params: EnvParams) -> MatrixState:
        """Stage 0; nothing is random."""
        del key, params
        return self.make_state()

    def step_env(
        self, key: Array, state: MatrixState, action: Array, params: EnvParams
    ) -> tuple[MatrixState, Array, Array, dict[str, Any]]:
        """One joint action; an action beyond an agent's own is read as its last."""
        del key, params
        chosen = [jnp.clip(action[i], 0, size - 1) for i, size in enumerate(self.num_actions)]
        cell = (state.stage, *chosen)
        reward = jnp.asarray(self._payoff, jnp.float32)[cell]
        following = jnp.asarray(self._next)[cell]
        time = state.time + 1
        terminated = following < 0
        if self.end_at_horizon == "terminated":
            terminated = terminated | (time >= self.horizon)
        state = MatrixState(
            time=time,
            stage=jnp.where(following < 0, state.stage, following),
            played=state.stage,
            last_action=jnp.stack(chosen).astype(jnp.int32),
        )
        return state, reward, terminated, {}

    def observe(self, state: MatrixState, params: EnvParams) -> Observation:
        """The same for every agent; see `observation`."""
        del params
        stages, num_agents = self._payoff.shape[0], self._payoff.shape[-1]
        stage = jax.nn.one_hot(state.stage, stages)
        if self.observation == "none":
            seen = jnp.zeros(num_agents)
        elif self.observation == "stage":
            seen = stage
        else:
            hots = [jax.nn.one_hot(state.last_action[i], n) for i, n in enumerate(self.num_actions)]
            seen = jnp.concatenate(hots)
        legal = np.arange(max(self.num_actions)) < np.array(self.num_actions)[:, None]
        return Observation(
            local=jnp.tile(seen, (num_agents, 1)),
            action_mask=jnp.asarray(legal),
            global_state=stage if stages > 1 else seen,
        )

    def render(self, state: MatrixState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: the payoff tables, the last joint action framed.

        One table for each stage and each choice of all agents but the last two, whose actions are
        its rows and columns. Cells are coloured by the team's reward. Stages not in play are grey.
        """
        stages, *sizes, num_agents = self._payoff.shape
        *before, rows, columns = sizes if num_agents > 1 else (1, *sizes)
        pay = self._payoff.reshape(stages, *before, rows, columns, num_agents)
        colors = _colors(pay.mean(-1))
        last = tuple(int(action) for action in state.last_action)
        framed = np.zeros(self._payoff.shape[:-1], bool)
        framed[(int(state.played), *last)] = last[0] >= 0
        framed = framed.reshape(pay.shape[:-1])

        tables = []
        for where in np.ndindex(stages, *before):
            title = [f"stage {where[0]}"] * (stages > 1)
            title += [f"agent {i} plays {action}" for i, action in enumerate(where[1:])]
            words = [
                [
                    ", ".join(f"{x:g}" for x in (cell if self.per_agent else cell[:1]))
                    for cell in row
                ]
                for row in pay[where]
            ]
            tables.append(
                _draw_table(
                    ", ".join(title) or self.name.removeprefix("matrix/"),
                    words,
                    colors[where],
                    framed[where],
                    "black" if where[0] == int(state.stage) else "#8a8a92",
                )
            )
        did = ", ".join(map(str, last)) if last[0] >= 0 else "none yet"
        axes = f"rows: agent {num_agents - 2}, columns: agent {num_agents - 1}"
        footer = [axes] * (num_agents > 1) + [f"step {int(state.time)}, last actions: {did}"]
        return _arrange(tables, len(tables) // stages if before else stages, footer)

    def make_state(
        self, step: int = 0, last_action: Any = None, stage: int = 0, played: int | None = None
    ) -> MatrixState:
        """A state from plain numbers.

        Args:
          step: steps since reset.
          last_action: int [N]; None for none yet.
          stage: which table is played next.
          played: the stage in which `last_action` was taken; None for `stage`.
        """
        stages, num_agents = self._payoff.shape[0], self._payoff.shape[-1]
        action = np.full(num_agents, -1) if last_action is None else np.asarray(last_action)
        played = stage if played is None else played
        if action.shape != (num_agents,):
            raise ValueError(f"last_action has shape {action.shape}; there are {num_agents} agents")
        if last_action is not None and not all(
            0 <= a < size for a, size in zip(action, self.num_actions, strict=True)
        ):
            raise ValueError(
                f"last_action is {last_action}; agents have {self.num_actions} actions"
            )
        if not (0 <= stage < stages and 0 <= played < stages):
            raise ValueError(f"stage {stage} or played {played} is not in 0..{stages - 1}")
        return MatrixState(
            time=jnp.int32(step),
            stage=jnp.int32(stage),
            played=jnp.int32(played),
            last_action=jnp.asarray(action, jnp.int32),
        )


def _read(setting: str, value: Any) -> np.ndarray:
    """A table of finite numbers from whatever the user gave."""
    try:
        table = np.asarray(ast.literal_eval(value) if isinstance(value, str) else value)
    except (ValueError, SyntaxError, TypeError):
        table = np.asarray(None)
    if table.dtype.kind not in "iuf" or not table.size:
        raise ValueError(
            f"{setting} must be a table of numbers with rows of equal length, "
            f"e.g. [[1, 0], [0, 1]]; got {reprlib.repr(value)}"
        )
    if not (np.abs(table) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{setting} holds numbers that are not finite: {reprlib.repr(value)}")
    return table


def _colors(reward: np.ndarray) -> np.ndarray:
    """Int [..., 3]: white for 0, greener the more is gained, redder the more is lost."""
    most, least = max(float(reward.max()), 1e-9), min(float(reward.min()), -1e-9)
    amount = np.where(reward > 0, reward / most, reward / least)[..., None]
    full = np.where(reward[..., None] > 0, (116, 196, 150), (238, 140, 128))
    return np.asarray(250 + amount * (full - 250)).astype(int)


def _draw_table(
    title: str, words: list[list[str]], colors: np.ndarray, framed: np.ndarray, ink: str
) -> PIL.Image.Image:
    """One payoff table: `words` in cells of `colors` [rows, columns, 3], some of them `framed`."""
    from PIL import Image, ImageDraw, ImageFont  # here, since few who import this module draw

    small, large = ImageFont.load_default(14), ImageFont.load_default(18)
    rows, columns = framed.shape
    high, wide = (
        44,
        max(56, 24 + round(max(large.getlength(word) for row in words for word in row))),
    )
    width = 64 + max(columns * wide, round(large.getlength(title)))
    image = Image.new("RGB", (width, 56 + rows * high), "white")
    draw = ImageDraw.Draw(image)
    left, top = (width - columns * wide) / 2, 54.0
    draw.text((width / 2, 18), title, ink, large, "mm")
    for j in range(columns):
        draw.text((left + (j + 0.5) * wide, top - 11), f"{j}", "#6b6b6b", small, "mm")
    for i in range(rows):
        draw.text((left - 13, top + (i + 0.5) * high), f"{i}", "#6b6b6b", small, "mm")
    for i, j in np.ndindex(rows, columns):
        x, y = left + j * wide, top + i * high
        frame, line = ("#1c1c24", 4) if framed[i, j] else ("#d0d0d6", 1)
        draw.rectangle((x, y, x + wide - 3, y + high - 3), tuple(colors[i, j]), frame, line)
        draw.text((x + wide / 2 - 1, y + high / 2 - 1), words[i][j], ink, large, "mm")
    return image


def _arrange(tables: list[PIL.Image.Image], across: int, footer: list[str]) -> np.ndarray:
    """uint8 [height, width, 3]: tables in rows of at most `across` or 6, text below."""
    from PIL import Image, ImageDraw, ImageFont

    across = min(across, 6)
    wide, high = max(table.width for table in tables), tables[0].height
    down = -(-len(tables) // across)
    size = (max(across * wide, 260), down * high + 20 * len(footer) + 16)
    image = Image.new("RGB", size, "white")
    for place, table in enumerate(tables):
        x = (size[0] - across * wide) // 2 + place % across * wide + (wide - table.width) // 2
        image.paste(table, (x, place // across * high))
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(footer):
        at = (size[0] / 2, down * high + 18 + 20 * line)
        draw.text(at, text, "#4a4a50", ImageFont.load_default(14), "mm")
    return np.asarray(image)


_CLIMBING_3P = [
    [[11, -30, 0], [-30, 0, 0], [0, 0, 0]],
    [[-30, 0, 0], [0, 7, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 6, 5]],
]
_QTRAN = [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]]
_QPLEX_HARD = [[8, -12, -12], [-12, 6, 0], [-12, 0, 6]]
_TWO_STEP = [[[0, 0], [0, 0]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]]
_TWO_STEP_NEXT = [[[1, 1], [2, 2]], [[-1, -1], [-1, -1]], [[-1, -1], [-1, -1]]]
_ONE_STEP = {"horizon": 1, "end_at_horizon": "terminated"}

_ADDITIVE = [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
_CLIMBING = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
_ADDITIVE_AGAIN = [[4, 3, 2], [3, 2, 1], [2, 1, 0]]


def _in_turn(*tables: list[list[int]]) -> dict[str, Any]:
    """Each game is played once, in this order, whatever is done; then the episode ends."""
    last = len(tables) - 1
    following = [np.full_like(table, i + 1 if i < last else -1) for i, table in enumerate(tables)]
    return {
        "payoff": list(tables),
        "transition": [table.tolist() for table in following],
        "horizon": len(tables),
        "end_at_horizon": "terminated",
        "observation": "stage",
    }


_GAMES: dict[str, dict[str, Any]] = {
    # uoe-agents/matrix-games: every agent is paid the entry. Climbing is Claus & Boutilier 1998's.
    "climbing": {"payoff": _CLIMBING},
    "climbing-3p": {"payoff": _CLIMBING_3P},
    "trivial": {"payoff": [[11, 8, 0], [8, 7, 0], [0, 0, 0]]},
    "linear": {"payoff": [[1, 4, 2], [0, 3, 1], [2, 5, 3]]},
    "nonlinear": {"payoff": [[0, 3, 1], [0, 0, 0], [0, 6, 2]]},
    "linear-2p": {"payoff": [[1, 5], [5, 9]]},
    "nonlinear-2p": {"payoff": [[0, 0], [0, 10]]},
    "pdilemma": {"payoff": [[-1, -3], [-3, -2]]},
    # Rashid et al. 2018, section 5: agent 0 picks the second step's table. VDN gets 7 of 8.
    "two_step": {
        "payoff": _TWO_STEP,
        "transition": _TWO_STEP_NEXT,
        "horizon": 2,
        "end_at_horizon": "terminated",
        "observation": "stage",
    },
    # Son et al. 2019 (QTRAN), table 1; also in QPLEX and Weighted QMIX.
    "qtran": {"payoff": _QTRAN, **_ONE_STEP},
    # Wang et al. 2021 (QPLEX), harder variant; from memory, not checked against the paper.
    "qplex-hard": {"payoff": _QPLEX_HARD, **_ONE_STEP},
    # Ours: only in the second and the fourth stage is coordination hard, for IQL and for QMIX.
    "stages": _in_turn(_ADDITIVE, _CLIMBING, _ADDITIVE_AGAIN, _QTRAN),
    # Textbook games, one table per agent.
    "prisoners_dilemma": {"payoff": [[[-1, -3], [0, -2]], [[-1, 0], [-3, -2]]], "per_agent": True},
    "stag_hunt": {"payoff": [[[4, 1], [3, 2]], [[4, 3], [1, 2]]], "per_agent": True},
    "battle_of_the_sexes": {"payoff": [[[3, 0], [0, 2]], [[2, 0], [0, 3]]], "per_agent": True},
    "matching_pennies": {"payoff": [[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]], "per_agent": True},
    "rock_paper_scissors": {
        "payoff": [[[0, -1, 1], [1, 0, -1], [-1, 1, 0]], [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]],
        "per_agent": True,
    },
}

# The 78 strictly ordinal 2x2 games that differ by more than the order of rows, columns and players
# (Rapoport & Guyer 1966), in the order of uoe-agents/matrix-games. Each is written as the pairs
# (agent 0's, agent 1's) of the cells 00, 01, 10, 11.
_NONCONFLICT = """
44332211 44331221 44322311 44321321 44311322 44233211 44332112 44331122 44322113
44321123 44233112 44223113 44312213 44311223 44213213 44231132 44221133 44211233
44133122 44123123 44122133
""".split()
_CONFLICT = """
33422411 33421421 33411422 23421431 23411432 22411433 34422311 34421321 34412312
34411322 24421331 24411332 34431221 34432211 24431231 34221341 34211342 34122341
34112342 24321341 24311342 34231241 34132241 24331241 34412213 34411223 33412214
33411224 24411233 32412314 32411324 23411234 22411334 34432112 34431122 34422113
34421123 33422114 33421124 24431132 24421133 23421134 34211243 24311243 33244211
23344211 22344311 22433411 34214213 33214214 32214314 24413213 24314213 23413214
23314214 22413314 22314314
""".split()
_ORDINAL = {
    **{f"nonconflict-{i}": cells for i, cells in enumerate(_NONCONFLICT, 1)},
    **{f"conflict-{i}": cells for i, cells in enumerate(_CONFLICT, 1)},
}


def _settings(game: str) -> dict[str, Any]:
    """What `MatrixGame` needs to be the named game."""
    if game in _GAMES:
        return _GAMES[game]
    if game in _ORDINAL:
        cells = np.array([int(rank) for rank in _ORDINAL[game]]).reshape(2, 2, 2)
        return {"payoff": np.moveaxis(cells, -1, 0), "per_agent": True}
    if game == "custom":
        return {}
    if match := re.fullmatch(r"penalty-(\d+(?:\.\d+)?)", game):
        penalty = 0 - float(match[1])  # not -0.0 for k = 0
        return {"payoff": [[penalty, 0, 10], [0, 2, 0], [10, 0, penalty]]}
    if match := re.fullmatch(r"chain-([1-9]\d?)", game):  # ours
        return _in_turn(*[_ADDITIVE] * int(match[1]), _CLIMBING)
    if match := re.fullmatch(r"coordination(?:-([1-9]\d*))?(-graded)?", game):
        size = int(match[1] or 2)
        return {"payoff": np.diag(np.arange(1, size + 1) if match[2] else np.ones(size, int))}
    known = [name.removeprefix("matrix/") for name in (*FAMILY.examples, *_GAMES, *_ORDINAL)]
    near = difflib.get_close_matches(game, dict.fromkeys(known)) or known[:5]
    names = ", ".join(f"matrix/{name}" for name in near)
    raise ValueError(f"unknown matrix game matrix/{game}; nearest: {names}")


def make(name: str) -> MatrixGame:
    """The game of an id, e.g. `matrix/penalty-25`; see `FAMILY.usage`."""
    return MatrixGame(name=name, **_settings(name.removeprefix("matrix/")))


FAMILY = Family(
    name="matrix",
    pattern=r"matrix/.+",
    usage=(
        "matrix/{game}: "
        + ", ".join(_GAMES)
        + ", chain-{k}, penalty-{k}, coordination[-{actions}][-graded], nonconflict-{1..21}, "
        "conflict-{1..57}, custom (with payoff)"
    ),
    examples=(
        *(f"matrix/{game}" for game in _GAMES),
        *(f"matrix/penalty-{k}" for k in (0, 25, 50, 75, 100)),
        "matrix/chain-4",
        "matrix/coordination-3",
        "matrix/coordination-3-graded",
        "matrix/nonconflict-1",
        "matrix/conflict-1",
        "matrix/custom",
    ),
    make=make,
)
