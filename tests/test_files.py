"""The guard that every reader of a file goes through."""

import ast
import json
import os
from pathlib import Path

import pytest

from marlx import files
from marlx.files import NUMBER, TEXT, WHOLE, CannotRead, Each, Record

SCHEMA = Record({"steps": WHOLE}, {"by": Each(NUMBER), "names": [TEXT], "in": Record({"a": TEXT})})


def test_only_regular_files_of_a_limited_size_are_read(tmp_path):
    """A pipe or a device would never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"x" * 101)
    for name, reason in (
        ("pipe", "it is not a regular file"),
        ("device", "it is not a regular file"),
        ("large", "it has 101 B; at most 100 B are read"),
        (".", "it is a folder"),
    ):
        with pytest.raises(CannotRead, match=reason) as error:
            files.read_bytes(tmp_path / name, 100)
        assert not error.value.missing
    (tmp_path / "large").write_bytes(b"x" * 100)
    assert files.read_bytes(tmp_path / "large", 100) == b"x" * 100


@pytest.mark.parametrize("name", ["nothing", "file/x", "x" * 300, "a\0b"])
def test_a_path_that_cannot_exist_is_missing(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRead) as error:
        files.read_text(tmp_path / name)
    assert error.value.missing and "\0" not in str(error.value)


def test_text_that_is_not_utf_8_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(CannotRead, match="not a text file"):
        files.read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"steps": 1, "deep": ' + "[" * 65 + "]" * 65 + "}", "nested more than 64 levels deep"),
        ("[]", "is a list; it must be an object"),
        ("{}", "has no steps"),
        ('{"steps": "x\\u001b"}', r"steps in .* is 'x\\x1b'; it must be a whole number, 0 or"),
        ('{"steps": 1.5}', "steps in .* is 1.5; it must be a whole number"),
        ('{"steps": true}', "it must be a whole number"),
        ('{"steps": 1, "by": {"a": 1e300}}', r"by\.a in .* is 1e\+300; it must be a number"),
        (f'{{"steps": 1, "by": {{"a": {"9" * 400}}}}}', r"by\.a in .* is 9+ \.\.\. 9+; it must"),
        ('{"steps": 1, "by": {"a": NaN}}', r"by\.a in .* is nan; it must be a number"),
        ('{"steps": 1, "names": ["a", null]}', r"names\[1\] in .* is None; it must be text"),
        ('{"steps": 1, "in": {}}', r"has no in\.a"),
    ],
)
def test_whatever_is_wrong_with_json_is_one_line_with_file_and_key(text, answer, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=answer) as error:
        files.read_json(path, SCHEMA)
    line = str(error.value)
    assert "some.json" in line and len(line) < 400 and line.isprintable()


def test_json_that_fits_is_returned_and_other_keys_are_not_looked_at(tmp_path):
    content = {"steps": 3, "by": {"a": 1, "b": 2.5}, "names": ["x"], "more": [[None]]}
    (tmp_path / "a").write_text(json.dumps(content))
    assert files.read_json(tmp_path / "a", SCHEMA) == content


ROOT = Path(__file__).parents[1]
READERS = ("read_text", "read_bytes", "loads", "load", "safe_load")
OWN = {
    "marlx/files.py": "the guard",
    "marlx/cli/cache.py": "the system's",
    "marlx/config/yaml_text.py": "bounded by its loader",
    "marlx/config/layers.py": "presets of the package",
    "marlx/analysis/result_rows.py": "stored results of the package",
    "marlx/analysis/protocol_cards.py": "cards of the package; others go through the guard",
    "marlx/analysis/protocol_rows.py": "published numbers of the package",
    "marlx/registry.py": "entry points",
    "marlx/runs/identity.py": "what it has just written as text",
    "marlx/runs/policies.py": "a file that it has just written",
    "marlx/policy_files.py": "metadata with a digest",
    "marlx/runs/folder.py": "a file that this run writes",
    "marlx/loggers/tensorboard.py": "a picture that this run writes",
    "marlx/sweeps/storage.py": "the system's",
    "marlx/viewer/liveness.py": "the system's",
    "marlx/viewer/page.py": "scripts of the package",
    "marlx/viewer/serving.py": "a request of bounded length",
    "marlx/xla/host_memory.py": "the system's",
}
"""Modules that read without the guard, and the reason."""


def test_every_reader_goes_through_the_guard():
    """A call of `read_text` is the guard's function, `path.read_text` is not."""
    found = set()
    for folder in ("marlx", "envs", "algos"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    if node.func.attr in READERS:
                        found.add(path.relative_to(ROOT).as_posix())
    links = ("marlx/envs/", "marlx/algos/", "marlx/configs/")
    assert {path for path in found if not path.startswith(links)} <= OWN.keys()
