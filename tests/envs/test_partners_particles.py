"""Heuristic partners for particle worlds against their written rules."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs import partners
from marlx.envs.mpe.liam import LiamPredatorPrey, LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.mpe.tag import Tag
from marlx.envs.mpe.world import Particles
from marlx.envs.partners import with_partners
from marlx.loop.vector import vector_reset, vector_step
from marlx.types import Observation


def liams_choice(name: str, ways: np.ndarray) -> set[str]:
    """Directions that LIAM's rule may choose; `ways` [3, 2] to two predators and the prey."""

    def along(way: np.ndarray, tie: str) -> str:
        x, y = way
        axis = tie if abs(x) == abs(y) else "x" if abs(x) > abs(y) else "y"
        return ("+" if (x if axis == "x" else y) >= 0 else "-") + axis

    if name == "after_prey":
        return {along(ways[2], "y")}
    if name == "after_pred":
        return {along(ways[0], "x"), along(ways[1], "x")}
    if name == "after_agent_close":
        return {along(ways[np.argmin((ways**2).sum(1))], "x")}
    flat = ways.reshape(-1)
    most = int(np.argmax(np.abs(flat)))
    return {("+" if flat[most] >= 0 else "-") + "xy"[most % 2]}


@pytest.mark.parametrize("signs", ["mpe2", "openai"])
def test_predators_decide_as_liams(signs: Any) -> None:
    """Against the rules written out plainly, on random rows and on rows full of ties."""
    env = LiamPredatorPrey(action_signs=signs)
    pool = [partners.heuristics(env)[name] for name in partners.PREDATORS]
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4, 16)).astype(np.float32)
    rows[150:] = np.round(rows[150:])  # ties and zeros
    keys = jax.random.split(jax.random.key(0), (20, 300))
    mask = jnp.ones((4, 5), bool)

    @jax.jit
    def decide(rows: Any, keys: Any) -> Any:  # int32 [keys, rows, rules, 4]
        def one(rule: Any, row: Any, key: Any) -> Any:
            return pool[0].act(rule, (), Observation(row, mask, jnp.zeros(1)), key)[0]

        each = jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, 0))
        return jax.vmap(each, (None, None, 0))(jnp.arange(4), rows, keys)

    found = np.asarray(decide(rows, keys))
    order = {"mpe2": ("-x", "+x", "-y", "+y"), "openai": ("+x", "-x", "+y", "-y")}[signs]
    for r, row in enumerate(rows):
        for h, name in enumerate(partners.PREDATORS):
            for i in range(3):
                wanted = liams_choice(name, row[i, 8:14].reshape(3, 2))
                assert {order[a - 1] for a in found[:, r, h, i].tolist()} == wanted, (r, name, i)
    assert set(found[..., 3].ravel().tolist()) == {0, 1, 2, 3, 4}  # the prey does anything


@pytest.mark.parametrize(
    "env",
    [
        pytest.param(LiamPredatorPrey(), id="liam"),
        pytest.param(LiamPredatorPrey(action_signs="mpe2"), id="liam-mpe2", marks=pytest.mark.slow),
        pytest.param(Tag(), id="tag", marks=pytest.mark.slow),
        pytest.param(Tag(continuous_actions=True, num_obstacles=1), id="tag-continuous"),
    ],
)
def test_predators_come_closer_whatever_the_signs(env: Particles) -> None:
    pool = [partners.heuristics(env)[name] for name in ("after_prey", "random")]
    chase = with_partners(env, pool, ego=(3,))

    def distances(draw: int) -> Any:
        def episode(key: Any) -> Any:
            inner = env.reset_env(key, env.default_params)
            state = chase.make_state(inner, 0).replace(draw=jnp.int32(draw))
            stay = jnp.zeros((1, 5)) if env.continuous_actions else jnp.zeros(1, jnp.int32)

            def step(state: Any, key: Any) -> Any:
                state, *_ = chase.step_env(key, state, stay, env.default_params)
                pos = state.env_state.agent_pos
                return state, jnp.abs(pos[:3] - pos[3]).sum(-1).mean()

            return jax.lax.scan(step, state, jax.random.split(key, 25))[1]

        return jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 50)).mean(0)

    hunting, wandering = distances(0), distances(1)
    assert hunting[-5:].mean() < 0.5 * hunting[0]
    assert wandering[-5:].mean() > 2 * hunting[-5:].mean()


def test_prey_is_the_learner_where_there_are_predators() -> None:
    for id in ("mpe/liam_predator_prey", "mpe/simple_tag_v3"):
        env, params = marlx.make(f"partners/{id}")
        assert env.cast.ego == (3,) and env.cast.names == partners.PREDATORS
        assert [kind.size for kind in env.cast.kinds] == [4]
        assert env.spec(params).obs_size == 14 and env.spec(params).num_agents == 1
    hunters, _ = marlx.make("partners/mpe/simple_tag_v3", ego=(0, 1, 2), pool=("random",))
    assert hunters.spec().obs_size == 16
    for id in ("simple_world_comm_v3", "simple_adversary_v3", "simple_push_v3"):
        assert list(partners.heuristics(marlx.make(f"mpe/{id}")[0])) == ["random"]
    pack = LiamPredatorPrey()
    assert not partners.has_predators(Tag(num_good=2)) and partners.has_predators(pack)


