"""Sources of subgoals: declared by the environment, or learned (`regions.py`).

A source gives a `Layout` of subgoals for parameters that change while a run learns; declared
subgoals have no parameters. A detector of changes (`novelty.py`) has the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from marlx.types import Array, EnvSpec, Observation, Tree


class Layout(Protocol):
    """Subgoals as the two levels know them; `marlx.types.SubgoalLayout` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the G subgoals."""

    @property
    def obs_size(self) -> int:
        """Width of `plain(obs).local`."""

    @property
    def state_size(self) -> int:
        """Width of `plain(obs).global_state`."""

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """Number of subgoals before each in the task tree, int [G]."""

    def plain(self, obs: Observation) -> Observation:
        """Returns the observation of the environment itself, without subgoals."""

    def achieved(self, obs: Observation) -> Array:
        """Returns the subgoals that each agent has achieved, bool [..., N, G]; reads `local`."""

    def available(self, obs: Observation) -> Array:
        """Returns the subgoals that can be achieved now, bool [..., N, G]; may read the state."""

    def choices(self, obs: Observation) -> Array:
        """Returns the subgoals that each agent can choose, bool [..., N, G]; reads `local`.

        Never all False.
        """


class Source(NamedTuple):
    """A source of subgoals, or a detector of changes.

    Attributes:
      init: `(key) -> state`.
      policy: `(state) -> params`, the part of the state that acting needs.
      bind: `(params) -> Layout`; of a detector, a function `(obs) -> bool [..., N]`, or None.
      learn: `(state, local f32 [..., O]) -> state, metrics`, learn from a rollout's observations.
      changed: `(before, after) -> bool [G]`, of two states, the subgoals that mean something else
        in the second. None: none ever does.
    """

    init: Callable[[Array], Tree]
    policy: Callable[[Tree], Tree]
    bind: Callable[[Tree], Any]
    learn: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]
    changed: Callable[[Tree, Tree], Array] | None = None


def constant_source(bound: Any) -> Source:
    """Returns a source without parameters, which always gives `bound`."""
    return Source(
        init=lambda key: (),
        policy=lambda state: (),
        bind=lambda params: bound,
        learn=lambda state, local: (state, {}),
    )


def declared_subgoals(spec: EnvSpec) -> Source:
    """Returns the source of the subgoals that the environment declares.

    Raises:
      ValueError: `spec` has none.
    """
    if spec.subgoals is None:
        raise ValueError(
            f"{spec.id} declares no subgoals: choose an environment that does (and take the spec "
            f"of marlx.with_subgoals(env)), or set subgoals to 'learned'"
        )
    return constant_source(spec.subgoals)
