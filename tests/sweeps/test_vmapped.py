"""Many settings in one program: which can be, and that the numbers are those of separate runs."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from tiny import TinyConfig, tiny

from marlx import registry
from marlx.config.layers import experiment
from marlx.loop.program import loop
from marlx.loop.run import Run
from marlx.settings import setting, traced_settings
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


def test_shapes_and_structure_part_programs_and_numbers_do_not():
    runs = [
        q(lr=1e-3),
        q(lr=1e-2),
        q(lr=1e-3, hidden=16),  # a shape
        q(lr=1e-3, double=False),  # no number
        q(lr=2e-3, target_rate=0.01),  # above 0: soft updates, in the same program
        q({"total_steps": 700}, lr=1e-3),  # the loop's length
        q({"seed": 3}, lr=1e-3),
    ]
    found = {group.members: sorted(group.values) for group in vmapped.groups(runs)}
    assert found == {(0, 1, 4, 6): ["lr", "target_rate"], (2,): [], (3,): [], (5,): []}


def test_what_is_not_declared_traced_parts_programs():
    runs = [q(lr=1e-3, batch=8), q(lr=2e-3, batch=16), q(lr=4e-3, batch=8), q(lr=5e-3, batch=16)]
    found = {group.members: sorted(group.values) for group in vmapped.groups(runs)}
    assert found == {(0, 2): ["lr"], (1, 3): ["lr"]}


def algorithms():
    """Of algorithms that share most of their code, one is fast and the others are slow."""
    fast = ("qmix", "mappo", "mansa", "gmah", "clam")
    return [
        pytest.param(name, marks=() if name in fast else pytest.mark.slow)
        for name in registry.algorithms()
    ]


@pytest.mark.parametrize("algorithm", algorithms())
def test_every_setting_declared_traced_can_be_an_argument(algorithm):
    """The whole training is traced, with an array in each of them."""
    env_id = registry.algorithm(algorithm).example or "Foraging-5x5-2p-1f-coop-v3"
    chosen = experiment(algorithm, env_id, num_envs=8)
    declared = traced_settings(chosen.learner)
    assert len(declared) > 5
    env = chosen.prepared()

    def run(values, key):
        learner = vmapped.learner_with(chosen, values)
        functions = loop(env, env.default_params, learner, chosen.train)
        state, metrics = functions.block(functions.init(key))
        return state, metrics, functions.evaluate(state, key)

    arguments = {
        name: jax.ShapeDtypeStruct((), np.int32 if isinstance(value, int) else np.float32)
        for name, value in declared.items()
    }
    jax.eval_shape(run, arguments, jax.random.key(0))


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        ("vdn", ["epsilon_end", "epsilon_start", "epsilon_steps", "gamma", "lambda_", "lr",
                 "max_grad_norm", "target_period", "target_rate", "updates_per_step"]),
        ("mappo", ["clip", "entropy", "gamma", "lambda_", "lr", "lr_steps", "max_grad_norm",
                   "value_clip", "value_weight"]),
        ("mansa", ["call_cost", "centralised.lr", "independent.gamma", "switch.epsilon_end"]),
    ],
)  # fmt: skip
def test_the_usual_numbers_of_our_learners_are_declared_traced(algorithm, names):
    assert set(names) <= set(traced_settings(experiment(algorithm, "matrix/climbing").learner))


def test_a_learner_that_branches_on_a_traced_setting_is_an_error(monkeypatch):
    """The mistake is shown, instead of compiling a program for every value."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wrong(TinyConfig):
        lr: float = setting(0.5, traced=True)

    def build(spec, config):
        return tiny(spec, config if config.lr else TinyConfig())

    record = registry.Algorithm("wrong", "branches in Python", Wrong, build)
    everything = {**registry.algorithms(), "wrong": record}
    monkeypatch.setattr(registry, "algorithms", lambda: everything)
    runs = [q()._replace(algorithm="wrong", learner=Wrong(lr=lr)) for lr in (0.0, 0.1)]
    (group,) = vmapped.groups(runs)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        next(vmapped.start(runs, group).blocks())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived:
    """Settings of which one is computed from another when they are made."""

    lr: float = setting(0.5, traced=True)
    """Read through `twice` alone."""
    twice: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.lr)


def test_a_value_computed_from_a_traced_setting_follows_it():
    base = q()
    runs = [base._replace(learner=Derived(lr=lr)) for lr in (0.1, 0.2, 0.2)]
    assert [group.members for group in vmapped.groups(runs)] == [(0, 1, 2)]
    twice = jax.jit(lambda lr: dataclasses.replace(Derived(), lr=lr).twice)
    assert twice(3.0) == 6


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
