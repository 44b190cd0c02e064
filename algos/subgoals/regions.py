"""Learned subgoals: regions around landmarks among the observations of agents."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.subgoals.autoencoder import AutoencoderState, autoencoder, training_batch
from marlx.algos.subgoals.sources import Source
from marlx.types import Array, EnvSpec, Observation, Tree

MIN_USAGE = 1e-7
"""A region whose running share of observations falls below this may be replaced; a region that is
not visited any more gets there in 250 rollouts."""
INITIAL_USAGE = 2 * MIN_USAGE
"""Usage of a new region, before its first visits are counted."""


@dataclasses.dataclass(frozen=True)
class Regions:
    """A `Layout` whose subgoals are regions of the observation space: to be in one achieves it."""

    names: tuple[str, ...]
    obs_size: int
    state_size: int
    region_of: Callable[[Array], Array]  # local f32 [..., O] -> int32 [...]
    usage: Array  # f32 [G], running share of observations in each

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        """Zeros, int [G]: no region comes before another."""
        return np.zeros(len(self.names), int)

    def plain(self, obs: Observation) -> Observation:
        """Returns the observation without the numbers of declared subgoals, if there are any."""
        return obs._replace(
            local=obs.local[..., : self.obs_size],
            global_state=obs.global_state[..., : self.state_size],
        )

    def achieved(self, obs: Observation) -> Array:
        """Returns the region that each agent is in, bool [..., N, G]."""
        here = self.region_of(obs.local[..., : self.obs_size])
        return jax.nn.one_hot(here, len(self.names), dtype=bool)

    def available(self, obs: Observation) -> Array:
        """Returns the regions that each agent is not in, bool [..., N, G]."""
        return ~self.achieved(obs)

    def choices(self, obs: Observation) -> Array:
        """Returns the regions that each agent is not in, bool [..., N, G]."""
        return ~self.achieved(obs)


# --- landmarks ---


class Landmarks(NamedTuple):
    """Observations that are the centres of the G regions."""

    centres: Array  # f32 [G, O], observations over their scale
    features: Array  # f32 [G, K], their codes
    usage: Array  # f32 [G], running share of observations in each region


class Batch(NamedTuple):
    """Observations of a rollout."""

    centres: Array  # f32 [n, O], over their scale: candidates for centres
    features: Array  # f32 [n, K], their codes


class Replacement(NamedTuple):
    """Landmarks while some are replaced."""

    landmarks: Landmarks
    distances: Array  # f32 [n, G], squared, from each observation of the batch to each landmark
    replaced: Array  # f32 [], landmarks replaced so far


def squared_distances(features: Array, others: Array) -> Array:
    """Returns the squared distances f32 [n, G] between f32 [n, K] and f32 [G, K]."""
    lengths = (features**2).sum(-1)[:, None] + (others**2).sum(-1)
    return jnp.maximum(lengths - 2 * features @ others.T, 0.0)


def replace_forgotten(landmarks: Landmarks, batch: Batch, most: int) -> Replacement:
    """Returns the landmarks with at most `most` replaced by observations of the batch.

    The observation that is furthest from all landmarks replaces one that is forgotten (its usage is
    below `MIN_USAGE`); if there is none, one of the two that are closest to each other, provided
    that the observation is further from all than these two are from each other.

    Source: Gonzalez 1985, of which this is a running form.
    """
    distances = squared_distances(batch.features, landmarks.features)
    margin = 1e-3 * distances.mean()  # two that are no further apart are the same
    start = Replacement(landmarks, distances, jnp.float32(0))
    end: Replacement = jax.lax.fori_loop(
        0, most, lambda _, now: replace_one(now, batch, margin), start
    )
    return end


def replace_one(now: Replacement, batch: Batch, margin: Array) -> Replacement:
    """Returns `now` with one landmark replaced, if an observation of the batch is better."""
    centres, features, usage = now.landmarks
    itself = jnp.eye(len(usage), dtype=bool)
    between = squared_distances(features, features) + jnp.where(itself, jnp.inf, 0.0)
    nearest = between.min(-1)
    forgotten = usage < MIN_USAGE
    old = jnp.where(forgotten, -1.0, nearest).argmin()
    new = now.distances.min(-1).argmax()
    least = jnp.where(forgotten[old], 0.0, 1.1 * nearest[old])
    better = now.distances[new].min() > jnp.maximum(least, margin)
    centres = centres.at[old].set(jnp.where(better, batch.centres[new], centres[old]))
    features = features.at[old].set(jnp.where(better, batch.features[new], features[old]))
    column = squared_distances(batch.features, features[old][None])[:, 0]
    usage = usage.at[old].set(jnp.where(better, INITIAL_USAGE, usage[old]))
    return Replacement(
        Landmarks(centres, features, usage),
        now.distances.at[:, old].set(column),
        now.replaced + better,
    )


# --- the source of subgoals ---


class RegionsState(NamedTuple):
    """State of the source: an auto-encoder and the landmarks that it encodes."""

    autoencoder: AutoencoderState
    landmarks: Array  # f32 [G, O], centres over their scale
    usage: Array  # f32 [G]; all 0 before the first rollout


class RegionsPolicy(NamedTuple):
    """Parameters of the regions that acting needs."""

    coder: Tree
    landmarks: Array  # f32 [G, O]
    usage: Array  # f32 [G]


def learned_regions(spec: EnvSpec, *, number: int = 8, rate: float = 0.05, most: int = 4) -> Source:
    """Returns a source of learned subgoals; no declared ones are needed.

    An observation belongs to the region of the landmark whose code is nearest, by an auto-encoder
    that is trained on all observations. Landmarks are observations, spread over all that was ever
    observed (`replace_forgotten`), not over what is observed often. A frontier that is hardly ever
    reached has its landmarks too, and keeps them until it was not visited for hundreds of rollouts.

    Args:
      spec: the environment's.
      number: G.
      rate: of the running usage of regions, per rollout.
      most: landmarks that can be replaced after one rollout.

    Raises:
      ValueError: fewer than two regions: there would be none to go to.

    Source: our construction, from what GMAH's abstract says of learned subgoals. Differs from it:
    GMAH speaks of successor features.
    """
    if number < 2:
        raise ValueError(f"number is {number}; it must be at least 2, for one is where an agent is")
    sizes = spec if spec.subgoals is None else spec.subgoals
    width, state_size = sizes.obs_size, sizes.state_size
    coder = autoencoder(width)
    names = tuple(f"region {g}" for g in range(number))

    def init(key: Array) -> RegionsState:
        return RegionsState(coder.init(key), jnp.zeros((number, width)), jnp.zeros(number))

    def policy(state: RegionsState) -> RegionsPolicy:
        return RegionsPolicy(state.autoencoder.params, state.landmarks, state.usage)

    def bind(policy: RegionsPolicy) -> Regions:
        region_of = partial(nearest_landmark, coder.encode, spec.scale, policy)
        return Regions(names, width, state_size, region_of, policy.usage)

    def learn(state: RegionsState, local: Array) -> tuple[RegionsState, dict[str, Array]]:
        after, loss = coder.learn(state.autoencoder, training_batch(local[..., :width], spec.scale))
        encode = partial(coder.encode, after.params)
        # all observations, not a sample: what is rare is what matters here
        rows = local[..., :width].reshape(-1, width).astype(jnp.float32) / spec.scale
        batch = Batch(rows, encode(rows))
        centres, usage = first_landmarks(state, rows)
        now = replace_forgotten(Landmarks(centres, encode(centres), usage), batch, most)
        share = jnp.zeros(number).at[now.distances.argmin(-1)].add(1.0 / len(rows))
        usage = (1 - rate) * now.landmarks.usage + rate * share
        known = (usage > MIN_USAGE).sum() / number
        metrics = {"region_loss": loss, "region_known": known, "region_anew": now.replaced}
        return RegionsState(after, now.landmarks.centres, usage), metrics

    return Source(init, policy, bind, learn, replaced_landmarks)


def replaced_landmarks(before: RegionsState, after: RegionsState) -> Array:
    """Returns bool [G], the regions with another landmark than before: what they are called is old.

    The borders of the others move too, a little, as the auto-encoder learns; that is not counted.
    """
    return (before.landmarks != after.landmarks).any(-1)


def first_landmarks(state: RegionsState, rows: Array) -> tuple[Array, Array]:
    """Returns centres and usage: the state's, or before the first rollout some of its rows."""
    number = len(state.usage)
    some = rows[(jnp.arange(number) * len(rows)) // number]
    first = state.usage.sum() == 0
    return jnp.where(first, some, state.landmarks), jnp.where(first, INITIAL_USAGE, state.usage)


def nearest_landmark(
    encode: Callable[[Tree, Array], Array], scale: float, policy: RegionsPolicy, local: Array
) -> Array:
    """Returns the region of each observation, int32 [...], from f32 [..., O]."""
    features = encode(policy.coder, local.astype(jnp.float32) / scale)
    centres = encode(policy.coder, policy.landmarks)
    flat = squared_distances(features.reshape(-1, features.shape[-1]), centres).argmin(-1)
    return flat.reshape(features.shape[:-1])
