"""Warm starts: a learner begins with another run's parameters, some of them frozen or slowed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import marlx
from marlx import cli, config
from marlx.config.tree import as_stored, plain
from marlx.learner import example_rollout
from marlx.learning.part_rates import factor_places, with_factors
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.loop.warm_start import copies, policy_places
from marlx.registry import algorithm
from marlx.runs.folder import RunFolder
from marlx.runs.policies import policy_shape, save_policy
from marlx.testing import Recall
from marlx.xla.names import named

CLIMBING, PENALTY, TWO_STEP = "matrix/climbing", "matrix/penalty-0", "matrix/two_step"
SIZES = {"hidden": 8, "critic_hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "warmup": 32,
         "batch": 4, "window": 4, "capacity": 256, "epochs": 1, "minibatches": 1, "period": 4,
         "regions": 3, "subgoals": "learned", "width": 8, "heads": 2}  # fmt: skip
TRAIN = {"num_envs": 4, "rollout_length": 4, "evals": 1, "eval_episodes": 2}


def small(settings):
    """Settings with those of `SIZES` that there are, as nested as they are."""
    return {
        name: small(value) if isinstance(value, dict) else SIZES[name]
        for name, value in settings.items()
        if isinstance(value, dict) or (name in SIZES and type(value) is type(SIZES[name]))
    }


def experiment(name, env=TWO_STEP, seeds=1, learner=None, **train):
    sizes = small(plain(algorithm(name).config()))
    return config.experiment(
        name, env, seeds=seeds, learner={**sizes, **(learner or {})}, **{**TRAIN, **train}
    )


def stored_run(path, made, key=0):
    """A run folder with policies of random numbers: of three seeds, the second is the best."""
    env, params, learner = made.build()
    shape = policy_shape(env.spec(params), learner, made.train)

    def random(x):
        numbers = np.random.default_rng(key).normal(size=(3, *x.shape))
        return numbers.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else np.full(3, 9)

    arrays = jax.tree.map(random, shape)
    made = made._replace(train=TrainConfig(seeds=3, seed=5))
    progress = Progress(640, 4096, 1.0, {"return": np.array([0.1, 0.9, np.nan])}, {}, dict)
    folder = RunFolder(path)
    save_policy(folder, made, arrays, progress)
    assert not folder.failed
    return str(path), jax.tree.map(lambda x: x[1], arrays)


def same(tree, other):
    """Whether the arrays of a tree [replicas, ...] are all those of another, for every replica."""
    pairs = zip(*map(jax.tree.leaves, (tree, other)), strict=True)
    return [bool((np.asarray(x) == np.asarray(y)).all()) for x, y in pairs]


def begin(made, **train):
    """A run of an experiment with other settings of the loop, and its blocks."""
    env, params, learner = made.build()
    run = Run(env, params, learner, TrainConfig(**{**TRAIN, **train}))
    return run, run.blocks()


def test_seeds_begin_with_the_same_parameters_and_frozen_ones_stay(tmp_path):
    """With the target network; optimiser, exploration and other layers are those of any run."""
    source, policy = stored_run(tmp_path / "source", experiment("iql"))
    run, blocks = begin(
        experiment("iql", learner={"updates_per_step": 1.0, "target_period": 1}), seeds=2,
        total_steps=96, warm_start=source, warm_start_parts=("encoder",), warm_start_rate=0.0,
    )  # fmt: skip

    def loaded(params):
        layers = params.agents["params"]
        pairs = same(layers, policy.params.agents["params"])
        return dict(zip(named(layers), pairs, strict=True))

    next(blocks)
    assert run.placement.layout.groups == 2, "seeds on devices of their own"
    begun = jax.device_get(run.state.learner)
    for params in (begun.params, begun.target):
        assert {name for name, is_ in loaded(params).items() if is_} == {
            "encoder/bias", "encoder/kernel"
        }  # fmt: skip
    assert all(same(begun.target, begun.params)) and (begun.steps == 32).all()
    assert not any(x.any() for x in jax.tree.leaves(begun.optimiser[1][0].mu))
    next(blocks)
    after = jax.device_get(run.state.learner)
    assert (after.updates > 1).all() and all(same(after.target, after.params))
    assert loaded(after.params) == loaded(begun.params)
    kernels = (x.params.agents["params"]["readout"]["kernel"] for x in (begun, after))
    assert not np.array_equal(*kernels)


def test_a_scaled_rate_scales_the_steps_of_what_was_loaded(tmp_path):
    """The first step of Adam is the step size, for every parameter with a gradient."""
    source, policy = stored_run(tmp_path / "source", experiment("mappo"), key=1)
    run, blocks = begin(
        experiment("mappo", learner={"lr": 0.01, "lr_steps": 0, "max_grad_norm": 1e6}),
        total_steps=32, warm_start=source, warm_start_rate=0.1,
    )  # fmt: skip
    next(blocks)
    begun = jax.device_get(run.state.learner.params)
    assert all(same(begun.actor, policy))
    next(blocks)
    after = jax.device_get(run.state.learner.params)
    sizes = [
        max(float(np.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, pair), strict=True))
        for pair in ((begun.actor, after.actor), (begun.critic, after.critic))
    ]
    np.testing.assert_allclose(sizes, [0.001, 0.01], rtol=0.02)


def test_a_copy_is_a_tree_with_the_same_values_throughout():
    def arrays(kernel, bias):
        return {"kernel": jnp.stack([kernel] * 2), "bias": jnp.stack([bias] * 2)}

    kernel, zero = jnp.arange(4.0), jnp.zeros(4)
    state = {
        "params": {"a": arrays(kernel, zero), "b": arrays(kernel + 1, zero)},
        "target": {"a": arrays(kernel, zero), "b": arrays(kernel + 1, zero)},
        "moments": {"a": arrays(zero, zero), "b": arrays(zero, zero)},
        "half": {"a": arrays(kernel, zero), "b": arrays(kernel + 2, zero)},
    }
    originals = tuple(name for name in named(state) if name.startswith("params"))
    found = copies(named(state), originals)
    assert found == {name.replace("params", "target"): name for name in originals}


LEARNERS = {
    "coma": ("actor",),
    "happo": ("params/actor",),
    "pqn_qmix": ("params/agents", "params/mixer"),
    "clam": ("ppo/params/actor", "model/target", "moments"),
    "gmah": ("high/params", "low/params/actor", "sources/subgoals"),
    "mansa_ppo": ("independent/params/actor", "centralised/params/actor", "switch/params"),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_begin_with_what_acts_and_all_their_optimisers_have_rates(name):
    record = algorithm(name)
    env = record.prepare(Recall()) if record.prepare else Recall()
    made = config.layers.configured(record.config(), small(plain(record.config())), name)
    learner = record.build(env.spec(), made)
    example = example_rollout(env.spec(), learner, 8, 4)
    state = jax.eval_shape(lambda key: with_factors(learner.init(key, example)), jax.random.key(0))
    places, shapes = policy_places(learner, state), named(state)
    assert {place for place in places.values()} <= shapes.keys()
    for part in LEARNERS[name]:
        assert any(place.startswith(f"{part}/") for place in places.values()), part
    assert all(place.startswith(LEARNERS[name]) for place in places.values())
    factors = factor_places(state)
    assert set(factors.values()) <= shapes.keys() and len(set(factors.values())) == len(factors)
    trained = {place for place in places.values() if "/actor/" in f"/{place}"}
    assert trained <= set(factors.values())
    if name in ("happo", "mansa_ppo"):  # which take optimisers apart
        after, _ = jax.eval_shape(learner.update, state, jax.random.key(0))
        assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.fixture
def sources(tmp_path, monkeypatch, tiny_algorithm):
    """Run folders to start from, in the folder that tests work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("marlx.cli.train._draw", lambda job, finished: {})  # pictures take seconds
    stored_run(Path("ippo"), experiment("ippo"))
    stored_run(Path("tiny"), experiment("tiny"))
    stored_run(Path("climbing"), experiment("tiny", CLIMBING))
    stored_run(Path("damaged"), experiment("tiny"))
    with open("damaged/policy/arrays.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00\x7f"[:1])
        file.seek(-2, 2)
        file.write(b"\x07")


