"""Runs grouped by task and method, and their curves."""

import numpy as np
import pytest
from run_folders import FORAGING, write_run

from marlx.analysis.comparison import Bounds, Sample, compare, curves, only_finished, task_bounds
from marlx.analysis.reading import read_all
from marlx.analysis.run_data import read_run


def test_runs_are_grouped_by_what_differs(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=2)  # more seeds of a
    write_run(tmp_path / "c", learner={"lr": 3e-3})
    write_run(tmp_path / "d", env={"sight": 2})
    write_run(tmp_path / "e", "vdn", learner={"lr": 5e-4})
    write_run(tmp_path / "f", "vdn", "matrix/climbing", learner={"lr": 1e-2}, env={})
    comparison = compare(*read_all([tmp_path]))
    assert comparison.tasks == (f"{FORAGING} sight=none", f"{FORAGING} sight=2", "matrix/climbing")
    # vdn was run with one rate per task, so its label has none
    assert comparison.methods == ("qmix lr=0.001", "qmix lr=0.003", "vdn")
    sample = comparison.samples[f"{FORAGING} sight=none", "qmix lr=0.001"]
    assert [run.name for run in sample.runs] == ["a", "b"] and len(sample.final) == 4
    assert set(comparison.differing) == {"seed", "learner.lr", "env.sight"}


def test_unfinished_runs_are_marked_and_left_out_unless_they_are_all(tmp_path):
    stopped = read_run(write_run(tmp_path / "a", finished=False))
    alone = compare([stopped])
    assert alone.methods == ("qmix (unfinished)",) and only_finished(alone) is alone
    both = compare([stopped, read_run(write_run(tmp_path / "b", "vdn"))])
    assert only_finished(both).methods == ("vdn",)


def test_a_seed_that_two_runs_share_counts_once(tmp_path):
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, returns=((9, 9), (9, 9), (9, 9)), steps=(1, 2, 900))
    comparison = compare(*read_all([tmp_path]))
    (sample,) = comparison.samples.values()
    np.testing.assert_array_equal(np.sort(sample.final), [0.5, 9, 9])
    again, ends = comparison.notes
    assert again == "seed 1 of a is also in b, with the same settings; it counts once"
    assert "end at 200 to 900 steps" in ends


def sample_of(*runs):
    return Sample("t", "m", runs, tuple(tuple(range(len(run.seeds))) for run in runs))


def test_curves_on_the_same_steps_stay_as_they_are(tmp_path):
    a, b = (read_run(write_run(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 2)))
    drawn = curves(sample_of(a, b))
    np.testing.assert_array_equal(drawn.x, [100, 200])
    np.testing.assert_array_equal(drawn.y, [[0, 0.2, 0, 0.2], [0.5, 0.7, 0.5, 0.7]])


def test_curves_on_other_steps_are_interpolated_within_their_common_range(tmp_path):
    a = read_run(write_run(tmp_path / "a", steps=(0, 100, 200), returns=((0,), (1,), (2,))))
    b = read_run(write_run(tmp_path / "b", steps=(50, 150), returns=((5,), (15,)), seed=1))
    drawn = curves(sample_of(a, b))
    assert (drawn.x[0], drawn.x[-1]) == (50, 150)
    np.testing.assert_allclose(drawn.y[:, 0], drawn.x / 100)
    np.testing.assert_allclose(drawn.y[:, 1], drawn.x / 10)
    late = read_run(write_run(tmp_path / "c", steps=(900,), returns=((1,),), seed=2))
    assert curves(sample_of(a, late)) is None


def test_curves_skip_missing_values(tmp_path):
    run = read_run(write_run(tmp_path / "a", loss=[[None, None], [2, None]]))
    drawn = curves(sample_of(run), "loss")
    np.testing.assert_array_equal(drawn.x, [200])
    np.testing.assert_array_equal(drawn.y, [[2]])
    assert curves(sample_of(run), "nothing") is None


def test_any_increasing_metric_may_be_the_x_axis(tmp_path):
    calls = [[0, 10], [100, 30]]
    run = read_run(write_run(tmp_path / "a", calls=calls, down=[[2, 2], [1, 1]]))
    drawn = curves(sample_of(run), "return", "calls")
    assert (drawn.x[0], drawn.x[-1]) == (10, 30)
    np.testing.assert_allclose(drawn.y[-1], [0.15, 0.7])
    np.testing.assert_array_equal(curves(sample_of(run), x="seconds").x, [10, 20])
    with pytest.raises(ValueError, match="down decreases in a"):
        curves(sample_of(run), "return", "down")


def test_bounds_are_random_and_optimum_or_what_was_seen(tmp_path):
    write_run(tmp_path / "a", returns=((-1.0,), (3.0,)), optimum=None)
    write_run(tmp_path / "b", environment="matrix/climbing", env={})
    comparison = compare(*read_all([tmp_path]))
    bounds = task_bounds(comparison)
    assert bounds["matrix/climbing"] == Bounds(0.0, 1.0, "random policy to optimum")
    assert bounds[FORAGING] == Bounds(0.0, 3.0, "random policy to highest seen")
    assert task_bounds(comparison, {FORAGING: (-5, 5)})[FORAGING] == Bounds(-5, 5, "given")
    with pytest.raises(ValueError, match="the first must be lower"):
        task_bounds(comparison, {FORAGING: (5, 5)})
    with pytest.raises(ValueError, match="bounds are given for nowhere; the tasks are"):
        task_bounds(comparison, {"nowhere": (0, 1)})


def test_a_run_that_was_made_longer_is_of_the_same_method(tmp_path):
    write_run(tmp_path / "a")
    longer = write_run(tmp_path / "b", seed=2, steps=(100, 400))
    config = (longer / "config.yaml").read_text().replace("total_steps: 200", "total_steps: 400")
    (longer / "config.yaml").write_text(config)
    comparison = compare(*read_all([tmp_path]))
    assert comparison.methods == ("qmix",)
    assert comparison.notes == (
        f"runs of qmix on {FORAGING} end at 200 to 400 steps: a curve ends with the shortest, "
        "final returns are each run's own",
    )
