"""TensorBoard event files in the run folder.

They are written by TensorBoard's own writer, which needs no TensorFlow and works in a background
thread.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marlx.config.yaml_text import dump
from marlx.loggers.base import by_seed, pictures
from marlx.loop.progress import Progress


class TensorBoard:
    """Logger of a curve per seed and of their mean to `tensorboard/` in the run folder.

    A run that is resumed in the same folder replaces later steps of the log.
    """

    def __init__(
        self, folder: Path, seeds: Sequence[int] = (0,), config: Mapping[str, Any] | None = None
    ) -> None:
        """Opens the event files.

        Args:
          folder: the run folder.
          seeds: the run's seeds.
          config: all settings, shown as text.

        Raises:
          ValueError: TensorBoard is not installed.
        """
        check_tensorboard()
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        names: dict[int | None, str] = {None: "mean"} if len(seeds) > 1 else {}
        names |= {index: f"seed_{seed}" for index, seed in enumerate(seeds)}
        home = folder / "tensorboard"
        self._folder, self._config, self._steps = folder, config, -1
        self._writers = {seed: EventFileWriter(str(home / name)) for seed, name in names.items()}

    def log(self, progress: Progress) -> None:
        """Adds a point to each curve."""
        from tensorboard.compat.proto import event_pb2, summary_pb2

        if self._steps < 0:
            self._begin(progress.steps)
        self._steps = progress.steps
        for seed, values in by_seed(progress):
            points = [
                summary_pb2.Summary.Value(tag=name, simple_value=value)
                for name, value in values.items()
            ]
            if seed in self._writers:
                summary = summary_pb2.Summary(value=points)
                self._add(seed, event_pb2.Event(step=progress.steps, summary=summary))

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Adds the pictures and closes the files."""
        from tensorboard.compat.proto import event_pb2, summary_pb2

        first = next(iter(self._writers))
        for name, path in pictures(self._folder).items():
            image = _image(path)
            value = summary_pb2.Summary.Value(tag=name, image=image)
            summary = summary_pb2.Summary(value=[value])
            self._add(first, event_pb2.Event(step=max(0, self._steps), summary=summary))
        for writer in self._writers.values():
            writer.close()

    def _begin(self, steps: int) -> None:
        """Marks the first step, which makes TensorBoard hide later steps of a stopped run."""
        from tensorboard.compat.proto import event_pb2

        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        for seed in self._writers:
            self._add(seed, event_pb2.Event(step=steps, session_log=log))
        if self._config is not None:
            event = event_pb2.Event(step=steps, summary=_text("config", self._config))
            self._add(next(iter(self._writers)), event)

    def _add(self, seed: int | None, event: Any) -> None:
        event.wall_time = time.time()
        self._writers[seed].add_event(event)


def check_tensorboard() -> None:
    """Raises a ValueError with installation instructions if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "--tensorboard needs the package tensorboard: pip install 'marlx[tensorboard]'"
        )


def _image(path: Path) -> Any:
    """A picture file as an image summary; browsers animate a GIF too."""
    from PIL import Image
    from tensorboard.compat.proto import summary_pb2

    with Image.open(path) as picture:
        width, height = picture.size
    return summary_pb2.Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes()
    )


def _text(tag: str, config: Mapping[str, Any]) -> Any:
    """Settings as a text summary: YAML as an indented Markdown code block."""
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    lines = "".join(f"    {line}\n" for line in dump(config).splitlines())
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[lines.encode()],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(
            dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)]
        ),
    )
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    value = summary_pb2.Summary.Value(
        tag=tag, tensor=tensor, metadata=summary_pb2.SummaryMetadata(plugin_data=data)
    )
    return summary_pb2.Summary(value=[value])
