"""The types every room of marlx agrees on: what an environment emits, what a rollout stores.

Axes are ``T`` time, ``B`` parallel environments, ``N`` agents, ``A`` actions, always in that
order. Agents are an array axis, never a dictionary of names.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax

Array = jax.Array
Tree = Any
"""Any pytree of arrays."""


class Observation(NamedTuple):
    """What an environment shows of one state."""

    local: Array  # f32 [N, O], what each agent sees
    action_mask: Array  # bool [N, A], True where the action is legal; never all False
    global_state: Array  # f32 [S], for centralised training


class Transition(NamedTuple):
    """One environment step as the rollout records it; leading axes ``[T, B]``."""

    obs: Observation  # what was acted on
    action: Array  # int32 [N]
    reward: Array  # f32 [N], per agent
    terminated: Array  # bool [], a true end: nothing of value follows
    truncated: Array  # bool [], a time limit: what follows has value, see `next_obs`
    next_obs: Observation  # after the step and *before* any reset
    memory: Tree  # the acting memory that `action` was chosen with
    extras: Tree  # what the learner's `act` added

    @property
    def done(self) -> Array:
        """Bool [], the episode ended at this step, for either reason."""
        return self.terminated | self.truncated


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """Static facts about an environment, all that a learner may know of it.

    Attributes:
      id: the name it was made by.
      num_agents: N.
      num_actions: A, the widest agent's; narrower agents have the rest masked.
      obs_size: O, likewise.
      state_size: S.
      horizon: steps after which an episode is truncated.
      reward_aggregation: how the agents' rewards make the team's: `sum` where agents earn shares
        of it (foraging), `mean` where each is paid the common reward (matrix games).
      groups: named tuples of agent indices that share roles; they partition the agents.
      storage: dtype that holds `local` and `global_state` without loss in a replay.
      scale: largest magnitude to expect in `local` and `global_state`; learners divide by it, so
        that their networks read numbers of order one.
      optimum: best possible team return per episode, where it is known.
    """

    id: str
    num_agents: int
    num_actions: int
    obs_size: int
    state_size: int
    horizon: int
    reward_aggregation: Literal["sum", "mean"] = "sum"
    groups: tuple[tuple[str, tuple[int, ...]], ...] = ()
    storage: Literal["float32", "int8", "int16"] = "float32"
    scale: float = 1.0
    optimum: float | None = None

    def __post_init__(self) -> None:
        groups = self.groups or (("agents", tuple(range(self.num_agents))),)
        object.__setattr__(self, "groups", groups)
        members = sorted(i for _, group in groups for i in group)
        if members != list(range(self.num_agents)):
            raise ValueError(
                f"groups {groups} must name each of the {self.num_agents} agents exactly once"
            )

    def team_reward(self, reward: Array) -> Array:
        """f32 [...], the team's reward from the agents' rewards f32 [..., N]."""
        return reward.sum(-1) if self.reward_aggregation == "sum" else reward.mean(-1)
