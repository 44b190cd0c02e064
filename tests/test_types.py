"""What type checkers see of marlx in the environment that `make setup` makes."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """\
import marlx
import marlx.algos
from marlx.data import replay

env, params = marlx.make("matrix/climbing")
learner = marlx.algos.qmix(env.spec(params), lr=1e-3, mixer_embed=16)
reveal_type(learner)
mansa = marlx.algos.mansa(env, independent={"lr": 1e-3})
result = marlx.train(env, learner, params, total_steps=1000, seeds=2, config=marlx.TrainConfig())
reveal_type(result.history[0].steps)
policy = marlx.load_policy("run", policy_seed=1)
reveal_type(policy.act)
marlx.data.replay, marlx.nets.mixers, marlx.learning.returns, replay
marlx.algos.qmixx(env)  # wrong
marlx.algos.qmix(env, lrr=1e-3)  # wrong
marlx.algos.qmix(env, lr="high")  # wrong
marlx.algos.qmix(env, sharing="some")  # wrong
marlx.train(env, learner, total_step=1000)  # wrong
marlx.train(env, learner, seeds="two")  # wrong
marlx.load_policy("run", seed=1)  # wrong
marlx.trian  # wrong
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that is set up as `make setup` does it, but for packages."""
    folder = tmp_path_factory.mktemp("types") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run([python, ROOT / ".ci" / "show_types.py"], check=True)
    return python


def test_mypy_knows_the_types_of_a_users_script(python, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "mine.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "user"), "mine.py"]
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^mine.py:(\d+): (error|note): (.*)", done.stdout, re.M)
    wrong = [i for i, line in enumerate(SCRIPT.splitlines(), 1) if line.endswith("# wrong")]
    assert sorted({int(i) for i, kind, _ in found if kind == "error"}) == wrong, done.stdout
    revealed = [text for _, _, text in found if text.startswith("Revealed")]
    assert "marlx.learner.Learner" in revealed[0]
    assert "int" in revealed[1] and "marlx.types.Observation" in revealed[2]


def test_it_is_the_checkout_that_is_found(python, tmp_path):
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = "import marlx, sys; print(marlx.__file__, sys.path[-1])"
    run = [python, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout.split() == [str(ROOT / "marlx" / "__init__.py"), str(ROOT)], done.stderr


def test_make_setup_shows_the_types():
    make = shutil.which("make") or pytest.skip("make is not here")
    command = [make, "--dry-run", "--always-make", "setup"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    install, show = (done.stdout.index(text) for text in ("--editable", ".ci/show_types.py"))
    assert install < show


def test_types_are_packaged():
    assert (ROOT / "marlx" / "py.typed").exists()
    assert '"marlx.algos" = ["*.pyi"]' in Path(ROOT / "pyproject.toml").read_text()
