"""Many settings in one program: which can be, that the numbers stay those of separate runs."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from marlx.config.layers import experiment
from marlx.learner import is_zero
from marlx.loop.run import Run
from marlx.sweeps import memory, vmapped
from marlx.training import train

SMALL = {
    "total_steps": 600, "num_envs": 4, "rollout_length": 5, "evals": 3, "eval_episodes": 20,
    "seeds": 2,
}  # fmt: skip
LEARNER = {
    "recurrent": False, "hidden": 8, "batch": 8, "window": 5, "capacity": 1_000, "warmup": 100,
    "updates_per_step": 0.05, "target_period": 5,
}  # fmt: skip


def q(settings=None, **learner):
    return experiment(
        "iql", "matrix/climbing", **SMALL | (settings or {}), learner=LEARNER | learner
    )


FOUR = [
    q(lr=1e-3, gamma=0.5, epsilon_end=0.1, target_period=5),
    q(lr=1e-2, gamma=0.9, epsilon_end=0.2, target_period=9),
    q({"seed": 5}, lr=3e-3, gamma=0.99, epsilon_end=0.3, target_period=3),
    q(lr=3e-2, gamma=0.7, epsilon_end=0.4, target_period=7),
]


@functools.cache
def together():
    seen = []
    results = vmapped.train_many(FOUR, report=lambda i, progress: seen.append((i, progress.steps)))
    return results, seen


def test_what_differs_in_numbers_is_one_program():
    (group,) = vmapped.groups(FOUR)
    assert group.members == (0, 1, 2, 3)
    assert sorted(group.values) == ["epsilon_end", "gamma", "lr", "target_period"]
    assert group.first_seeds.tolist() == [0, 0, 5, 0]


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.slow
def test_settings_together_are_settings_one_by_one(which):
    env, params, learner = FOUR[which].build()
    alone = train(env, learner, params, config=FOUR[which].train)
    found = together()[0][which]
    for p, s in zip(found.history, alone.history, strict=True):
        assert p.metrics.keys() == s.metrics.keys() and p.steps == s.steps
        for name, value in p.metrics.items():
            np.testing.assert_allclose(value, s.metrics[name], rtol=2e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(found.returns, alone.returns)
    np.testing.assert_array_equal(found.random_returns, alone.random_returns)
    assert found.learner.config == FOUR[which].learner


def test_settings_have_their_effect():
    results, seen = together()
    finals = [result.history[-1].metrics for result in results]
    np.testing.assert_allclose([m["epsilon"][0] for m in finals], 1.0, atol=0.02)  # 600 of 100k
    assert len({float(m["q"][0]) for m in finals}) == 4
    assert [i for i, _ in seen] == [0, 1, 2, 3] * 4
    assert results[2].returns.shape == (2, 100)


def test_shapes_structure_and_zeros_part_programs():
    runs = [
        q(lr=1e-3),
        q(lr=1e-2),
        q(lr=1e-3, hidden=16),  # a shape
        q(lr=1e-3, double=False),  # no number
        q(lr=2e-3, target_rate=0.01),  # above 0, the target moves otherwise
        q(lr=1e-3, target_rate=0.02),
        q({"total_steps": 700}, lr=1e-3),  # the loop's length
        q({"seed": 3}, lr=1e-3),
    ]
    found = {group.members: sorted(group.values) for group in vmapped.groups(runs)}
    assert found == {
        (0, 1, 7): ["lr"],
        (2,): [],
        (3,): [],
        (4, 5): ["lr", "target_rate"],
        (6,): [],
    }


def test_what_cannot_be_traced_is_found_out_beside_what_can():
    runs = [q(lr=1e-3, batch=8), q(lr=2e-3, batch=16), q(lr=4e-3, batch=8), q(lr=5e-3, batch=16)]
    found = {group.members: sorted(group.values) for group in vmapped.groups(runs)}
    assert found == {(0, 2): ["lr"], (1, 3): ["lr"]}


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        ("vdn", ["epsilon_end", "epsilon_start", "epsilon_steps", "gamma", "lambda_", "lr",
                 "max_grad_norm", "target_period", "target_rate", "updates_per_step"]),
        ("mappo", ["clip", "entropy", "gamma", "lambda_", "lr", "lr_steps", "max_grad_norm",
                   "value_clip", "value_weight"]),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_the_usual_numbers_of_our_learners_can_be_arguments(algorithm, names):
    base = experiment(algorithm, "matrix/climbing").learner
    half = {name: getattr(base, name) / 2 or 0.5 for name in names}
    whole = [name for name in names if isinstance(getattr(base, name), int)]
    half |= {name: max(3, getattr(base, name) // 2) for name in whole}
    other = {name: value + 1 if name in whole else value / 2 for name, value in half.items()}
    runs = [experiment(algorithm, "matrix/climbing", learner=values) for values in (half, other)]
    (group,) = vmapped.groups(runs)
    assert sorted(group.values) == names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived:
    """Settings of which one is worked out from another when they are made."""

    lr: float = 0.5
    """Read through `twice` alone."""
    twice: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.lr)


def test_what_is_worked_out_when_settings_are_made_is_not_traced_by_mistake():
    base = q()
    runs = [base._replace(learner=Derived(lr=lr)) for lr in (0.1, 0.2, 0.2)]
    assert [group.members for group in vmapped.groups(runs)] == [(0,), (1, 2)]


def test_rounds_are_as_few_and_as_even_as_can_be():
    group = vmapped.Group(tuple(range(10)), {"lr": np.arange(10.0)}, np.zeros(10, int))
    parts = vmapped.rounds(group, 4)
    assert sorted(len(part.members) for part in parts) == [3, 3, 4]
    assert sum((part.members for part in parts), ()) == group.members
    np.testing.assert_array_equal(np.concatenate([p.values["lr"] for p in parts]), np.arange(10.0))
    assert len(vmapped.rounds(group, 10)) == 1


def test_the_width_is_what_fits():
    run = Run(*FOUR[0].build(), FOUR[0].train)
    most, each = memory.width_that_fits(run, None, 32)
    state = 2 * sum(run.sizes().values())  # of two seeds
    assert most == 32 and state < each < 4 * state
    assert memory.width_that_fits(run, 10 * each + 1, 32) == (10, each)
    assert memory.width_that_fits(run, 10**12, 32) == (32, each)
    with pytest.raises(ValueError, match="give it fewer seeds"):
        memory.width_that_fits(run, each - 1, 32)


def test_what_was_found_out_is_not_tried_again(monkeypatch):
    first = vmapped.groups(FOUR)
    monkeypatch.setattr(vmapped, "_tried", lambda *_: pytest.fail("tried again"))
    again = vmapped.groups([q(lr=0.5, gamma=0.1, epsilon_end=0.6, target_period=2), *FOUR])
    assert sorted(again[0].values) == sorted(first[0].values) and len(again[0].members) == 5


def test_what_is_alive_at_the_worst_moment_is_counted():
    def program(x):  # 400 bytes in; 40,000 of an outer product; 4 out
        outer = x[:, None] * x
        return outer.sum()

    jaxpr = jax.make_jaxpr(program)(np.ones(100, np.float32)).jaxpr
    assert 40_000 <= memory._peak(jaxpr) <= 40_000 + 3 * 400
    looped = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 5, lambda i, x: x + program(x), x))(
        np.ones(100, np.float32)
    )
    assert 40_000 <= memory._peak(looped.jaxpr) <= 40_000 + 6 * 400


def test_zero_is_asked_of_numbers_only():
    assert is_zero(0) and is_zero(0.0)
    assert not is_zero(0.1) and not is_zero(np.array(0.0)) and not is_zero(None)
