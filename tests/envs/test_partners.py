"""Heuristic partners against their originals, decision by decision, and environments by name."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config
from marlx.environment import vector_reset, vector_step
from marlx.envs import foraging, partners
from marlx.envs.foraging import Foraging
from marlx.envs.matrix import MatrixGame
from marlx.envs.mpe.liam import LiamPredatorPrey, LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.mpe.tag import Tag
from marlx.envs.mpe.world import Particles
from marlx.envs.partners import Partner, with_partners
from marlx.types import Observation

SETTINGS = {
    "8x8-2p-2f": Foraging(),
    "2s-8x8-3p-2f": Foraging(sight=2, num_agents=3),
    "1s-6x9-4p-3f": Foraging(sight=1, size=(6, 9), num_agents=4, num_food=3),
    "hidden-3s-8x8-3p-2f": Foraging(sight=3, num_agents=3, observe_levels=False),
    "grid-8x8-3p-3f": Foraging(observation="grid", num_agents=3, num_food=3),
}
BOARDS = 400


# ---------------------------------------------------------------- the original


@pytest.fixture
def originals(monkeypatch: pytest.MonkeyPatch) -> Any:
    """lbforaging's heuristics, whose `random.choice` gives the set that it would choose from.

    The package imports its environment by a name that does not exist, and modules that it does not
    depend on; so it is entered past its `__init__`.
    """
    package = pytest.importorskip("lbforaging")
    agents = types.ModuleType("lbforaging.agents")
    agents.__path__ = [f"{package.__path__[0]}/agents"]
    monkeypatch.setitem(sys.modules, "lbforaging.agents", agents)
    for name in ("foraging", "foraging.environment"):
        original = importlib.import_module(f"lbforaging.{name}")
        monkeypatch.setitem(sys.modules, name, original)
    module = importlib.import_module("lbforaging.agents.heuristic_agent")
    monkeypatch.setattr(module, "random", types.SimpleNamespace(choice=frozenset))
    return module


def reference(env: Foraging) -> Any:
    """lbforaging's environment with the same board, sight and numbers."""
    module = pytest.importorskip("lbforaging.foraging.environment")
    ref = module.ForagingEnv(
        players=env.num_agents,
        min_player_level=1,
        max_player_level=2,
        min_food_level=1,
        max_food_level=None,
        field_size=env.size,
        max_num_food=env.num_food,
        sight=env.view,
        max_episode_steps=50,
        force_coop=False,
    )
    ref.reset(seed=0)
    return ref


def decisions(originals: Any, ref: Any, state: foraging.ForagingState, env: Foraging) -> list[Any]:
    """For h1 to h4 and each agent: an action, or the set of those it draws from."""
    ref.field = np.asarray(env.food_grid(state), np.int32)
    for player, pos, level in zip(ref.players, state.agent_pos, state.agent_level, strict=True):
        player.position, player.level = (int(pos[0]), int(pos[1])), int(level)
    ref._gen_valid_moves()
    rows = []
    for name in ("H1", "H2", "H3", "H4"):
        row = []
        for player in ref.players:
            choice = getattr(originals, name)(player)._step(ref._make_obs(player))
            row.append(
                {int(action.value) for action in choice}
                if isinstance(choice, frozenset)
                else int(choice.value)
            )
        rows.append(row)
    return rows


def crowded(env: Foraging, rng: np.random.Generator, apart: bool) -> foraging.ForagingState:
    """A board with the agents near the foods; `apart` keeps two from sharing a cell."""
    rows, cols = env.size
    while True:
        grid = np.zeros(env.size, int)
        for _ in range(rng.integers(0, env.num_food + 1)):
            r, c = rng.integers(1, rows - 1), rng.integers(1, cols - 1)
            if all(abs(r - a) + abs(c - b) > 2 for a, b in np.argwhere(grid)):
                grid[r, c] = rng.integers(1, 5)
        foods = np.argwhere(grid)
        pos: list[tuple[int, int]] = []
        while len(pos) < env.num_agents:
            r, c = rng.integers(rows), rng.integers(cols)
            if len(foods) and rng.random() < 0.7:
                r, c = foods[rng.integers(len(foods))] + rng.integers(-3, 4, 2)
            free = 0 <= r < rows and 0 <= c < cols and not grid[r, c]
            if free and not (apart and (r, c) in pos):
                pos.append((int(r), int(c)))
        return env.make_state(pos, rng.integers(1, 3, env.num_agents), grid)


