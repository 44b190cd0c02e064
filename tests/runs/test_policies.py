import dataclasses
import inspect
import json
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load, save

from marlx import cli, config, load_policy, make, policy_files
from marlx.cli import records
from marlx.loop.progress import Progress
from marlx.loop.vector import vector_reset
from marlx.runs import folder as run_folder
from marlx.runs import policies

CLIMBING, FORAGING = "matrix/climbing", "Foraging-8x8-2p-2f-coop-v3"


def test_a_policy_shows_itself_in_a_notebook(saved):
    text = policies.load_policy(saved[0])._repr_html_()
    for words in ("tiny", CLIMBING, "<td>11</td>", "640", "logits", "float32[2,3]", "6 numbers"):
        assert words in text


def test_the_seeds_of_a_run_are_listed_with_their_returns(saved):
    assert policies.policy_seeds(saved[0]) == {10: 0.1, 11: 0.9, 12: None}


@pytest.fixture
def saved(tiny_algorithm, tmp_path):
    """A run folder with the policies of three seeds, of which seed 11 is best."""
    experiment = config.experiment("tiny", CLIMBING, seeds=3, seed=10, total_steps=4096)
    env, params, _ = experiment.build()
    spec = env.spec(params)
    logits = jax.random.normal(jax.random.key(0), (3, spec.num_agents, spec.num_actions))
    arrays = {"logits": logits}
    progress = Progress(640, 4096, 1.0, {"return": np.array([0.1, 0.9, np.nan])}, {}, dict)
    folder = run_folder.RunFolder(tmp_path / "run")
    policies.save_policy(folder, experiment, arrays, progress)
    assert not folder.failed
    return folder.path, experiment, arrays


def test_a_policy_read_back_acts_as_it_did(saved):
    path, experiment, arrays = saved
    env, params, learner = experiment.build()
    obs, _ = vector_reset(env, params, jax.random.key(1), 5)
    for index, seed in enumerate((10, 11, 12)):
        policy = load_policy(path, seed)
        assert (policy.seed, policy.steps) == (seed, 640)
        own = {"logits": arrays["logits"][index]}
        expected, *_ = learner.act(own, learner.memory(5), obs, jax.random.key(0), False)
        action, memory = policy.act(obs, policy.initial_memory(5))
        np.testing.assert_array_equal(action, expected)
        assert memory.shape == (5, 1) and float(memory[0, 0]) == 1
        for i in range(5):  # one by one, as in a batch
            single = jax.tree.map(lambda x, i=i: x[i], obs)
            alone, memory = policy.act(single, policy.initial_memory())
            np.testing.assert_array_equal(alone, expected[i])
            assert memory.shape == (1,)


def test_the_best_seed_is_the_default(saved):
    assert load_policy(saved[0]).seed == 11
    assert load_policy(saved[0] / "policy").seed == 11
    with pytest.raises(ValueError, match="no seed 3; it has 10, 11, 12"):
        load_policy(saved[0], 3)


def test_a_policy_acts_as_its_run_is_judged_and_the_best_seed_is_by_that_return(saved, tmp_path):
    _, experiment, arrays = saved
    experiment = experiment._replace(train=dataclasses.replace(experiment.train, eval="drawn"))
    folder = run_folder.RunFolder(tmp_path / "drawn")
    returns = {"return": np.array([0.1, 0.2, 0.3]), "greedy_return": np.array([0.9, 0.8, 0.7])}
    progress = Progress(640, 4096, 1.0, returns, {}, dict)
    policies.save_policy(folder, experiment, arrays, progress)
    policy = load_policy(folder.path)
    assert (policy.seed, policy.judged) == (12, "drawn")
    obs, _ = vector_reset(policy.env, policy.params, jax.random.key(1), 50)
    memory, key = policy.initial_memory(50), jax.random.key(2)
    with pytest.raises(ValueError, match="needs a key"):
        policy.act(obs, memory)
    drawn = policy.act(obs, memory, key)[0]
    np.testing.assert_array_equal(drawn, policy.act(obs, memory, key, explore=True)[0])
    greedy = policy.act(obs, memory, explore=False)[0]
    assert (greedy == greedy[0]).all() and not (drawn == greedy).all()


