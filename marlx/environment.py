"""The environment contract: gymnax 1.0's for teams, with auto-reset and time limits.

An environment is written for **one** episode and without a batch axis, as three pure functions
(`reset_env`, `step_env`, `observe`). The rest follows from them:

* `Environment.reset` / `Environment.step`: gymnax 1.0's calls, unbatched, with auto-reset. Under
  `jax.vmap`, `step` pays for resets only where episodes ended.
* `marlx.vector_reset` / `marlx.vector_step`: the same for `B` environments with one key for all.

For speed on a CPU, write per-agent arithmetic as Python loops over agents (they unroll) and stack
at the end. Arrays whose last axis is 2 or 3 do not vectorise.
"""

from __future__ import annotations

import abc
import dataclasses
import html
from typing import Any, Generic, TypeVar

import flax.struct
import jax
import numpy as np

from marlx.types import Array, EnvSpec, Observation, Scene, Subgoals
from marlx.xla.auto_reset import Inputs, auto_reset_step


@flax.struct.dataclass
class EnvState:
    """Base of environment states; subclasses add their fields."""

    time: Array  # int32 [], steps since reset

    def _repr_html_(self) -> str:
        """Returns how a notebook shows it: a drawing of a single state, and its arrays."""
        plain = all(isinstance(x, np.ndarray | jax.Array) for x in jax.tree.leaves(self))
        known = plain and not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(self))
        drawing = self._drawing() if known and np.ndim(self.time) == 0 else ""
        rows = [_row(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)]
        return f"{drawing}<table>{''.join(rows)}</table>"

    def _drawing(self) -> str:
        """Returns an SVG of one state; empty for states that have no drawing."""
        return ""


def _row(name: str, value: Any) -> str:
    """Returns a row of the table of a state's fields: few numbers are listed, of more the shape."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1:
        shown = f"{len(leaves)} arrays"
    else:
        (x,) = leaves
        shape = f"{x.dtype}[{','.join(map(str, x.shape))}]"
        few = x.size <= 16 and not isinstance(x, jax.core.Tracer)
        shown = f"{np.asarray(x).tolist()} {shape}" if few else shape
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(shown)}</td></tr>"


@flax.struct.dataclass
class EnvParams:
    """Base of environment parameters, which may vary between calls; subclasses add fields."""

    max_steps_in_episode: int = 1


S = TypeVar("S", bound=EnvState)
P = TypeVar("P", bound=EnvParams)
Step = tuple[Observation, S, Array, Array, Array, dict[str, Any]]


class Environment(abc.ABC, Generic[S, P]):
    """Base of every environment: subclasses write five members and inherit the gymnax calls.

    Source: gymnax 1.0's environment contract. Differences: the observation is an `Observation` of
    all agents, so `info["final_observation"]` has the last action mask and global state too, and
    `reward` is f32 [N].
    """

    @property
    @abc.abstractmethod
    def default_params(self) -> P:
        """The parameters `reset` and `step` use when none are given."""

    @abc.abstractmethod
    def spec(self, params: P | None = None) -> EnvSpec:
        """Returns the static facts that learners may use."""

    @abc.abstractmethod
    def reset_env(self, key: Array, params: P) -> S:
        """Returns the first state of a fresh episode, sampled with `key`."""

    @abc.abstractmethod
    def step_env(
        self, key: Array, state: S, action: Array, params: P
    ) -> tuple[S, Array, Array, dict[str, Any]]:
        """Makes one step, without time limit or reset.

        Args:
          key: consumed; ignored where the environment is deterministic.
          state: of one episode.
          action: int32 [N], or f32 [N, A] where `EnvSpec.continuous`.
          params: the environment's parameters.

        Returns:
          The next state with `time` advanced by one, reward f32 [N], terminated bool [], and a
          dictionary of arrays for `info` (the same keys at every step).
        """

    @abc.abstractmethod
    def observe(self, state: S, params: P) -> Observation:
        """Returns the observation of `state`."""

    @property
    def unwrapped(self) -> Environment[Any, Any]:
        """The wrapped environment, which has the settings; itself where this is no wrapper."""
        return self

    def render(self, state: S, params: P | None = None) -> np.ndarray:
        """uint8 [height, width, 3], a picture of one (unbatched) state.

        Raises:
          ValueError: this environment has no picture.
        """
        raise ValueError(f"{type(self).__name__} draws no pictures: it has no `render` method")

    def scene(self, params: P | None = None) -> Scene | None:
        """Returns what a viewer draws; None: it shows the pictures of `render`."""
        del params
        return None

    def subgoals(self, params: P | None = None) -> Subgoals | None:
        """Returns the subgoals that this environment declares; None where it declares none."""
        del params
        return None

    def reset(self, key: Array, params: P | None = None) -> tuple[Observation, S]:
        """Returns the first observation and state of a fresh episode."""
        params = self.default_params if params is None else params
        state = self.reset_env(key, params)
        return self.observe(state, params), state

    def step(self, key: Array, state: S, action: Array, params: P | None = None) -> Step[S]:
        """Makes one step; an ended episode is replaced by a fresh one.

        Returns:
          obs and state (already of the next episode where this one ended), reward f32 [N],
          terminated and truncated bool [] (both may be True: then nothing of value follows), and
          info with `final_observation`, the observation after the step and before any reset. The
          structure is the same at every step.
        """
        params = self.default_params if params is None else params
        result: Step[S] = auto_reset_step(self, params, Inputs(key, state, action))
        return result


def require_environment(env: Any) -> None:
    """Raises ValueError, in one line, for an id or anything else in place of an environment."""
    if isinstance(env, Environment):
        return
    if isinstance(env, str):
        raise ValueError(f"env is an id; it must be an environment: marlx.make({env!r})[0]")
    raise ValueError(
        f"env is of type {type(env).__name__}; it must be an environment. marlx.make(ID) returns "
        "both the environment and its parameters"
    )