def observe(env: Foraging, state: foraging.ForagingState) -> Any:
    return env.observe(state, env.default_params)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(which, marks=[pytest.mark.slow] * which.startswith(("2s", "grid")))
        for which in SETTINGS
    ],
)
def test_foraging_heuristics_decide_as_the_originals(which: str, originals: Any) -> None:
    env, rng = SETTINGS[which], np.random.default_rng(0)
    ref = reference(env)
    boards = [crowded(env, rng, apart=env.observation == "grid") for _ in range(BOARDS)]
    wanted = [decisions(originals, ref, board, env) for board in boards]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *boards)
    names = ("h1", "h2", "h3", "h4") if env.observe_levels else ("h1", "h2")
    pool = [partners.heuristics(env)[name] for name in names]
    tastes = jax.tree.map(lambda *leaves: jnp.asarray(leaves), *[p.policy for p in pool])

    @jax.jit
    def decide(batch: Any, keys: Any) -> Any:  # int32 [keys, boards, heuristics, N]
        obs = jax.vmap(functools.partial(observe, env))(batch)

        def one(taste: Any, obs: Any, key: Any) -> Any:
            return pool[0].act(taste, (), obs, key)[0]

        each = jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, 0))
        return jax.vmap(each, (None, None, 0))(tastes, obs, keys)

    keys = jax.random.split(jax.random.key(0), (60, BOARDS))
    found = np.asarray(decide(batch, keys))
    random = 0
    for b in range(BOARDS):
        for h in range(len(names)):
            for i in range(env.num_agents):
                want, have = wanted[b][h][i], set(found[:, b, h, i].tolist())
                if isinstance(want, set):
                    random += 1
                    assert have <= want and len(have) >= min(3, len(want)), (b, h, i)
                else:
                    assert have == {want}, (names[h], b, i)
    total = BOARDS * len(names) * env.num_agents
    assert 0.02 * total < random < 0.9 * total  # both kinds of decision were met


def test_random_choices_are_uniform_over_what_is_legal() -> None:
    env = Foraging(sight=2)
    grid = np.zeros(env.size, int)
    grid[5, 5] = 4  # out of sight
    state = env.make_state([(0, 0), (0, 3)], [1, 1], grid)
    obs = observe(env, state)
    keys = jax.random.split(jax.random.key(0), 3000)
    for name in ("h1", "random"):
        partner = partners.heuristics(env)[name]
        play = jax.jit(jax.vmap(lambda key, p=partner: p.act(p.policy, (), obs, key)[0]))
        actions = np.asarray(play(keys))
        for i in range(2):
            legal = np.flatnonzero(obs.action_mask[i])
            share = np.bincount(actions[:, i], minlength=6) / len(keys)
            np.testing.assert_allclose(share[legal], 1 / len(legal), atol=0.04)
            assert share[legal].sum() == 1
        assert abs(np.corrcoef(actions.T)[0, 1]) < 0.08  # agents draw apart


def test_rounding_is_numpys() -> None:
    totals, counts = np.mgrid[0:60, 1:9].reshape(2, -1)
    found = partners.foraging.round_half_even(jnp.asarray(totals), jnp.asarray(counts))
    np.testing.assert_array_equal(found, np.rint(totals / counts))


def test_heuristics_that_need_levels_are_left_out_where_levels_are_hidden() -> None:
    assert list(partners.heuristics(Foraging())) == ["h1", "h2", "h3", "h4", "random"]
    assert list(partners.heuristics(Foraging(observe_levels=False))) == ["h1", "h2", "random"]
    push, _ = marlx.make("mpe/simple_push_v3")
    assert list(partners.heuristics(push)) == ["random"]


# ---------------------------------------------------------------- by name


def test_names_make_the_environment_and_its_settings() -> None:
    env, params = marlx.make("partners/Foraging-2s-8x8-3p-2f-v3")
    assert env.cast.names == ("h1", "h2", "h3", "h4") and env.cast.ego == (0,)
    assert env.spec(params).id == "partners/Foraging-2s-8x8-3p-2f-v3"
    assert (env.spec().num_agents, env.spec().horizon, env.spec().optimum) == (1, 50, None)
    other, _ = marlx.make(
        "partners/Foraging-2s-8x8-3p-2f-v3", pool=("random", "h1"), ego=(2, 1), horizon=7
    )
    assert other.cast.names == ("random", "h1") and other.cast.ego == (2, 1)
    assert other.spec().horizon == other.cast.env.horizon == 7
    push, _ = marlx.make("partners/mpe/simple_push_v3")
    assert push.cast.names == ("random",)