def test_a_policy_stored_before_there_was_a_choice_was_judged_greedily(saved):
    path, experiment, arrays = saved
    described = json.loads((path / "policy" / "policy.json").read_text())
    assert described["settings"].pop("eval") == "auto"
    (path / "policy" / "policy.json").write_text(json.dumps(described))
    progress = Progress(640, 4096, 1.0, {"return": np.array([0.1, 0.9, np.nan])}, {}, dict)
    policies.save_policy(run_folder.RunFolder(path, resume=True), experiment, arrays, progress)
    policy = load_policy(path)
    assert policy.experiment.train.eval == policy.judged == "greedy"


def test_a_seed_is_named_in_python_as_on_the_command_line(saved):
    assert load_policy(saved[0], policy_seed=12).seed == 12
    assert list(inspect.signature(load_policy).parameters) == ["path", "policy_seed"]
    for options in (records.EvalOptions, records.RenderOptions):
        assert {"policy_seed", "seed"} <= {field.name for field in dataclasses.fields(options)}


def test_exploring_needs_a_key(saved):
    policy = load_policy(saved[0])
    obs, _ = policy.env.reset(jax.random.key(0), policy.params)
    with pytest.raises(ValueError, match="needs a key"):
        policy.act(obs, policy.initial_memory(), explore=True)
    keys = jax.random.split(jax.random.key(0), 20)
    actions = [policy.act(obs, policy.initial_memory(), key, explore=True)[0] for key in keys]
    assert len({tuple(np.asarray(action)) for action in actions}) > 1
    assert all(bool(obs.action_mask[jnp.arange(2), action].all()) for action in actions)


def test_apply_is_pure_and_goes_through_jit_vmap_and_scan(saved):
    """An episode in one's own program, the first thing that a JAX user writes."""
    policy = load_policy(saved[0])
    env, params = policy.env, policy.params

    def episode(arrays, key):
        obs, state = env.reset(key, params)

        def step(carry, key):
            obs, state, memory = carry
            action, memory = policy.apply(arrays, memory, obs, key, explore=True)
            obs, state, reward, *_ = env.step(key, state, action, params)
            return (obs, state, memory), reward.sum()

        first = obs, state, policy.initial_memory()
        (_, _, memory), rewards = jax.lax.scan(step, first, jax.random.split(key, 5))
        return rewards.sum(), memory

    keys = jax.random.split(jax.random.key(0), 3)
    several = jax.jit(jax.vmap(episode, (None, 0)))
    returns, memory = several(policy.arrays, keys)
    assert returns.shape == (3,) and memory.shape == (3, 1)
    np.testing.assert_array_equal(memory, 5)
    np.testing.assert_allclose(returns[1], episode(policy.arrays, keys[1])[0])
    always_first = jax.tree.map(lambda x: x.at[:, 0].set(1e9), policy.arrays)
    assert (several(always_first, keys)[0] != returns).any()


def test_act_can_be_traced_for_one_observation_and_for_many(saved):
    policy = load_policy(saved[0])
    obs, _ = vector_reset(policy.env, policy.params, jax.random.key(1), 4)
    action, _ = policy.act(obs, policy.initial_memory(4))
    one_by_one, memory = jax.jit(jax.vmap(policy.act))(obs, policy.initial_memory(4))
    np.testing.assert_array_equal(one_by_one, action)
    assert memory.shape == (4, 1)
    np.testing.assert_array_equal(jax.jit(policy.act)(obs, policy.initial_memory(4))[0], action)
    with pytest.raises(ValueError, match=r"\[1, 4, 2, 2\]; it must be \[agents, 2\].*vmap"):
        policy.act(jax.tree.map(lambda x: x[None], obs), policy.initial_memory(4))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_policy_goes_through_pickle(saved, elsewhere):
    policy = load_policy(saved[0], 12)
    if elsewhere:
        policy = policy.on(make(CLIMBING, horizon=3)[0])
    again = pickle.loads(pickle.dumps(policy))
    assert (again.seed, again.steps, again.spec) == (12, 640, policy.spec)
    assert again.spec.horizon == (3 if elsewhere else 25)
    obs, _ = policy.env.reset(jax.random.key(1), policy.params)
    key = jax.random.key(2)
    for explore in (False, True):
        acts = [one.act(obs, one.initial_memory(), key, explore=explore) for one in (policy, again)]
        jax.tree.map(np.testing.assert_array_equal, *acts)


