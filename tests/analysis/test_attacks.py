"""Attacks on teams whose returns are known, and failures whose effect can be computed."""

import dataclasses
import functools
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.analysis import attack_results
from marlx.analysis.attacks import check_attack
from marlx.analysis.perturbations import Team, deviations, dropped, in_seats, noise, sticky
from marlx.cli import run
from marlx.learner import stateless
from marlx.loop.evaluation import evaluate
from marlx.types import EnvSpec

# in turns: the first pays twice what it does, the second once
GAME, PARAMS = marlx.make("matrix/custom", payoff=[[0, 1], [2, 3]], horizon=2)
SEEN, _ = marlx.make("matrix/custom", payoff=[[0, 1], [2, 3]], horizon=2, observation="last_action")
EPISODES = 4000


def alternating(policy, memory, obs, key, explore):
    """Both do 0, then 1."""
    action = jnp.broadcast_to(memory[:, None] % 2, obs.local.shape[:2])
    return action.astype(jnp.int32), memory + 1, ()


def team_of(act, env=GAME):
    learner = stateless(act)._replace(memory=lambda num_envs: jnp.zeros(num_envs, jnp.int32))
    return Team(env, PARAMS, learner, "greedy")


def returns(team, learner, **options):
    """Team returns of fresh episodes, f32 [E]."""
    play = jax.jit(lambda key: evaluate(team.env, PARAMS, learner, (), key, EPISODES, **options))
    return np.asarray(play(jax.random.key(0)))


def curve(team, make, *strengths):
    """Team returns f32 [strengths, E], in one program."""
    key = jax.random.key(0)

    def play(strength):
        return evaluate(team.env, PARAMS, make(team, strength), (), key, EPISODES)

    return np.asarray(jax.jit(jax.vmap(play))(jnp.array(strengths)))


def test_a_sticky_team_repeats_itself():
    """The second step pays 3 unless an agent is stuck at its 0."""
    found = curve(team_of(alternating), sticky, 0.0, 0.3, 1.0).mean(-1)
    np.testing.assert_allclose(found, [3, 2.1, 0], atol=0.08)


def test_dropped_agents_do_nothing_for_a_whole_episode():
    none, half, all_ = curve(team_of(alternating), dropped, 0.0, 0.5, 1.0)
    assert (none == 3).all() and (all_ == 0).all()
    assert set(half.tolist()) == {1, 2}  # the other agent still acts
    assert half.mean() == pytest.approx(1.5, abs=0.05)


def test_erratic_agents_take_any_action():
    """The first agent's action pays twice what the second's does, each step of its own."""
    found = curve(team_of(alternating), functools.partial(dropped, kind="random"), 0.0, 0.5, 1.0)
    np.testing.assert_allclose(found.mean(-1), [3, 3, 3], atol=0.1)
    np.testing.assert_allclose(found.var(-1), [0, (2 + 0.5) / 2, 2.5], atol=0.15)


def test_noise_is_measured_in_deviations_of_what_changes():
    def reading(policy, memory, obs, key, explore):
        """1 where the first number is above a half: at first it is 0, then 1 after action 0."""
        action = (obs.local[:, :, 0] > 0.5).astype(jnp.int32)
        return action, memory, ()

    team = team_of(reading, SEEN)
    found = jax.jit(lambda: deviations(team, (), jax.random.key(0), 8))()
    # all numbers are 0 at first; then those of action 0 are 1
    np.testing.assert_allclose(found, np.tile([0.5, 0, 0.5, 0], (2, 1)), atol=1e-6)
    none, some = curve(team, lambda team, strength: noise(team, strength, found), 0.0, 1.0)
    assert (none == 3).all()
    # each number of deviation 0.5 is above or below 0.5 by one deviation
    wrong = 0.1587
    expected = 3 * wrong + 3 * ((1 - wrong) ** 2 + wrong * wrong)
    assert some.mean() == pytest.approx(expected, abs=0.1)
    blind = team_of(reading)  # observations are all 0 there
    nothing = jnp.zeros((2, GAME.spec().obs_size))
    assert (returns(blind, noise(blind, 1.0, nothing)) == 0).all()


def test_agents_in_seats_leave_the_others_as_they_are():
    own, params = marlx.make(
        "matrix/custom", payoff=[[[9, 9], [9, 9]], [[0, 1], [2, 3]]], per_agent=True, horizon=2
    )
    team = team_of(alternating, own)._replace(params=params)
    still = returns(team, in_seats(team, (0,), "still"), members=[1])
    assert (still == 1).all()  # 0, then (0, 1) which pays agent 1 one
    random = returns(team, in_seats(team, (0,), "random"), members=[1])
    assert random.mean() == pytest.approx(1 + 2, abs=0.1)  # (a, 0) pays 2a, (a, 1) pays 1 + 2a
    assert (returns(team, team.acts(team.act), members=[0]) == 18).all()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the run of `victims` is kept."""
    return tmp_path_factory.mktemp("victims") / "team"


@pytest.fixture
def victims(tiny_algorithm, tmp_path, monkeypatch, kept):
    """A run of two seeds that always do 0 in climbing, which pays 11."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "tiny", "matrix/climbing", "--seeds", "2", "--total-steps", "10240"]
    if not kept.exists():
        assert run([*words, "--out", str(kept), "--quiet"]) == 0
    return Path(shutil.copytree(kept, tmp_path / "team"))


