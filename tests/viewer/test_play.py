"""A person plays with a team: in one file, and at a server on this computer."""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from marlx import config
from marlx.loop.progress import Progress
from marlx.runs import folder as run_folder
from marlx.runs import policies
from marlx.viewer.play import first_states, not_in_a_page, play_page
from marlx.viewer.serving import Server
from marlx.viewer.table import Table
from marlx.xla.names import named

GAME = "Foraging-5x5-2p-1f-v3"
CLIMBING = "matrix/climbing"
NAME = "<b>&amp; run"
TRAINED = Path(__file__).parent / "foraging_team.safetensors"
"""`marlx train vdn Foraging-5x5-2p-1f-v3 --seeds 2 --total-steps 100_000 --learner.hidden 16`."""
KEYS = {(-1, 0): "ArrowUp", (1, 0): "ArrowDown", (0, -1): "ArrowLeft", (0, 1): "ArrowRight"}


def saved_run(path, algorithm, env_id, seeds=1, trained=None, **settings):
    """A run folder with policies of random weights, or of a file of trained ones."""
    given = {"learner": settings} if settings else {}
    experiment = config.experiment(algorithm, env_id, seeds=seeds, total_steps=100_000, **given)
    env, params, learner = experiment.build()
    shape = policies.policy_shape(env.spec(params), learner, experiment.train)
    rng = np.random.default_rng(5)
    arrays = jax.tree.map(lambda x: rng.normal(0, 0.4, (seeds, *x.shape)).astype(x.dtype), shape)
    if trained is not None:
        kept = load_file(trained)
        leaves = [kept[name] for name in named(shape)]
        arrays = jax.tree.unflatten(jax.tree.structure(shape), leaves)
    progress = Progress(640, 100_000, 1.0, {"return": np.arange(seeds) / 4}, {}, dict)
    folder = run_folder.RunFolder(path)
    policies.save_policy(folder, experiment, arrays, progress)
    assert not folder.failed
    return folder.path


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    path = tmp_path_factory.mktemp("team") / NAME
    return saved_run(path, "vdn", GAME, seeds=2, trained=TRAINED, hidden=16)


def towards(frame, seat):
    """The key of a step to the food by a shortest path, or that of a load beside it."""
    me = tuple(frame["agent_pos"][2 * seat : 2 * seat + 2])
    food = tuple(frame["food_pos"][:2])
    mate = tuple(frame["agent_pos"][2 - 2 * seat : 4 - 2 * seat])
    first: dict[tuple[int, int], str] = {me: " "}
    queue = deque([me])
    while queue:
        row, col = queue.popleft()
        if abs(row - food[0]) + abs(col - food[1]) == 1:
            return first[row, col]
        for (down, right), key in KEYS.items():
            cell = row + down, col + right
            inside = 0 <= cell[0] < 5 and 0 <= cell[1] < 5
            if inside and cell not in (*first, food, mate):
                first[cell] = key if (row, col) == me else first[row, col]
                queue.append(cell)
    return "."


VIEW = """(() => { const v = marlx.play.now.view; const frame = {};
for (const k of Object.keys(v.frame)) frame[k] = [v.frame[k]].flatMap((x) => x.length ? [...x] : x);
return {frame, t: v.t, ended: v.ended, total: v.total}; })()"""


def test_a_game_of_key_presses_ends_with_the_return_of_jax(chrome, team, tmp_path):
    path = tmp_path / "play.html"
    path.write_text(play_page(team, None, jax.random.key(4)), "utf-8")
    chrome.open(path.as_uri())
    chrome.run("marlx.play.ready")
    assert NAME in chrome.run("document.querySelector('header p').textContent")
    records = []
    for seat in (0, 1):
        chrome.run(f"marlx.play.now.seat = {seat}; marlx.play.fresh()")
        for _ in range(60):
            view = chrome.run(VIEW)
            if view["ended"]:
                break
            chrome.press(towards(view["frame"], seat))
            chrome.wait(f"marlx.play.now.view.t === {view['t'] + 1}")
        assert view["ended"]
        records.append(chrome.run("marlx.table.record()"))
        assert f"return {view['total']:.2f}" in chrome.run(
            "document.querySelector('.message').textContent"
        )
    assert chrome.problems == []
    assert set(chrome.requests) <= {path.as_uri(), "data:,"}
    assert max(record["return"] for record in records) > 0, "no food was ever eaten"

    policy = policies.load_policy(team)
    env, params = policy.env, policy.params
    starts = {n: unpacked(x) for n, x in first_states(policy, jax.random.key(4)).items()}
    board = np.zeros(env.size, int)
    board[2, 2] = 1
    some = env.make_state([(0, 0), (0, 1)], [1, 1], board)

    @jax.jit
    def replayed(fields, actions):
        def step(carry, action):
            state, memory = carry
            obs = env.observe(state, params)
            wanted, memory = policy.apply(policy.arrays, memory, obs)
            state, reward, _, _ = env.step_env(jax.random.key(0), state, action, params)
            return (state, memory), (wanted, reward.sum(), obs.local)

        first = some.replace(**fields), policy.initial_memory()
        return jax.lax.scan(step, first, actions)[1]

    for record in records:
        actions = np.array(record["action"])
        fields = {name: jnp.asarray(x[record["start"]]) for name, x in starts.items()}
        padded = np.zeros((50, 2), np.int32)
        padded[: len(actions)] = actions
        wanted, reward, local = jax.device_get(replayed(fields, padded))
        count, seat = len(actions), record["seat"]
        assert record["return"] == pytest.approx(reward[:count].sum(), abs=1e-5)
        np.testing.assert_array_equal(actions[:, 1 - seat], wanted[:count, 1 - seat])
        np.testing.assert_array_equal(record["observation"], local[:count, seat])