def rewrite(path, content=None, arrays=None, **metadata):
    """Replace content of a policy's files, with a matching digest."""
    described, held = path / "policy" / "policy.json", path / "policy" / "arrays.safetensors"
    if content is not None:
        described.write_text(json.dumps(content))
    size = int.from_bytes(held.read_bytes()[:8], "little")
    old = json.loads(held.read_bytes()[8 : 8 + size])["__metadata__"]
    arrays = load(held.read_bytes()) if arrays is None else arrays
    metadata = {**old, **metadata}
    metadata["sha256"] = policy_files.digest(described.read_bytes(), arrays, metadata)
    held.write_bytes(save(arrays, metadata))


def refusal(path):
    """The one-line error with which a policy is refused."""
    with pytest.raises(ValueError) as caught:
        load_policy(path)
    assert type(caught.value) is ValueError or "JSON" in type(caught.value).__name__
    line = str(caught.value)
    assert line and "\n" not in line
    return line


def test_a_policy_that_does_not_fit_is_refused(saved):
    path, _, _ = saved
    content = json.loads((path / "policy" / "policy.json").read_text())
    other = {**content, "settings": {**content["settings"], "environment": "matrix/climbing-3p"}}
    other["settings"]["env"] = {}
    rewrite(path, other)
    assert "does not fit tiny" in refusal(path)
    rewrite(path, {**content, "format": 99})
    assert "has format 99" in refusal(path)
    rewrite(path, content)
    assert load_policy(path).seed == 11


def test_damage_is_found_anywhere(saved):
    """Both files are cut, and have a bit flipped, at many places; the error is always one line."""
    path, _, _ = saved
    rng = np.random.default_rng(0)
    for name in ("policy.json", "arrays.safetensors"):
        file = path / "policy" / name
        whole = file.read_bytes()
        places = {0, 1, 7, 8, 9, len(whole) - 1, *rng.integers(len(whole), size=60).tolist()}
        for place in sorted(places):
            file.write_bytes(whole[:place])
            assert str(path) in refusal(path)
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(bytes(flipped))
            assert str(path) in refusal(path)
        file.write_bytes(whole + b" ")
        assert str(path) in refusal(path)
        file.write_bytes(whole)
    assert load_policy(path).seed == 11


def test_exchanged_arrays_are_refused(tiny_algorithm, tmp_path):
    """Arrays of another run, and arrays in another order, are refused."""
    experiment = config.experiment("tiny", "matrix/climbing", seeds=2)
    for name, seed in (("a", 0), ("b", 1)):
        logits = jax.random.normal(jax.random.key(seed), (2, 2, 3))
        progress = Progress(8, 8, 1.0, {"return": np.zeros(2)}, {}, dict)
        folder = run_folder.RunFolder(tmp_path / name)
        other = experiment._replace(train=config.experiment("tiny", "matrix/climbing").train)
        described = experiment if name == "a" else other
        policies.save_policy(folder, described, {"logits": logits}, progress)
    a, b = (tmp_path / name / "policy" / "arrays.safetensors" for name in "ab")
    a.write_bytes(b.read_bytes())
    assert "digest" in refusal(tmp_path / "a")
    swapped = {"logits": load(b.read_bytes())["logits"][::-1]}
    size = int.from_bytes(b.read_bytes()[:8], "little")
    metadata = json.loads(b.read_bytes()[8 : 8 + size])["__metadata__"]
    b.write_bytes(save({"logits": np.ascontiguousarray(swapped["logits"])}, metadata))
    assert "digest" in refusal(tmp_path / "b")


