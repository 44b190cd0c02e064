"""An environment in a package of its own, installed beside marlx, is a full member."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "corridor-world"
version = "1.0"

[project.entry-points."marlx.envs"]
corridor = "corridor_world:FAMILY"

[tool.setuptools]
py-modules = ["corridor_world"]
"""

MODULE = '''
"""Agents on a line; each is paid for standing at its right end."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams, EnvState
from marlx.registry import Family
from marlx.types import EnvSpec, Observation


@flax.struct.dataclass
class CorridorState(EnvState):
    place: jax.Array  # int32 [N]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corridor(Environment[CorridorState, EnvParams]):
    length: int = 4
    """Cells."""
    horizon: int = 8
    """Steps per episode."""

    def __post_init__(self):
        if self.length < 2:
            raise ValueError(f"length is {self.length}; a corridor has at least 2 cells")

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params=None):
        params = self.default_params if params is None else params
        return EnvSpec(
            id="corridor/two", num_agents=2, num_actions=2, obs_size=self.length,
            state_size=2 * self.length, horizon=int(params.max_steps_in_episode),
        )

    def reset_env(self, key, params):
        place = jax.random.randint(key, (2,), 0, self.length)
        return CorridorState(time=jnp.int32(0), place=place)

    def step_env(self, key, state, action, params):
        place = jnp.clip(state.place + 2 * action - 1, 0, self.length - 1)
        reward = (place == self.length - 1).astype(jnp.float32) / 2
        return CorridorState(time=state.time + 1, place=place), reward, jnp.bool_(False), {}

    def observe(self, state, params):
        seen = jax.nn.one_hot(state.place, self.length)
        return Observation(seen, jnp.ones((2, 2), bool), seen.reshape(-1))


FAMILY = Family(
    name="corridor", pattern=r"corridor/two", usage="corridor/two: walk to the right",
    examples=("corridor/two",), make=lambda env_id: Corridor(),
)
'''


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs Python with marlx and the installed package, away from both trees."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("plugin")
    package, site = folder / "package", folder / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(PYPROJECT)
    (package / "corridor_world.py").write_text(MODULE)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    done = subprocess.run([*pip, str(package)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths).rstrip(os.pathsep)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, check=False
        )

    return run


CLI = ("-c", "import marlx.cli; marlx.cli.main()")


def test_it_is_listed(python):
    done = python(*CLI, "list")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "corridor: corridor/two: walk to the right" in done.stdout


def test_it_trains_from_the_command_line(python, tmp_path):
    """With its own setting, which is in the help and in the run's file."""
    out = tmp_path / "run"
    done = python(*CLI, "train", "iql", "corridor/two", "--help")
    assert "--env.length" in done.stdout, done.stderr
    arguments = "--total-steps 400 --num-envs 4 --rollout-length 5 --evals 1 --eval-episodes 4"
    arguments += " --learner.warmup 40 --learner.window 5 --learner.batch 8 --learner.capacity 400"
    arguments += " --learner.recurrent false --learner.hidden 8 --env.length 3"
    done = python(*CLI, "train", "iql", "corridor/two", *arguments.split(), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "length: 3" in (out / "config.yaml").read_text()
    assert "corridor/two" in (out / "config.yaml").read_text()
    done = python(*CLI, "train", "iql", "corridor/two", "--env.length", "1")
    assert done.returncode == 2
    assert done.stderr == "marlx: length is 1; a corridor has at least 2 cells\n"


def test_it_keeps_the_contract(python):
    code = "import marlx, marlx.testing; marlx.testing.check_env(marlx.make('corridor/two')[0])"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
