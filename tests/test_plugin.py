"""Packages beside marlx are full members: those of the pages on own environments and algorithms.

Each page is followed as a newcomer would: its files are written into an empty folder, and its
commands are typed there, in a virtual environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pages
import pytest

DOCS = pages.ROOT / "docs"
CONFIG = "import marlx.cli; marlx.cli.main()"
SHORT = f"""import sys; sys.path.insert(0, {str(pages.ROOT / "tests")!r})
import marlx.cli, pages
argv = sys.argv[1:]
if argv[0] == "train" and "6" in argv:  # the one that is right
    argv += pages.shorter(argv[1:])
marlx.cli.main(argv)"""


class Shell:
    """A folder and a virtual environment in which a page is followed."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page, self.folder, self.bin = DOCS / page, folder / "work", folder / "venv" / "bin"
        self.folder.mkdir()
        venv.create(folder / "venv", with_pip=False)
        self.python = str(self.bin / "python")
        # marlx and what it needs are found where these tests found them; nothing is downloaded
        site = self.run(self.python, "-c", "import site; print(site.getsitepackages()[0])").stdout
        parent = sysconfig.get_path("purelib")
        (Path(site.strip()) / "beside.pth").write_text(
            f"import site; site.addsitedir({parent!r})\n{pages.ROOT}\n"
        )
        self.write("pip", "import runpy; runpy.run_module('pip', run_name='__main__')")
        self.write("marlx", CONFIG)
        for name, text in pages.files(self.page).items():
            (self.folder / name).write_text(text)

    def write(self, command: str, code: str) -> None:
        """A command of the virtual environment."""
        path = self.bin / command
        path.write_text(f"#!{self.python}\n{code}\n")
        path.chmod(0o755)

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Returns the output of a command, which must exit with `code`."""
        environ = {
            **os.environ,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the other way round: no isolation
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(
            words, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def follow(self) -> dict[str, str]:
        """Type the commands of the page's `bash` blocks: what each printed."""
        said = {}
        for block in pages.blocks(self.page):
            if block.language == "bash":
                for words, _ in pages.commands(block):
                    said[" ".join(words)] = self.run(*words).stdout
        return said


@pytest.fixture(scope="module")
def corridor(tmp_path_factory):
    """The page on environments, followed; its training is short."""
    pytest.importorskip("setuptools", minversion="77")
    shell = Shell("own-environment.md", tmp_path_factory.mktemp("environment"))
    shell.write("marlx", SHORT)
    return shell, shell.follow()


def test_an_environment_is_listed_trains_and_draws(corridor):
    shell, said = corridor
    assert "corridor/two: walk to the right" in said["marlx list envs corridor"]
    (run,) = (shell.folder / "runs").iterdir()
    assert "length: 6" in (run / "config.yaml").read_text()
    assert {"result.json", "episode.gif", "policy"} <= {path.name for path in run.iterdir()}
    assert (shell.folder / "corridor-two.gif").read_bytes().startswith(b"GIF8")


def test_its_settings_are_checked_and_explained(corridor):
    shell, _ = corridor
    (block,) = (b for b in pages.blocks(shell.page) if b.language == "console")
    ((words, shown),) = pages.commands(block)
    done = shell.run(*words, code=2)
    assert done.stderr.splitlines() == shown
    help_text = shell.run(*words[:4], "--help").stdout
    assert "--env.length" in help_text and "Cells." in help_text


@pytest.mark.slow
def test_its_own_tests_pass(corridor):
    shell, _ = corridor
    shell.run(shell.python, "-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def actor_critic(tmp_path_factory):
    """The page on algorithms, followed to the letter."""
    pytest.importorskip("setuptools", minversion="77")
    shell = Shell("own-algorithm.md", tmp_path_factory.mktemp("algorithm"))
    return shell, shell.follow()


def test_an_algorithm_is_listed_and_learns(actor_critic):
    """As much as the page says: 125 to 175 with drawn actions, from -89 at random."""
    shell, said = actor_critic
    assert "team_ac" in said["marlx list algos"]
    run = shell.folder / "runs" / "first"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines[-1]["train_return"]) == 4
    assert all(value > 100 for value in lines[-1]["train_return"]), lines[-1]
    random = json.loads((run / "result.json").read_text())["random_return"]
    assert -95 < (random["mean"] if isinstance(random, dict) else random) < -80


@pytest.mark.slow
def test_the_tests_of_the_algorithm_pass(actor_critic):
    shell, _ = actor_critic
    shell.run(shell.python, "-m", "pytest", "-q", "-p", "no:cacheprovider")
