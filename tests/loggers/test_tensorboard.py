"""TensorBoard event files, read back by TensorBoard."""

import sys
import time

import numpy as np
import pytest
from logged import RUN, metrics, progress

from marlx import cli
from marlx.loggers import TensorBoard


def test_tensorboard_shows_every_metric_of_every_seed(tiny_algorithm, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert cli.run([*RUN, "--tensorboard"]) == 0
    assert capsys.readouterr().err == ""
    lines = metrics(tmp_path / "run")
    names = {"seed_5": 0, "seed_6": 1}
    for name in ("mean", *names):
        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / name)).Reload()
        tags = events.Tags()
        assert set(tags["scalars"]) == lines[-1].keys() - {"steps", "seconds", "phases"}
        for tag in tags["scalars"]:
            points = {point.step: point.value for point in events.Scalars(tag)}
            for line in lines:
                each = np.array(line.get(tag, [None]), float)
                value = np.mean(each) if name == "mean" else each[names[name]] if tag in line else 0
                assert tag not in line or points[line["steps"]] == pytest.approx(value)
        if name == "mean":
            assert set(tags["images"]) == {"curve", "episode"}
            gif = events.Images("episode")[0].encoded_image_string
            assert gif == (tmp_path / "run" / "episode.gif").read_bytes()
            text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
            assert "    environment: matrix/climbing\n" in text


def test_a_resumed_run_replaces_later_steps(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in ((10, 20, 30), (20, 40)):  # killed at 30, resumed from a checkpoint before 20
        logger = TensorBoard(tmp_path, seeds=(3,))
        for at in steps:
            logger.log(progress(at, 1, session=[len(steps)]))
        logger.close(None)
        time.sleep(1.1)  # file names differ by the second
    events = EventAccumulator(str(tmp_path / "tensorboard" / "seed_3")).Reload()
    points = [(point.step, point.value) for point in events.Scalars("session")]
    assert points == [(10, 3), (20, 2), (40, 2)]


def test_a_missing_tensorboard_is_reported_before_anything_is_written(
    tiny_algorithm, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert cli.run([*RUN, "--tensorboard"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "pip install 'marlx[tensorboard]'" in err
    assert not list(tmp_path.iterdir())
