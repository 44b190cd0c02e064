"""Steps and views as arrays over agents and foods, for many of either.

The same as `unrolled`, which is faster with few, but whose programs grow with the square of their
number; these hardly grow. Tables of foods and agents are `[F, N]`: sums over foods then add whole
rows of agents.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from marlx.envs.foraging.things import (
    EMPTY,
    LOAD,
    ForagingState,
    Near,
    Thing,
    decode,
    encode,
    legal_actions,
    wanted,
)
from marlx.envs.foraging.views import grid_views, sees
from marlx.types import Array, Observation
from marlx.xla.materialise import materialise

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging

APART = 4
"""The side of a food that is next to no side of an agent; 0 to 3 are north, south, west, east."""


def step(env: Foraging, state: ForagingState, action: Array) -> tuple[ForagingState, Array, Array]:
    """The state after all moved and then loaded, rewards f32 [N], and whether no food is left."""
    agents, foods = _things(state)
    side = materialise(_sides(agents, foods), state.time)
    reach = (action == LOAD) & (side < APART)
    faces = reach & (side == side.min(0))
    reward, eaten = _load(env, state, reach, faces)
    row, col = wanted(env, agents, _near(side), action)
    row, col = materialise((row, col), state.time)
    alone = ((row[:, None] == row) & (col[:, None] == col)).sum(0) == 1
    left = decode(_packed(encode(foods), (foods.level > 0) & ~eaten))
    state = dataclasses.replace(
        state,
        time=state.time + 1,
        agent_pos=jnp.where(alone[:, None], jnp.stack([row, col], 1), state.agent_pos),
        food_pos=jnp.stack([left.row, left.col], 1),
        food_level=left.level,
    )
    if env.subgoal_kind == "load":
        place = jnp.cumsum(_seen(env, agents, foods), 0)  # of each food in the agent's list, from 1
        state = dataclasses.replace(state, tried=jnp.where(faces, place, 0).sum(0) - 1)
    return state, reward, left.level[0] == 0


def _load(env: Foraging, state: ForagingState, reach: Array, faces: Array) -> tuple[Array, Array]:
    """Rewards f32 [N], and the foods eaten, bool [F].

    Each round is that of the first agent that still loads, and of all foods that no agent loads
    together with another food: what becomes of these does not depend on any order. No one is left
    after it but on boards where an agent is next to two foods.

    Args:
      env: the settings.
      state: before the step.
      reach: bool [F, N], which foods an agent that loads is next to.
      faces: bool [F, N], the one of them that it calls the others to.
    """
    numbers = jnp.arange(env.num_agents)

    def one_round(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        reach, reward, eaten = carry
        first = jnp.where(reach.any(0), numbers, env.num_agents).min()
        called = (faces & (numbers == first)).any(1)
        alone = reach.any(1) & ~(reach & (reach.sum(0) > 1)).any(1)
        joins = reach & (called | alone)[:, None]
        total = jnp.where(joins, state.agent_level, 0).sum(1)
        lifted = total >= state.food_level
        share = state.food_level.astype(jnp.float32)
        if env.normalize_reward:
            share = share / jnp.maximum(total * state.food_spawned, 1)
        lifted, share = materialise((lifted, share), state.time)
        each = jnp.where(lifted[:, None], state.agent_level * share[:, None], -env.penalty)
        reward += jnp.where(joins, each, 0).sum(0)  # one food for an agent, and zeros
        return reach & ~joins.any(0), reward, eaten | joins.any(1) & lifted

    start = reach, jnp.zeros(env.num_agents, jnp.float32), jnp.zeros(env.num_food, bool)
    _, reward, eaten = jax.lax.while_loop(lambda carry: carry[0].any(), one_round, start)
    return reward, eaten


def observe(env: Foraging, state: ForagingState) -> Observation:
    """What each agent sees, its legal actions, and the whole board."""
    agents, foods = _things(state)
    near = materialise(_near(_sides(agents, foods)), state.time)
    if env.observation == "grid":
        local = grid_views(env, state)
    elif env.view < max(env.size) - 1:
        local = _windows(env, agents, foods, state.time)
    else:
        local = _whole_board(env, agents, foods, state.time)
    return Observation(
        local=local,
        action_mask=legal_actions(env, agents, near),
        global_state=jnp.concatenate([_flat(foods, 3), _flat(agents, 3)]),
    )


def beside(env: Foraging, state: ForagingState) -> Array:
    """Bool [N, F], whether an agent stands next to the food that is f-th in its list."""
    agents, foods = _things(state)
    seen = _seen(env, agents, foods)
    near = (_sides(agents, foods) < APART) & seen
    place = jnp.cumsum(seen, 0) - 1
    here = place[:, :, None] == jnp.arange(env.num_food)
    return (here & near[:, :, None]).any(0)


def visible(env: Foraging, state: ForagingState) -> Array:
    """int32 [N], how many foods an agent sees."""
    return _seen(env, *_things(state)).sum(0)


def _things(state: ForagingState) -> tuple[Thing, Thing]:
    """The agents [N] and foods [F] of a state."""
    (agent_row, agent_col), (food_row, food_col) = state.agent_pos.T, state.food_pos.T
    agents = Thing(agent_row, agent_col, state.agent_level)
    return agents, Thing(food_row, food_col, state.food_level)


def _column(things: Thing) -> Thing:
    return Thing(things.row[:, None], things.col[:, None], things.level[:, None])


def _sides(agents: Thing, foods: Thing) -> Array:
    """int32 [F, N], on which side of an agent a food is; an empty slot at (-1, -1) is APART."""
    down, right = foods.row[:, None] - agents.row, foods.col[:, None] - agents.col
    upright = jnp.where(down == -1, 0, jnp.where(down == 1, 1, APART))
    level = jnp.where(right == -1, 2, jnp.where(right == 1, 3, APART))
    return jnp.where(right == 0, upright, jnp.where(down == 0, level, APART))


def _near(side: Array) -> Near:
    """On which sides of an agent there is food, int32 [N] each."""
    return Near(*((side == k).any(0).astype(jnp.int32) for k in range(APART)))


def _seen(env: Foraging, agents: Thing, foods: Thing) -> Array:
    return sees(env, agents, _column(foods))  # [F, N]


def _whole_board(env: Foraging, agents: Thing, foods: Thing, time: Array) -> Array:
    """f32 [N, 3 F + 3 N] (2 N without levels), what agents see who see all.

    The largest thing that many agents compute, so it is written once, by one selection: foods, the
    agent itself, those before it, which stand one place further back, and those after it.
    """
    shown = 3 if env.observe_levels else 2
    food, team = _flat(foods, 3), _flat(agents, shown)
    after = jnp.concatenate([food, team])
    before = jnp.concatenate([food, team[:shown], team[:-shown]])
    before, after = materialise((before, after), time)
    own = jnp.pad(team.reshape(-1, shown), ((0, 0), (food.size, team.size - shown)))
    place, first = jnp.arange(after.size), food.size + shown  # of the others' numbers
    is_before = place < first + shown * jnp.arange(env.num_agents)[:, None]
    is_own = (place >= food.size) & (place < first)
    return jnp.where(is_own, own, jnp.where(is_before, before, after))


def _windows(env: Foraging, agents: Thing, foods: Thing, time: Array) -> Array:
    """f32 [N, 3 F + 3 N] (2 N without levels), what agents see of a part of the board."""
    top, left = jnp.maximum(agents.row - env.view, 0), jnp.maximum(agents.col - env.view, 0)

    def within(things: Thing) -> Thing:
        """Things [K] as each agent counts their cells, [N, K]."""
        row, col = things.row - top[:, None], things.col - left[:, None]
        return Thing(row, col, jnp.broadcast_to(things.level, row.shape))

    others, most = within(agents), 2 * env.view
    # Not the same window: near the north and west border agents are seen further.
    near = (others.row >= 0) & (others.row <= most) & (others.col >= 0) & (others.col <= most)
    near &= ~jnp.eye(env.num_agents, dtype=bool)

    def listed(things: Thing, keep: Array) -> Thing:
        return decode(materialise(jax.vmap(_packed)(encode(things), keep), time))

    foods = listed(within(foods), _seen(env, agents, foods).T)
    own = Thing(agents.row - top, agents.col - left, agents.level)
    shown = 3 if env.observe_levels else 2
    seen = Thing(*(numbers[:, :-1] for numbers in listed(others, near)))  # without the agent itself
    rows = [_flat(foods, 3), _flat(_column(own), shown), _flat(seen, shown)]
    return jnp.concatenate(rows, axis=1)


def _flat(things: Thing, shown: int) -> Array:
    """f32 [..., K * shown], the numbers of things `[..., K]` in a row."""
    numbers = jnp.stack(things[:shown], axis=-1).astype(jnp.float32)
    return numbers.reshape(*numbers.shape[:-2], -1)


def _packed(codes: Array, keep: Array) -> Array:
    """The codes `[K]` to keep in their order, then EMPTY."""
    place = jnp.where(keep, jnp.cumsum(keep) - 1, keep.size)
    return jnp.full_like(codes, EMPTY).at[place].set(codes, mode="drop")
