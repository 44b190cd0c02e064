"""Steps and views written out in single numbers, agent by agent and food by food, for few of them.

Under `vmap` each number becomes one contiguous `[B]` vector, which is what makes thousands of
episodes cheap on a CPU. The program grows with the square of the number of agents and foods:
`arrays` has the same for many.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
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
from marlx.types import Array, Observation, Tree
from marlx.xla.materialise import call_materialised, materialise

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging

MANY = 3
"""Agents or foods from which on repeated work costs more than keeping it from being repeated."""


def step(env: Foraging, state: ForagingState, action: Array) -> tuple[ForagingState, Array, Array]:
    """The state after all moved and then loaded, rewards f32 [N], and whether no food is left."""
    agents, foods = _things(state)
    actions = jnp.unstack(action)
    near = call_materialised(_near_all, state.time, agents, foods)
    loading = [act == LOAD for act in actions]
    load = functools.partial(_load, env)
    rewards, eaten = call_materialised(load, state.time, agents, foods, near, loading, state)
    after = functools.partial(_after, env)
    places, codes = call_materialised(
        after, state.time, agents, foods, near, actions, eaten, state.time
    )
    left = [decode(code) for code in codes]
    ended = dataclasses.replace(
        state,
        time=state.time + 1,
        agent_pos=_positions(places),
        food_pos=_positions([(food.row, food.col) for food in left]),
        food_level=jnp.stack([food.level for food in left]),
    )
    if env.subgoal_kind == "load":
        ended = dataclasses.replace(ended, tried=_tried(env, agents, foods, near, loading))
    return ended, jnp.stack(rewards), left[0].level == 0


def _tried(
    env: Foraging, agents: list[Thing], foods: list[Thing], near: list[Near], loading: list[Array]
) -> Array:
    """int32 [N], the place in the agent's list of the food that it loads, -1 for none."""
    tried = []
    for me, faces, loads in zip(agents, near, loading, strict=True):
        which, place = jnp.int32(-1), jnp.int32(0)
        for f, food in enumerate(foods):
            which = jnp.where(loads & (faces.first & 1 << f > 0), place, which)
            place = place + sees(env, me, food)
        tried.append(which)
    return jnp.stack(tried)


def _after(
    env: Foraging,
    agents: list[Thing],
    foods: list[Thing],
    near: list[Near],
    actions: list[Array],
    eaten: Array,
    time: Array,
) -> tuple[list[tuple[Array, Array]], list[Array]]:
    """(row, column) of agents after their moves, and codes of the foods that are left."""
    keep = [(food.level > 0) & (eaten & 1 << f == 0) for f, food in enumerate(foods)]
    return _move(env, agents, actions, near, time), _pack(foods, keep, time)


def _move(
    env: Foraging, agents: list[Thing], actions: Sequence[Array], near: list[Near], time: Array
) -> list[tuple[Array, Array]]:
    """Rows and columns after all moved, in one pass: agents may swap, or end in one cell."""
    cells = []
    for agent, act, food in zip(agents, actions, near, strict=True):
        row, col = wanted(env, agent, food, act)
        cells.append((row, col, row * env.size[1] + col))
    if len(agents) > MANY:
        cells = materialise(cells, time)
    moved = []
    for i, (agent, (row, col, cell)) in enumerate(zip(agents, cells, strict=True)):
        others = [cell == other for j, (_, _, other) in enumerate(cells) if j != i]
        refused = functools.reduce(jnp.logical_or, others, jnp.bool_(False))
        row, col = jnp.where(refused, agent.row, row), jnp.where(refused, agent.col, col)
        moved.append((row, col))
    return moved


def _load(
    env: Foraging,
    agents: list[Thing],
    foods: list[Thing],
    near: list[Near],
    loading: list[Array],
    state: ForagingState,
) -> tuple[list[Array], Array]:
    """Rewards f32 [] per agent, and the foods eaten as bits of an int32 [].

    The first agent that loads takes everyone with it who loads next to the food it faces (the
    first to its north, south, west, east); then the first of those that remain, and so on.
    """
    rewards = [jnp.float32(0)] * len(agents)
    eaten = jnp.int32(0)
    reach = [jnp.where(load, n.any, 0) for load, n in zip(loading, near, strict=True)]
    for i, faces in enumerate(near):
        facing = jnp.where(reach[i] > 0, faces.first, 0)
        need = sum(
            (jnp.where(facing & 1 << f > 0, food.level, 0) for f, food in enumerate(foods)),
            start=jnp.int32(0),
        )
        # Agents before this one have either loaded already or do not load.
        joins = {j: reach[j] & facing > 0 for j in range(i, len(agents))}
        total = sum(
            (jnp.where(join, agents[j].level, 0) for j, join in joins.items()),
            start=jnp.int32(0),
        )
        if len(agents) > MANY:
            facing, need, total = materialise((facing, need, total), state.time)
            joins = {j: reach[j] & facing > 0 for j in joins}
        lifted = total >= need
        share = need.astype(jnp.float32)
        if env.normalize_reward:
            share = share / jnp.maximum(total * state.food_spawned, 1)
        for j, join in joins.items():
            reward = jnp.where(lifted, agents[j].level * share, -env.penalty)
            rewards[j] = jnp.where(join, reward, rewards[j])
            reach[j] = jnp.where(join, 0, reach[j])
        eaten = eaten | jnp.where(lifted, facing, 0)
    return rewards, eaten