REFUSED = [
    ("ippo", {"warm_start": "nowhere"}, "nowhere holds no policy; give the folder of a run"),
    ("tiny", {"warm_start": "damaged"}, "the digest does not match"),
    ("tiny", {"warm_start": "tiny", "warm_start_seed": 2}, "tiny has no seed 2; it has 5, 6, 7"),
    (
        "tiny",
        {"warm_start": "climbing"},
        "climbing does not fit tiny on matrix/two_step: logits is float32[2,3] there and "
        "float32[2,2] here",
    ),
    (
        "qmix",
        {"warm_start": "ippo"},
        "ippo does not fit qmix on matrix/two_step: params/agents/params/dense/bias is missing",
    ),
    (
        "mappo",
        {"warm_start": "ippo", "warm_start_parts": ("critic",)},
        "warm_start_parts has critic; it must be a part of mappo on matrix/two_step: actor, ",
    ),
    (
        "tiny",
        {"warm_start": "tiny", "warm_start_rate": 0.0},
        "warm_start_rate is 0.0; it must be 1.0 for tiny on matrix/two_step, whose optimiser",
    ),
]


@pytest.mark.parametrize(("name", "settings", "answer"), REFUSED, ids=[x[2][:40] for x in REFUSED])
def test_what_does_not_fit_is_refused_in_one_line_before_anything_is_compiled(
    sources, monkeypatch, capsys, name, settings, answer
):
    def fail(*args, **kwargs):
        raise AssertionError("compiled")

    monkeypatch.setattr("marlx.loop.programs.compile_programs", fail)
    made = experiment(name)
    env, params, learner = made.build()
    with pytest.raises(ValueError) as error:
        marlx.train(env, learner, params, config=made.train, **settings)
    assert answer in str(error.value) and "\n" not in str(error.value)
    words = []
    for option, value in settings.items():
        words += [f"--{option.replace('_', '-')}", value[0] if isinstance(value, tuple) else value]
    sizes = [f"--learner.hidden={SIZES['hidden']}"] * (name != "tiny")
    assert cli.run(["train", name, TWO_STEP, *sizes, "--out", "new", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert answer in said.err and said.err.count("\n") == 1 and not Path("new").exists()


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"warm_start_rate": 0.5}, "warm_start_rate is 0.5; it must be left out where there is no"),
        ({"warm_start_parts": ("actor",)}, "it must be left out where there is no warm_start"),
        ({"warm_start": "run", "warm_start_parts": "actor"}, "must be a tuple of names"),
        ({"warm_start": 7}, "warm_start is 7; it must be the folder of a run, as text"),
        (
            {"warm_start": "run", "warm_start_rate": -1},
            "warm_start_rate is -1; it must be 0 or more",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, answer):
    with pytest.raises(ValueError, match=answer):
        TrainConfig(**settings)


