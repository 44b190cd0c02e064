"""Shared types: observations, transitions, environment facts, subgoals.

Axes are ``T`` time, ``B`` parallel environments, ``N`` agents, ``A`` actions, always in that
order. Agents are an array axis, never a dictionary of names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Tree = Any
"""Any pytree of arrays."""


class Observation(NamedTuple):
    """Observation of one environment state."""

    local: Array  # f32 [N, O], observation of each agent; 0 beyond its own width
    action_mask: Array  # bool [N, A], True where the action is legal; never all False.
    # Continuous actions: True for the components that the agent has.
    global_state: Array  # f32 [S], for centralised training
    active: Array | None = None  # bool [N], agents that are there; None: all always are. See
    # `EnvSpec.active_mask`


class Credit(NamedTuple):
    """Per-agent overrides of how a step counts in training, set by composite learners.

    Where agents share one team value they share the step too: its weight is the largest of the
    agents' weights, it ends where it ends for any, and it is held where it is held for all.
    """

    weight: Array  # f32 [N], factor of the step's part in losses
    terminated: Array  # bool [N], nothing of value follows
    ended: Array  # bool [N], returns are cut here, as at the end of an episode
    held: Array  # bool [N], an earlier choice still holds, so returns run through this step


class Transition(NamedTuple):
    """One environment step as a rollout stores it; leading axes ``[T, B]``."""

    obs: Observation  # before the step
    action: Array  # int32 [N], or f32 [N, A] where `EnvSpec.continuous`
    reward: Array  # f32 [N], per agent
    terminated: Array  # bool [], the episode ended: nothing of value follows
    truncated: Array  # bool [], cut by the time limit: `next_obs` still has value
    next_obs: Observation  # after the step and *before* any reset
    memory: Tree  # the acting memory that `action` was chosen with
    extras: Tree  # added by the learner's `act`
    # Set by composite learners for their parts; None otherwise.
    weight: Array | None = None  # f32 [], sample weight of the step. Scales the number of gradient
    # updates; steps with weight 0 are never sampled. None: all steps weigh the same
    credit: Credit | None = None  # None: all agents share the episode's ends and weight 1

    @property
    def done(self) -> Array:
        """Bool [], whether the episode ended at this step, for either reason."""
        return self.terminated | self.truncated


class Planes(NamedTuple):
    """An image as the first numbers of each agent's flat observation.

    What stands behind the image is no part of it.

    Attributes:
      height: of the image, in cells.
      width: in cells.
      channels: numbers of a cell.
      channels_first: the observation is one plane after another, [channels, height, width], instead
        of one cell after another, [height, width, channels].
    """

    height: int
    width: int
    channels: int
    channels_first: bool = False

    @property
    def size(self) -> int:
        """Numbers of the image."""
        return self.height * self.width * self.channels

    def split(self, local: Array) -> tuple[Array, Array]:
        """Returns the image f32 [..., height, width, channels] and the numbers behind it."""
        flat, axes = local[..., : self.size], local.shape[:-1]
        if self.channels_first:
            image = flat.reshape(*axes, self.channels, self.height, self.width)
            image = jnp.moveaxis(image, -3, -1)
        else:
            image = flat.reshape(*axes, self.height, self.width, self.channels)
        return image, local[..., self.size :]


class Entities(NamedTuple):
    """Rows of one kind in each agent's flat observation: foods, landmarks, other agents.

    Attributes:
      name: of the kind.
      columns: for each row the places of its numbers in the observation. All rows have as many
        numbers, in the same order.
      present: the number of a row that says whether the thing is there; None: it always is.
      above: it is there where that number is above this one.
    """

    name: str
    columns: tuple[tuple[int, ...], ...]
    present: int | None = None
    above: float = 0.0

    @classmethod
    def block(
        cls,
        name: str,
        first: int,
        count: int,
        width: int,
        present: int | None = None,
        above: float = 0.0,
    ) -> Entities:
        """Returns `count` rows of `width` numbers that stand one after another from `first` on."""
        starts = range(first, first + count * width, width)
        rows = tuple(tuple(range(start, start + width)) for start in starts)
        return cls(name, rows, present, above)


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """Static facts about an environment: all that a learner may know of it.

    Attributes:
      id: name of the environment.
      num_agents: N.
      num_actions: A, the widest agent's; narrower agents have the rest masked.
      obs_size: O, likewise; narrower agents have the rest zero.
      state_size: S.
      horizon: steps after which an episode is truncated.
      reward_aggregation: how the team's reward follows from the agents': `sum` where each earns a
        share of it (foraging), `mean` where each gets the common reward (matrix games).
      groups: named tuples of agent indices that share roles; they partition the agents. Agents of
        a group have the same `obs_sizes` and `action_sizes`.
      obs_sizes: width of each agent's observation; the rest is padding.
      action_sizes: number of each agent's actions; the rest are never legal.
      continuous: actions are f32 [N, A] with components in [0, 1] instead of an index.
      storage: dtype that holds `local` and `global_state` without loss in a replay.
      scale: largest expected magnitude in `local` and `global_state`; learners divide by it, so
        that network inputs are of order one.
      state_parts: `(name, width)` of the parts of `global_state`, in order; empty where the
        environment does not name them.
      optimum: best possible team return per episode, where it is known.
      subgoals: those in the observations, see `marlx.subgoals.with_subgoals`; or None.
      active_mask: observations have `Observation.active`, since agents can be absent: dead, done,
        or fewer than the arrays have room for. An agent that is inactive at a step has no choice at
        that step: its observation, action and reward there count for nothing. An agent's own value
        ends where it becomes inactive; a value of the team goes on while anyone is active.
      common_reward: every agent gets the same reward at every step; then there is no return of each
        agent to report.
      outcomes: names of what an episode ends with, besides its return: `win_rate`, `success_rate`.
        Each is a key of the `info` of `step_env`, bool [] or f32 [] in [0, 1], which is read at the
        step where an episode ends. Runs report its mean over episodes under that name.
      planes: how the first numbers of `local` are an image, the same for all agents; or None.
      entities: which numbers of `local` are rows of things that an agent sees, by kind, the same
        for all agents; all other numbers are the agent's own. Empty where none are declared.
      partner_actions: number of actions of each fixed partner whose last action is in the part
        `partner_action` of the global state; empty where there are none.
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
    active_mask: bool = False
    common_reward: bool = False
    outcomes: tuple[str, ...] = ()
    planes: Planes | None = None
    entities: tuple[Entities, ...] = ()
    partner_actions: tuple[int, ...] = ()

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
        total = sum(width for _, width in self.state_parts)
        if self.state_parts and total != self.state_size:
            raise ValueError(f"state_parts hold {total} numbers; state_size is {self.state_size}")
        self._check_layout()

    def _check_layout(self) -> None:
        """Raise ValueError where planes or rows are not in the observation."""
        planes, size = self.planes, self.obs_size
        if planes is not None and not (min(planes[:3]) > 0 and planes.size <= size):
            raise ValueError(
                f"planes are {planes.height} x {planes.width} x {planes.channels}; an observation "
                f"has {size} numbers"
            )
        taken: set[int] = set()
        for kind in self.entities:
            places = [place for row in kind.columns for place in row]
            if len({len(row) for row in kind.columns}) != 1 or not places:
                raise ValueError(f"entities {kind.name!r} must have rows, all of one width")
            if len(set(places)) < len(places) or taken & set(places):
                raise ValueError(f"entities {kind.name!r} name a number twice")
            if min(places) < 0 or max(places) >= size:
                raise ValueError(
                    f"entities {kind.name!r} name number {max(places)}; an observation has {size}"
                )
            if kind.present is not None and not 0 <= kind.present < len(kind.columns[0]):
                raise ValueError(f"entities {kind.name!r} have no number {kind.present} in a row")
            taken |= set(places)
        names = [kind.name for kind in self.entities]
        if len(set(names)) < len(names):
            raise ValueError(f"entities are named twice: {', '.join(names)}")

    @property
    def rewards_differ(self) -> bool:
        """Whether agents may earn different rewards, so that the return of each is of interest."""
        return self.num_agents > 1 and not self.common_reward

    def state_part(self, name: str) -> slice:
        """Returns the slice of `global_state` that is the part called `name`.

        Raises:
          ValueError: this environment has no part of that name.
        """
        names = [part for part, _ in self.state_parts]
        if name not in names:
            raise ValueError(f"the global state of {self.id} has no part {name!r}")
        before = names.index(name)
        first = sum(width for _, width in self.state_parts[:before])
        return slice(first, first + self.state_parts[before][1])

    def team_reward(self, reward: Array, active: Array | None = None) -> Array:
        """f32 [...], the team reward from the agents' rewards.

        Args:
          reward: f32 [..., N].
          active: bool [..., N], agents that were active before the step, whose rewards count.
            None: all were. A mean is over them alone.
        """
        if active is not None:
            reward = jnp.where(active, reward, 0.0)
            if self.reward_aggregation == "mean":
                return reward.sum(-1) / jnp.maximum(active.sum(-1), 1)
        return reward.sum(-1) if self.reward_aggregation == "sum" else reward.mean(-1)


