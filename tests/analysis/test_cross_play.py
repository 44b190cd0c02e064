"""Cross-play on a game whose payoffs are known, and pools of runs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config, registry
from marlx.analysis.cross_play import cross_play, heat_map
from marlx.cli import run
from marlx.runs.policies import Policy, load_policy


def fixed(env, params, action):
    """A policy that always chooses `action`."""
    spec = env.spec(params)
    learner = registry.algorithm("tiny")(spec)
    logits = jnp.zeros((spec.num_agents, spec.num_actions)).at[:, action].set(1.0)
    home = config.experiment("tiny", spec.id)
    return Policy(home, env, params, learner, {"logits": logits}, 0, 0)


def test_rows_play_the_ego_and_columns_the_others(tiny_algorithm, tmp_path):
    """Climbing pays (2, 1) with 6 and (1, 2) with 0."""
    env, params = marlx.make("matrix/climbing")
    horizon = env.spec(params).horizon
    policies = [fixed(env, params, 2), fixed(env, params, 1)]
    found = cross_play(policies, episodes=3)
    np.testing.assert_allclose(found / horizon, [[5, 6], [0, 7]], rtol=1e-6)
    np.testing.assert_allclose(cross_play(policies, 1, 3) / horizon, [[5, 0], [6, 7]], rtol=1e-6)
    with pytest.raises(ValueError, match="ego is 2; it must be 0 to 1"):
        cross_play(policies, 2)
    other, other_params = marlx.make("matrix/penalty-0")
    with pytest.raises(ValueError, match="cannot play together"):
        cross_play([policies[0], fixed(other, other_params, 0)])
    heat_map(tmp_path / "map.png", found, ["two", "one"])
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_a_pool_is_trained_split_and_played_with(tiny_algorithm, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--algorithms", "tiny", "--seeds", "2", "--total-steps", "10240", "--out", "pool"]
    assert run(["pool", "train", "partners/matrix/climbing", *words]) == 0
    seeds = {
        part: json.loads((tmp_path / f"pool/{part}/tiny/policy/policy.json").read_text())["seeds"]
        for part in ("train", "held_out")
    }
    assert seeds == {"train": [0, 1], "held_out": [2]}
    env, _ = marlx.make("partners/matrix/climbing", pool=("pool/train",), every_seed=True)
    assert env.partner_names == ("tiny/0", "tiny/1")
    assert run(["crossplay", "pool/train/tiny", "pool/held_out/tiny", "--episodes", "2"]) == 0
    returns = np.array(json.loads((tmp_path / "crossplay.json").read_text())["returns"])
    assert returns.shape == (2, 2) and (tmp_path / "crossplay.png").is_file()
    np.testing.assert_allclose(returns, returns[0, 0])  # all have learned action 0
    assert returns[0, 0] == 11 * marlx.make("matrix/climbing")[0].spec().horizon
    capsys.readouterr()


def test_every_run_of_a_pool_gets_the_settings_of_learner_and_environment(
    tiny_algorithm, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["--env.horizon", "7", "--algorithms", "tiny", "--learner.lr", "0.25", "--seeds", "1"]
    words += ["--total-steps", "2560", "--out", "pool"]
    assert run(["pool", "train", "matrix/climbing", *words]) == 0
    for part in ("train", "held_out"):
        stored = load_policy(f"pool/{part}/tiny")
        assert stored.experiment.settings()["learner"]["lr"] == 0.25, part
        assert stored.spec.horizon == 7, part
    capsys.readouterr()


BAD = [
    (["pool"], "marlx pool takes train, ENV and --out"),
    (["pool", "train", "matrix/climbing"], "takes one ENV, and --out for the pool's folder"),
    (["pool", "train", "matrix/climbing", "--out", "p", "--seeds", "0"], "--seeds is 0"),
    (
        ["pool", "train", "matrix/climbing", "--out", "p", "--learner.lrr", "1"],
        "unknown option '--learner.lrr'; did you mean --learner.lr",
    ),
    (["crossplay"], "marlx crossplay takes one run folder or more before its options"),
    (["crossplay", "nowhere"], "nowhere holds no policy"),
    (["crossplay", "nowhere", "--episodes", "0"], "--episodes is 0; it must be at least 1"),
    (["embeddings"], "marlx embeddings takes one run folder"),
    (["embeddings", "nowhere"], "nowhere is not the folder of a run"),
]


@pytest.mark.parametrize(("words", "answer"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_mistakes_are_answered_in_one_line(words, answer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    said = capsys.readouterr().err
    assert answer in said and said.count("\n") == 1
