"""Languages of speakers: structure, drift, and what `marlx language` prints."""

import json

import numpy as np
import pytest

import marlx
from marlx.analysis.languages import ranks, spoken_language, topographic_similarity
from marlx.cli import run
from marlx.envs.signal import compositional, holistic
from marlx.runs.policies import load_policy


def test_topographic_similarity_by_hand():
    """1 for a language of parts, whatever its words and order; near 0 for one without parts."""
    values = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for seed in range(3):
        messages = compositional(seed, 3, 5, 15).messages(values)
        assert topographic_similarity(values, messages) == pytest.approx(1)
        assert abs(topographic_similarity(values, holistic(seed, 125, 3, 15))) < 0.05
    assert topographic_similarity(values, np.zeros((125, 3))) == 0
    # distances 1, 2, 2 and 2, 1, 2: ranks 1, 2.5, 2.5 and 2.5, 1, 2.5
    line, said = np.array([[0, 0], [0, 1], [1, 2]]), np.array([[0, 0], [1, 1], [0, 2]])
    assert topographic_similarity(line, said) == pytest.approx(-0.5)
    np.testing.assert_array_equal(ranks(np.array([3, 1, 3, 0])), [3.5, 2, 3.5, 1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run of two seeds that have hardly learned a game of 4 objects."""
    folder = tmp_path_factory.mktemp("signal") / "run"
    words = ["train", "ippo", "signal/objects-2x2", "--seeds", "2", "--total-steps", "4000"]
    small = ["--num-envs", "16", "--rollout-length", "8", "--evals", "1", "--eval-episodes", "16"]
    assert run([*words, *small, "--learner.hidden", "8", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_messages_are_those_that_the_policy_says_in_its_game(pair):
    policy = load_policy(pair, 1)
    language = spoken_language(policy)
    assert language.values.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    state = policy.env.make_state(2, candidates=[2, 0, 1, 3])
    obs = policy.env.observe(state, policy.params)
    said = policy.act(obs, policy.initial_memory(), explore=False)[0][:2]
    assert language.messages[2].tolist() == np.asarray(said).tolist()
    assert 1 <= language.different <= 4
    assert language.agreement(language.messages) == 1
    few = spoken_language(policy, most=2)
    np.testing.assert_array_equal(few.messages, language.messages[few.objects])


def test_marlx_language_prints_a_row_for_each_seed(pair, capsys):
    assert run(["language", str(pair)]) == 0
    out = capsys.readouterr().out
    assert "4 objects" in out
    assert "agrees with language_0" in out
    assert run(["language", str(pair), "--json", "--compare", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["seed"] for one in found["seeds"]] == [0, 1]
    policy = load_policy(pair, 0)
    language = spoken_language(policy)
    seeded = compositional(3, 2, 2, 4).messages(language.values)
    assert found["seeds"][0]["agreement"] == round(language.agreement(seeded), 4)
    assert list(found["seeds"][0]["messages"]) == ["0 0", "0 1", "1 0", "1 1"]


def test_a_run_of_another_game_is_refused(tmp_path, capsys):
    assert run(["language", str(tmp_path / "none")]) == 2
    folder = tmp_path / "other"
    words = ["train", "iql", "matrix/climbing", "--seeds", "1", "--total-steps", "3000", "--quiet"]
    assert run([*words, "--num-envs", "2", "--evals", "1", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert run(["language", str(folder)]) == 2
    assert "is no signalling game" in capsys.readouterr().err
    assert marlx.make("signal/objects-2x2")[0].candidates == 4
