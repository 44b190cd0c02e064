"""Standard output and error that are closed, broken or full end no training."""

import errno
import io
import json
import os
import subprocess
import sys

import pytest

from marlx import cli
from marlx.cli.streams import Guarded
from marlx.text import print_line

RUN = [
    "train", "tiny", "matrix/climbing", "--env.horizon", "3", "--total-steps", "72", "--num-envs",
    "2", "--rollout-length", "4", "--evals", "2", "--eval-episodes", "60", "--out", "run",
]  # fmt: skip


class Broken(io.StringIO):
    """A stream that accepts `room` characters."""

    def __init__(self, number=errno.EPIPE, room=0):
        super().__init__()
        self.number, self.room = number, room

    def write(self, text):
        self.room -= len(text)
        if self.room < 0:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Broken(room=40), None])
def test_a_training_goes_on_without_its_output(
    stream, tiny_algorithm, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.run(RUN) == 0
    assert sys.stdout is stream
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 72
    err = capsys.readouterr().err
    assert err.startswith("marlx: cannot write to standard output (") and err.count("\n") == 1


def test_a_training_goes_on_without_any_stream(tiny_algorithm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Broken(errno.ENOSPC))
    assert cli.run(RUN) == 0 and (tmp_path / "run" / "result.json").exists()


def test_lines_of_warning_never_raise(monkeypatch):
    for stream in (Broken(), closed(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        print_line("nobody reads this")


@pytest.mark.parametrize("stream", [Broken(), closed(), None])
def test_a_guarded_stream_keeps_the_first_error(stream):
    seen = []
    guarded = Guarded(stream, seen.append)
    print("one", file=guarded, flush=True)
    print("two", file=guarded, flush=True)
    assert not guarded.isatty() and seen == [guarded.error]
    guarded.finish()


def test_characters_that_the_encoding_lacks_are_replaced():
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = Guarded(plain, pytest.fail)
    print("a é", file=stream, flush=True)
    assert plain.buffer.getvalue() == b"a ?\n" and stream.error is None


def test_a_full_disk_is_tried_again():
    stream = Broken(errno.ENOSPC, room=2)
    seen = []
    guarded = Guarded(stream, seen.append)
    guarded.write("ab")
    guarded.write("lost")
    guarded.write("lost too")
    stream.room = 9
    guarded.write("cd")
    assert stream.getvalue() == "abcd" and [one.errno for one in seen] == [errno.ENOSPC]


@pytest.mark.parametrize(
    ("out", "code", "words"), [("pipe", 141, ""), ("/dev/full", 1, "No space")]
)
def test_an_answer_that_nobody_gets_is_no_success(out, code, words):
    """In a process of its own, since Python flushes once more when it exits."""
    if out == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    elif os.path.exists(out):
        writer = os.open(out, os.O_WRONLY)
    else:
        pytest.skip("there is no /dev/full here")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "marlx", "--help"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert done.returncode == code and words in done.stderr
    assert done.stderr.count("\n") == bool(words)
