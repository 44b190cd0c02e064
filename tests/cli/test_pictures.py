"""Run folders of environments that do not draw themselves."""

import pytest

from marlx import cli
from marlx.environment import Environment
from marlx.envs.matrix.game import MatrixGame


@pytest.mark.usefixtures("tiny_algorithm")
def test_a_run_without_a_picture_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(MatrixGame, "render", Environment.render)
    out = tmp_path / "run"
    words = ["train", "tiny", "matrix/climbing", "--out", str(out), "--total-steps", "600"]
    assert cli.run([*words, "--evals", "1", "--eval-episodes", "4", "--num-envs", "4"]) == 0
    assert not (out / "episode.gif").exists() and (out / "curve.png").exists()
    assert "no episode.gif    the environment has no `render` method" in capsys.readouterr().out