def observe(env: Foraging, state: ForagingState) -> Observation:
    """What each agent sees, its legal actions, and the whole board."""
    agents, foods = _things(state)
    near = call_materialised(_near_all, state.time, agents, foods)
    return Observation(
        local=_local(env, state, agents, foods),
        action_mask=jnp.stack(
            [legal_actions(env, *pair) for pair in zip(agents, near, strict=True)]
        ),
        global_state=_flat([*foods, *agents]),
    )


def _local(env: Foraging, state: ForagingState, agents: list[Thing], foods: list[Thing]) -> Array:
    """f32 [N, O], what each agent sees."""
    if env.observation == "grid":
        return grid_views(env, state)
    if env.view < max(env.size) - 1:
        see = functools.partial(_window, env, agents, foods, state.time)
        row, col = state.agent_pos.T
        return jax.vmap(see)(jnp.arange(len(agents)), Thing(row, col, state.agent_level))
    shown = 3 if env.observe_levels else 2
    own = [agent[:shown] for agent in agents]
    return jnp.stack([_flat([*foods, own[i], *own[:i], *own[i + 1 :]]) for i in range(len(own))])


def _window(
    env: Foraging, agents: list[Thing], foods: list[Thing], time: Array, i: Array, me: Thing
) -> Array:
    """f32 [3 F + 3 N] (2 N without levels), what agent `i` sees of a part of the board."""
    sight = env.view
    top, left = jnp.maximum(me.row - sight, 0), jnp.maximum(me.col - sight, 0)

    def shifted(thing: Thing) -> Thing:
        return Thing(thing.row - top, thing.col - left, thing.level)

    near = [sees(env, me, food) for food in foods]
    # Not the same window: near the north and west border agents are seen further.
    others = [shifted(agent) for agent in agents]
    seen = [
        (i != j) & (a.row >= 0) & (a.row <= 2 * sight) & (a.col >= 0) & (a.col <= 2 * sight)
        for j, a in enumerate(others)
    ]
    foods = _packed([shifted(food) for food in foods], near, time)
    others = _packed(others, seen, time)[:-1]  # without the agent itself
    shown = 3 if env.observe_levels else 2
    return _flat([*foods, *[agent[:shown] for agent in (shifted(me), *others)]])


def beside(env: Foraging, state: ForagingState) -> Array:
    """Bool [N, F], whether an agent stands next to the food that is f-th in its list."""
    agents, foods = _things(state)
    tables = []
    for me in agents:
        around = _near_foods(me, foods).any
        table, place = [jnp.bool_(False)] * len(foods), jnp.int32(0)
        for f, food in enumerate(foods):
            seen = sees(env, me, food)
            stands = seen & (around & 1 << f > 0)
            for k in range(f + 1):
                table[k] |= stands & (place == k)
            place = place + seen
        tables.append(jnp.stack(table))
    return jnp.stack(tables)


def visible(env: Foraging, state: ForagingState) -> Array:
    """int32 [N], how many foods an agent sees."""
    agents, foods = _things(state)
    return jnp.stack(
        [sum((sees(env, me, food) for food in foods), start=jnp.int32(0)) for me in agents]
    )


def _things(state: ForagingState) -> tuple[list[Thing], list[Thing]]:
    """The agents and foods of a state as single numbers."""

    def split(pos: Array, level: Array) -> list[Thing]:
        numbers = jnp.unstack(pos.reshape(pos.size))
        return list(map(Thing, numbers[::2], numbers[1::2], jnp.unstack(level)))

    return split(state.agent_pos, state.agent_level), split(state.food_pos, state.food_level)


def _positions(places: list[tuple[Array, Array]]) -> Array:
    """int32 [K, 2], the inverse of what `_things` does to positions."""
    return jnp.stack([number for place in places for number in place]).reshape(len(places), 2)


def _near_all(agents: list[Thing], foods: list[Thing]) -> list[Near]:
    return [_near_foods(agent, foods) for agent in agents]


def _near_foods(agent: Thing, foods: list[Thing]) -> Near:
    """Where there is food around an agent; an empty slot at (-1, -1) is next to no cell."""
    north = south = west = east = jnp.int32(0)
    for f, food in enumerate(foods):
        down, right = food.row - agent.row, food.col - agent.col
        above, beside = right == 0, down == 0
        north = north | jnp.where((down == -1) & above, 1 << f, 0)
        south = south | jnp.where((down == 1) & above, 1 << f, 0)
        west = west | jnp.where((right == -1) & beside, 1 << f, 0)
        east = east | jnp.where((right == 1) & beside, 1 << f, 0)
    return Near(north, south, west, east)


def _packed(things: list[Thing], keep: list[Array], time: Array) -> list[Thing]:
    return [decode(code) for code in _settle_many(_pack(things, keep, time), time)]


def _pack(things: list[Thing], keep: list[Array], time: Array) -> list[Array]:
    """Codes of the things to keep in their order, then EMPTY up to as many as there were."""
    places, count = [], jnp.int32(0)
    for kept in keep:
        places.append(jnp.where(kept, count, -1))
        count = count + kept
    places = _settle_many(places, time)
    slots = [jnp.int32(EMPTY)] * len(things)
    for i, (thing, place) in enumerate(zip(things, places, strict=True)):
        code = encode(thing)
        for k in range(i + 1):
            slots[k] = jnp.where(place == k, code, slots[k])
    return slots


def _settle_many(tree: Tree, time: Array) -> Tree:
    """`settle`, unless there is so little that it is not worth it."""
    return materialise(tree, time) if len(jax.tree.leaves(tree)) > MANY else tree


def _flat(things: Sequence[Sequence[Array]]) -> Array:
    """f32 [numbers], those of all things in a row."""
    return jnp.stack([number for thing in things for number in thing]).astype(jnp.float32)
