"""YAML of others: bounded in depth and size, and every error one line with the key."""

import itertools
import time

import pytest

from marlx.config.tree import unflatten
from marlx.config.yaml_text import dump, parse

NINE = "abcdefghi"
BOMB = "a: &a [1, 2, 3]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in itertools.pairwise(NINE)
)
MERGED = "a: &a {k: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in itertools.pairwise(NINE)
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (BOMB, "more than 20,000 values"),
        (MERGED, "more than 20,000 values"),
        ("a: &x [*x]", "an alias stands for a block that it is in"),
        ("[" * 20_000, "nested more than 64 levels deep"),
        ("{a: " * 20_000, "nested more than 64 levels deep"),
        ("\n".join(f"k{i}: 1" for i in range(100_000)), "more than 20,000 values"),
        ("lr: !!int zz", "lr is 'zz', which is no int at line 1"),
        ("lr: !!float x", "lr is 'x', which is no float"),
        ("day: 2024-99-99", "day is '2024-99-99', which is no timestamp"),
        (f"n: {'9' * 5000}", "n is '9+ ... 9+', which is no int"),
        ("[a]: 1", "a key is a list or a block"),
        ("? {b: 1}\n: 2", "a key is a list or a block"),
        ("a: !!map [1]", "it must hold `name: value` lines"),
        ("a: 1\na: 2", "the key 'a' appears twice"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
    ],
    ids=lambda value: value[:12],
)
def test_a_hostile_file_is_one_line_at_once(text, answer):
    began = time.process_time()
    with pytest.raises(ValueError, match=answer) as error:
        parse(text, "some.yaml")
    line = str(error.value)
    assert line.startswith("some.yaml") and line.isprintable() and len(line) < 400
    assert time.process_time() - began < 5


def test_aliases_of_ordinary_files_still_work():
    text = "base: &base {lr: 1e-3, size: [1, 2]}\nmine: {<<: *base, lr: 2e-3}\n"
    assert parse(text, "x")["mine"] == {"lr": 2e-3, "size": [1, 2]}
    assert parse(dump({"a": {"b": [1.5, None, "1"]}}), "x") == {"a": {"b": [1.5, None, "1"]}}


@pytest.mark.parametrize("flat", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}])
def test_a_name_that_is_a_value_and_a_block_is_refused(flat):
    with pytest.raises(ValueError, match="is set, and so"):
        unflatten(flat)