def test_settings_that_older_runs_lack_are_as_they_were_then():
    default = plain(TrainConfig())
    names = [name for name in default if name.startswith("warm_start")]
    assert len(names) == 4 and all(as_stored({})[name] == default[name] for name in names)


def first_line(path):
    return json.loads(Path(path, "metrics.jsonl").read_text().splitlines()[0])


def test_a_run_records_what_it_began_with_and_goes_on_without_it(sources, capsys):
    """Another environment and fewer seeds than the source has; the best of its seeds is taken."""
    few = ["--total-steps", "64", "--num-envs", "4", "--rollout-length", "4", "--evals", "2",
           "--eval-episodes", "4", "--devices", "1"]  # fmt: skip
    words = ["train", "tiny", PENALTY, "--warm-start", "climbing", *few, "--learner.lr", "0.0"]
    assert cli.run([*words, "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "begins with 1 array of climbing (tiny on matrix/climbing, seed 6, 640 steps)" in said
    record = json.loads(Path("run/environment.json").read_text())["warm_start"]
    source = load_file("climbing/policy/arrays.safetensors")["logits"]
    assert (record["run"], record["seed"], record["arrays"]) == ("climbing", 6, ["logits"])
    assert len(record["sha256"]) == 64
    own = load_file("run/policy/arrays.safetensors")["logits"]
    np.testing.assert_array_equal(own[0], source[1])

    shutil.rmtree("climbing")
    assert cli.run(["train", "--resume", "run", "--total-steps", "128"]) == 0
    assert marlx.load_policy("run").steps >= 128
    assert json.loads(Path("run/environment.json").read_text())["warm_start"] == record
    assert cli.run(["train", "--resume", "run", "--total-steps", "256", "--warm-start", "x"]) == 2
    assert "warm_start is x; the run has climbing" in capsys.readouterr().err


def test_a_run_that_begins_again_does_not_begin_with_something_else(sources, capsys):
    words = ["train", "tiny", PENALTY, "--warm-start", "climbing", "--total-steps", "600"]
    assert cli.run([*words, "--no-checkpoints", "--out", "run", "--devices", "1"]) == 0
    Path("run/result.json").unlink()
    shutil.rmtree("climbing")
    stored_run(Path("climbing"), experiment("tiny", CLIMBING), key=3)
    capsys.readouterr()
    assert cli.run(["train", "--resume", "run"]) == 2
    assert "climbing has changed since run began with its parameters" in capsys.readouterr().err
