import numpy as np
import pytest

from marlx.statistics import bootstrap_interval, iqm, mean, rate_by


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, -100.0]]) == pytest.approx(3.5)
    assert iqm(np.arange(10.0)) == pytest.approx(4.5)  # two cut at either end, as rliable does
    assert np.isnan(iqm([]))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        runs = rng.normal(0, 1, (20, 1)) + rng.normal(0, 1, (20, 10))
        low, high = bootstrap_interval(runs, resamples=200, seed=trial)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_of_one_run_speaks_of_its_episodes():
    low, high = bootstrap_interval([[0.0, 1.0] * 50])
    assert 0.38 < low < 0.45 and 0.55 < high < 0.62


def test_interval_sees_that_runs_differ():
    """Two runs that disagree leave the mean open, however many episodes each has."""
    low, high = bootstrap_interval([[0.0] * 1000, [1.0] * 1000])
    assert (low, high) == (0.0, 1.0)


def test_interval_is_the_same_every_time_and_exact_for_constants():
    returns = np.random.default_rng(1).normal(size=(3, 7))
    assert bootstrap_interval(returns) == bootstrap_interval(returns)
    assert bootstrap_interval(np.full((3, 7), 0.5)) == (0.5, 0.5)
    assert bootstrap_interval([1.0, 1.0], iqm) == (1.0, 1.0)


@pytest.mark.parametrize("returns", [[], [[]], np.zeros((1, 2, 3))])
def test_interval_needs_runs(returns):
    with pytest.raises(ValueError, match="expected"):
        bootstrap_interval(returns)


def test_mean():
    assert mean([[1.0, 2.0], [3.0, 6.0]]) == 3.0


def test_a_rate_by_feature_by_hand():
    feature, happened = [[3, 1, 1], [3, 1, 7]], [[True, False, True], [True, False, False]]
    values, rate, seen = rate_by(feature, happened)
    np.testing.assert_array_equal(values, [1, 3, 7])
    np.testing.assert_allclose(rate, [1 / 3, 1, 0])
    np.testing.assert_array_equal(seen, [3, 2, 1])
