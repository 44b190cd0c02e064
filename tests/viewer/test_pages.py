"""Pages to step through episodes, as data and in a browser."""

from __future__ import annotations

import json
import re

import jax
import numpy as np
import pytest

import marlx
from marlx.learner import stateless
from marlx.loop.evaluation import random_learner
from marlx.viewer import data, page
from marlx.viewer.recording import Recorder, Recording
from marlx.viewer.team import Subject, recordings_page

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\"'&amp;"
GRID = "Foraging-5x5-2p-2f-v3"
LARGE = "Foraging-20x20-8p-8f-v3"


def foraging_states(env, steps):
    """States of a walk that is known, without compiling anything."""
    rows, cols = env.size
    foods = np.zeros(env.size, int)
    cells = [(1 + 2 * (f // 4), 1 + 2 * (f % 4)) for f in range(env.num_food)]
    for f, cell in enumerate(cells):
        foods[cell] = 1 + f % 3
    states = []
    for t in range(steps + 1):
        pos = [((i + t) % rows, (2 * i + t // 2) % cols) for i in range(env.num_agents)]
        free = [(r, c) if not foods[r, c] else ((r + 1) % rows, c) for r, c in pos]
        level = [1 + i % 2 for i in range(env.num_agents)]
        states.append(env.make_state(free, level, foods, step=t, food_spawned=99))
        if t == steps // 2:
            foods[cells[0]] = 0
    return states


def doorkey_states(env):
    keys = {"key_pos": (2, 1)}, {"carrier": 0}, {"carrier": 0}
    return [
        env.make_state([(3, 1 + t)], [t], wall_col=4, door_row=2, goal_pos=(6, 6), door=2 - t,
                       step=t, **keys[t])
        for t in range(3)
    ]  # fmt: skip


def trash_states(env):
    places = [(4, k) for k in range(6)] + [(5, k) for k in range(4)]
    carried = [-1] * 10, [0] + [-1] * 9, [2, 1] + [-1] * 8
    return [
        env.make_state([(t, 0), (t, 2)], [1, 0], places, holder=carried[t], step=t)
        for t in range(3)
    ]


def particle_states(env):
    agents, marks, rng = len(env.agents), len(env.landmarks), np.random.default_rng(0)
    shape = len(env.speakers), env.DIM_C
    return [
        env.make_state(rng.uniform(-1, 1, (agents, 2)), rng.uniform(-1, 1, (agents, 2)),
                       np.linspace(-0.8, 0.8, 2 * marks).reshape(marks, 2),
                       np.eye(*shape, t), step=t)
        for t in range(3)
    ]  # fmt: skip


SCENES = {
    GRID: lambda env: foraging_states(env, 20),
    "matrix/climbing-3p": lambda env: [
        env.make_state(), env.make_state(1, [0, 1, 2]), env.make_state(2, [2, 2, 0])
    ],
    "matrix/two_step": lambda env: [
        env.make_state(), env.make_state(1, [1, 0], 2, 0), env.make_state(2, [1, 1], 2, 2)
    ],
    "grid/doorkey-8x8": doorkey_states,
    "grid/trashgrid-8x8-2p": trash_states,
    "mpe/simple_world_comm_v3": particle_states,
}  # fmt: skip


def recording(env, states, seed=0):
    """An episode of actions that are drawn here, with something of everything that is shown."""
    spec, steps, rng = env.spec(env.default_params), len(states) - 1, np.random.default_rng(seed)
    shape = steps, spec.num_agents
    legal = np.broadcast_to(
        np.arange(spec.num_actions) < np.array(spec.action_sizes)[:, None],
        (*shape, spec.num_actions),
    ).copy()
    action = rng.integers(0, spec.action_sizes, shape).astype(np.int32)
    if spec.num_actions == 6:
        legal[..., 3] = action == 3
    shown = {
        "q": np.broadcast_to(np.arange(spec.num_actions) / 4 - 1, legal.shape),
        "subgoal": np.broadcast_to(np.arange(spec.num_agents), shape),
        "called": np.ones(steps, bool),
        "embedding": np.full((*shape, 4), 0.5),
    }
    return Recording(states, action, legal, rng.random(steps), shown, [])


def page_of(env_id, title="a team", episodes=2):
    env, params = marlx.make(env_id)
    who = Subject(env=env, params=params, learner=stateless(None), policies=((0, ()), (1, ())),
                  title=title, subtitle=title)  # fmt: skip
    make = SCENES.get(env_id, SCENES[GRID])
    played = [[recording(env, make(env), s + 2 * e) for e in range(episodes)] for s in (0, 1)]
    return recordings_page(who, played)


def unpacked(packed):
    """What the scripts make of a packed array."""
    import base64

    raw = base64.b64decode(packed["data"])
    kinds = {"float16": "<f2", "float32": "<f4", "int8": "<i1", "int16": "<i2", "int32": "<i4"}
    if packed["type"] == "bits":
        count = int(np.prod(packed["shape"]))
        return np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little")[:count].reshape(
            packed["shape"]
        )
    return np.frombuffer(raw, kinds[packed["type"]]).reshape(packed["shape"])


def content(text):
    """The data of a page."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([[1, -128], [127, 0]]), "int8"),
        (np.array([300, -5]), "int16"),
        (np.array([70_000]), "int32"),
        (np.array([[True, False, True]] * 3), "bits"),
        (np.array([0.1, -3e8], np.float32), "float32"),
        (np.zeros((0, 2), np.int32), "int8"),
    ],
)
def test_packed_arrays_come_back(array, kind):
    packed = data.packed(array)
    assert packed["type"] == kind
    np.testing.assert_array_equal(unpacked(packed), array)


def test_half_floats_keep_three_digits_and_never_overflow():
    values = np.array([1 / 3, -12.34, 1e9, 5e-5], np.float32)
    back = unpacked(data.packed(values, half=True))
    np.testing.assert_allclose(back[[0, 1, 3]], values[[0, 1, 3]], rtol=2e-3)
    assert back[2] == np.finfo(np.float16).max


def test_a_recording_is_what_the_environment_does():
    env, params = marlx.make("matrix/climbing", horizon=5, observation="last_action")
    spec = env.spec(params)
    learner = random_learner(spec)._replace(
        inspect=lambda policy, memory, obs, extras: {"q": 2.0 * obs.local[..., : spec.num_actions]}
    )
    for one in Recorder(env, params, learner, explore=False).record((), jax.random.key(3), 2):
        assert len(one.states) == 6
        assert one.action.shape == (5, 2)
        table = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
        for t in range(5):
            first, second = one.action[t]
            assert one.states[t + 1].last_action.tolist() == [first, second]
            assert one.reward[t] == table[first][second]
            last = one.states[t].last_action[0]
            assert one.shown["q"][t, 0].tolist() == [2.0 * (a == last) for a in range(3)]


def test_an_episode_ends_where_the_environment_ends_it():
    env, params = marlx.make("matrix/two_step")
    learner = stateless(lambda policy, memory, obs, key, explore: (
        jax.numpy.zeros((obs.local.shape[0], 2), "int32"), memory, ()
    ))  # fmt: skip
    (one,) = Recorder(env, params, learner, explore=False).record((), jax.random.key(0), 1)
    assert len(one.action) == 2
    assert one.reward.tolist() == [0.0, 7.0]


def test_text_of_others_stays_text():
    text = page_of("matrix/two_step", HOSTILE, 1)
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "&lt;/script&gt;" in text
    assert "<" not in page.json_text({"name": HOSTILE})
    assert json.loads(page.json_text({"name": HOSTILE})) == {"name": HOSTILE}


def test_a_large_board_with_many_agents_stays_small():
    text = page_of(LARGE, episodes=3)
    assert len(text) < 2_000_000
    assert len(content(text)["seeds"]) == 2


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of every kind of scene, and their data."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for env_id in SCENES:
        path = folder / f"{env_id.replace('/', '-')}.html"
        text = page_of(env_id, HOSTILE)
        path.write_text(text, encoding="utf-8")
        made[env_id] = path.as_uri(), content(text)
    return made


def opened(chrome, pages, env_id, **size):
    url, made = pages[env_id]
    chrome.open(url, **size)
    assert chrome.problems == []
    assert chrome.requests == [url] or set(chrome.requests) <= {url, "data:,"}
    return made


@pytest.mark.parametrize("env_id", SCENES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_without_a_request_or_a_problem(chrome, pages, env_id, scheme):
    chrome.scheme(scheme)
    made = opened(chrome, pages, env_id)
    steps = made["seeds"][0]["episodes"][0]["action"]["shape"][0]
    for t in (0, 1, steps):
        chrome.run(f"marlx.viewer.show({t})")
        assert chrome.run("document.querySelector('.step').textContent") == f"step {t} of {steps}"
    assert chrome.problems == []
    title = "document.querySelector('h1')"
    assert "alert(1)" in chrome.run(f"{title}.textContent")
    assert chrome.run(f"{title}.childElementCount") == 0
    # nothing runs out of the page, and no card is cut
    assert chrome.run("document.documentElement.scrollWidth <= innerWidth")
    assert chrome.run(
        "[...document.querySelectorAll('.card')].every((c) => c.scrollWidth <= c.clientWidth)"
    )


def test_a_step_shows_its_state(chrome, pages):
    made = opened(chrome, pages, GRID)
    for s, e in ((0, 0), (1, 1)):
        frames = {
            name: unpacked(x) for name, x in made["seeds"][s]["episodes"][e]["frames"].items()
        }
        chrome.run(f"marlx.viewer.open({s}, {e})")
        steps = len(frames["agent_pos"]) - 1
        for t in {0, 7, steps // 2, steps}:
            # as a hand does it: the slider is moved
            chrome.run(
                "(() => { const s = document.querySelector('input[type=range]');"
                f"s.value = {t}; s.dispatchEvent(new Event('input')); }})()"
            )
            shown = chrome.run(
                "[...document.querySelectorAll('g.agent, g.food')]"
                ".filter((g) => g.style.display !== 'none')"
                ".map((g) => [g.classList[0], +g.dataset.row, +g.dataset.col,"
                " +[...g.querySelectorAll('text')].find((x) => +x.textContent > 0).textContent])"
            )
            expected = [
                ["food", *pos.tolist(), int(level)]
                for pos, level in zip(frames["food_pos"][t], frames["food_level"][t], strict=True)
                if level
            ]
            expected += [
                ["agent", *pos.tolist(), int(level)]
                for pos, level in zip(frames["agent_pos"][t], frames["agent_level"][t], strict=True)
            ]
            assert shown == expected


def test_cards_show_what_the_agents_value(chrome, pages):
    made = opened(chrome, pages, GRID)
    one = made["seeds"][0]["episodes"][0]
    action, legal = unpacked(one["action"]), unpacked(one["legal"])
    chrome.run("marlx.viewer.open(0, 0); marlx.viewer.show(2)")
    rows = chrome.run(
        "[...document.querySelectorAll('.card')].map((card) => [...card.querySelectorAll('.row')]"
        ".map((r) => [r.className, r.querySelector('.value').textContent]))"
    )
    for i in range(2):
        for a in range(6):
            kind, value = rows[i][a]
            assert ("taken" in kind) == (action[2, i] == a)
            assert ("illegal" in kind) == (not legal[2, i, a])
            expected = f"{a / 4 - 1:.2f}".replace("-", "\u2212") if legal[2, i, a] else "\u2013"
            assert value == expected
    cards = "[...document.querySelectorAll('.card .notes')].map((n) => n.textContent)"
    assert chrome.run(cards) == ["subgoal subgoal 0", "subgoal subgoal 1"]
    assert chrome.run("document.querySelector('.mode').textContent") == "centralised"
    assert chrome.run("document.querySelectorAll('.strip i').length") == 8


def test_keys_and_touch_move_through_an_episode(chrome, pages):
    made = opened(chrome, pages, GRID)
    chrome.run("marlx.viewer.open(0, 0)")
    steps = made["seeds"][0]["episodes"][0]["action"]["shape"][0]

    def at():
        return chrome.run("marlx.viewer.now.t")

    chrome.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert at() == 2
    chrome.press("End")
    assert at() == steps
    chrome.press("Home")
    assert at() == 0
    chrome.press(" ")
    chrome.wait("marlx.viewer.now.t >= 1")
    chrome.press(" ")
    assert chrome.run("marlx.viewer.now.playing") is False
    chrome.press("Home")
    for across, expected in ((-80, 1), (-80, 2), (80, 1)):
        chrome.run(
            "(() => { const s = document.querySelector('.stage');"
            "const at = (type, clientX) => s.dispatchEvent("
            "new PointerEvent(type, {clientX, clientY: 300}));"
            f"at('pointerdown', 300); at('pointerup', 300 + {across}); }})()"
        )
        assert at() == expected


def test_a_large_board_is_drawn_fast_enough(chrome, tmp_path):
    """In processor time of the whole browser, so that it does not matter who else is at work."""
    path = tmp_path / "large.html"
    path.write_text(page_of(LARGE, episodes=1), "utf-8")
    chrome.open(path.as_uri())
    draw = (
        "new Promise((done) => { let n = 0; const tick = () => { marlx.viewer.show(n % 20);"
        "n += 1; if (n > FRAMES) done(n); else requestAnimationFrame(tick); }; tick(); })"
    )
    chrome.run(draw.replace("FRAMES", "5"))
    before = chrome.cpu_seconds()
    frames = chrome.run(draw.replace("FRAMES", "40"))
    assert frames / (chrome.cpu_seconds() - before) >= 20


def test_an_environment_without_a_scene_shows_its_pictures(chrome, tmp_path, monkeypatch):
    env = marlx.make("matrix/climbing")[0]
    monkeypatch.setattr(type(env), "scene", lambda self, params=None: None)
    monkeypatch.setitem(
        SCENES, "matrix/climbing", lambda env: [env.make_state(), env.make_state(1, [0, 2])]
    )
    path = tmp_path / "pictures.html"
    path.write_text(page_of("matrix/climbing", HOSTILE, 1), "utf-8")
    chrome.open(path.as_uri())
    shown = set()
    for t in (0, 1):
        chrome.run(f"marlx.viewer.show({t})")
        chrome.wait("document.querySelector('img.board').naturalWidth > 50")
        shown.add(chrome.run("document.querySelector('img.board').src"))
    assert len(shown) == 2
    assert chrome.problems == []
    assert all(url.startswith((path.as_uri(), "data:")) for url in chrome.requests)


def test_an_environment_without_a_picture_says_so(chrome, tmp_path, monkeypatch):
    kind = type(marlx.make("matrix/climbing")[0])
    monkeypatch.setattr(kind, "scene", lambda self, params=None: None)
    monkeypatch.delattr(kind, "render")
    monkeypatch.setitem(
        SCENES, "matrix/climbing", lambda env: [env.make_state(), env.make_state(1, [0, 2])]
    )
    path = tmp_path / "nothing.html"
    path.write_text(page_of("matrix/climbing", "plain", 1), "utf-8")
    chrome.open(path.as_uri())
    assert "no picture" in chrome.run("document.querySelector('.board').textContent")
    assert chrome.run("document.querySelectorAll('.card').length") == 2
    assert chrome.problems == []


def test_a_narrow_page_has_one_column(chrome, pages):
    opened(chrome, pages, GRID, width=390, height=800)
    assert chrome.run("document.documentElement.scrollWidth <= innerWidth")
    left, right = chrome.run(
        "['.left', '.right'].map((c) => document.querySelector(c).getBoundingClientRect().left)"
    )
    assert left == right