def digest(folder):
    return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.*"))]


def test_marlx_attack_trains_attackers_and_leaves_the_victims_alone(victims, capsys):
    """The best attack on a team that does 0 is action 1, which pays -30 in each of 25 steps."""
    before = digest(victims / "policy")
    words = ["attack", "team", "--kinds", "none", "random", "still", "lambda0", "--episodes", "50"]
    capsys.readouterr()
    assert run([*words, "--steps", "32000", "--seeds", "2", "--perturb", "dropped"]) == 0
    assert digest(victims / "policy") == before
    said = capsys.readouterr()
    assert "lambda0: " in said.err and "2 seeds of the team, greedy actions" in said.out
    content = attack_results.read_attack(victims / "attack.json")
    found = {one["kind"]: one for one in content["attacks"]}
    assert found["none"]["mean"] == found["still"]["mean"] == 275
    assert found["random"]["mean"] == pytest.approx(25 * (11 - 30) / 3, abs=30)
    trained = found["lambda0"]
    assert np.shape(trained["returns"]) == (2, 2)
    assert trained["high"] < found["random"]["mean"] - 100
    assert trained["curve"][-1] < trained["curve"][0] and trained["steps"][-1] >= 32_000
    assert content["victims"] == [0, 1] and content["attackers"] == 2
    (points,) = (one["points"] for one in content["perturbations"])
    assert [point["strength"] for point in points] == [0, 0.5, 1]
    assert (victims / "attack.png").read_bytes()[:4] == b"\x89PNG"
    assert run(["report", "team", "--out", "page.html"]) == 0
    page = (victims.parent / "page.html").read_text()
    assert "Robustness of team" in page and "trained, lambda 0" in page
    (victims / "attack.json").write_text(json.dumps({"agents": []}))
    assert run(["report", "team", "--out", "page.html"]) == 0
    assert "attack.json has no environment" in (victims.parent / "page.html").read_text()


def test_mistakes_are_answered_in_one_line(victims, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    for words, answer in (
        (["nowhere"], "nowhere is not the folder of a run"),
        (["empty"], "empty holds no policy"),
        (["team", "--agents", "0", "1"], "--agents is 0 1; it must name some of the agents 0 to 1"),
        (["team", "--agents", "2"], "--agents is 2; it must name some of the agents 0 to 1"),
        (["team", "--kinds", "amy"], "unknown attack 'amy'"),
        (["team", "--perturb", "stick"], "unknown perturbation 'stick'"),
        (["team", "--victims", "3"], "--victims is 3; team has 2 seeds"),
        (["team", "--seeds", "0"], "--seeds is 0; it must be at least 1"),
        (["team", "--out", "there"], "cannot write to there"),
    ):
        assert run(["attack", *words]) == 2, words
        said = capsys.readouterr().err
        assert answer in said and said.count("\n") == 1, said


def test_what_has_no_others_cannot_be_attacked():
    def attack(spec, kinds=("none",)):
        check_attack(SimpleNamespace(path="run", team=SimpleNamespace(spec=spec)), (0,), kinds)

    spec = GAME.spec()
    attack(spec)
    with pytest.raises(ValueError, match="run was trained in partners/x, in which partners play"):
        attack(dataclasses.replace(spec, id="partners/x"))
    with pytest.raises(ValueError, match="has 1 agent; an attack needs others"):
        attack(EnvSpec("one", 1, 2, 1, 1, 5))
    with pytest.raises(ValueError, match="are continuous; leave ami out of --kinds"):
        attack(dataclasses.replace(spec, continuous=True), ("none", "ami"))


def test_intervals_are_over_victims_or_over_what_there_is_of_one():
    rng = np.random.default_rng(0)
    several = attack_results.attack_record("ami", "x", rng.normal(size=(5, 3, 100)))
    assert several["trained"] and np.shape(several["returns"]) == (5, 3)
    assert several["low"] < several["mean"] < several["high"]
    one = attack_results.attack_record("ami", "x", np.full((1, 4, 10), 2.0) + np.arange(4)[:, None])
    assert 2 <= one["low"] < 3.5 < one["high"] <= 5
    assert (one["mean"], np.shape(one["returns"])) == (3.5, (1, 4))
    plain = attack_results.attack_record("none", "x", np.zeros((2, 100)))
    assert not plain["trained"] and plain["returns"] == [[0], [0]]
