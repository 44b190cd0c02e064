"""Rules and views of foraging unrolled over agents and foods, for few of them.

Every variable is a scalar. Under `vmap` each becomes one contiguous `[B]` vector, which is what
makes thousands of episodes fast on a CPU. The program grows with the square of the number of agents
and foods; `arrays` computes the same for many.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from marlx.envs.foraging.cells import EMPTY, decode, encode
from marlx.envs.foraging.settings import ForagingSettings
from marlx.envs.foraging.state import (
    LOAD,
    AdjacentFoods,
    Entity,
    ForagingState,
    legal_actions,
    target_cell,
)
from marlx.envs.foraging.views import grid_views, sees
from marlx.types import Array, Observation, Tree
from marlx.xla.materialise import call_materialised, materialise

MATERIALISE_ABOVE = 3
"""Number of values above which computing them once is cheaper than at each use."""


def step(
    env: ForagingSettings, state: ForagingState, action: Array
) -> tuple[ForagingState, Array, Array]:
    """Returns the next state, rewards f32 [N] and whether no food is left; all move, then load."""
    agents, foods = _entities(state)
    actions = jnp.unstack(action)
    adjacent = call_materialised(_all_adjacent, state.time, agents, foods)
    loading = [act == LOAD for act in actions]
    load = functools.partial(_load, env)
    rewards, eaten = call_materialised(load, state.time, agents, foods, adjacent, loading, state)
    after = functools.partial(_after, env)
    places, codes = call_materialised(
        after, state.time, agents, foods, adjacent, actions, eaten, state.time
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
        ended = dataclasses.replace(ended, tried=_tried(env, agents, foods, adjacent, loading))
    return ended, jnp.stack(rewards), left[0].level == 0


def _tried(
    env: ForagingSettings,
    agents: list[Entity],
    foods: list[Entity],
    adjacent: list[AdjacentFoods],
    loading: list[Array],
) -> Array:
    """Returns int32 [N], the place in the agent's list of the food that it loads; -1 for none."""
    tried = []
    for me, faces, loads in zip(agents, adjacent, loading, strict=True):
        which, place = jnp.int32(-1), jnp.int32(0)
        for f, food in enumerate(foods):
            which = jnp.where(loads & (faces.first & 1 << f > 0), place, which)
            place = place + sees(env, me, food)
        tried.append(which)
    return jnp.stack(tried)


def _after(
    env: ForagingSettings,
    agents: list[Entity],
    foods: list[Entity],
    adjacent: list[AdjacentFoods],
    actions: list[Array],
    eaten: Array,
    time: Array,
) -> tuple[list[tuple[Array, Array]], list[Array]]:
    """Returns (row, column) of the agents after their moves, and codes of the remaining foods."""
    keep = [(food.level > 0) & (eaten & 1 << f == 0) for f, food in enumerate(foods)]
    return _move(env, agents, actions, adjacent, time), _pack(foods, keep, time)


def _move(
    env: ForagingSettings,
    agents: list[Entity],
    actions: Sequence[Array],
    adjacent: list[AdjacentFoods],
    time: Array,
) -> list[tuple[Array, Array]]:
    """Returns rows and columns after all moved at once; agents may swap cells."""
    cells = []
    for agent, act, food in zip(agents, actions, adjacent, strict=True):
        row, col = target_cell(env, agent, food, act)
        cells.append((row, col, row * env.size[1] + col))
    if len(agents) > MATERIALISE_ABOVE:
        cells = materialise(cells, time)
    moved = []
    for i, (agent, (row, col, cell)) in enumerate(zip(agents, cells, strict=True)):
        others = [cell == other for j, (_, _, other) in enumerate(cells) if j != i]
        refused = functools.reduce(jnp.logical_or, others, jnp.bool_(False))
        row, col = jnp.where(refused, agent.row, row), jnp.where(refused, agent.col, col)
        moved.append((row, col))
    return moved


def _load(
    env: ForagingSettings,
    agents: list[Entity],
    foods: list[Entity],
    adjacent: list[AdjacentFoods],
    loading: list[Array],
    state: ForagingState,
) -> tuple[list[Array], Array]:
    """Returns a reward f32 [] for each agent, and the foods eaten as bits of an int32 [].

    The first agent that loads is joined by all that load next to the food it faces (the first to
    its north, south, west, east); then the first of the remaining agents, and so on.
    """
    rewards = [jnp.float32(0)] * len(agents)
    eaten = jnp.int32(0)
    reach = [jnp.where(load, n.any, 0) for load, n in zip(loading, adjacent, strict=True)]
    for i, faces in enumerate(adjacent):
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
        if len(agents) > MATERIALISE_ABOVE:
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


def observe(env: ForagingSettings, state: ForagingState) -> Observation:
    """Returns local views, legal actions and the whole board."""
    agents, foods = _entities(state)
    adjacent = call_materialised(_all_adjacent, state.time, agents, foods)
    return Observation(
        local=_local(env, state, agents, foods),
        action_mask=jnp.stack(
            [legal_actions(env, *pair) for pair in zip(agents, adjacent, strict=True)]
        ),
        global_state=_flat([*foods, *agents]),
    )