def unpacked(packed):
    import base64

    kinds = {"int8": "<i1", "int16": "<i2"}
    raw = np.frombuffer(base64.b64decode(packed["data"]), kinds[packed["type"]])
    return raw.reshape(packed["shape"]).astype(np.int32)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a team of PPO on a matrix game, and the file of its episodes."""
    folder = tmp_path_factory.mktemp("served")
    path = saved_run(folder / "run", "ippo", CLIMBING, hidden=8)
    table = Table(path, None, 0, folder / "played.jsonl")
    server = Server({"": table.page, "start": table.start, "act": table.act})
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server, folder / "played.jsonl"
    server.close()
    thread.join()


def test_a_game_at_the_server_is_recorded(chrome, served):
    server, file = served
    chrome.open(server.url)
    chrome.wait("marlx.play && marlx.play.now.view")
    for t in range(25):
        chrome.press("02"[t % 2])
        chrome.wait(f"marlx.play.now.view.t === {t + 1} && !marlx.play.now.busy")
    total = chrome.run("marlx.play.now.view.total")
    assert chrome.run("marlx.play.now.view.ended")
    assert chrome.problems == []
    assert all(url.startswith((server.url, "data:")) for url in chrome.requests)
    (line,) = file.read_text().splitlines()
    record = json.loads(line)
    table = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
    assert [a for a, _ in record["action"]] == [0, 2] * 12 + [0]
    assert record["return"] == total == sum(table[a][b] for a, b in record["action"])
    assert record["legal"] == [[1, 1, 1]] * 25
    assert len(record["observation"]) == 25


def asked(server, method, path, body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_server_answers_its_own_page_only(served):
    server, _ = served
    path = "/" + server.url.split("/", 3)[3]
    assert asked(server, "GET", path)[0] == 200
    assert asked(server, "GET", path, Host="evil.example")[0] == 404
    assert asked(server, "GET", "/")[0] == 404
    assert asked(server, "GET", "/../../etc/passwd")[0] == 404
    assert asked(server, "GET", path + "act")[0] == 404
    assert asked(server, "POST", path + "nothing")[0] == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"game": 99, "action": 0}', b'{"game": "x"}', b'{"game": 1e999}', b"7"],
)
def test_the_server_answers_nonsense_with_an_error(served, body):
    server, _ = served
    path = "/" + server.url.split("/", 3)[3]
    for route in ("act", "start"):
        status, text = asked(server, "POST", path + route, body)
        assert status == 200
        assert json.loads(text)["error"]


def test_an_action_that_is_not_legal_changes_nothing(served):
    server, _ = served
    path = "/" + server.url.split("/", 3)[3]
    _, text = asked(server, "POST", path + "start", b'{"seat": 1, "policy": 0, "drawn": true}')
    game = json.loads(text)["game"]
    for action in (3, -1):
        body = json.dumps({"game": game, "action": action}).encode()
        assert "not legal" in asked(server, "POST", path + "act", body)[1]
    body = json.dumps({"game": game, "action": 2}).encode()
    assert json.loads(asked(server, "POST", path + "act", body)[1])["t"] == 1


def test_what_is_not_in_javascript_needs_the_server(tmp_path):
    path = saved_run(tmp_path / "run", "joint_q", CLIMBING, hidden=8)
    assert "the networks of joint_q" in str(not_in_a_page(policies.load_policy(path)))
    with pytest.raises(ValueError, match="networks of joint_q are not written in JavaScript"):
        play_page(path, None, jax.random.key(0))
