import concurrent.futures
import contextlib
import io
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from marlx import config
from marlx.analysis.plots import learning_curve
from marlx.analysis.video import write_gif
from marlx.loggers import Console, JsonLines
from marlx.loop.progress import Progress
from marlx.runs import folder as run_folder
from marlx.text import duration, short

FORAGING = "Foraging-8x8-2p-2f-coop-v3"


def test_config_of_a_run_is_complete(tiny_algorithm, tmp_path):
    experiment = config.experiment("tiny", FORAGING, seeds=3, seed=10, total_steps=4096)
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.write("config.yaml", run_folder.config_text(experiment))
    assert run_folder.load_experiment(folder.path) == experiment
    with pytest.raises(ValueError, match=r"has no config\.yaml"):
        run_folder.load_experiment(tmp_path)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    said = []
    folder = run_folder.RunFolder(tmp_path / "run", said.append)
    assert folder.write("a.txt", "old")

    def half(path):
        path.write_text("ne")
        raise OSError(28, "No space left on device")

    assert not folder.write("a.txt", half)
    assert not folder.write("a.txt", half)
    assert (folder.path / "a.txt").read_text() == "old"
    assert [path.name for path in folder.path.iterdir()] == ["a.txt"]
    assert said == [f"cannot write {folder.path / 'a.txt'}: No space left on device"]
    assert folder.failed == {"a.txt"}


def test_a_file_is_cut_back_to_what_it_should_hold(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    for index in range(3):
        folder.append("a.jsonl", {"index": index})
    with open(folder.path / "a.jsonl", "a") as file:
        file.write('{"ind')  # killed
    inode = (folder.path / "a.jsonl").stat().st_ino
    folder.cut("a.jsonl", '{"index": 0}\n{"index": 1}\n')
    assert (folder.path / "a.jsonl").read_text() == '{"index": 0}\n{"index": 1}\n'
    assert (folder.path / "a.jsonl").stat().st_ino == inode, "in place: the disk may be full"
    folder.cut("a.jsonl", '{"other": 0}\n')  # lines were lost to a full disk
    assert (folder.path / "a.jsonl").read_text() == '{"other": 0}\n'
    folder.cut("b.jsonl", "")
    assert (folder.path / "b.jsonl").read_text() == "" and not folder.failed


def test_a_line_is_appended_whole_or_not_at_all(tmp_path, monkeypatch):
    """On a full disk the first bytes of a line may still fit."""
    said = []
    folder = run_folder.RunFolder(tmp_path / "run", said.append)
    folder.append("a.jsonl", {"index": 0})
    real = open

    def short(path, mode, **settings):
        file = real(path, mode, **settings)

        class Short:
            tell, truncate = file.tell, file.truncate

            close = file.close

            def write(self, data):
                return file.write(data[:5])

        return contextlib.closing(Short())

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", short)
        folder.append("a.jsonl", {"index": 1})
    assert said == [f"cannot write {folder.path / 'a.jsonl'}: No space left on device"]
    folder.append("a.jsonl", {"index": 2})
    assert (folder.path / "a.jsonl").read_text() == '{"index": 0}\n{"index": 2}\n'


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path):
    """Also those that are made at the same moment."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = pool.map(
            lambda _: run_folder.make_folder("qmix", "matrix/climbing", tmp_path), range(8)
        )
    assert len({*made}) == 8 == len([*tmp_path.iterdir()])


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for name, parent in (("qmix", tmp_path / "file"), ("x" * 300, tmp_path)):
        with pytest.raises(ValueError, match="cannot write to"):
            run_folder.make_folder(name, "matrix/climbing", parent)


def test_a_folder_that_was_deleted_does_not_come_back(tmp_path):
    said = []
    folder = run_folder.RunFolder(tmp_path / "run", said.append)
    folder.path.rmdir()
    assert not folder.write("result.json", "{}") and not folder.write("policy/policy.json", "{}")
    assert not folder.path.exists() and len(said) == 2 and "No such file" in said[0]


def test_json_has_no_nan(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    folder.append("x.jsonl", {"a": [float("nan"), 1.0], "b": {"c": np.float64("inf")}})
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"a": [None, 1.0], "b": {"c": None}}


def test_facts_name_versions_and_devices_and_no_host():
    import platform

    from marlx.runs.facts import environment_facts

    facts = environment_facts()
    assert facts["versions"]["jax"] == jax.__version__
    assert facts["devices"] and facts["backend"] == "cpu"
    assert platform.node() not in json.dumps(facts).split('"')


# What people look at


def steps(count, seconds, returns):
    metrics = {"return": np.array(returns), "loss": np.array([1.0, np.nan])}
    return Progress(count, 1000, seconds, metrics, {"update": 0.1234}, dict)


def test_plain_progress_tells_steps_speed_time_left_and_returns(tmp_path):
    with open(tmp_path / "out", "w+") as stream:
        console = Console(2, 1.0, stream=stream)
        console.start()
        console.random_return = 0.1
        for progress in (steps(100, 0.1, [0, 0.2]), steps(200, 1.1, [0.4, 0.6])):
            console.log(progress)
        console.close(None)
        stream.seek(0)
        compiling, first, second = stream.read().splitlines()
    assert compiling.strip() == "compiling"
    assert "100 / 1,000 steps" in first and "return 0.100" in first
    for part in ("200 / 1,000", "200 steps/s", "0:08 left", "return 0.500 (seeds 0.4 to 0.6)"):
        assert part in second
    assert "random 0.1, optimum 1" in second


def test_a_terminal_gets_two_live_lines_that_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True
    console = Console(2, 1.0, stream=stream)
    console.start()
    console.log(steps(100, 0.1, [0, 0.2]))
    console.log(steps(200, 1.1, [0.4, 0.6]))
    console.close(None)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "compiling" in said and "200 of 1k steps  200 steps/s  0:08 left" in said
    assert "return 0.500 (seeds 0.4 to 0.6)   optimum 1" in said
    assert max(map(len, re.split(r"[\r\n]", said))) <= 80


def test_metrics_keep_every_seed(tmp_path):
    logger = JsonLines(run_folder.RunFolder(tmp_path))
    logger.log(steps(100, 0.12345, [0.0, 0.25]))
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["steps"] == 100 and line["return"] == [0.0, 0.25] and line["loss"] == [1.0, None]


def test_short_forms():
    assert [duration(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
    assert [short(n) for n in (12, 20_000, 1_500_000)] == ["12", "20k", "1.5M"]


@pytest.mark.parametrize("seeds", [1, 4])
def test_curve_is_a_picture(seeds, tmp_path):
    rng = np.random.default_rng(0)
    x, y = np.linspace(0, 2e6, 9), rng.random((9, seeds))
    learning_curve(tmp_path / "c.png", x, y, title="t", random_return=0.1, optimum=1.0)
    with Image.open(tmp_path / "c.png") as image:
        assert image.size[0] > 600 and image.convert("L").getextrema() != (255, 255)


def test_gif_has_every_frame_at_its_speed(tmp_path):
    frames = [np.full((30, 40, 3), shade, np.uint8) for shade in (0, 100, 200)]
    write_gif(tmp_path / "e.gif", frames, frames_per_second=5)
    with Image.open(tmp_path / "e.gif") as image:
        assert (image.n_frames, image.size) == (3, (40, 30))
        for i, (shade, millis) in enumerate(((0, 200), (100, 200), (200, 2000))):
            image.seek(i)
            assert image.info["duration"] == millis
            assert abs(image.convert("RGB").getpixel((5, 5))[0] - shade) <= 8