def test_liams_teams_of_predators() -> None:
    """LIAM's ten teams, with the random partner standing in for its six trained policies."""
    env = LiamPredatorPrey()
    known = partners.heuristics(env)
    trained = [known["random"]._replace(name=f"trained{i}") for i in range(6)]
    pool = [*[known[name] for name in partners.PREDATORS], *trained]
    played = with_partners(env, pool, ego="prey", teams=partners.LIAM_TEAMS)
    assert len(set(played.cast.names)) == 10
    assert played.cast.names[2] == "after_pred + after_prey + after_agent_far"
    params = played.default_params
    start = vector_reset(played, params, jax.random.key(0), 200)[1]
    stay = jnp.zeros((200, 1), jnp.int32)
    step = jax.jit(functools.partial(vector_step, played, params))
    info = jax.tree.map(np.asarray, step(jax.random.key(1), start, stay)[5])
    assert set(info["partner"].tolist()) == set(range(10))
    hunts = 0
    order = ("+x", "-x", "+y", "-y")
    for draw, action, seen in zip(
        info["partner"], info["partner_action"], info["partner_observation"], strict=True
    ):
        for i, p in enumerate(partners.LIAM_TEAMS[draw]):
            if p < 4:  # a heuristic; which, the team says
                hunts += 1
                wanted = liams_choice(partners.PREDATORS[p], seen[i, 8:14].reshape(3, 2))
                assert order[action[i] - 1] in wanted
    assert hunts > 200


@pytest.mark.parametrize("settings", [{}, {"action_signs": "openai"}], ids=str)
def test_spread_by_rules(settings: dict[str, Any]) -> None:
    """Everyone ends where the rule says, and rests there."""
    env = Spread(**settings)
    pool = partners.heuristics(env)
    assert list(pool) == ["nearest", "assigned", "stay", "reversed", "random"]

    def episode(rule: Any, key: Any) -> Any:
        state = env.reset_env(key, env.default_params)

        def step(state: Any, _: Any) -> Any:
            obs = env.observe(state, env.default_params)
            action, _ = pool["nearest"].act(rule, (), obs, key)
            return env.step_env(key, state, action, env.default_params)[0], None

        return state, jax.lax.scan(step, state, length=40)[0]

    keys = jax.random.split(jax.random.key(0), 60)
    rules = jnp.arange(4)
    each = jax.vmap(jax.vmap(episode, (None, 0)), (0, None))
    before, after = jax.tree.map(np.asarray, jax.jit(each)(rules, keys))
    way = after.agent_pos[..., :, None, :] - after.landmark_pos[..., None, :, :]
    gap = np.linalg.norm(way, axis=-1)  # [rules, episodes, agents, landmarks]
    near = gap[0].min(-1) < 0.15  # agents that share a landmark push each other off it
    assert near.mean() > 0.6
    own = np.diagonal(gap[1], axis1=1, axis2=2) < 0.15
    assert own.mean() > 0.7
    reverse = np.diagonal(gap[3][..., ::-1], axis1=1, axis2=2) < 0.15
    assert reverse.mean() > 0.7
    moved = np.abs(after.agent_pos[2] - before.agent_pos[2])
    assert np.median(moved) < 1e-6  # those that began in contact are pushed apart


def test_speakers_say_and_understand_their_code() -> None:
    """Two of one code bring each other to the landmark that only the other knows of."""
    env, _ = marlx.make("partners/mpe/liam_speaker_listener", horizon=40)
    assert env.cast.ego == (1,) and len(env.partner_names) == 10
    pair = env.cast.env
    assert isinstance(pair, LiamSpeakerListener)
    codes = partners.speaker_heuristics(pair)
    act = jax.jit(codes[0].act)
    places = {"landmark_pos": [[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]]}
    places |= {"agent_pos": [[0.0, 0.0], [0.5, 0.0]], "agent_vel": [[0.0, 0.0], [0.0, 0.0]]}
    state = pair.make_state(goal=[0, 2], **places)
    step = jax.jit(pair.step_env)
    for number, other in ((7, 7), (7, 3)):
        now = state
        for t in range(40):
            obs = pair.observe(now, pair.default_params)
            both = [act(codes[n].policy, (), obs, jax.random.key(0))[0] for n in (number, other)]
            action = jnp.stack([both[0][0], both[1][1]])
            said = [partners.LIAM_CODES[n][goal] for n, goal in ((number, 0), (other, 2))]
            assert (action // 5 == jnp.array(said)).all()
            now, reward, *_ = step(jax.random.key(t), now, action, pair.default_params)
        if number == other:
            assert reward.min() > -0.02  # both are there
            np.testing.assert_allclose(now.agent_pos[0], places["landmark_pos"][2], atol=0.1)
    # code 3 has no word 2, which code 7 has for landmark 0: the second stays where it is
    np.testing.assert_allclose(now.agent_pos[1], state.agent_pos[1], atol=0.1)
