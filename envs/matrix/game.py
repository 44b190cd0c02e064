"""The matrix game environment: states, rewards and optimum from payoff tables."""

from __future__ import annotations

import ast
import dataclasses
import functools
import reprlib
from typing import TYPE_CHECKING, Any, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.checks import at_least, one_of
from marlx.types import Array, EnvSpec, Observation, Scene

if TYPE_CHECKING:
    Table = Any  # nested lists or tuples, a numpy or jax array, or text such as "[[1, 0], [0, 1]]"
else:
    Table = str  # the type of the stored field, and of the setting on the command line

ObservationKind = Literal["none", "last_action", "stage"]
End = Literal["truncated", "terminated"]


@flax.struct.dataclass
class MatrixState(EnvState):
    """State of one episode."""

    stage: Array  # int32 [], which payoff table is played next; the last one at a true end
    played: Array  # int32 [], the stage in which `last_action` was taken
    last_action: Array  # int32 [N], -1 at reset


MOST_ENTRIES = 100_000
"""Most numbers in a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixGame(Environment[MatrixState, EnvParams]):
    """A matrix game: all agents act at once and a table gives their rewards; one or more stages.

    Tables may be nested lists or tuples, arrays, or text. They are stored as text, which can be
    hashed, compared, printed and typed on a command line.

    Attributes:
      payoff: reward of every agent for each joint action. Its shape is `[*A]`, one axis per agent
        of any length; `[N, *A]` with `per_agent`; with a leading `[K]` if `transition` is given.
        Must be set before the game is used.
      per_agent: whether each agent has its own table.
      transition: int `[K, *A]`, the stage that follows each joint action in each of `K` stages; -1
        terminates the episode. Episodes start in stage 0. None: one stage, which repeats.
      horizon: steps per episode.
      end_at_horizon: whether reaching `horizon` is a time limit (`truncated`: later rewards count,
        as in EPyMARL's repeated games) or a true end (`terminated`).
      observation: `none` is a zero vector of length N; `last_action` is the concatenated one-hots
        of the last actions (zeros at reset); `stage` is the one-hot of the stage. All agents see
        the same.
      name: the id in `spec`.

    Raises:
      ValueError: a table is ragged, not finite or of the wrong shape, or a setting is unknown.
    """

    payoff: Table = ""
    per_agent: bool = False
    transition: Table | None = None
    horizon: int = 25
    end_at_horizon: End = "truncated"
    observation: ObservationKind = "none"
    name: str = "matrix/custom"

    def __post_init__(self) -> None:
        at_least(self, horizon=1)
        one_of(self, end_at_horizon=get_args(End), observation=get_args(ObservationKind))
        if isinstance(self.payoff, str) and not self.payoff:
            return  # `matrix/custom` before it has a payoff; an error only when it is used
        for setting in ("payoff", "transition"):
            if getattr(self, setting) is not None:
                table = _read(setting, getattr(self, setting))
                object.__setattr__(self, setting, str(table.tolist()))
        self._check_shapes()

    def _check_shapes(self) -> None:
        """Checks that the shapes of payoff and transition fit together."""
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
            raise ValueError(f"transition has shape {table.shape}; it must be {expected}")
        if table.dtype.kind not in "iu" or table.min() < -1 or table.max() >= shape[0]:
            raise ValueError(f"transition must hold stages 0..{shape[0] - 1}, or -1 for the end")

    @functools.cached_property
    def _payoff(self) -> np.ndarray:
        """Rewards, f64 [K, *A, N]."""
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
        """Next stages, int32 [K, *A]; -1 for the end."""
        if self.transition is None:
            return np.zeros(self._payoff.shape[:-1], np.int32)
        return _read("transition", self.transition).astype(np.int32)

    def facts(self) -> dict[str, np.ndarray]:
        """Returns the tables: `payoff` f64 [K, *A, N] and `next` int32 [K, *A], -1 for the end."""
        return {"payoff": self._payoff, "next": self._next}

    @property
    def num_actions(self) -> tuple[int, ...]:
        """Number of actions of each agent."""
        return self._payoff.shape[1:-1]

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is exact, by dynamic programming over joint actions."""
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
            common_reward=bool((self._payoff == self._payoff[..., :1]).all()),
        )

    def _optimum(self, horizon: int) -> float:
        """Returns the highest sum of mean rewards in `horizon` steps."""
        team = self._payoff.mean(-1)
        if self.transition is None:
            return float(horizon * team.max())
        value = np.zeros(len(team))
        for _ in range(horizon):  # value[-1] of the padded vector is the end's: 0
            following = np.append(value, 0.0)[self._next]
            value = (team + following).reshape(len(team), -1).max(-1)
        return float(value[0])

    def reset_env(self, key: Array, params: EnvParams) -> MatrixState:
        """Returns the first state: stage 0. `key` is not used."""
        del key, params
        return self.make_state()

    def step_env(
        self, key: Array, state: MatrixState, action: Array, params: EnvParams
    ) -> tuple[MatrixState, Array, Array, dict[str, Any]]:
        """Plays one joint action; an action above an agent's own counts as its last one."""
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
        """Returns the same observation for every agent; see `observation`."""
        del params
        stages, num_agents = self._payoff.shape[0], self._payoff.shape[-1]
        one_hot = functools.partial(jax.nn.one_hot, dtype=jnp.float32)  # of 64 bits, if JAX is
        stage = one_hot(state.stage, stages)
        if self.observation == "none":
            seen = jnp.zeros(num_agents, jnp.float32)
        elif self.observation == "stage":
            seen = stage
        else:
            hots = [one_hot(state.last_action[i], n) for i, n in enumerate(self.num_actions)]
            seen = jnp.concatenate(hots)
        legal = np.arange(max(self.num_actions)) < np.array(self.num_actions)[:, None]
        return Observation(
            local=jnp.tile(seen, (num_agents, 1)),
            action_mask=jnp.asarray(legal),
            global_state=stage if stages > 1 else seen,
        )

    def render(self, state: MatrixState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: the payoff tables, the last joint action framed."""
        from marlx.envs.matrix import picture  # imported here, since it loads Pillow

        del params
        return picture.draw(
            picture.Scene(
                title=self.name.removeprefix("matrix/"),
                payoff=self._payoff,
                per_agent=self.per_agent,
                step=int(state.time),
                stage=int(state.stage),
                played=int(state.played),
                last_action=tuple(int(action) for action in state.last_action),
            )
        )

    def scene(self, params: EnvParams | None = None) -> Scene:
        """Returns the payoff tables; the stage and the last joint action are in each frame."""
        del params
        facts = {
            "payoff": self._payoff.tolist(),
            "next": self._next.tolist(),
            "per_agent": self.per_agent,
            "sizes": list(self.num_actions),
            "agents": self._payoff.shape[-1],
            "rules": {
                "observation": self.observation,
                "end": self.end_at_horizon,
                "horizon": self.horizon,
            },
        }

        def frame(state: MatrixState) -> dict[str, Array]:
            return {"stage": state.stage, "played": state.played, "last_action": state.last_action}

        return Scene("matrix", facts, frame)

    def make_state(
        self, step: int = 0, last_action: Any = None, stage: int = 0, played: int | None = None
    ) -> MatrixState:
        """Returns the state of one (unbatched) episode from numbers.

        Args:
          step: steps since reset.
          last_action: int [N]; None for none yet.
          stage: the table that is played next.
          played: the stage in which `last_action` was taken; None for `stage`.

        Raises:
          ValueError: an action or a stage does not exist.
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
    """Returns a table of numbers from text, lists or an array.

    Raises:
      ValueError: it is ragged or holds something other than finite numbers.
    """
    try:
        table = np.asarray(ast.literal_eval(value) if isinstance(value, str) else value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        table = np.asarray(None)
    if table.dtype.kind not in "iuf" or not table.size:
        raise ValueError(
            f"{setting} must be a table of numbers with rows of equal length, "
            f"e.g. [[1, 0], [0, 1]]; got {reprlib.repr(value)}"
        )
    if table.size > MOST_ENTRIES:
        raise ValueError(
            f"{setting} has {table.size:,} numbers; it must have at most {MOST_ENTRIES:,}"
        )
    if not (np.abs(table) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{setting} holds numbers that are not finite: {reprlib.repr(value)}")
    return table
