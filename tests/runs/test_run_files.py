"""Small files: replaced in one step, and JSON."""

import json

import numpy as np
import pytest

from marlx.runs.files import finite, read_json, replace_file


def test_a_file_is_replaced_by_text_bytes_or_a_function(tmp_path):
    file = tmp_path / "a.txt"
    for content in ("text", b"text", lambda path: path.write_text("text")):
        file.write_text("old")
        replace_file(file, content)
        assert file.read_text() == "text"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("shared", [False, True])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(shared, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail(path):
        path.write_text("ne")
        assert path.parent == tmp_path and path.suffix == ".txt", "writers go by the suffix"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(file, fail, shared=shared)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_json_that_cannot_be_read_is_empty(tmp_path):
    file = tmp_path / "a.json"
    assert read_json(file) == {}
    for text in ("", "{", "[1]", "3"):
        file.write_text(text)
        assert read_json(file) == {}, text
    file.write_text('{"a": [1]}')
    assert read_json(file) == {"a": [1]}


def test_numbers_that_json_lacks_become_none():
    content = {"a": np.array([1.0, np.nan]), "b": (float("inf"), 2), "c": "text"}
    assert finite(content) == {"a": [1.0, None], "b": [None, 2], "c": "text"}
    json.dumps(finite(content), allow_nan=False)
