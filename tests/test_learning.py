"""Learning, proved by returns: what each learner reaches, and what it cannot.

The presets are the shipped ones. The quick ones run always; `make test-slow` runs the long ones on
five seeds. Numbers of all of them are in `benchmarks/results/learning.jsonl`.
"""

import pytest

from marlx import config
from marlx.training import train


def returns(algorithm, task, **settings):
    """Greedy returns [seeds, episodes] after training with the preset, and the mean at random."""
    experiment = config.experiment(algorithm, task, **settings)
    env, params, learner = experiment.build()
    result = train(env, learner, params, config=experiment.train)
    return result.returns, result.random_returns.mean()


@pytest.mark.parametrize(
    ("algorithm", "task", "least", "most"),
    [
        ("vdn", "matrix/two_step", 7, 7),  # a sum cannot tell that 8 is there
        ("qmix", "matrix/two_step", 8, 8),
        # no monotonic mixer can put (0, 0) first
        pytest.param("qmix", "matrix/qtran", -12, 0, marks=pytest.mark.slow),
        pytest.param("joint_q", "matrix/qtran", 8, 8, marks=pytest.mark.slow),
    ],
)
def test_what_a_mixer_can_represent_decides_what_is_learned(algorithm, task, least, most):
    got, _ = returns(algorithm, task, seeds=2, evals=1)
    assert least <= got.min() and got.max() <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "task", "least", "most"),
    [
        ("vdn", "matrix/two_step", 7, 7),
        ("qmix", "matrix/two_step", 8, 8),
        ("vdn", "matrix/qtran", -12, 0),
        ("qmix", "matrix/qtran", -12, 0),
        ("qplex", "matrix/qtran", 8, 8),
        ("joint_q", "matrix/qtran", 8, 8),
        ("joint_q", "matrix/climbing", 275, 275),
        ("joint_q", "matrix/penalty-100", 250, 250),
    ],
)
def test_matrix_games_on_five_seeds(algorithm, task, least, most):
    got, _ = returns(algorithm, task, seeds=5)
    assert least <= got.min() and got.max() <= most


@pytest.mark.slow
def test_a_switch_between_two_reaches_what_iql_and_qmix_do_not():
    settings = {"mixer": "joint_q", "call_cost": 0.5}
    got, _ = returns("mansa", "matrix/stages", seeds=5, learner=settings)
    assert got.min() == 27  # the optimum
    for algorithm in ("iql", "qmix"):
        got, _ = returns(algorithm, "matrix/stages", seeds=5)
        assert got.max() <= 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "total_steps"),
    [("iql", 2_000_000), ("vdn", 800_000), ("qmix", 800_000), ("mappo", 2_000_000)],
)
def test_teams_learn_to_forage(algorithm, total_steps):
    got, random = returns(algorithm, "Foraging-8x8-2p-2f-coop-v3", seeds=5, total_steps=total_steps)
    assert random < 0.1
    assert got.mean() >= 0.95


@pytest.mark.slow
def test_three_forage_on_a_larger_board():
    """With drawn actions, the policy that PPO improves; its most probable actions get far less."""
    experiment = config.experiment("mappo", "Foraging-10x10-3p-3f-v3", seeds=5)
    env, params, learner = experiment.build()
    result = train(env, learner, params, config=experiment.train)
    assert result.history[-1].metrics["train_return"].mean() >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["iql", "vdn", "qmix"])
def test_teams_learn_to_forage_with_little_in_sight(algorithm):
    got, _ = returns(algorithm, "Foraging-2s-8x8-2p-2f-coop-v3", seeds=5)
    assert got.mean() >= 0.9


@pytest.mark.slow
def test_every_seed_balances_the_pole():
    got, random = returns("ippo", "gymnax/CartPole-v1", seeds=5)
    assert random < 50 and got.min() >= 475


@pytest.mark.slow
def test_teams_learn_to_spread():
    got, random = returns("mappo", "mpe/simple_spread_v3", seeds=5)
    assert random < -22 and got.mean() > -17.5
