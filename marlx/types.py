"""Types that all of marlx shares: observations, transitions, facts about an environment.

Axes are ``T`` time, ``B`` parallel environments, ``N`` agents, ``A`` actions, always in that
order. Agents are an array axis, never a dictionary of names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Array = jax.Array
Tree = Any
"""Any pytree of arrays."""


class Observation(NamedTuple):
    """What an environment shows of one state."""

    local: Array  # f32 [N, O], what each agent sees; 0 beyond the agent's own width
    action_mask: Array  # bool [N, A], True where the action is legal; never all False.
    # Continuous actions: True for the components that the agent has.
    global_state: Array  # f32 [S], for centralised training


class Credit(NamedTuple):
    """How a step counts for each agent, where a composite learner says other than the environment.

    Agents that share one value, a team's, share the step too: it counts as much as for the agent
    for whom it counts most, ends where it ends for any, and is held while all of them hold.
    """

    weight: Array  # f32 [N], factor of the step's part in losses
    terminated: Array  # bool [N], nothing of value follows
    ended: Array  # bool [N], returns are not run across what follows, as at an episode's end
    held: Array  # bool [N], the choice made here or before goes on: the return runs through


class Transition(NamedTuple):
    """One environment step as the rollout records it; leading axes ``[T, B]``."""

    obs: Observation  # what was acted on
    action: Array  # int32 [N], or f32 [N, A] where `EnvSpec.continuous`
    reward: Array  # f32 [N], per agent
    terminated: Array  # bool [], a true end: nothing of value follows
    truncated: Array  # bool [], a time limit: what follows has value, see `next_obs`
    next_obs: Observation  # after the step and *before* any reset
    memory: Tree  # the acting memory that `action` was chosen with
    extras: Tree  # what the learner's `act` added
    # What a composite learner tells its parts; None where it has nothing to tell.
    weight: Array | None = None  # f32 [], how much is to be learned from the step: work is in
    # proportion to it, and where it is 0 none is done. None: every step counts alike
    credit: Credit | None = None  # None: the episode's ends are everyone's, and every step counts

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
      obs_size: O, likewise; narrower agents have the rest zero.
      state_size: S.
      horizon: steps after which an episode is truncated.
      reward_aggregation: how the agents' rewards make the team's: `sum` where agents earn shares
        of it (foraging), `mean` where each is paid the common reward (matrix games).
      groups: named tuples of agent indices that share roles; they partition the agents. Agents of
        a group have the same `obs_sizes` and `action_sizes`.
      obs_sizes: each agent's own width of observation; what lies beyond is padding.
      action_sizes: each agent's own number of actions; those beyond are never legal.
      continuous: actions are f32 [N, A] with components in [0, 1] instead of an index.
      storage: dtype that holds `local` and `global_state` without loss in a replay.
      scale: largest magnitude to expect in `local` and `global_state`; learners divide by it, so
        that their networks read numbers of order one.
      state_parts: `(name, width)` of the stretches that `global_state` is made of, in their order,
        where the environment tells; empty otherwise.
      optimum: best possible team return per episode, where it is known.
      subgoals: those that observations tell of, see `marlx.subgoals.with_subgoals`; or None.
    """

    id: str
    num_agents: int
    num_actions: int
    obs_size: int
    state_size: int
    horizon: int
    reward_aggregation: Literal["sum", "mean"] = "sum"
    groups: tuple[tuple[str, tuple[int, ...]], ...] = ()
    obs_sizes: tuple[int, ...] = ()
    action_sizes: tuple[int, ...] = ()
    continuous: bool = False
    storage: Literal["float32", "int8", "int16"] = "float32"
    scale: float = 1.0
    state_parts: tuple[tuple[str, int], ...] = ()
    optimum: float | None = None
    subgoals: SubgoalLayout | None = None

    def __post_init__(self) -> None:
        groups = self.groups or (("agents", tuple(range(self.num_agents))),)
        object.__setattr__(self, "groups", groups)
        members = sorted(i for _, group in groups for i in group)
        if members != list(range(self.num_agents)):
            raise ValueError(
                f"groups {groups} must name each of the {self.num_agents} agents exactly once"
            )
        for name, widest in (("obs_sizes", self.obs_size), ("action_sizes", self.num_actions)):
            sizes = getattr(self, name) or (widest,) * self.num_agents
            object.__setattr__(self, name, sizes)
            if len(sizes) != self.num_agents or max(sizes) != widest or min(sizes) < 0:
                raise ValueError(
                    f"{name} is {sizes}; it must give each of the {self.num_agents} agents a width "
                    f"of at most {widest}, the widest agent's"
                )
            for group, agents in groups:
                if len({sizes[i] for i in agents}) > 1:
                    raise ValueError(f"{name} differ within the group {group!r}: {sizes}")
        told = sum(width for _, width in self.state_parts)
        if self.state_parts and told != self.state_size:
            raise ValueError(f"state_parts hold {told} numbers; state_size is {self.state_size}")

    def state_part(self, name: str) -> slice:
        """Where in `global_state` the part called `name` is.

        Raises:
          ValueError: this environment tells of no such part.
        """
        names = [part for part, _ in self.state_parts]
        if name not in names:
            raise ValueError(f"the global state of {self.id} has no part {name!r}")
        before = names.index(name)
        first = sum(width for _, width in self.state_parts[:before])
        return slice(first, first + self.state_parts[before][1])

    def team_reward(self, reward: Array) -> Array:
        """f32 [...], the team's reward from the agents' rewards f32 [..., N]."""
        return reward.sum(-1) if self.reward_aggregation == "sum" else reward.mean(-1)