HEADERS = {
    "huge header": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"{}",
    "huge array": {"logits": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}},
    "negative": {"logits": {"dtype": "F32", "shape": [-1, 4], "data_offsets": [0, 0]}},
    "overlapping": {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    },
    "dtype": {"logits": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 8]}},
    "bfloat16": {"logits": {"dtype": "BF16", "shape": [6], "data_offsets": [0, 12]}},
    "no record": [1, 2, 3],
    "text": {"logits": "x"},
    "metadata": {"__metadata__": {"steps": 3}},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_wrong_headers_are_refused(header, saved):
    if not isinstance(header, bytes):
        text = json.dumps(header).encode()
        header = len(text).to_bytes(8, "little") + text + bytes(12)
    (saved[0] / "policy" / "arrays.safetensors").write_bytes(header)
    refusal(saved[0])


def test_a_pickle_is_not_read(saved, tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("boom").mkdir, ())

    for name in ("policy.json", "arrays.safetensors"):
        file = saved[0] / "policy" / name
        whole = file.read_bytes()
        file.write_bytes(pickle.dumps(Bomb()))
        refusal(saved[0])
        file.write_bytes(whole)
    assert not (tmp_path / "boom").exists()


WRONG = [None, 3, "x", [], {}, [None], {"a": 1}, [["x"]], -1, 1e300, True]


@pytest.mark.parametrize("key", ["seeds", "settings", "format"])
def test_json_with_the_wrong_types_is_refused_even_with_its_digest(key, saved):
    path = saved[0]
    content = json.loads((path / "policy" / "policy.json").read_text())
    for wrong in WRONG:
        rewrite(path, {**content, key: wrong})
        refusal(path)
    rewrite(path, {k: v for k, v in content.items() if k != key})
    refusal(path)


def test_invalid_settings_are_refused_even_with_their_digest(saved):
    path = saved[0]
    content = json.loads((path / "policy" / "policy.json").read_text())
    for key, wrong in (
        *(("algorithm", x) for x in ("os:system", "../tiny", "", "marlx.cli:main")),
        *(("environment", x) for x in ("../../etc/passwd", "/dev/zero", "x\0y", "partners/../..")),
        *(("learner", x) for x in ({"lr": [1]}, {"nothing": 1}, "x", {"capacity": -1})),
        *(
            ("env", x)
            for x in ({"horizon": [1]}, {"horizon": -1}, {"sight": 2}, {"__class__": 1}, 5)
        ),
        *(("total_steps", x) for x in ("x", None, -1, [1])),
    ):
        rewrite(path, {**content, "settings": {**content["settings"], key: wrong}})
        refusal(path)
    described = path / "policy" / "policy.json"
    for text in ("[" * 100_000, "{}", "[]", "null", '"x"', '{"format": 2}', "\ufeff{}", "\0"):
        described.write_text(text)
        refusal(path)


def test_arrays_and_metadata_that_do_not_fit_are_refused_even_with_their_digest(saved):
    path, _, arrays = saved
    logits = np.asarray(arrays["logits"])
    for wrong in (
        {"logits": logits.astype(np.float64)},
        {"logits": logits.astype(np.int32)},
        {"logits": logits[:, :1]},
        {"logits": logits[:2]},
        {"logits": logits[0]},
        {"logits": np.array(1, np.float32)},
        {"logits": logits, "more": logits},
        {"other": logits},
        {},
    ):
        rewrite(path, arrays=wrong)
        refusal(path)
    good = {"logits": logits}
    for name, wrong in (
        *(("steps", x) for x in ("x", "1e3", "", "NaN")),
        *(("returns", x) for x in ("[1]", "[1,2,[3]]", "{}", "x", '["a","b","c"]', "[" * 99_999)),
    ):
        rewrite(path, arrays=good, **{name: wrong})
        refusal(path)
        rewrite(path, arrays=good, steps="1", returns="[1,2,3]")
    load_policy(path)


