import numpy as np
import pytest

from marlx.statistics import (
    aggregate_iqm,
    aggregate_mean,
    aggregate_median,
    area_under_curve,
    bootstrap_interval,
    first_reached,
    iqm,
    mean,
    normalise,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    rate_by,
    stratified_interval,
)


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


def test_interval_of_one_run_is_over_its_episodes():
    low, high = bootstrap_interval([[0.0, 1.0] * 50])
    assert 0.38 < low < 0.45 and 0.55 < high < 0.62


def test_interval_is_wide_if_runs_differ():
    """Two runs with different returns, however many episodes each has."""
    low, high = bootstrap_interval([[0.0] * 1000, [1.0] * 1000])
    assert (low, high) == (0.0, 1.0)


def test_interval_is_deterministic_and_exact_for_constants():
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


# Several runs on several tasks: rliable's own test values, then random scores, for which the
# numbers below are what rliable 1.2.0 gives (intervals: 50,000 resamples, the others 20,000).

OWN_X = np.array([[1, 2], [2, 2], [1, 1], [2, 1]]).T  # rliable writes [runs, tasks]
OWN_Y = np.array([[1, 1], [2, 2], [3, 3]]).T
X = np.array(
    [
        [0.41, 0.211, 0.481, 0.17],
        [0.319, 0.614, 0.78, 0.629],
        [0.429, 0.248, 0.112, 0.319],
        [0.707, 0.77, 0.804, 0.187],
        [0.314, 0.602, 0.778, 0.474],
    ]
).T
Y = np.array(
    [
        [0.807, 0.811, 0.656, 0.622],
        [0.298, 0.44, 0.931, 0.537],
        [0.482, 0.597, 0.651, 0.479],
        [0.374, 0.386, 0.598, 0.936],
        [0.541, 0.477, 0.851, 0.77],
        [0.794, 0.648, 0.633, 0.814],
        [0.475, 0.642, 0.484, 0.817],
    ]
).T
AGGREGATES = (aggregate_mean, aggregate_median, aggregate_iqm, optimality_gap)


def test_aggregates_agree_with_rliable():
    for aggregate in AGGREGATES[:3]:
        assert float(aggregate(OWN_X)) == 1.5 and float(aggregate(OWN_Y)) == 2.0
    np.testing.assert_allclose([f(X) for f in AGGREGATES], [0.4679, 0.4624, 0.4591, 0.5321])
    np.testing.assert_allclose(
        [f(Y) for f in AGGREGATES], [0.62682143, 0.62892857, 0.61821429, 0.37317857], rtol=1e-7
    )


def test_aggregates_take_tasks_with_different_numbers_of_runs():
    ragged = [np.array([0.0, 1.0]), np.array([1.0, 1.0, 1.0, 3.0])]
    assert float(aggregate_mean(ragged)) == pytest.approx((0.5 + 1.5) / 2)
    assert float(aggregate_median(ragged)) == pytest.approx(1.0)
    assert float(aggregate_iqm(ragged)) == pytest.approx(1.0)  # 0 and 3 are cut
    assert float(optimality_gap(ragged)) == pytest.approx(1 / 6)  # above 1 counts as 1


def test_aggregates_of_a_single_task_are_mean_and_iqm():
    runs = np.random.default_rng(0).random(9)
    assert float(aggregate_iqm([runs])) == pytest.approx(iqm(runs))
    assert float(aggregate_mean([runs])) == float(aggregate_median([runs])) == mean(runs)


def test_statistics_keep_leading_axes():
    rng = np.random.default_rng(0)
    scores = [rng.random((6, 2, runs)) for runs in (3, 5)]
    others = [rng.random((6, 2, runs)) for runs in (4, 2)]
    at = [task[4, 1] for task in scores], [task[4, 1] for task in others]
    for aggregate in AGGREGATES:
        assert aggregate(scores).shape == (6, 2)
        assert aggregate(scores)[4, 1] == pytest.approx(aggregate(at[0]))
    both = probability_of_improvement(scores, others)
    assert both[4, 1] == pytest.approx(probability_of_improvement(*at))
    profile = performance_profile(scores, [0.2, 0.5, 0.9])
    assert profile.shape == (6, 2, 3)
    np.testing.assert_allclose(profile[4, 1], performance_profile(at[0], [0.2, 0.5, 0.9]))