Mark = Callable[[np.ndarray[Any, Any], Any, np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""Draws subgoals into a picture, see `Subgoals.mark`."""


class Subgoals(NamedTuple):
    """Subgoals that an environment declares, for agents that plan over them.

    A subgoal is a number in `range(G)` with a fixed meaning for each agent. Where agents see
    different parts of the world (the third food *in my sight*), its meaning may differ between
    agents.

    Attributes:
      names: of the G subgoals.
      requires: for each subgoal the indices of those that have to be achieved before it: the task
        tree. Leaves of the tree require nothing.
      achieved: `(state) -> bool [N, G]`, whether the agent has achieved the subgoal.
      available: `(state) -> bool [N, G]`, whether the subgoal can be pursued now, given the whole
        state.
      choices: `(local f32 [N, O]) -> bool [N, G]`, the subgoals each agent may choose from,
        computed from its observation only: the mask to use when acting. Never all False.
      mark: `(picture, state, goals int [N]) -> picture`, on the host: the picture of `render` with
        the subgoal of each agent in it. None: pictures do not show subgoals.
    """

    names: tuple[str, ...]
    requires: tuple[tuple[int, ...], ...]
    achieved: Callable[[Any], Array]
    available: Callable[[Any], Array]
    choices: Callable[[Array], Array]
    mark: Mark | None = None


SCENE_KINDS = ("foraging", "matrix", "doorkey", "trashgrid", "particles")
"""What viewers can draw."""


class Scene(NamedTuple):
    """Drawing instructions of an environment for a viewer: numbers, which it turns into shapes.

    Attributes:
      kind: how it is drawn, one of `SCENE_KINDS`.
      facts: what is the same in every state, as JSON has it: numbers, text, lists, dictionaries.
      frame: `(state) -> dict of arrays`, what changes. The state is of one episode, without a batch
        axis; names and shapes of the arrays are the same for every state.
      actions: name of each action.
    """

    kind: str
    facts: dict[str, Any]
    frame: Callable[[Any], dict[str, Any]]
    actions: tuple[str, ...] = ()


class SubgoalLayout(NamedTuple):
    """Layout of observations with subgoals, and the facts about subgoals that a learner may know.

    `local` is the environment's observation followed by G bits for each agent: 1 where it has
    achieved the subgoal, by which an agent notices that its subgoal is over. `global_state` is the
    environment's followed by N G bits, agent by agent: 1 where the subgoal is available. Those are
    for training and scripted bounds only, as is all of `global_state`.

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
        """Returns the observation without the bits, [..., N, O] and [..., S]."""
        return obs._replace(
            local=obs.local[..., : self.obs_size],
            global_state=obs.global_state[..., : self.state_size],
        )

    def achieved(self, obs: Observation) -> Array:
        """Bool [..., N, G], whether each agent has achieved each subgoal."""
        return obs.local[..., self.obs_size :] > 0

    def available(self, obs: Observation) -> Array:
        """Bool [..., N, G], whether each subgoal is available to each agent."""
        bits = obs.global_state[..., self.state_size :] > 0
        return bits.reshape(*bits.shape[:-1], -1, len(self.names))

    def choices(self, obs: Observation) -> Array:
        """Bool [..., N, G], the subgoals each agent may choose from, by its observation."""
        choose = self.choose
        for _ in range(obs.local.ndim - 2):
            choose = jax.vmap(choose)
        return choose(obs.local[..., : self.obs_size])

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """int [G], depth of each subgoal in the task tree, which has no cycles."""

        def depth(goal: int) -> int:
            return max((1 + depth(before) for before in self.requires[goal]), default=0)

        return np.array([depth(goal) for goal in range(len(self.names))])
