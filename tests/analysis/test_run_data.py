"""Run folders read back."""

import numpy as np
import pytest
from run_folders import FORAGING, write_run
from safetensors.numpy import save

import marlx
from marlx.analysis.run_data import read_run


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = read_run(write_run(tmp_path / "a", final=(0.6, 0.8), seed=3, loss=[[None, 1], [2, 3]]))
    assert (run.name, run.algorithm, run.environment, run.finished) == ("a", "qmix", FORAGING, True)
    assert run.seeds == ("3", "4") and run.settings["learner.lr"] == 1e-3
    np.testing.assert_array_equal(run.steps, [100, 200])
    np.testing.assert_array_equal(run.metrics["return"], [[0, 0.2], [0.5, 0.7]])
    np.testing.assert_array_equal(run.metrics["loss"], [[np.nan, 1], [2, 3]])
    np.testing.assert_array_equal(run.metrics["seconds"], [[10, 10], [20, 20]])
    np.testing.assert_array_equal(run.final, [0.6, 0.8])
    assert run.facts["python"] == "3.11.7"


def test_a_stopped_run_ends_at_its_last_whole_line(tmp_path):
    folder = write_run(tmp_path / "a", finished=False)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"steps": 300, "return": [0.')
    run = read_run(folder)
    assert not run.finished
    np.testing.assert_array_equal(run.final, [0.5, 0.7])


def test_of_repeated_lines_the_last_counts(tmp_path):
    """A resumed run may repeat lines after its checkpoint."""
    steps, returns = (100, 200, 300, 200, 300), ((0, 0), (1, 1), (2, 2), (5, 5), (6, 6))
    run = read_run(write_run(tmp_path / "a", steps=steps, returns=returns))
    np.testing.assert_array_equal(run.steps, [100, 200, 300])
    np.testing.assert_array_equal(run.metrics["return"][:, 0], [0, 5, 6])


def test_the_spec_is_that_of_the_runs_environment(tmp_path):
    """The algorithm need not be installed."""
    run = read_run(write_run(tmp_path / "a", "unheard-of", env={"sight": 2}))
    assert run.spec == marlx.make(FORAGING, sight=2)[0].spec()
    for name, settings in (("elsewhere/game", {}), (FORAGING, {"sight": "far"})):
        folder = write_run(tmp_path / name.replace("/", "-"), environment=name, env=settings)
        assert read_run(folder).spec is None


def test_arrays_that_are_not_finite_are_named(tmp_path):
    run = read_run(write_run(tmp_path / "a"))
    assert run.non_finite_arrays == (), "there is no policy"
    (tmp_path / "a" / "policy").mkdir()
    arrays = {"good": np.ones(2), "bad": np.array([1, np.nan]), "whole": np.arange(2)}
    (tmp_path / "a" / "policy" / "arrays.safetensors").write_bytes(save(arrays))
    assert read_run(tmp_path / "a").non_finite_arrays == ("bad",)


def test_numbers_that_checks_use(tmp_path):
    returns = [[0.0], [-3.0], [2.0], [1.0], [1.5]]
    loss = [[None], [4], [3], [2], [1]]
    steps = (100, 200, 300, 400, 500)
    run = read_run(write_run(tmp_path / "a", returns=returns, steps=steps, loss=loss))
    assert (run.number("learner.lr"), run.number("algorithm"), run.number("x")) == (
        1e-3,
        None,
        None,
    )
    assert (run.total_steps, run.largest_return) == (200, 3)
    np.testing.assert_array_equal(run.late("loss"), [[2], [1]])
    assert run.late("x") is None


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("metrics.jsonl", "x\ny\n", "line 1 is not a line of metrics"),
        ("metrics.jsonl", "[1]\n{}\n", "line 1 is not a line of metrics"),
        ("metrics.jsonl", '{"steps": 1}\n', "no return in metrics.jsonl"),
        ("config.yaml", "algorithm: qmix\n", "names no algorithm and environment"),
        ("config.yaml", "algorithm: q\nenvironment: e\nseeds: x\n", "must be whole numbers"),
        ("config.yaml", "- 1\n", "must hold `name: value` lines"),
    ],
)
def test_an_unreadable_run_is_one_line(name, text, answer, tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=answer) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
