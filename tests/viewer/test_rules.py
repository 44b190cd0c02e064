"""Rules and networks in JavaScript compute what JAX computes, from injected states."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import algos
from marlx.algos.agent_modelling.config import EncoderConfig
from marlx.algos.ppo_config import PPOConfig
from marlx.learner import example_rollout
from marlx.viewer import page
from marlx.viewer.data import packed
from marlx.viewer.network import described_layers, described_model

BOARDS = {
    "whole": {"size": (5, 6), "num_agents": 2, "num_food": 2},
    "windows": {"size": (6, 6), "num_agents": 3, "num_food": 3, "sight": 2, "penalty": 0.1},
    "grid": {
        "size": (5, 5), "num_agents": 3, "num_food": 2, "sight": 1, "observation": "grid",
        "observe_levels": False, "normalize_reward": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def script(chrome, tmp_path_factory):
    """A page with the scripts of rules and networks; call it with data and code."""
    path = tmp_path_factory.mktemp("scripts") / "scripts.html"
    names = ("decode.js", "rules.js", "pooling.js", "networks.js")
    path.write_text(page.page("scripts", "", {}, names), "utf-8")
    chrome.open(path.as_uri())

    def run(code, **data):
        given = "".join(f"const {name} = {json.dumps(value)};" for name, value in data.items())
        answer = chrome.run(f"(() => {{ {given} {code} }})()")
        assert chrome.problems == []
        return answer

    return run


def crowded_states(env, count, seed):
    """States `[count]` in which agents stand close together and next to foods, as NumPy arrays."""
    rng, (rows, cols) = np.random.default_rng(seed), env.size
    inner = [(r, c) for r in range(1, rows - 1) for c in range(1, cols - 1)]
    states = []
    for _ in range(count):
        foods = np.zeros(env.size, int)
        kept = rng.integers(1, env.num_food + 1)
        for k in rng.choice(len(inner), kept, replace=False):
            foods[inner[k]] = rng.integers(1, 5)
        food = np.argwhere(foods)
        food_pos, food_level = np.full((env.num_food, 2), -1), np.zeros(env.num_food, int)
        food_pos[: len(food)], food_level[: len(food)] = food, foods[tuple(food.T)]
        near = food[rng.integers(0, len(food), env.num_agents)]
        step = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])[rng.integers(0, 4, env.num_agents)]
        anywhere = rng.integers(0, [rows, cols], (env.num_agents, 2))
        pos = np.where(rng.random((env.num_agents, 1)) < 0.7, near + step, anywhere)
        blocked = foods[tuple(pos.T)] > 0
        pos[blocked] = 0
        states.append({
            "time": rng.integers(0, 40), "agent_pos": pos,
            "agent_level": rng.integers(1, 4, env.num_agents), "food_pos": food_pos,
            "food_level": food_level, "food_spawned": food_level.sum() + rng.integers(0, 3),
        })  # fmt: skip
    return {name: np.stack([s[name] for s in states]).astype(np.int32) for name in states[0]}


@pytest.mark.parametrize("name", BOARDS)
def test_foraging_in_javascript_is_that_of_jax(script, name):
    count = 3400  # 10,200 steps on three boards
    env, params = marlx.make("Foraging-5x5-2p-1f-v3", **BOARDS[name])
    fields = crowded_states(env, count, seed=len(name))
    rng = np.random.default_rng(1)
    usual = rng.integers(0, 6, (count, env.num_agents))
    actions = np.where(rng.random(usual.shape) < 0.5, 5, usual).astype(np.int32)

    board = np.zeros(env.size, int)
    board[2, 2] = 1
    some = env.make_state([(0, k) for k in range(env.num_agents)], [1] * env.num_agents, board)

    @jax.jit
    @jax.vmap
    def step(fields, action):
        state = some.replace(**fields)
        obs = env.observe(state, params)
        after, reward, ended, _ = env.step_env(jax.random.key(0), state, action, params)
        return obs.local, obs.action_mask, after, reward, ended

    local, mask, after, reward, ended = jax.device_get(step(fields, actions))
    found = script(
        """
        const all = marlx.decodeAll(fields);
        const chosen = marlx.decode(actions);
        const game = marlx.rules.foraging(facts, null, 1000);
        return Array.from({length: count}, (_, k) => {
          const s = {time: all.time.at(k)[0]};
          for (const name of Object.keys(all)) if (name !== "time") s[name] = all[name].at(k);
          const {state, reward, ended} = game.step(s, chosen.at(k));
          return [
            Array.from(game.observe(s)), Array.from(game.legal(s)), Array.from(state.agent_pos),
            Array.from(state.food_pos), Array.from(state.food_level), Array.from(reward), ended,
            state.time,
          ];
        });
        """,
        fields={name: packed(values) for name, values in fields.items()},
        actions=packed(actions),
        facts=env.scene().facts,
        count=count,
    )
    columns = [np.array([row[i] for row in found]) for i in range(8)]
    wanted = (local, mask, after.agent_pos, after.food_pos, after.food_level, reward, ended)
    for column, array in zip(columns, (*wanted, after.time), strict=True):
        np.testing.assert_allclose(
            column.reshape(array.shape).astype(float), array.astype(float), rtol=0, atol=1e-5
        )
    assert (reward > 0).any(1).mean() > 0.1, "too few foods were eaten for the test to say much"
    assert ended.any()


@pytest.mark.parametrize("env_id", ["matrix/climbing-3p", "matrix/two_step", "matrix/stages"])
@pytest.mark.parametrize("observation", ["none", "stage", "last_action"])
def test_matrix_games_in_javascript_are_those_of_numpy(script, env_id, observation):
    """Against the tables: the rules are few enough to be written down here."""
    env, params = marlx.make(env_id, observation=observation)
    spec, rng = env.spec(params), np.random.default_rng(0)
    actions = rng.integers(0, spec.num_actions, (300, spec.num_agents))
    found = script(
        """
        const game = marlx.rules.matrix(facts, null, horizon);
        let s = game.start();
        return actions.map((a) => {
          const before = s;
          const {state, team, ended} = game.step(s, a);
          s = ended ? game.start() : state;
          const seen = Array.from(game.observe(before));
          return [seen, before.stage[0], team, ended, before.last_action];
        });
        """,
        facts=env.scene().facts,
        horizon=spec.horizon,
        actions=actions.tolist(),
    )
    stage, time, last = 0, 0, [-1] * spec.num_agents
    for action, (local, seen_stage, team, ended, seen_last) in zip(actions, found, strict=True):
        assert (seen_stage, seen_last) == (stage, last)
        seen = {
            "none": np.zeros(spec.num_agents),
            "stage": np.eye(env._payoff.shape[0])[stage],
            "last_action": np.concatenate(
                [np.arange(n) == a for n, a in zip(env.num_actions, last, strict=True)]
            ),
        }[observation]
        np.testing.assert_array_equal(local, np.tile(seen, spec.num_agents))
        assert team == pytest.approx(env._payoff[(stage, *action)].mean(), abs=1e-5)
        following, time = env._next[(stage, *action)], time + 1
        over = following < 0 or time >= spec.horizon
        assert ended == bool(over)
        stage, time, last = (0, 0, [-1] * spec.num_agents) if over else (
            int(following), time, action.tolist()
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vdn", {"sharing": "none", "layer_norm": True, "last_action": True}),
        ("ippo", {"recurrent": False, "trunk": "shared", "agent_id": False}),
        ("clam", {"embedding": 6, "token": "change"}),
    ],
)
def test_networks_in_javascript_are_those_of_jax(script, name, settings):
    steps = 200
    env, params = marlx.make("matrix/climbing-3p", observation="last_action")
    spec = env.spec(params)
    sizes = {"hidden": 16}  # a wider GRU of such weights is chaotic: rounding errors grow
    if name == "clam":
        encoder = EncoderConfig(width=16, heads=2, seeds=3)
        sizes = {"ppo": PPOConfig(**sizes), "encoder": encoder}
    learner = getattr(algos, name)(spec, **sizes, **settings)
    rng = np.random.default_rng(0)
    local = rng.normal(size=(steps, spec.num_agents, spec.obs_size)).astype(np.float32)
    if name == "clam":  # its tokens are kept in the type of the replay: whole numbers here
        local = rng.integers(-3, 4, local.shape).astype(np.float32)
    mask = rng.random((steps, spec.num_agents, spec.num_actions)) < 0.7
    mask[..., 1] = True

    shape = jax.eval_shape(
        lambda: learner.policy(
            learner.init(jax.random.key(0), example_rollout(spec, learner, 32, 8))
        )
    )
    policy = jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shape)
    if name == "clam":
        policy = policy._replace(moments=jax.tree.map(lambda x: np.abs(x) + 1, policy.moments))

    @jax.jit
    def play(policy):
        def step(memory, seen):
            state = jnp.zeros((1, spec.state_size))
            obs = marlx.types.Observation(seen[0][None], seen[1][None], state)
            action, after, extras = learner.act(policy, memory, obs, jax.random.key(0), False)
            return after, (action[0], learner.inspect(policy, memory, obs, extras))

        return jax.lax.scan(step, learner.memory(1), (local, mask))[1]

    action, shown = jax.device_get(play(policy))
    values = shown["q" if name == "vdn" else "probability"]
    described = (
        described_model(learner.config, spec, spec.scale, policy)
        if name == "clam"
        else described_layers(name, learner.config, spec, spec.scale, policy)
    )
    found = script(
        """
        const team = marlx.team(network, N, A);
        const seen = marlx.decode(local);
        const legal = marlx.decode(mask);
        let memory = team.memory();
        return Array.from({length: steps}, (_, t) => {
          const {action, shown, memory: after} = team.act(memory, seen.at(t), legal.at(t), null);
          const embedding = memory.pools.map((pool) => Array.from(pool.embedding));
          memory = team.took(after, action);
          return [action, Array.from(shown), embedding];
        });
        """,
        network=described,
        local=packed(local),
        mask=packed(mask),
        N=spec.num_agents,
        A=spec.num_actions,
        steps=steps,
    )
    np.testing.assert_allclose(
        np.array([v for _, v, _ in found]).reshape(values[:, 0].shape), values[:, 0], atol=1e-5
    )
    if name == "clam":
        embedding = np.array([pooled for _, _, pooled in found])
        np.testing.assert_allclose(embedding, shown["embedding"][:, 0], atol=1e-5)
        assert np.abs(np.diff(embedding, axis=0)).max() > 0.1  # the trajectory is read
    best = np.sort(np.where(mask, values[:, 0], -np.inf), -1)
    clear = best[..., -1] - best[..., -2] > 2e-5  # nearly equal ones may go either way
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(np.array([a for a, _, _ in found])[clear], action[clear])
