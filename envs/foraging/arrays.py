"""Rules and views of foraging as array operations over agents and foods, for many of them.

They compute the same as `unrolled`, which is faster for few agents and foods but whose programs
grow with the square of their number; these hardly grow. Tables are `[F, N]`, foods by agents: sums
over foods then add whole rows of agents.
"""

from __future__ import annotations

import dataclasses

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
from marlx.types import Array, Observation
from marlx.xla.materialise import materialise

NO_SIDE = 4
"""Code of a food that is not next to the agent; 0 to 3 are north, south, west, east."""


def step(
    env: ForagingSettings, state: ForagingState, action: Array
) -> tuple[ForagingState, Array, Array]:
    """Returns the next state, rewards f32 [N] and whether no food is left; all move, then load."""
    agents, foods = _entities(state)
    side = materialise(_sides(agents, foods), state.time)
    reach = (action == LOAD) & (side < NO_SIDE)
    faces = reach & (side == side.min(0))
    reward, eaten = _load(env, state, reach, faces)
    row, col = target_cell(env, agents, _adjacent(side), action)
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


def _load(
    env: ForagingSettings, state: ForagingState, reach: Array, faces: Array
) -> tuple[Array, Array]:
    """Returns rewards f32 [N] and the foods eaten, bool [F].

    Each round resolves the food that the first remaining agent faces, and every food whose loading
    agents are next to no other food: their result does not depend on the order. One round is enough
    unless an agent is next to two foods.

    Args:
      env: the settings.
      state: before the step.
      reach: bool [F, N], the foods that a loading agent is next to.
      faces: bool [F, N], the one of them that the agent faces.
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


def observe(env: ForagingSettings, state: ForagingState) -> Observation:
    """Returns local views, legal actions and the whole board."""
    agents, foods = _entities(state)
    adjacent = materialise(_adjacent(_sides(agents, foods)), state.time)
    if env.observation == "grid":
        local = grid_views(env, state)
    elif env.view < max(env.size) - 1:
        local = _windows(env, agents, foods, state.time)
    else:
        local = _whole_board(env, agents, foods, state.time)
    return Observation(
        local=local,
        action_mask=legal_actions(env, agents, adjacent),
        global_state=jnp.concatenate([_flat(foods, 3), _flat(agents, 3)]),
    )


def beside(env: ForagingSettings, state: ForagingState) -> Array:
    """Returns bool [N, F], whether an agent is next to the f-th food of its list."""
    agents, foods = _entities(state)
    seen = _seen(env, agents, foods)
    beside = (_sides(agents, foods) < NO_SIDE) & seen
    place = jnp.cumsum(seen, 0) - 1
    here = place[:, :, None] == jnp.arange(env.num_food)
    return (here & beside[:, :, None]).any(0)


def visible(env: ForagingSettings, state: ForagingState) -> Array:
    """Returns int32 [N], the number of foods that each agent sees."""
    return _seen(env, *_entities(state)).sum(0)


def _entities(state: ForagingState) -> tuple[Entity, Entity]:
    """Returns the agents [N] and foods [F] of a state."""
    (agent_row, agent_col), (food_row, food_col) = state.agent_pos.T, state.food_pos.T
    agents = Entity(agent_row, agent_col, state.agent_level)
    return agents, Entity(food_row, food_col, state.food_level)


def _column(entities: Entity) -> Entity:
    return Entity(entities.row[:, None], entities.col[:, None], entities.level[:, None])


def _sides(agents: Entity, foods: Entity) -> Array:
    """Returns int32 [F, N], the side of an agent on which a food is; NO_SIDE for an empty slot."""
    down, right = foods.row[:, None] - agents.row, foods.col[:, None] - agents.col
    upright = jnp.where(down == -1, 0, jnp.where(down == 1, 1, NO_SIDE))
    level = jnp.where(right == -1, 2, jnp.where(right == 1, 3, NO_SIDE))
    return jnp.where(right == 0, upright, jnp.where(down == 0, level, NO_SIDE))


def _adjacent(side: Array) -> AdjacentFoods:
    """Returns int32 [N] each, 1 where there is a food on that side of an agent."""
    return AdjacentFoods(*((side == k).any(0).astype(jnp.int32) for k in range(NO_SIDE)))


def _seen(env: ForagingSettings, agents: Entity, foods: Entity) -> Array:
    return sees(env, agents, _column(foods))  # [F, N]


def _whole_board(env: ForagingSettings, agents: Entity, foods: Entity, time: Array) -> Array:
    """Returns f32 [N, 3 F + 3 N] (2 N without levels), views of the whole board.

    This is the largest array of a step with many agents, so it is written once, by one selection:
    foods, the agent itself, the agents before it (one place further back), the agents after it.
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


def _windows(env: ForagingSettings, agents: Entity, foods: Entity, time: Array) -> Array:
    """Returns f32 [N, 3 F + 3 N] (2 N without levels), views of the cells within sight."""
    top, left = jnp.maximum(agents.row - env.view, 0), jnp.maximum(agents.col - env.view, 0)

    def within(entities: Entity) -> Entity:
        """Returns entities [K] in the coordinates of each agent's window, [N, K]."""
        row, col = entities.row - top[:, None], entities.col - left[:, None]
        return Entity(row, col, jnp.broadcast_to(entities.level, row.shape))

    others, most = within(agents), 2 * env.view
    # Not the same window as for foods: near the north and west border agents are seen further.
    visible = (others.row >= 0) & (others.row <= most) & (others.col >= 0) & (others.col <= most)
    visible &= ~jnp.eye(env.num_agents, dtype=bool)

    def listed(entities: Entity, keep: Array) -> Entity:
        return decode(materialise(jax.vmap(_packed)(encode(entities), keep), time))

    foods = listed(within(foods), _seen(env, agents, foods).T)
    own = Entity(agents.row - top, agents.col - left, agents.level)
    shown = 3 if env.observe_levels else 2
    # The last place is left empty by the agent itself.
    seen = Entity(*(numbers[:, :-1] for numbers in listed(others, visible)))
    rows = [_flat(foods, 3), _flat(_column(own), shown), _flat(seen, shown)]
    return jnp.concatenate(rows, axis=1)


def _flat(entities: Entity, shown: int) -> Array:
    """Returns f32 [..., K * shown], the first `shown` numbers of entities `[..., K]` in a row."""
    numbers = jnp.stack(entities[:shown], axis=-1).astype(jnp.float32)
    return numbers.reshape(*numbers.shape[:-2], -1)


def _packed(codes: Array, keep: Array) -> Array:
    """Returns the codes `[K]` to keep, in their order, then EMPTY."""
    place = jnp.where(keep, jnp.cumsum(keep) - 1, keep.size)
    return jnp.full_like(codes, EMPTY).at[place].set(codes, mode="drop")
