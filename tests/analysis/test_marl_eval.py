"""Runs in marl-eval's format, written and read."""

import json

import numpy as np
import pytest
from run_folders import FORAGING, write_run

from marlx.analysis.comparison import Bounds, compare, curves, task_bounds
from marlx.analysis.marl_eval import read_marl_eval, to_marl_eval
from marlx.analysis.reading import read_all


def test_a_round_trip_through_marl_evals_format_loses_nothing(tmp_path):
    write_run(tmp_path / "runs" / "a", final=(0.6, 0.8))
    write_run(tmp_path / "runs" / "b", "vdn", steps=(10, 30, 70), returns=((0,), (1,), (2,)))
    write_run(tmp_path / "runs" / "c", "vdn", "matrix/climbing", env={}, finished=False)
    comparison = compare(*read_all([tmp_path / "runs"]))
    content = to_marl_eval(comparison)
    assert set(content) == {"Foraging", "matrix"}
    record = content["Foraging"][FORAGING]["qmix"]["seed_1"]
    assert record["step_1"] == {"step_count": 200, "elapsed_time": 20.0, "return": [0.7]}
    assert record["absolute_metrics"]["return"] == [0.8]
    (tmp_path / "x.json").write_text(json.dumps(content))
    again = compare(*read_all([tmp_path / "x.json"]))
    assert (again.tasks, again.methods) == (comparison.tasks, comparison.methods)
    for place, sample in comparison.samples.items():
        other = again.samples[place]
        np.testing.assert_array_equal(other.final, sample.final)
        for x in ("steps", "seconds"):
            for ours, theirs in zip(curves(sample, x=x), curves(other, x=x), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert to_marl_eval(again) == content


def test_files_of_other_frameworks_are_read(tmp_path):
    """As in marl-eval's README: capitals, values per episode, runs with any name."""
    seed = {
        "STEP_1": {"step_count": 10, "return": [1, 2, 3, 4], "win_rate": [0.8]},
        "STEP_2": {"step_count": 20, "return": [0, 1, 2, 9], "win_rate": [0.4]},
        "absolute_metrics": {"return": [5, 8, 4, 1], "win_rate": [0.2]},
    }
    other = {"step_1": {"step_count": 15, "mean_episode_return": [7.0]}}
    content = {"SMAC": {"3s5z": {"ppo": {"43289": seed, "42": seed}, "dqn": {"0": other}}}}
    (tmp_path / "x.json").write_text(json.dumps(content))
    ppo, dqn = read_marl_eval(tmp_path / "x.json")
    assert (ppo.environment, ppo.algorithm, ppo.seeds) == ("SMAC/3s5z", "ppo", ("43289", "42"))
    np.testing.assert_array_equal(ppo.metrics["return"], [[2.5, 2.5], [3, 3]])
    np.testing.assert_array_equal(ppo.final, [4.5, 4.5])
    assert ppo.finished and not dqn.finished
    np.testing.assert_array_equal(dqn.final, [7])
    comparison = compare([ppo, dqn])
    assert task_bounds(comparison)["SMAC/3s5z"] == Bounds(2.5, 7, "lowest seen to highest seen")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("x", "is not JSON"),
        ("[1]", "must be an object"),
        ("{}", "has no run"),
        ('{"e": 1}', "e must be an object"),
        ('{"e": {"t": {"a": {"r": 3}}}}', "e, t, a, r has no steps"),
        ('{"e": {"t": {"a": {"r": {"s": 3}}}}}', "r, s has no metrics"),
        ('{"e": {"t": {"a": {"r": {"s": {"return": [1]}}}}}}', "has no step_count"),
        ('{"e": {"t": {"a": {"r": {"s": {"step_count": 1}}}}}}', "has no return"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_another_format_is_one_line(content, answer, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=answer) as caught:
        read_all([tmp_path / "x.json"])
    assert "\n" not in str(caught.value)