def test_stratified_intervals_agree_with_rliable():
    for scores, low, high in (
        (X, [0.3758, 0.3596, 0.3307975, 0.4436], [0.5564, 0.5635, 0.5895, 0.6242]),
        (Y, [0.5698, 0.5641, 0.5476, 0.3152], [0.6847, 0.6946, 0.7044, 0.4301]),
    ):
        ours = stratified_interval(
            lambda s: np.stack([f(s) for f in AGGREGATES], -1), scores, resamples=20_000
        )
        np.testing.assert_allclose(ours, [low, high], atol=0.005)


def test_probability_of_improvement_agrees_with_rliable():
    assert float(probability_of_improvement(OWN_X, OWN_Y)) == pytest.approx(1 / 3)
    assert float(probability_of_improvement(X, Y)) == pytest.approx(0.30714286)
    assert float(probability_of_improvement(Y, X)) == pytest.approx(1 - 0.30714286)
    assert float(probability_of_improvement(X, X)) == 0.5
    low, high = stratified_interval(probability_of_improvement, X, Y, resamples=20_000)
    assert (float(low), float(high)) == pytest.approx((0.157, 0.471), abs=0.01)


def test_probability_of_improvement_is_mann_whitneys_u_over_pairs():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.integers(0, 5, 6), rng.integers(0, 5, 9)  # with many ties
        u = mannwhitneyu(a, b, alternative="greater").statistic
        assert float(probability_of_improvement([a], [b])) == pytest.approx(u / 54)


def test_performance_profiles_agree_with_rliable():
    tau = np.linspace(0, 1, 5)
    np.testing.assert_allclose(performance_profile(X, tau), [1.0, 0.75, 0.4, 0.2, 0.0])
    np.testing.assert_allclose(
        performance_profile(Y, tau), [1, 1, 0.67857143, 0.32142857, 0], rtol=1e-7
    )
    band = stratified_interval(lambda s: performance_profile(s, tau), X, resamples=20_000)
    np.testing.assert_allclose(band, [[1, 0.55, 0.2, 0.05, 0], [1, 0.9, 0.6, 0.35, 0]], atol=0.051)
    assert performance_profile([[0.5]], [0.5])[0] == 0, "above, not at"


def test_runs_are_resampled_within_their_task():
    """Resamples never mix tasks with different scores."""
    scores = [np.zeros(3), np.full(5, 10.0)]
    assert [float(end) for end in stratified_interval(aggregate_mean, scores)] == [5.0, 5.0]
    curves = [np.arange(12.0).reshape(4, 3)]
    low, high = stratified_interval(aggregate_mean, curves, resamples=500)
    assert low.shape == high.shape == (4,)
    np.testing.assert_allclose(
        high - low, high[0] - low[0]
    )  # a run is resampled with all its points
    again = stratified_interval(aggregate_mean, curves, resamples=500)
    np.testing.assert_array_equal((low, high), again)
    with pytest.raises(ValueError, match="between 0 and 1"):
        stratified_interval(aggregate_mean, curves, level=1)


def test_normalise():
    np.testing.assert_allclose(normalise([-1, 0, 1, 3], -1, 1), [0, 0.5, 1, 2])
    with pytest.raises(ValueError, match="second must be larger"):
        normalise([0.0], 1, 1)


def test_first_reached():
    assert first_reached([0, 10, 20], [0, 0.5, 1], 0.75) == 15
    assert first_reached([5, 10], [1, 2], 0.5) == 5
    assert first_reached([0, 10, 20, 30], [0, 1, 0, 1], 0.5) == 5  # the first time
    assert first_reached([0, 10], [0, 0.4], 0.5) is None


def test_a_rate_by_feature_by_hand():
    feature, happened = [[3, 1, 1], [3, 1, 7]], [[True, False, True], [True, False, False]]
    values, rate, seen = rate_by(feature, happened)
    np.testing.assert_array_equal(values, [1, 3, 7])
    np.testing.assert_allclose(rate, [1 / 3, 1, 0])
    np.testing.assert_array_equal(seen, [3, 2, 1])


def test_the_area_under_a_curve_is_its_mean_height():
    """A rise from 0 to 1 over half of the steps, then 1: three quarters."""
    assert area_under_curve([0, 10, 20], [0, 1, 1]) == pytest.approx(0.75)
    assert area_under_curve([0, 5, 20], [2, 2, 2]) == pytest.approx(2)
    assert area_under_curve([0, 5, 10, 20], [0, np.nan, 1, 1]) == pytest.approx(0.75)
    assert np.isnan(area_under_curve([0], [1]))
