"""Where subgoals come from: declared by the environment, or learned from what agents see.

Both give the same: a layout (`Subgoals` as a learner knows them) for parameters that change while a
run learns; declared subgoals have none. `novelty` watches for a world that has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from marlx.types import Array, EnvSpec, Observation, Tree

ROWS = 512
"""Observations that one step of learning is made with."""


class Layout(Protocol):
    """Subgoals as the two levels know them; `marlx.subgoals.SubgoalLayout` is one."""

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
        """int [G], how many subgoals of the task tree lie before each."""

    def plain(self, obs: Observation) -> Observation:
        """What the environment itself shows."""

    def achieved(self, obs: Observation) -> Array:
        """Bool [..., N, G], told from what each agent is shown."""

    def available(self, obs: Observation) -> Array:
        """Bool [..., N, G]; may be told from the state."""

    def choices(self, obs: Observation) -> Array:
        """Bool [..., N, G], told from what each agent sees; never all False."""


class Generator(NamedTuple):
    """A source of subgoals, or of a sign that the world has changed.

    Attributes:
      init: `(key) -> state`.
      policy: `(state) -> params`, what `bind` needs of it.
      bind: `(params) -> Layout`, or for `novelty` a function `(obs) -> bool [..., N]`.
      learn: `(state, local f32 [..., O]) -> state, metrics`, from what was seen in a rollout.
    """

    init: Callable[[Array], Tree]
    policy: Callable[[Tree], Tree]
    bind: Callable[[Tree], Any]
    learn: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]


def _nothing(bind: Callable[[Tree], Any]) -> Generator:
    """A generator that has nothing to learn."""
    return Generator(lambda key: (), lambda state: (), bind, lambda state, local: (state, {}))


def declared(spec: EnvSpec) -> Generator:
    """The subgoals that the environment declares.

    Raises:
      ValueError: `spec` tells of none.
    """
    layout = spec.subgoals
    if layout is None:
        raise ValueError(
            f"{spec.id} tells of no subgoals: choose an environment that declares some (and make "
            f"its spec from marlx.with_subgoals(env)), or set subgoals to 'learned'"
        )
    return _nothing(lambda params: layout)


def unwatched() -> Generator:
    """In place of `novelty`: nothing is watched, and nothing ever changes."""
    return _nothing(lambda params: None)


# --- an auto-encoder ---


class _Coder(nn.Module):
    """Encoder and decoder with one hidden layer each."""

    width: int
    hidden: int
    code: int

    def setup(self) -> None:
        self.inner, self.outer = nn.Dense(self.hidden), nn.Dense(self.hidden)
        self.encoder, self.decoder = nn.Dense(self.code), nn.Dense(self.width)

    def encode(self, x: Array) -> Array:
        """f32 [..., code]."""
        return self.encoder(nn.relu(self.inner(x)))

    def __call__(self, x: Array) -> Array:
        """`x` f32 [..., width] as rebuilt from its code."""
        return self.decoder(nn.relu(self.outer(self.encode(x))))


class Coding(NamedTuple):
    """An auto-encoder's state."""

    params: Tree
    optimiser: optax.OptState


class Autoencoder(NamedTuple):
    """Functions of an auto-encoder; x is f32 [..., width], of order one."""

    init: Callable[[Array], Coding]
    encode: Callable[[Tree, Array], Array]  # params, x -> f32 [..., code]
    error: Callable[[Tree, Array], Array]  # params, x -> f32 [...], mean squared
    learn: Callable[[Coding, Array], tuple[Coding, Array]]  # state, x -> state, loss


def autoencoder(width: int, *, hidden: int = 64, code: int = 16, lr: float = 1e-3) -> Autoencoder:
    """A small auto-encoder that learns by mean squared error (Adam)."""
    net, adam = _Coder(width, hidden, code), optax.adam(lr)

    def error(params: Tree, x: Array) -> Array:
        rebuilt: Array = net.apply(params, x)  # type: ignore[assignment]
        return ((rebuilt - x) ** 2).mean(-1)

    def init(key: Array) -> Coding:
        params = net.init(key, jnp.zeros(width))
        return Coding(params, adam.init(params))

    def encode(params: Tree, x: Array) -> Array:
        return net.apply(params, x, method="encode")  # type: ignore[return-value]

    def learn(state: Coding, x: Array) -> tuple[Coding, Array]:
        loss, gradient = jax.value_and_grad(lambda p: error(p, x).mean())(state.params)
        step, optimiser = adam.update(gradient, state.optimiser, state.params)
        return Coding(optax.apply_updates(state.params, step), optimiser), loss

    return Autoencoder(init, encode, error, learn)