class Subgoals(NamedTuple):
    """The intermediate aims that an environment declares, for agents that plan over them.

    A subgoal is a number in `range(G)` with one meaning for each agent; where agents see different
    parts of the world (the third food *in my sight*) it may mean different things to two agents.

    Attributes:
      names: of the G subgoals, for people.
      requires: for each subgoal the indices of those that have to be achieved before it: the task
        tree. Leaves of the tree require nothing.
      achieved: `(state) -> bool [N, G]`, whether the agent stands where the subgoal wanted it.
      available: `(state) -> bool [N, G]`, whether the subgoal can be pursued now, by one who knows
        the whole state.
      choices: `(local f32 [N, O]) -> bool [N, G]`, what each agent may choose from, computed from
        nothing but what it observes: this is the mask to use when acting. Never all False.
    """

    names: tuple[str, ...]
    requires: tuple[tuple[int, ...], ...]
    achieved: Callable[[Any], Array]
    available: Callable[[Any], Array]
    choices: Callable[[Array], Array]


class SubgoalLayout(NamedTuple):
    """What a learner may know of the subgoals of an environment.

    `local` is what the environment shows, then G numbers for each agent: 1 where it has achieved
    the subgoal, which is how an agent learns that the one it pursues is over. `global_state` is the
    environment's, then N G numbers, agent by agent: 1 where the subgoal is available. They are for
    training and for scripted bounds only, as all of it is.

    Attributes:
      names: of the G subgoals.
      requires: for each the indices of those that come before it, the task tree.
      choose: `(local f32 [N, O]) -> bool [N, G]`, see `marlx.types.Subgoals.choices`.
      obs_size: O, width of `local` without the bits.
      state_size: S, width of `global_state` without the bits.
    """

    names: tuple[str, ...]
    requires: tuple[tuple[int, ...], ...]
    choose: Callable[[Array], Array]
    obs_size: int
    state_size: int

    def plain(self, obs: Observation) -> Observation:
        """What the environment itself shows [..., N, O] and [..., S]."""
        return obs._replace(
            local=obs.local[..., : self.obs_size],
            global_state=obs.global_state[..., : self.state_size],
        )

    def achieved(self, obs: Observation) -> Array:
        """Bool [..., N, G]."""
        return obs.local[..., self.obs_size :] > 0

    def available(self, obs: Observation) -> Array:
        """Bool [..., N, G]."""
        bits = obs.global_state[..., self.state_size :] > 0
        return bits.reshape(*bits.shape[:-1], -1, len(self.names))

    def choices(self, obs: Observation) -> Array:
        """Bool [..., N, G], what each agent may choose from, told from what it sees."""
        choose = self.choose
        for _ in range(obs.local.ndim - 2):
            choose = jax.vmap(choose)
        return choose(obs.local[..., : self.obs_size])

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """int [G], how many subgoals of the task tree lie before each; trees have no cycles."""

        def depth(goal: int) -> int:
            return max((1 + depth(before) for before in self.requires[goal]), default=0)

        return np.array([depth(goal) for goal in range(len(self.names))])
