"""Learned subgoals that can be reached from where an agent is, as seen in rollouts."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.regions import Regions
from marlx.algos.subgoals.sources import Source
from marlx.types import Array, Observation, Transition, Tree

REACHABLE = 0.1
"""Least trace of a way that still counts."""
FADING = 0.05
"""Share of a trace that is lost with each rollout in which somebody was at its start, and nobody
took the way: it counts for 45 of them."""


class ReachState(NamedTuple):
    """State of the source: that of the regions, and the ways between them."""

    regions: Tree
    trace: Array  # f32 [G, G], in [0, 1]; from a region (row) to a region


class ReachPolicy(NamedTuple):
    """Parameters of the regions and of the ways between them that acting needs."""

    regions: Tree
    trace: Array  # f32 [G, G]


@dataclasses.dataclass(frozen=True)
class NearRegions(Regions):
    """Regions of which an agent chooses one that is near: entered from its own within a period."""

    trace: Array = dataclasses.field(kw_only=True)  # f32 [G, G], of the ways from each region

    def choices(self, obs: Observation) -> Array:
        """Returns the regions near each agent, or all others where none is, bool [..., N, G]."""
        here = self.region_of(obs.local[..., : self.obs_size])
        elsewhere = ~self.achieved(obs)
        near = (self.trace > REACHABLE)[here] & elsewhere
        return jnp.where(near.any(-1, keepdims=True), near, elsewhere)


def near_regions(source: Source, number: int, period: int) -> Source:
    """Returns a source of learned regions, of which agents choose only those near them.

    A region is near another if an agent was seen to enter it within `period` steps of being in the
    other, not long ago. All are near a new region, and it is near all, until that has faded.
    Without this, an agent is mostly sent to regions that it cannot reach before its option ends.

    Args:
      source: from `learned_regions`.
      number: G.
      period: c, most steps of an option.

    Source: our construction. Zhang et al. 2020, Generating adjacency-constrained subgoals in
    hierarchical reinforcement learning, also keep subgoals to what can be reached within c steps,
    by a learned distance between states; here it is a table over regions.
    """

    def init(key: Array) -> ReachState:
        return ReachState(source.init(key), jnp.ones((number, number)))

    def policy(state: ReachState) -> ReachPolicy:
        return ReachPolicy(source.policy(state.regions), state.trace)

    def bind(policy: ReachPolicy) -> NearRegions:
        regions: Regions = source.bind(policy.regions)
        fields = {f.name: getattr(regions, f.name) for f in dataclasses.fields(regions)}
        return NearRegions(**fields, trace=policy.trace)

    def learn(state: ReachState, local: Array) -> tuple[ReachState, dict[str, Array]]:
        regions, metrics = source.learn(state.regions, local)
        new = changed(state, state._replace(regions=regions))
        trace = jnp.where(new[:, None] | new, 1.0, state.trace)
        return ReachState(regions, trace), metrics

    def follow(state: ReachState, t: Transition) -> tuple[ReachState, dict[str, Array]]:
        layout = bind(policy(state))
        here, there = (
            layout.region_of(obs.local[..., : layout.obs_size]) for obs in (t.obs, t.next_obs)
        )
        taken = steps_until(there, t.done, number) <= period
        trace = faded(state.trace, here, taken)
        return state._replace(trace=trace), {"region_near": (trace > REACHABLE).mean()}

    def changed(before: ReachState, after: ReachState) -> Array:
        assert source.changed is not None
        return source.changed(before.regions, after.regions)

    return Source(init, policy, bind, learn, changed, follow)


def steps_until(there: Array, done: Array, number: int) -> Array:
    """Returns the steps until each region is entered in the same episode, f32 [T, B, N, G].

    1 if the step itself enters it; infinite if it is not entered before the rollout ends.

    Args:
      there: int32 [T, B, N], the region of each agent after the step.
      done: bool [T, B], the episode ended with the step.
      number: G.
    """

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        there, done = step
        entered = jax.nn.one_hot(there, number, dtype=bool)
        later = jnp.where(done[:, None, None], jnp.inf, later)
        until = jnp.where(entered, 1.0, 1.0 + later)
        return until, until

    start = jnp.full((*there.shape[1:], number), jnp.inf)
    return jax.lax.scan(back, start, (there, done), reverse=True)[1]


def faded(trace: Array, here: Array, taken: Array) -> Array:
    """Returns the traces after a rollout, f32 [G, G]: 1 for ways that were taken in it.

    Those of other ways fade, where somebody was at their start.

    Args:
      trace: f32 [G, G].
      here: int32 [...], the region that an agent was in.
      taken: bool [..., G], the regions that it entered from there within a period.
    """
    rows = taken.reshape(-1, len(trace)).astype(trace.dtype)
    here = here.reshape(-1)
    fresh = jnp.zeros_like(trace).at[here].max(rows)
    visited = jnp.zeros(len(trace), bool).at[here].set(True)
    kept = jnp.where(visited[:, None], (1.0 - FADING) * trace, trace)
    return jnp.maximum(fresh, kept)
