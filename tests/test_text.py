"""Text for people: names that are safe to show, and the nearest to an unknown one."""

import pytest

from marlx.text import nearest, printable, shortened, unknown


def test_no_name_can_command_the_terminal():
    """Escape codes, the direction of text, halves of characters, line ends."""
    assert printable("a\x1b[31m\r\n\x9b\x7f\u202e\udcff") == (r"a\x1b[31m\r\n\x9b\x7f\u202e\udcff")
    assert printable("naïve 漢字 a_b-c/$1") == "naïve 漢字 a_b-c/$1"


def test_a_long_value_is_cut_in_the_middle():
    assert shortened("short") == "short"
    for text in ("x" * 10**6, "\x1b" * 10**6, "x" * 81):
        assert len(shortened(text)) <= 80 and " ... " in shortened(text)
    assert shortened("abc" + "x" * 100 + "def").startswith("abc")


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("--learning-rate", "--learner.lr"),
        ("--learner.learning_rate", "--learner.lr"),
        ("--buffer-size", "--learner.capacity"),
        ("--learner.gae-lambda", "--learner.lambda"),
        ("--sed", "--seed"),
        ("--learner.warm-start", "--warm-start"),
    ],
)
def test_names_of_other_libraries_and_of_other_blocks_are_near_to_ours(given, ours):
    known = ["--seed", "--learner.lr", "--learner.target-rate", "--learner.batch"]
    known += ["--learner.capacity", "--learner.lambda", "--learner.sharing"]
    known += ["--learner.warmup", "--warm-start"]
    assert nearest(given, known)[0] == ours


def test_of_many_names_the_nearest_three_are_given_and_the_command_that_shows_all():
    names = [f"result-{i}" for i in range(200)]
    line = str(unknown("id", "qqq", names, listed_by="marlx reproduce --list"))
    assert line.count("result-") == 3
    assert line.endswith("and 197 more; marlx reproduce --list shows all")
    assert len(str(unknown("id", "q" * 10**6, names))) < 300
    assert str(unknown("id", "x", ["b", "a"])) == "unknown id 'x'; known: a, b"


@pytest.mark.parametrize("key", [True, 3, None, 1.5, ("a", 1)])
def test_a_key_that_is_no_text_is_unknown_like_any_other(key):
    """YAML has keys of other types."""
    line = str(unknown("key", key, ["program", "method"], "sweep.yaml"))
    assert line == f"unknown key {key!r} in sweep.yaml; known: method, program"
