"""Policies as ONNX act in onnxruntime as they do in JAX."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from test_export import memories, observations, trained

from marlx import cli
from marlx.runs import onnx_file
from marlx.runs.export import by_name
from marlx.runs.onnx_file import export_onnx

CASES = {
    "recurrent": (
        "qmix",
        "matrix/two_step",
        {"hidden": 8, "layer_norm": True, "recurrent": True, "sharing": "none"},
        {},
    ),
    "feed-forward, last action": (
        "ippo",
        "mpe/simple_speaker_listener_v4",
        {"hidden": 8, "recurrent": False, "sharing": "group", "last_action": True},
        {},
    ),
    "continuous": ("ippo", "mpe/simple_spread_v3", {"hidden": 8}, {"continuous_actions": True}),
    "joint": ("joint_q", "matrix/two_step", {"hidden": 8}, {}),
    "attention pooling": ("clam", "partners/matrix/climbing", {"encoder": {"width": 8}}, {}),
}


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    return pytest.importorskip("onnxruntime", reason="the extra dev is not installed")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_policy_acts_in_onnxruntime_as_in_jax(case, tmp_path, runtime):
    algorithm, env_id, learner, env = case
    policy = trained(tmp_path / "run", algorithm, env_id, learner, **env)
    session = runtime.InferenceSession(str(export_onnx(policy, tmp_path / "out")))
    names = [one.name for one in session.get_outputs()]
    for batch in (1, 5) if algorithm in ("qmix", "clam") else (3,):  # one file, any batch
        named, obs = observations(policy, batch)
        memory = memories(policy, batch)
        if algorithm == "clam":  # so far into an episode, with a pool that is not empty
            pool = memory.model.pool._replace(mass=np.abs(memory.model.pool.mass) + 0.1)
            memory = memory._replace(model=memory.model._replace(pool=pool))
        given = {**named, **{name: np.asarray(x) for name, x in by_name(memory).items()}}
        wanted, after = policy.act(obs, memory, explore=False)
        taken = {one.name: given[one.name] for one in session.get_inputs()}
        made = dict(zip(names, session.run(None, taken), strict=True))
        np.testing.assert_allclose(made["action"], wanted, atol=1e-5)
        assert made["action"].dtype == wanted.dtype
        for name, x in by_name(after).items():
            if x.size:
                np.testing.assert_allclose(made[f"next_{name}"], x, atol=1e-5, err_msg=name)
        if policy.learner.inspect is not None:
            shown = made["probability" if policy.judged == "drawn" else "q"]
            assert shown.shape[:2] == wanted.shape
            if algorithm in ("qmix", "ippo", "clam"):
                best = np.where(named["action_mask"], shown, -np.inf).argmax(-1)
                np.testing.assert_array_equal(best, wanted)


def test_the_file_says_what_goes_in_and_comes_out(tmp_path, runtime):
    policy = trained(tmp_path / "run", "ippo", "matrix/two_step", {"hidden": 8, "recurrent": True})
    session = runtime.InferenceSession(str(export_onnx(policy, tmp_path)))
    about = json.loads(session.get_modelmeta().custom_metadata_map["marlx"])
    assert (about["judged"], about["environment"]) == ("drawn", "matrix/two_step")
    assert {name: x["shape"] for name, x in about["inputs"].items()} == {
        one.name: one.shape for one in session.get_inputs()
    }
    assert {name: x["shape"] for name, x in about["outputs"].items()} == {
        one.name: one.shape for one in session.get_outputs()
    }
    assert set(about["inputs"]) == {"local", "action_mask", "memory"}  # not the global state
    assert about["inputs"]["memory"] == {
        "shape": ["b", 2, 8], "dtype": "float32", "is": "memory", "first": "zeros"
    }  # fmt: skip
    assert about["outputs"]["next_memory"]["becomes"] == "memory"


def test_what_is_not_written_for_onnx_is_one_line(tmp_path, tiny_algorithm, capsys, monkeypatch):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    trained(tmp_path / "run", "tiny", "matrix/climbing", {})
    path = str(tmp_path / "run")
    monkeypatch.setattr("marlx.runs.onnx_operators.RULES", {})
    assert cli.run(["export", path, "--to", "onnx"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("marlx: the policy cannot be exported as ONNX: it has the operation")
    assert error.count("\n") == 1


def test_without_the_package_it_says_which(tmp_path, tiny_algorithm, capsys, monkeypatch):
    trained(tmp_path / "run", "tiny", "matrix/climbing", {})
    find = importlib.util.find_spec
    monkeypatch.setattr(
        onnx_file.importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    assert cli.run(["export", str(tmp_path / "run"), "--to", "onnx"]) == 2
    assert "pip install 'marlx[onnx]'" in capsys.readouterr().err