def _local(
    env: ForagingSettings, state: ForagingState, agents: list[Entity], foods: list[Entity]
) -> Array:
    """Returns f32 [N, O], the view of each agent."""
    if env.observation == "grid":
        return grid_views(env, state)
    if env.view < max(env.size) - 1:
        see = functools.partial(_window, env, agents, foods, state.time)
        row, col = state.agent_pos.T
        return jax.vmap(see)(jnp.arange(len(agents)), Entity(row, col, state.agent_level))
    shown = 3 if env.observe_levels else 2
    own = [agent[:shown] for agent in agents]
    return jnp.stack([_flat([*foods, own[i], *own[:i], *own[i + 1 :]]) for i in range(len(own))])


def _window(
    env: ForagingSettings,
    agents: list[Entity],
    foods: list[Entity],
    time: Array,
    i: Array,
    me: Entity,
) -> Array:
    """Returns f32 [3 F + 3 N] (2 N without levels), agent `i`'s view of the cells within sight."""
    sight = env.view
    top, left = jnp.maximum(me.row - sight, 0), jnp.maximum(me.col - sight, 0)

    def shifted(entity: Entity) -> Entity:
        return Entity(entity.row - top, entity.col - left, entity.level)

    visible = [sees(env, me, food) for food in foods]
    # Not the same window as for foods: near the north and west border agents are seen further.
    others = [shifted(agent) for agent in agents]
    seen = [
        (i != j) & (a.row >= 0) & (a.row <= 2 * sight) & (a.col >= 0) & (a.col <= 2 * sight)
        for j, a in enumerate(others)
    ]
    foods = _packed([shifted(food) for food in foods], visible, time)
    others = _packed(others, seen, time)[:-1]  # without the agent itself
    shown = 3 if env.observe_levels else 2
    return _flat([*foods, *[agent[:shown] for agent in (shifted(me), *others)]])


def beside(env: ForagingSettings, state: ForagingState) -> Array:
    """Returns bool [N, F], whether an agent is next to the f-th food of its list."""
    agents, foods = _entities(state)
    tables = []
    for me in agents:
        around = _adjacent_foods(me, foods).any
        table, place = [jnp.bool_(False)] * len(foods), jnp.int32(0)
        for f, food in enumerate(foods):
            seen = sees(env, me, food)
            stands = seen & (around & 1 << f > 0)
            for k in range(f + 1):
                table[k] |= stands & (place == k)
            place = place + seen
        tables.append(jnp.stack(table))
    return jnp.stack(tables)


def visible(env: ForagingSettings, state: ForagingState) -> Array:
    """Returns int32 [N], the number of foods that each agent sees."""
    agents, foods = _entities(state)
    return jnp.stack(
        [sum((sees(env, me, food) for food in foods), start=jnp.int32(0)) for me in agents]
    )


def _entities(state: ForagingState) -> tuple[list[Entity], list[Entity]]:
    """Returns the agents and foods of a state, in scalars."""

    def split(pos: Array, level: Array) -> list[Entity]:
        numbers = jnp.unstack(pos.reshape(pos.size))
        return list(map(Entity, numbers[::2], numbers[1::2], jnp.unstack(level)))

    return split(state.agent_pos, state.agent_level), split(state.food_pos, state.food_level)


def _positions(places: list[tuple[Array, Array]]) -> Array:
    """Returns int32 [K, 2] from (row, column) pairs of scalars."""
    return jnp.stack([number for place in places for number in place]).reshape(len(places), 2)


def _all_adjacent(agents: list[Entity], foods: list[Entity]) -> list[AdjacentFoods]:
    return [_adjacent_foods(agent, foods) for agent in agents]


def _adjacent_foods(agent: Entity, foods: list[Entity]) -> AdjacentFoods:
    """Returns the foods around an agent; an empty slot at (-1, -1) is next to no cell."""
    north = south = west = east = jnp.int32(0)
    for f, food in enumerate(foods):
        down, right = food.row - agent.row, food.col - agent.col
        above, beside = right == 0, down == 0
        north = north | jnp.where((down == -1) & above, 1 << f, 0)
        south = south | jnp.where((down == 1) & above, 1 << f, 0)
        west = west | jnp.where((right == -1) & beside, 1 << f, 0)
        east = east | jnp.where((right == 1) & beside, 1 << f, 0)
    return AdjacentFoods(north, south, west, east)


def _packed(entities: list[Entity], keep: list[Array], time: Array) -> list[Entity]:
    """Returns the entities to keep, in their order, then empty slots."""
    return [decode(code) for code in _settle_if_many(_pack(entities, keep, time), time)]


def _pack(entities: list[Entity], keep: list[Array], time: Array) -> list[Array]:
    """Returns codes of the entities to keep, in their order, then EMPTY for the rest."""
    places, count = [], jnp.int32(0)
    for kept in keep:
        places.append(jnp.where(kept, count, -1))
        count = count + kept
    places = _settle_if_many(places, time)
    slots = [jnp.int32(EMPTY)] * len(entities)
    for i, (entity, place) in enumerate(zip(entities, places, strict=True)):
        code = encode(entity)
        for k in range(i + 1):
            slots[k] = jnp.where(place == k, code, slots[k])
    return slots


def _settle_if_many(tree: Tree, time: Array) -> Tree:
    """Returns `tree`, materialised if it has more than `MATERIALISE_ABOVE` leaves."""
    return materialise(tree, time) if len(jax.tree.leaves(tree)) > MATERIALISE_ABOVE else tree


def _flat(entities: Sequence[Sequence[Array]]) -> Array:
    """Returns f32 [numbers], those of all entities in a row."""
    return jnp.stack([number for entity in entities for number in entity]).astype(jnp.float32)