def _rows(local: Array, scale: float) -> Array:
    """f32 [n, O], about `ROWS` observations of `local` [..., O], evenly over time and agents."""
    rows = local.reshape(-1, local.shape[-1]).astype(jnp.float32) / scale
    # an odd stride, for an even one could meet the same agents and environments again and again
    return rows[:: max(1, len(rows) // ROWS) | 1]


# --- a world that has changed ---


class NoveltyState(NamedTuple):
    """What is expected."""

    coding: Coding
    level: Array  # f32 [], running quantile of errors; infinite at first


def novelty(spec: EnvSpec, width: int, *, quantile: float = 0.95) -> Generator:
    """Says that the world has changed where an observation is rebuilt worse than is usual.

    Usual is a running quantile of the errors of an auto-encoder over observations.

    Args:
      spec: for its scale.
      width: of `local` without bits.
      quantile: of errors; so many observations do not count as a change.

    Source: our reading of GMAH's adaptive goal generation, of which only the idea is public.
    """
    coder = autoencoder(width)

    def init(key: Array) -> NoveltyState:
        return NoveltyState(coder.init(key), jnp.float32(jnp.inf))

    def bind(params: tuple[Tree, Array]) -> Callable[[Observation], Array]:
        def changed(obs: Observation) -> Array:
            local = obs.local[..., :width].astype(jnp.float32) / spec.scale
            return coder.error(params[0], local) > params[1]

        return changed

    def learn(state: NoveltyState, local: Array) -> tuple[NoveltyState, dict[str, Array]]:
        rows = _rows(local[..., :width], spec.scale)
        here = jnp.quantile(coder.error(state.coding.params, rows), quantile)
        level = jnp.where(jnp.isinf(state.level), here, 0.9 * state.level + 0.1 * here)
        coding, loss = coder.learn(state.coding, rows)
        return NoveltyState(coding, level), {"novelty_loss": loss, "novelty_level": level}

    return Generator(init, lambda state: (state.coding.params, state.level), bind, learn)


# --- subgoals that are learned ---


class RegionsState(NamedTuple):
    """Regions of what agents see."""

    coding: Coding
    centres: Array  # f32 [G, K], in the space of codes
    usage: Array  # f32 [G], share of observations in each, running; all 0 before the first


@dataclasses.dataclass(frozen=True)
class Regions:
    """A `Layout` whose subgoals are regions of what agents see: achieved by being in one."""

    names: tuple[str, ...]
    obs_size: int
    state_size: int
    place: Callable[[Array], Array]  # local f32 [..., O] -> int32 [...], the region

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """All alike."""
        return np.zeros(len(self.names), int)

    def plain(self, obs: Observation) -> Observation:
        """Without the bits of declared subgoals, should there be any."""
        return obs._replace(
            local=obs.local[..., : self.obs_size],
            global_state=obs.global_state[..., : self.state_size],
        )

    def achieved(self, obs: Observation) -> Array:
        """Bool [..., N, G], where the agent is."""
        here = self.place(obs.local[..., : self.obs_size])
        return jax.nn.one_hot(here, len(self.names), dtype=bool)

    def available(self, obs: Observation) -> Array:
        """Wherever the agent is not."""
        return ~self.achieved(obs)

    def choices(self, obs: Observation) -> Array:
        """Wherever the agent is not."""
        return ~self.achieved(obs)


def regions(spec: EnvSpec, *, number: int = 8, rate: float = 0.05) -> Generator:
    """Subgoals that are learned: to see what is like one of `number` typical observations.

    An auto-encoder over observations gives codes, and a running k-means over codes gives regions. A
    region that is hardly visited any more is made anew where codes are furthest from all regions,
    so that subgoals follow what is visited. Needs no declared subgoals.

    Args:
      spec: the environment's.
      number: G.
      rate: how fast centres follow the mean of their codes, per rollout.

    Raises:
      ValueError: fewer than two regions: there would be none to go to.

    Source: our construction, after what GMAH's abstract says of learned subgoals; Sculley 2010 for
    k-means on batches. Differs from: GMAH, which speaks of successor features.
    """
    if number < 2:
        raise ValueError(f"number is {number}; it must be at least 2, for one is where an agent is")
    width, state_size = spec.obs_size, spec.state_size
    if spec.subgoals is not None:
        width, state_size = spec.subgoals.obs_size, spec.subgoals.state_size
    coder = autoencoder(width)
    names = tuple(f"region {g}" for g in range(number))

    def init(key: Array) -> RegionsState:
        coding = coder.init(key)
        code = jax.eval_shape(coder.encode, coding.params, jnp.zeros(width))
        return RegionsState(coding, jnp.zeros((number, *code.shape)), jnp.zeros(number))

    def distances(codes: Array, centres: Array) -> Array:
        """f32 [..., G], squared."""
        return ((codes[..., None, :] - centres) ** 2).sum(-1)

    def bind(params: tuple[Tree, Array]) -> Regions:
        def place(local: Array) -> Array:
            codes = coder.encode(params[0], local.astype(jnp.float32) / spec.scale)
            return distances(codes, params[1]).argmin(-1)

        return Regions(names, width, state_size, place)

    def learn(state: RegionsState, local: Array) -> tuple[RegionsState, dict[str, Array]]:
        rows = _rows(local[..., :width], spec.scale)
        coding, loss = coder.learn(state.coding, rows)
        codes = coder.encode(coding.params, rows)
        fresh = state.usage.sum() == 0
        spread = codes[(jnp.arange(number) * len(rows)) // number]
        centres = jnp.where(fresh, spread, state.centres)
        usage = jnp.where(fresh, 1.0 / number, state.usage)
        gaps = distances(codes, centres)
        member = jax.nn.one_hot(gaps.argmin(-1), number)  # [n, G]
        share = member.mean(0)
        mean = member.T @ codes / jnp.maximum(member.sum(0), 1.0)[:, None]
        centres = jnp.where(share[:, None] > 0, centres + rate * (mean - centres), centres)
        usage = (1 - rate) * usage + rate * share
        least, furthest = usage.argmin(), gaps.min(-1).argmax()
        anew = usage[least] < 0.1 / number
        centres = centres.at[least].set(jnp.where(anew, codes[furthest], centres[least]))
        usage = usage.at[least].set(jnp.where(anew, 1.0 / number, usage[least]))
        told = {"region_loss": loss, "region_least": usage.min(), "region_anew": anew * 1.0}
        return RegionsState(coding, centres, usage), told

    return Generator(init, lambda state: (state.coding.params, state.centres), bind, learn)
