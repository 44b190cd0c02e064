"""Options of JAX that marlx cannot train with are refused in one line."""

import subprocess
import sys

import jax
import pytest

import marlx
from marlx import cli
from marlx.loop.evaluation import random_learner
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.xla.options import ACCEPTED, check_options

WRONG = {
    "jax_enable_x64": True,
    "jax_disable_jit": True,
    "jax_check_tracer_leaks": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_transfer_guard": "disallow",
    "jax_transfer_guard_host_to_device": "disallow_explicit",
    "jax_transfer_guard_device_to_host": "disallow",
    "jax_transfer_guard_device_to_device": "disallow",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_option_is_named_before_anything_is_compiled(name, capsys):
    env, params = marlx.make("matrix/climbing")
    learner = random_learner(env.spec(params))
    check_options()
    usual = getattr(jax.config, name)
    try:
        jax.config.update(name, WRONG[name])
        with pytest.raises(ValueError, match=f"{name} is {WRONG[name]}: "):
            Run(env, params, learner, TrainConfig(total_steps=1_000))
        assert cli.run(["train", "iql", "matrix/climbing"]) == 2
    finally:
        jax.config.update(name, usual)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_variable_is_read_before_jax_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    with pytest.raises(ValueError, match="jax_enable_x64 is 1: marlx computes in 32 bits; unset"):
        check_options()
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    check_options()


def test_a_backend_that_is_not_there_is_one_line(monkeypatch):
    code = "import sys; from marlx.cli import run; sys.exit(run(sys.argv[1:]))"
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    command = [
        sys.executable,
        "-c",
        code,
        "train",
        "iql",
        "matrix/climbing",
        "--out",
        "/dev/null/run",
    ]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if "cannot write to" in done.stderr:
        pytest.skip("there is a CUDA device")
    assert done.returncode == 2 and "JAX cannot start" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