def test_paths_without_a_policy(saved, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "odd" / "policy" / "policy.json").mkdir(parents=True)
    for path in (
        tmp_path,
        tmp_path / "file",
        tmp_path / "odd",
        "/dev/null",
        "/nowhere",
        "",
        "a\0b",
    ):
        assert "holds no policy" in (line := refusal(path)) or "damaged" in line


def test_loading_a_policy_imports_nothing_that_only_training_needs(tmp_path):
    """In a fresh process: no checkpoints, no logger, no plots, no command line."""
    settings = {"hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "recurrent": True}
    experiment = config.experiment("qmix", "matrix/two_step", learner=settings, seeds=2)
    env, params, learner = experiment.build()
    shape = policies.policy_shape(env.spec(params), learner, experiment.train)
    arrays = jax.tree.map(lambda x: np.ones((2, *x.shape), x.dtype), shape)
    progress = Progress(1, 2, 1.0, {"return": np.array([1.0, 0.0])}, {}, dict)
    policies.save_policy(run_folder.RunFolder(tmp_path / "run"), experiment, arrays, progress)
    code = (
        "import sys, jax, marlx\n"
        "policy = marlx.load_policy('run')\n"
        "obs, _ = marlx.vector_reset(policy.env, policy.params, jax.random.key(0), 3)\n"
        "actions, memory = policy.act(obs, policy.initial_memory(3))\n"
        "assert actions.shape == (3, 2) and memory.shape == (3, 2, 8)\n"
        "heavy = {'orbax', 'wandb', 'matplotlib', 'tyro', 'PIL', 'optuna', 'gymnax'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "for name in ('analysis', 'cli', 'loggers', 'sweeps'):\n"
        "    assert f'marlx.{name}' not in sys.modules, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=480
    )
    assert done.returncode == 0, done.stderr


def test_the_policy_of_a_real_learner_is_read_back_unchanged(tmp_path):
    """QMIX's policy has nested records of several kinds; all leaves keep their places."""
    settings = {"hidden": 8, "mixer_hidden": 8, "mixer_embed": 4}
    experiment = config.experiment("qmix", "matrix/two_step", learner=settings, seeds=2)
    env, params, learner = experiment.build()
    shape = policies.policy_shape(env.spec(params), learner, experiment.train)
    rng = np.random.default_rng(0)
    arrays = jax.tree.map(lambda x: rng.normal(size=(2, *x.shape)).astype(x.dtype), shape)
    folder = run_folder.RunFolder(tmp_path)
    progress = Progress(1, 2, 1.0, {"return": np.array([1.0, 0.0])}, {}, dict)
    policies.save_policy(folder, experiment, arrays, progress)
    policy = load_policy(tmp_path)
    first = jax.tree.map(lambda x: x[0], arrays)
    assert jax.tree.structure(policy.arrays) == jax.tree.structure(first)
    jax.tree.map(np.testing.assert_array_equal, policy.arrays, first)


def test_a_policy_acts_in_another_environment_that_fits_its_networks(tmp_path):
    """With shared parameters and a fixed sight, a bigger board changes no shape."""
    experiment = config.experiment(
        "vdn", FORAGING, learner={"hidden": 8}, env={"sight": 2}, seeds=1, total_steps=100_000
    )
    env, params, learner = experiment.build()
    shape = policies.policy_shape(env.spec(params), learner, experiment.train)
    rng = np.random.default_rng(0)
    arrays = jax.tree.map(lambda x: rng.normal(size=(1, *x.shape)).astype(x.dtype), shape)
    progress = Progress(1, 2, 1.0, {"return": np.array([1.0])}, {}, dict)
    policies.save_policy(run_folder.RunFolder(tmp_path / "run"), experiment, arrays, progress)
    policy = load_policy(tmp_path / "run")
    big, big_params = make("Foraging-16x16-2p-2f-coop-v3", sight=2)
    moved = policy.on(big, big_params)
    assert "16x16" in moved.spec.id and moved.env is big
    assert big.spec(big_params).scale != policy.spec.scale, "a test of scales needs two"
    obs, _ = vector_reset(env, params, jax.random.key(0), 16)
    memory = rng.normal(size=(16, 2, 8)).astype(np.float32)
    for a, b in zip(policy.act(obs, memory), moved.act(obs, memory), strict=True):
        np.testing.assert_array_equal(a, b)  # with the scale of the training environment
    more, more_params = make("Foraging-8x8-2p-3f-coop-v3", sight=2)
    with pytest.raises(ValueError, match=r"does not fit Foraging-2s-8x8-2p-3f.*encoder.*is \("):
        policy.on(more, more_params)
    with pytest.raises(ValueError, match="continuous"):
        policy.on(*make("mpe/simple_spread_v3", continuous_actions=True))


def test_eval_samples_actions_with_explore(tmp_path, tiny_algorithm, capsys, monkeypatch):
    """With equal logits the greedy action is the first, worth 11 a step; sampled ones differ."""
    monkeypatch.chdir(tmp_path)
    experiment = config.experiment("tiny", "matrix/climbing", env={"horizon": 2})
    progress = Progress(8, 8, 1.0, {"return": np.array([0.0])}, {}, dict)
    equal = {"logits": np.zeros((1, 2, 3), np.float32)}
    policies.save_policy(run_folder.RunFolder("run"), experiment, equal, progress)
    said = []
    for options in ([], ["--eval", "drawn"]):
        assert cli.run(["eval", "run", "--json", "--episodes", "8", *options]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert [one["judged"] for one in said] == ["greedy", "drawn"]
    assert said[0]["return"]["per_episode"] == [22] * 8
    assert len(set(said[1]["return"]["per_episode"])) > 2


def test_eval_in_another_environment_and_as_json(tmp_path, tiny_algorithm, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = config.experiment("tiny", "matrix/climbing", env={"horizon": 2}, seeds=2)
    logits = np.array([[[9.0, 0, 0], [9, 0, 0]], [[0, 9, 0], [0, 9, 0]]], np.float32)
    progress = Progress(8, 8, 1.0, {"return": np.array([11.0, 7.0])}, {}, dict)
    folder = run_folder.RunFolder("run")
    policies.save_policy(folder, experiment, {"logits": logits}, progress)

    def evaluated(*options):
        assert cli.run(["eval", "run", "--json", "--episodes", "3", *options]) == 0
        return json.loads(capsys.readouterr().out)

    said = evaluated()
    assert said["return"]["per_episode"] == [22, 22, 22] and said["optimum"] == 22
    assert (said["seed"], said["steps"], said["env"]["horizon"]) == (0, 8, 2)
    assert evaluated("--policy-seed", "1")["return"]["mean"] == 14
    assert evaluated("--env.horizon", "5")["return"]["mean"] == 55
    said = evaluated("--env", "matrix/penalty-25", "--env.horizon=1", "--policy-seed=1")
    assert said["environment"] == "matrix/penalty-25" and said["return"]["mean"] == 2
    assert cli.run(["eval", "run", "--env", "matrix/penalty-25"]) == 0
    assert "on matrix/penalty-25" in capsys.readouterr().out
    for options, answer in (
        (["--env", "matrix/climbing-3p"], "the policy does not fit matrix/climbing-3p: logits is"),
        (["--env", "matrix/climbng"], "nearest: matrix/climbing"),
        (["--env.horizn", "3"], "did you mean --env.horizon"),
        (["--env.horizon", "0"], "horizon"),
        (["--env"], "--env needs the id of an environment"),
        (["--env", "--json"], "--env needs the id of an environment"),
        (["--jsn"], "did you mean --json"),
    ):
        assert cli.run(["eval", "run", *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and answer in err