def test_settings_are_those_of_a_run() -> None:
    """What the command line and a run's config.yaml hold comes back as the same environment."""
    id = "partners/Foraging-8x8-2p-2f-coop-v3"
    experiment = config.experiment("iql", id, env={"pool": ["h1", "h2"], "penalty": 0.1})
    settings = experiment.settings()
    assert settings["env"]["pool"] == ["h1", "h2"] and settings["env"]["ego"] == [0]
    again = config.experiment("iql", id, env=settings["env"])
    assert again.settings() == settings
    assert again.env.cast.env == experiment.env.cast.env == Foraging(force_coop=True, penalty=0.1)
    assert "name" not in settings["env"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": ("h5",)}, r"unknown partner 'h5' in the pool of .*; did you mean h4"),
        ({"ego": (0, 1)}, r"ego is \(0, 1\), all agents of"),
        ({"ego": (2,)}, r"ego is \(2,\); it must hold different agents from 0 to 1"),
        ({"epsilon": 2.0}, r"epsilon is 2.0; it must be between 0 and 1"),
        ({"sight": 0}, r"sight is 0"),
        ({"pol": ("h1",)}, r"unknown environment setting 'pol' .* did you mean pool"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        marlx.make("partners/Foraging-8x8-2p-2f-v3", **settings)


def test_ids_that_cannot_be_are_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="unknown environment 'Foragin"):
        marlx.make("partners/Foragin-8x8-2p-2f-v3")
    with pytest.raises(ValueError, match="has 1 agent"):
        marlx.make("partners/Foraging-8x8-1p-1f-v3")
    with pytest.raises(ValueError, match="holds no policy"):
        marlx.make("partners/Foraging-8x8-2p-2f-v3", pool=(str(tmp_path),))


def test_a_setting_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Pooled(Foraging):
        pool: int = 3

    monkeypatch.setattr(partners.named, "make_env", lambda id: Pooled())
    with pytest.raises(ValueError, match="has a setting 'pool' of its own"):
        partners.make("partners/Pooled")


def test_every_partner_is_one_kind_where_it_can_be() -> None:
    """h1 to h4 are one rule with other parameters, so the four cost what one does."""
    env, _ = marlx.make("partners/Foraging-8x8-2p-2f-v3")
    assert [kind.size for kind in env.cast.kinds] == [4]
    assert all(isinstance(p, Partner) for p in partners.heuristics(env.cast.env).values())


# ---------------------------------------------------------------- particles


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
            state = chase.make_state(inner, 0).replace(team=jnp.int32(draw))
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


def test_players_of_games_have_habits() -> None:
    """As often as their names say, and each of the other actions as often as the next."""
    env = MatrixGame(payoff=[[1, 2, 3, 4], [5, 6, 7, 8]], horizon=25)
    known = partners.heuristics(env)
    obs = Observation(jnp.zeros((2, 2)), jnp.ones((2, 4), bool), jnp.zeros(2))

    def often(name: str) -> Any:
        act = functools.partial(known[name].act, known[name].policy, ())
        did, _ = jax.vmap(act, (None, 0))(obs, jax.random.split(jax.random.key(0), 30_000))
        return jax.nn.one_hot(did, 4).mean(0)

    np.testing.assert_allclose(
        often("mostly_2"), [[0.3, 0.7, 0, 0], [0.1, 0.1, 0.7, 0.1]], atol=0.01
    )
    assert often("always_0")[:, 0].tolist() == [1, 1]


# ---------------------------------------------------------------- trained opponents

DECISIONS = {
    "mpe/simple_tag_v3": [[1, 4, 2, 3], [1, 1, 3, 3], [2, 1, 2, 3], [3, 1, 3, 4]],
    "mpe/simple_adversary_v3": [[2, 4, 2], [1, 2, 3], [4, 4, 1], [1, 2, 3]],
}
"""What `pretrained` does on four draws of observations, each time with a probability of 0.6 or more
in training; replaced by those who train it again, see benchmarks/opponents.py."""


@pytest.mark.parametrize("id", DECISIONS)
def test_trained_opponents_decide_as_when_they_were_kept(id: str) -> None:
    env, _ = marlx.make(id)
    spec, known = env.spec(), partners.pretrained(env)
    rng = np.random.default_rng(0)
    local = np.zeros((4, spec.num_agents, spec.obs_size), np.float32)
    for agent, width in enumerate(spec.obs_sizes):
        local[:, agent, :width] = rng.normal(size=(4, width))
    legal = np.ones((4, spec.num_agents, spec.num_actions), bool)
    obs = Observation(local, legal, np.zeros((4, spec.state_size), np.float32))
    decide = jax.vmap(known.act, (None, None, 0, None))
    action, _ = decide(known.policy, known.init(), obs, jax.random.key(0))
    assert action.tolist() == DECISIONS[id]


@pytest.mark.parametrize(
    ("id", "ego", "team", "more"),
    [
        ("mpe/simple_tag_v3", (0, 1, 2), "after_prey", 30),  # -11 and -59
        pytest.param("mpe/simple_adversary_v3", (1, 2), "random", 5, marks=pytest.mark.slow),
    ],  # the second: -20 and -28
)
def test_trained_opponents_are_better_ones_than_random(
    id: str, ego: tuple[int, ...], team: str, more: float
) -> None:
    """The prey flees and the adversary finds landmarks, against a team that stays as it is."""
    env, params = marlx.make(f"partners/{id}", pool=("pretrained", "random"), ego=ego)
    inner = env.cast.env
    rule = partners.heuristics(inner)[team]

    @jax.jit
    @jax.vmap
    def play(key: Any) -> Any:
        first = env.reset_env(key, params)

        def step(state: Any, key: Any) -> Any:
            obs = inner.observe(state.env_state, params)
            action, _ = rule.act(rule.policy, (), obs, key)
            state, *_ = env.step_env(key, state, action[np.array(ego)], params)
            return state, inner.rewards(state.env_state)[env.cast.others[0]]

        return first.team, jax.lax.scan(step, first, jax.random.split(key, 25))[1].sum()

    draw, reward = map(np.asarray, play(jax.random.split(jax.random.key(0), 200)))
    assert reward[draw == 0].mean() > reward[draw == 1].mean() + more


def test_trained_opponents_are_in_no_pool_that_does_not_name_them() -> None:
    for id, names in (
        ("mpe/simple_tag_v3", partners.PREDATORS),
        ("mpe/simple_adversary_v3", ("random",)),
    ):
        assert marlx.make(f"partners/{id}")[0].cast.names == names
        assert "pretrained" not in partners.heuristics(marlx.make(id)[0])
    pool = ("pretrained", "random")
    env, _ = marlx.make("partners/mpe/simple_adversary_v3", pool=pool, horizon=9)
    assert env.cast.names == pool


@pytest.mark.parametrize(
    ("id", "settings", "message"),
    [
        ("simple_tag_v3", {"num_obstacles": 3}, r"^the pretrained .* num_obstacles 2; here"),
        ("simple_tag_v3", {"action_signs": "openai"}, r"with action_signs mpe2; here it is openai"),
        ("simple_adversary_v3", {"num_good": 3}, r"with num_good 2; here it is 3"),
        ("simple_push_v3", {}, r"unknown partner 'pretrained' in the pool of mpe/simple_push_v3"),
    ],
)
def test_trained_opponents_do_not_play_what_they_were_not_trained_in(
    id: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        marlx.make(f"partners/mpe/{id}", pool=("pretrained",), **settings)


@pytest.mark.parametrize("id", ["mpe/simple_tag_v3", "mpe/simple_adversary_v3"])
def test_presets_with_opponents_are_those_of_particles(id: str) -> None:
    for algorithm in ("iql", "vdn", "qmix"):
        alone, against = (config.experiment(algorithm, name) for name in (id, f"partners/{id}"))
        assert alone.learner == against.learner and alone.train == against.train
    for algorithm in ("ippo", "mappo"):
        alone, against = (config.experiment(algorithm, name) for name in (id, f"partners/{id}"))
        half = {"lr_steps": 2_000_000}
        assert dataclasses.replace(alone.learner, **half) == against.learner
        assert against.train == dataclasses.replace(alone.train, total_steps=2_000_000)
