"""Options of JAX that marlx cannot train with are refused in one line."""

import subprocess
import sys

import jax
import numpy as np
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


@pytest.mark.parametrize(
    "env_id", ["Foraging-grid-8x8-2p-2f-coop-v3", "Foraging-5x5-2p-1f-coop-v3", "matrix/climbing"]
)
def test_environments_step_in_a_program_of_64_bits(env_id, recwarn):
    """Training refuses it; a program of one's own may step them. Particles then have 64 bits."""
    env, params = marlx.make(env_id)
    action = np.zeros(env.spec(params).num_agents, np.int32)
    usual = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", True)
        key = jax.random.key(0)
        first, state = jax.eval_shape(env.reset, key, params)
        obs, after, reward, *_ = jax.eval_shape(env.step, key, state, action, params)
    finally:
        jax.config.update("jax_enable_x64", usual)
    assert (first.local.dtype, obs.global_state.dtype, reward.dtype) == (np.float32,) * 3
    same = jax.tree.map(lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), state, after)
    assert all(jax.tree.leaves(same)) and not recwarn.list
