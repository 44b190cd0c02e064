"""Where subgoals come from: declared by the environment, or learned from what agents see.

Both give the same: a layout (`Subgoals` as a learner knows them) for parameters that change while a
run learns; declared subgoals have none. `novelty` watches for a world that has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.subgoals.autoencoder import Coding, _rows, autoencoder
from marlx.types import Array, EnvSpec, Observation, Tree

FORGOTTEN = 1e-7
"""Share of observations below which a region is given up; unseen, it gets there in 250 rollouts."""
NEW = 2 * FORGOTTEN
"""That of a region which was made just now, before anything is counted."""


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
    """Regions of what agents see, each around a landmark."""

    coding: Coding
    landmarks: Array  # f32 [G, O], observations over their scale
    usage: Array  # f32 [G], share of observations in each, running; all 0 before the first


class Places(NamedTuple):
    """What acting needs of them."""

    coder: Tree
    landmarks: Array  # f32 [G, O]
    usage: Array  # f32 [G]


@dataclasses.dataclass(frozen=True)
class Regions:
    """A `Layout` whose subgoals are regions of what agents see: achieved by being in one."""

    names: tuple[str, ...]
    obs_size: int
    state_size: int
    place: Callable[[Array], Array]  # local f32 [..., O] -> int32 [...], the region
    usage: Array  # f32 [G], share of observations in each

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


def regions(spec: EnvSpec, *, number: int = 8, rate: float = 0.05, fresh: int = 4) -> Generator:
    """Subgoals that are learned: to see what is most like one of `number` landmarks.

    An auto-encoder over observations gives codes, and landmarks are observations that were made,
    spread over all that was seen: what is further from every landmark than two of these are from
    each other takes the place of one of the two. So a frontier that is hardly ever reached has
    landmarks as what is seen all the time has, and keeps them until nobody has been there for
    hundreds of rollouts. Needs no declared subgoals.

    Args:
      spec: the environment's.
      number: G.
      rate: of the running shares of observations in the regions, per rollout.
      fresh: most landmarks that are made anew after a rollout.

    Raises:
      ValueError: fewer than two regions: there would be none to go to.

    Source: our construction, after what GMAH's abstract says of learned subgoals; Gonzalez 1985 for
    centres furthest from each other, of which this is a running form. Differs from: GMAH, which
    speaks of successor features.
    """
    if number < 2:
        raise ValueError(f"number is {number}; it must be at least 2, for one is where an agent is")
    width, state_size = spec.obs_size, spec.state_size
    if spec.subgoals is not None:
        width, state_size = spec.subgoals.obs_size, spec.subgoals.state_size
    coder = autoencoder(width)
    names = tuple(f"region {g}" for g in range(number))

    def init(key: Array) -> RegionsState:
        return RegionsState(coder.init(key), jnp.zeros((number, width)), jnp.zeros(number))

    def distances(codes: Array, others: Array) -> Array:
        """f32 [n, G], squared, from f32 [n, K] and [G, K]."""
        lengths = (codes**2).sum(-1)[:, None] + (others**2).sum(-1)
        return jnp.maximum(lengths - 2 * codes @ others.T, 0.0)

    def policy(state: RegionsState) -> Places:
        return Places(state.coding.params, state.landmarks, state.usage)

    def bind(places: Places) -> Regions:
        def place(local: Array) -> Array:
            codes = coder.encode(places.coder, local.astype(jnp.float32) / spec.scale)
            at = coder.encode(places.coder, places.landmarks)
            flat = distances(codes.reshape(-1, codes.shape[-1]), at).argmin(-1)
            return flat.reshape(codes.shape[:-1])

        return Regions(names, width, state_size, place, places.usage)

    def learn(state: RegionsState, local: Array) -> tuple[RegionsState, dict[str, Array]]:
        coding, loss = coder.learn(state.coding, _rows(local[..., :width], spec.scale))
        # all that was seen: what is rare is what matters here
        rows = local[..., :width].reshape(-1, width).astype(jnp.float32) / spec.scale
        codes = coder.encode(coding.params, rows)
        some = rows[(jnp.arange(number) * len(rows)) // number]
        first = state.usage.sum() == 0
        landmarks = jnp.where(first, some, state.landmarks)
        usage = jnp.where(first, NEW, state.usage)
        at = coder.encode(coding.params, landmarks)
        gaps = distances(codes, at)
        little = 1e-3 * gaps.mean()  # two that are no further apart are the same

        def renew(_: int, carry: tuple[Array, Array, Array, Array, Array]) -> Any:
            landmarks, at, gaps, usage, made = carry
            between = distances(at, at) + jnp.where(jnp.eye(number, dtype=bool), jnp.inf, 0.0)
            nearest = between.min(-1)
            forgotten = usage < FORGOTTEN
            out = jnp.where(forgotten, -1.0, nearest).argmin()
            furthest = gaps.min(-1).argmax()
            least = jnp.where(forgotten[out], 0.0, 1.1 * nearest[out])
            better = gaps[furthest].min() > jnp.maximum(least, little)
            landmarks = landmarks.at[out].set(jnp.where(better, rows[furthest], landmarks[out]))
            at = at.at[out].set(jnp.where(better, codes[furthest], at[out]))
            gaps = gaps.at[:, out].set(distances(codes, at[out][None])[:, 0])
            usage = usage.at[out].set(jnp.where(better, NEW, usage[out]))
            return landmarks, at, gaps, usage, made + better

        carry = landmarks, at, gaps, usage, jnp.float32(0)
        landmarks, at, gaps, usage, made = jax.lax.fori_loop(0, fresh, renew, carry)
        share = jnp.zeros(number).at[gaps.argmin(-1)].add(1.0 / len(rows))
        usage = (1 - rate) * usage + rate * share
        known = (usage > FORGOTTEN).sum() / number
        told = {"region_loss": loss, "region_known": known, "region_anew": made}
        return RegionsState(coding, landmarks, usage), told

    return Generator(init, policy, bind, learn)
