import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export as jax_export

from marlx import cli, config, load_policy
from marlx.loop.progress import Progress
from marlx.loop.vector import vector_reset
from marlx.runs import folder as run_folder
from marlx.runs import policies
from marlx.runs.export import export

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def trained(folder, algorithm, env_id, learner, **env):
    """The policy of a run folder, with random parameters, which serve as well as trained ones."""
    experiment = config.experiment(algorithm, env_id, learner=learner, env=env, seeds=2)
    world, params, made = experiment.build()
    shape = policies.policy_shape(world.spec(params), made, experiment.train)
    rng = np.random.default_rng(0)
    arrays = jax.tree.map(
        lambda x: rng.normal(size=(2, *x.shape), scale=0.5).astype(x.dtype), shape
    )
    progress = Progress(1, 2, 1.0, {"return": np.array([1.0, 0.0])}, {}, dict)
    policies.save_policy(run_folder.RunFolder(folder), experiment, arrays, progress)
    return load_policy(folder)


def observations(policy, batch):
    """First observations of a batch of episodes, by name and as a record."""
    obs, _ = vector_reset(policy.env, policy.params, jax.random.key(1), batch)
    given = {name: np.asarray(x) for name, x in obs._asdict().items() if x is not None}
    return given, obs


def memories(policy, batch):
    """Random acting memories."""
    rng = np.random.default_rng(2)
    first = policy.initial_memory(batch)
    return jax.tree.map(lambda x: rng.uniform(-1, 1, x.shape).astype(x.dtype), first)


SMALL = {"hidden": 8, "layer_norm": True}
CASES = {
    "recurrent qmix": ("qmix", "matrix/two_step", {**SMALL, "recurrent": True}, {}),
    "feed-forward vdn": ("vdn", "matrix/climbing", {"hidden": 8, "recurrent": False}, {}),
    "mappo, no sharing": ("mappo", "matrix/two_step", {"hidden": 8, "sharing": "none"}, {}),
    "ippo, groups": (
        "ippo",
        "mpe/simple_speaker_listener_v4",
        {**SMALL, "sharing": "group", "recurrent": True, "window": 5},
        {},
    ),
}


@pytest.fixture(scope="module")
def page():
    """The code block of the page that acts with NumPy alone, its last."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)[-1]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_exported_function_acts_as_the_policy_does(case, tmp_path, page):
    algorithm, env_id, learner, env = case
    policy = trained(tmp_path / "run", algorithm, env_id, learner, **env)
    files = export(policy, tmp_path / "out")
    assert {file.name for file in files} == {
        *("policy.jaxexport", "policy.mlir", "arrays.safetensors", "policy.json")
    }
    function = jax_export.deserialize(bytearray(files[0].read_bytes()))
    assert set(function.platforms) == {"cpu", "cuda", "tpu"}
    about = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert about["observation"]["local"] == {
        "shape": ["b", policy.spec.num_agents, policy.spec.obs_size],
        "dtype": "float32",
        "read": True,
    }
    assert not about["observation"]["global_state"]["read"]
    for batch in (1, 5):  # one artefact, any batch
        named, obs = observations(policy, batch)
        memory = memories(policy, batch)
        expected, after = policy.act(obs, memory, explore=False)
        named["global_state"] = np.full_like(named["global_state"], np.nan)  # it is not read
        action, held = function.call(named, {"memory": memory})
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_allclose(held["memory"], after, atol=1e-6)

        numpy_only: dict = {}
        exec(page, numpy_only)
        weights, known = numpy_only["load"](tmp_path / "out")
        action, held = numpy_only["act"](
            weights, known, named["local"], named["action_mask"], memory
        )
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_allclose(held, after, atol=1e-5)


def test_a_centralised_policy_reads_the_state(tmp_path):
    policy = trained(tmp_path / "run", "joint_q", "matrix/two_step", {"hidden": 8})
    export(policy, tmp_path / "out", ("cpu",))
    about = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert about["observation"]["global_state"]["read"] and about["platforms"] == ["cpu"]


def test_continuous_actions_are_exported(tmp_path):
    settings = {"hidden": 8, "recurrent": True, "window": 5}
    policy = trained(
        tmp_path / "run", "ippo", "mpe/simple_spread_v3", settings, continuous_actions=True
    )
    files = export(policy, tmp_path / "out", ("cpu",))
    function = jax_export.deserialize(bytearray(files[0].read_bytes()))
    named, obs = observations(policy, 3)
    action, _ = function.call(named, {"memory": policy.initial_memory(3)})
    np.testing.assert_allclose(
        action, policy.act(obs, policy.initial_memory(3), explore=False)[0], atol=1e-6
    )
    about = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert about["action"] == {"shape": ["b", *action.shape[1:]], "dtype": "float32"}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, tiny_algorithm, capsys):
    trained(tmp_path / "run", "tiny", "matrix/climbing", {})
    assert cli.run(["export", str(tmp_path / "run"), "--out", "/dev/null/x"]) == 2
    assert capsys.readouterr().err.startswith("marlx: cannot write to /dev/null/x")
    assert cli.run(["export", str(tmp_path)]) == 2
    assert "holds no policy" in capsys.readouterr().err
