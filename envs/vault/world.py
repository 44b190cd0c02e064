"""A team with one key and two doors, whose second plan pays more but needs everybody."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.checks import at_least, between, check_probability, integers
from marlx.envs.vault.state import EAST, SUBGOALS, WEST, VaultState
from marlx.types import Array, EnvSpec, Observation, Subgoals


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vault(Environment[VaultState, EnvParams]):
    """One key, two doors: a small room that pays for certain, a vault that pays if nobody errs.

    Each agent is in a lane of its own, `2 half + 1` cells long, and starts in its middle. First
    agent 0, which has the key, walks alone. At the west end of its lane is the door of the small
    room: the team earns `small`, and the episode ends. At the east end is that of the vault: all
    agents stand in the middle of their lanes again, and each walks to one of its ends and stays
    there, at a lever. When all are at levers the episode ends. The team earns 1 if every agent is
    at the lever that its sign shows, and `alarm` if anyone is not. Signs are drawn for each
    episode; an agent sees its own.

    The right lever is never worse than the wrong one, whatever others do, so the best joint choice
    can be made of values that are mixed monotonically: optimum 1. But the vault is worth it only to
    agents who can rely on the others. Where each of them errs with probability e, as exploring
    agents do, it is worth `worth(e)`, which is less than `small` from `tolerated_error` on. That is
    the value that an agent learns which knows nothing of the others' choices, so it prefers the
    small room for as long as they explore more.

    Actions: 0 stay, 1 west, 2 east. Who may not move, or not that way, stays.

    Local observation: the agent's cell, counted from its lane's middle; 1 if the vault is open; its
    sign, -1 west or 1 east; 1 if it has the key. Global state: whether the vault is open, all
    cells, all signs.

    Subgoals: `wait`, achieved at once, is all that agents without the key can choose at first;
    agent 0 chooses between `small room` and `vault`; then all choose `west lever` or `east lever`.

    Attributes:
      num_agents: N.
      half: cells on either side of a lane's middle.
      small: reward for the small room.
      alarm: reward for a wrong lever.
      horizon: steps after which an episode is truncated.

    Raises:
      ValueError: at construction, for settings under which there is nothing to choose.

    Source: ours, after the two-step game of QMIX (arXiv 1803.11485).
    """

    num_agents: int = 4
    half: int = 2
    small: float = 0.7
    alarm: float = -3.0
    horizon: int = 24

    def __post_init__(self) -> None:
        at_least(self, num_agents=2, half=1, horizon=1)
        between(self, small=(0, 1), alarm=(-1000, 0), half=(1, 100))

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    @property
    def name(self) -> str:
        """The id, which holds those settings that an id can hold."""
        return f"grid/vault-{self.num_agents}p"

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is 1 where both ways can be walked before the horizon."""
        horizon = self.horizon if params is None else int(params.max_steps_in_episode)
        return EnvSpec(
            id=self.name,
            num_agents=self.num_agents,
            num_actions=3,
            obs_size=4,
            state_size=1 + 2 * self.num_agents,
            horizon=horizon,
            reward_aggregation="mean",
            storage="int8",
            scale=float(self.half),
            optimum=1.0 if horizon >= 2 * self.half else None,
            outcomes=("success_rate",),
        )

    def worth(self, error: float) -> float:
        """Returns the expected reward of an agent that enters the vault and takes its right lever.

        `q + (1 - q) alarm`, with `q = (1 - e)^(N - 1)` the probability that no other agent errs.

        Args:
          error: e, the probability with which each other agent takes its wrong lever; half of the
            share of random choices.

        Raises:
          ValueError: it is no probability.
        """
        check_probability(error=error)
        nobody = (1 - error) ** (self.num_agents - 1)
        return float(nobody + (1 - nobody) * self.alarm)

    @property
    def tolerated_error(self) -> float:
        """The error of each other agent at which the vault is worth as much as the small room."""
        nobody = (self.small - self.alarm) / (1 - self.alarm)
        return float(1 - nobody ** (1 / (self.num_agents - 1)))

    def reset_env(self, key: Array, params: EnvParams) -> VaultState:
        """Returns the first state; `key` draws the signs."""
        del params
        count = self.num_agents
        return VaultState(
            time=jnp.int32(0),
            cell=jnp.full(count, self.half, jnp.int32),
            inside=jnp.bool_(False),
            sign=jax.random.randint(key, (count,), 0, 2, jnp.int32),
        )

    def _at_end(self, cell: Array) -> Array:
        """Returns bool [N], whether a cell is an end of its lane."""
        return (cell == 0) | (cell == 2 * self.half)

    def _may_walk(self, state: VaultState) -> Array:
        """Returns bool [N]: at first the agent with the key; then who has not taken a lever."""
        first = jnp.arange(self.num_agents) == 0
        return jnp.where(state.inside, ~self._at_end(state.cell), first)

    def step_env(
        self, key: Array, state: VaultState, action: Array, params: EnvParams
    ) -> tuple[VaultState, Array, Array, dict[str, Any]]:
        """Plays one step. `key` is not used."""
        del key, params
        shift = (action == EAST).astype(jnp.int32) - (action == WEST)
        walked = state.cell + jnp.where(self._may_walk(state), shift, 0)
        cell = jnp.clip(walked, 0, 2 * self.half)
        took_small = ~state.inside & (cell[0] == 0)
        opens = ~state.inside & (cell[0] == 2 * self.half)
        pulled = state.inside & self._at_end(cell).all()
        won = pulled & ((cell > self.half) == (state.sign == 1)).all()
        paid = jnp.where(pulled, jnp.where(won, 1.0, self.alarm), took_small * self.small)
        after = VaultState(
            time=state.time + 1,
            cell=jnp.where(opens, self.half, cell).astype(jnp.int32),
            inside=state.inside | opens,
            sign=state.sign,
        )
        reward = jnp.full(self.num_agents, paid, jnp.float32)
        return after, reward, took_small | pulled, {"success_rate": won}

    def observe(self, state: VaultState, params: EnvParams) -> Observation:
        """Returns local views, legal actions and the whole state."""
        del params
        count, walks = self.num_agents, self._may_walk(state)
        place, side = state.cell - self.half, 2 * state.sign - 1
        inside = jnp.full(count, state.inside)
        local = jnp.stack([place, inside, side, jnp.arange(count) == 0], axis=1)
        mask = [jnp.ones(count, bool), walks & (state.cell > 0), walks & (place < self.half)]
        return Observation(
            local=local.astype(jnp.float32),
            action_mask=jnp.stack(mask, axis=1),
            global_state=jnp.concatenate([inside[:1], place, side]).astype(jnp.float32),
        )

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns the subgoals; the class says what each means."""
        del params
        first = jnp.arange(self.num_agents) == 0

        def choosable(inside: Array, has_key: Array) -> Array:
            """Returns bool [N, G] of bools [N]."""
            doors = ~inside & has_key
            return jnp.stack([~inside & ~has_key, doors, doors, inside, inside], axis=1)

        def achieved(state: VaultState) -> Array:
            inside = jnp.full(self.num_agents, state.inside)
            west, east = state.cell == 0, state.cell == 2 * self.half
            return jnp.stack(
                [
                    jnp.ones_like(inside),
                    ~inside & first & west,
                    inside,
                    inside & west,
                    inside & east,
                ],
                axis=1,
            )

        def available(state: VaultState) -> Array:
            return choosable(jnp.full(self.num_agents, state.inside), first)

        def choices(local: Array) -> Array:
            return choosable(local[:, 1] > 0, local[:, 3] > 0)

        return Subgoals(SUBGOALS, ((),) * len(SUBGOALS), achieved, available, choices)

    def make_state(
        self, cell: Any, inside: bool = False, sign: Any = None, step: int = 0
    ) -> VaultState:
        """Returns the state of one (unbatched) episode from arrays or lists.

        Args:
          cell: integers [N], 0 to `2 half`, from the west end of each lane.
          inside: whether the vault is open.
          sign: integers [N], the right levers: 0 west, 1 east; None for all east.
          step: steps since the episode began.

        Raises:
          ValueError: a number is out of bounds.
        """
        count = self.num_agents
        cells = integers("cell", cell, (count,))
        signs = integers("sign", [1] * count if sign is None else sign, (count,))
        for name, array, most in (("cell", cells, 2 * self.half), ("sign", signs, 1)):
            if array.min() < 0 or array.max() > most:
                raise ValueError(f"{name} is {array.tolist()}; values must be 0 to {most}")
        return VaultState(
            time=jnp.int32(step),
            cell=jnp.asarray(cells),
            inside=jnp.bool_(inside),
            sign=jnp.asarray(signs),
        )

    def render(self, state: VaultState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: the lanes, with what is at their ends."""
        from marlx.envs.vault import picture  # imported here, since it loads Pillow

        return picture.draw(self.half, state, self.spec(params).horizon)
