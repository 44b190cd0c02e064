"""Statistics of comparisons whose numbers are known."""

import numpy as np
import pytest
from run_folders import FORAGING, write_run

from marlx.analysis import scores
from marlx.analysis.comparison import compare, task_bounds
from marlx.analysis.reading import read_all


def test_statistics_of_known_numbers(tmp_path):
    """Two methods on two tasks, seeds without spread: every aggregate is their mean."""
    for i, (algorithm, a, b) in enumerate((("qmix", 1.0, 0.8), ("vdn", 0.5, 0.2))):
        for env_id, end in ((FORAGING, a), ("matrix/climbing", b)):
            returns = ((0.0, 0.0), (end, end))
            write_run(tmp_path / f"{i}{end}", algorithm, env_id, returns=returns, env={"x": 1})
    comparison = compare(*read_all([tmp_path]))
    bounds = task_bounds(comparison)
    tasks = scores.shared_tasks(comparison)
    assert set(tasks) == {FORAGING, "matrix/climbing"}
    dots = scores.aggregates(comparison, bounds, tasks)
    for name, values in (("Mean", (0.9, 0.35)), ("Optimality gap", (0.1, 0.65))):
        for dot, value in zip(dots[name], values, strict=True):
            np.testing.assert_allclose(dot[1:], value)
    pairs = scores.improvements(comparison, bounds)
    assert pairs["qmix", "vdn"] == (scores.Estimate(1.0, 1.0, 1.0), 2)
    assert pairs["vdn", "qmix"] == (scores.Estimate(0.0, 0.0, 0.0), 2)
    one = comparison.samples[FORAGING, "qmix"]
    found = scores.efficiency(one, bounds[FORAGING])
    assert (found.half, found.most) == pytest.approx((150, 190))
    assert found.area.value == pytest.approx(0.5)
    vdn = scores.efficiency(comparison.samples[FORAGING, "vdn"], bounds[FORAGING])
    assert (vdn.half, vdn.most) == (200, None)
    profile = scores.profiles(comparison, bounds, tasks)
    at = {line.label: line.middle[np.searchsorted(line.x, 0.6)] for line in profile.lines}
    assert at == {"qmix": 1.0, "vdn": 0.0}
    panel = scores.efficiency_panel(comparison, bounds, tasks)
    ends = {line.label: (line.x[-1], line.middle[-1]) for line in panel.lines}
    assert ends["qmix"] == (100, pytest.approx(0.9)) and ends["vdn"][1] == pytest.approx(0.35)
