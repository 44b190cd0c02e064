"""A partner whose kind shows in what it does, and has to be known when it pays."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.acquaint.values import accuracy
from marlx.envs.checks import at_least, check_probability
from marlx.types import Array, EnvSpec, Observation


@flax.struct.dataclass
class AcquaintState(EnvState):
    """State of one episode."""

    kind: Array  # int32 [], the partner's; never observed
    shown: Array  # int32 [], what it did at the last step; `kinds`, nothing: at reset, or no more


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acquaint(Environment[AcquaintState, EnvParams]):
    """An agent and a partner of a hidden kind: to do what the partner likes pays 1, but only late.

    At each of the first `show` steps the partner does what its kind does, or with probability
    `noise` anything, all kinds alike. Later it does nothing. From step `pay_from` on, the agent's
    action pays 1 where it is the partner's kind. The agent sees what the partner did at the last
    step, and whether its action pays now; rewards are not observed. So all that can be known of
    the partner is in the observations so far, and what a memory of any length is worth can be
    computed: `best_return`.

    The partner's kind is drawn for each episode. For upper bounds and models that are trained with
    them, the global state has the parts `partner` (its kind), `partner_observation` (whether it
    shows itself) and `partner_action` (what it did at the last step), as `partners/...` with
    `privileged`.

    Attributes:
      kinds: kinds of partners, and actions that can pay.
      show: steps at which the partner shows itself, from the first on.
      pay_from: first step that pays.
      horizon: steps of an episode, which then truly ends.
      noise: probability with which the partner does anything at a step.
      name: the id in `spec`.

    Raises:
      ValueError: a setting is out of bounds, or nothing pays.
    """

    kinds: int = 5
    show: int = 2
    pay_from: int = 10
    horizon: int = 16
    noise: float = 0.0
    name: str = "acquaint/delay-8"

    def __post_init__(self) -> None:
        at_least(self, kinds=2, show=1, pay_from=0, horizon=1)
        check_probability(noise=self.noise)
        for name, most in (("kinds", 100), ("horizon", 10_000), ("show", 10_000)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at most {most}")
        if self.pay_from >= self.horizon:
            raise ValueError(
                f"pay_from is {self.pay_from}; it must be less than horizon ({self.horizon})"
            )

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`, which is a true end as well."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is the best return of an agent that remembers all.

        It is None where there are too many noisy showings to compute it in seconds.
        """
        limit = int((self.default_params if params is None else params).max_steps_in_episode)
        actions = self.kinds + 1
        parts = (
            ("state", actions + 2),
            ("partner", self.kinds),
            ("partner_observation", 1),
            ("partner_action", actions),
        )
        return EnvSpec(
            id=self.name,
            num_agents=1,
            num_actions=actions,
            obs_size=actions + 2,
            state_size=sum(width for _, width in parts),
            horizon=limit,
            reward_aggregation="mean",
            storage="int8",
            state_parts=parts,
            optimum=self.best_return() if limit >= self.horizon and self._few_sums else None,
        )

    @property
    def _few_sums(self) -> bool:
        """Whether `best_return` takes seconds at most."""
        ways = math.comb(self.show + self.kinds - 1, self.kinds - 1) / math.factorial(self.kinds)
        return not self.noise or self.show * ways < 1e6

    def seen(self, step: int, window: int | None = None, reset_every: int | None = None) -> int:
        """Returns how many of the partner's showings an agent remembers when it acts.

        Args:
          step: of the episode, from 0.
          window: the last observations that it knows, the present one included; None: all.
          reset_every: steps after which it forgets all but the present observation; None: never.
        """
        first = 0 if window is None else max(0, step - window)
        if reset_every is not None:
            # the first observation after it has forgotten still shows the step before
            first = max(first, step - step % reset_every - 1)
        return max(0, min(step, self.show) - first)

    def best_return(self, window: int | None = None, reset_every: int | None = None) -> float:
        """Returns the highest expected return of any agent that remembers so much, exactly.

        An agent that knows the kind gets `horizon - pay_from`; one that remembers nothing but the
        present observation has `window` 1.

        Args:
          window: see `seen`.
          reset_every: see `seen`.
        """
        steps = range(self.pay_from, self.horizon)
        return sum(
            accuracy(self.kinds, self.noise, self.seen(step, window, reset_every)) for step in steps
        )

    def reset_env(self, key: Array, params: EnvParams) -> AcquaintState:
        """Returns the first state; `key` draws the partner."""
        del params
        kind = jax.random.randint(key, (), 0, self.kinds, jnp.int32)
        return AcquaintState(time=jnp.int32(0), kind=kind, shown=jnp.int32(self.kinds))

    def step_env(
        self, key: Array, state: AcquaintState, action: Array, params: EnvParams
    ) -> tuple[AcquaintState, Array, Array, dict[str, Any]]:
        """Plays one step; the partner's action depends on nothing that the agent does."""
        del params
        key_coin, key_any = jax.random.split(key)
        anything = jax.random.randint(key_any, (), 0, self.kinds, jnp.int32)
        does = jnp.where(jax.random.uniform(key_coin) < self.noise, anything, state.kind)
        shown = jnp.where(state.time < self.show, does, self.kinds)
        right = (state.time >= self.pay_from) & (action[0] == state.kind)
        time = state.time + 1
        after = AcquaintState(time=time, kind=state.kind, shown=shown)
        info = {"partner": state.kind}
        return after, right.astype(jnp.float32)[None], time >= self.horizon, info

    def observe(self, state: AcquaintState, params: EnvParams) -> Observation:
        """Returns what the agent sees; the action beyond the kinds is never legal."""
        del params
        shown = jax.nn.one_hot(state.shown, self.kinds + 1)
        pays = (state.time >= self.pay_from).astype(jnp.float32)
        shows = (state.time < self.show).astype(jnp.float32)
        local = jnp.concatenate([shown, jnp.stack([pays, shows])])
        kind = jax.nn.one_hot(state.kind, self.kinds)
        return Observation(
            local=local[None],
            action_mask=(jnp.arange(self.kinds + 1) < self.kinds)[None],
            global_state=jnp.concatenate([local, kind, shows[None], shown]),
        )

    def make_state(self, kind: int, step: int = 0, shown: int | None = None) -> AcquaintState:
        """Returns the state of one (unbatched) episode from numbers.

        Args:
          kind: the partner's.
          step: steps since reset.
          shown: what the partner did at the last step; None for nothing.

        Raises:
          ValueError: there is no such kind.
        """
        for number in (kind, kind if shown is None else shown):
            if not 0 <= number < self.kinds:
                raise ValueError(f"kind is {number}; it must be 0 to {self.kinds - 1}")
        last = self.kinds if shown is None else shown
        return AcquaintState(time=jnp.int32(step), kind=jnp.int32(kind), shown=jnp.int32(last))

    def render(self, state: AcquaintState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: the partner's kind, and what it did last, in words."""
        from marlx.envs import raster  # imported here, since it loads Pillow

        del params
        shown, step = int(state.shown), int(state.time)
        lines = (
            f"partner of kind {int(state.kind)}",
            f"did {shown if shown < self.kinds else 'nothing'}",
            f"step {step} of {self.horizon}{', pays' if step >= self.pay_from else ''}",
        )
        canvas = raster.Canvas(220, 90)
        for i, line in enumerate(lines):
            canvas.text(110, 20 + 25 * i, line, 13.0)
        return canvas.pixels()
