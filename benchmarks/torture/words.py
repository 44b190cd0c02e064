"""Random command lines, and a nonsense value for every number of every setting."""

from __future__ import annotations

import functools
import random
import types
import typing
from collections.abc import Iterator
from typing import Any

from judge import Case

NONSENSE = (
    "", " ", "0", "-1", "-0", "1e9", "1e18", "1e308", "1e309", "-1e309", "nan", "inf", "-inf",
    "9" * 400, "2147483647", "2147483648", "-2147483649", "9223372036854775808", "1e-320",
    "x" * 300, "y" * 5000, "\x1b[31mred\x1b[0m", "\x07", "\u202e", "\u0085", "🙂", "é", "\ud800",
    "../..", "/dev/null", "/dev/full", "/dev/zero", "/", "~", ".", "-", "--", "---", "=",
    "[]", "{}", "{a: {b: c}}", "[1, 2", "{a: *b}", "&a [*a]", "!!int zz", "!!python/name:os.system",
    "1:2", "$(id)", "$x^2$", "%s%n", "{0}", "\n", "a\nb", "'", '"', "\\", "none", "None", "true",
    "auto", "all", "2x4", "0x0", "999999x999999", "1_000", "1__0", "0x10", "1e", "١٢", "½",
)  # fmt: skip
NUMBERS = (
    "nan", "inf", "-inf", "0", "-1", "1e-320", "1e9", "1e15", "1e308", "2147483647", "2147483648",
    "9223372036854775808", "9" * 400, "0.5", "-1e-9",
)  # fmt: skip
SHAPES = 0.05
"""Share of the trainings that compute their shapes, which takes a hundred times as long as not."""
TASK = "Foraging-5x5-2p-1f-coop-v3"
"""Every algorithm accepts it."""
COMMANDS = (
    "train", "eval", "render", "doctor", "export", "plot", "report", "sweep", "embeddings",
    "crossplay", "pool", "reproduce", "bench", "list", "completion", "--help", "--version",
)  # fmt: skip


@functools.cache
def algorithms() -> list[str]:
    from marlx import registry

    return list(registry.algorithms())


@functools.cache
def environments() -> list[str]:
    """Returns an example of each of marlx's own families, and a few of the others."""
    from marlx import registry

    own = [one.examples[:4] for one in registry.families().values() if not one.extra]
    return [id for ids in own for id in ids]


@functools.cache
def options(algorithm: str, env_id: str) -> dict[str, Any]:
    """Returns name -> type of every option of a training."""
    from marlx.cli.records import Output
    from marlx.config.layers import schema
    from marlx.config.tree import flatten
    from marlx.registry import settings_of

    return {**flatten(schema(algorithm, env_id)), **settings_of(Output)}


def command_line(rng: random.Random) -> Case:
    """Returns a random command line; most of it is right, so that it gets far."""
    command = rng.choice(COMMANDS) if rng.random() < 0.35 else "train"
    words = [command if rng.random() < 0.97 else _damaged(rng, command)]
    if command != "train":
        known = [*environments(), *algorithms(), "runs", "bash", "envs", "algos", "train", "all"]
        words += [_maybe(rng, rng.choice(known)) for _ in range(rng.randrange(4))]
        names = ["out", "seed", "episodes", "fps", "metric", "x", "trials", "policy_seed", "help"]
        words += [word for _ in range(rng.randrange(4)) for word in _option(rng, rng.choice(names))]
        return Case(_encodable(words), (0, 1, 2), compiles=True)
    algorithm, env_id = rng.choice(algorithms()), rng.choice(environments())
    words += [_maybe(rng, algorithm), _maybe(rng, env_id)]
    hints = options(algorithm, env_id)
    for _ in range(rng.randrange(6)):
        name = rng.choice(list(hints))
        if name == "distributed":  # it would wait for others
            continue
        words += _option(rng, name, hints[name])
    if rng.random() < 0.7:
        words += ["--devices", "1"]
    return Case(_encodable(words), shapes=rng.random() < SHAPES)


def _option(rng: random.Random, name: str, hint: Any = None) -> list[str]:
    given = name.replace("_", "-") if rng.random() < 0.5 else name
    given = f"--{given}" if rng.random() < 0.9 else _damaged(rng, f"--{given}")
    value = _right(rng, hint) if rng.random() < 0.5 else rng.choice(NONSENSE)
    form = rng.random()
    return [given] if form < 0.05 else [f"{given}={value}"] if form < 0.5 else [given, value]


def _right(rng: random.Random, hint: Any) -> str:
    """Returns a value of a type."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return str(rng.choice(args))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _right(rng, rng.choice(args))
    if hint is int:
        return str(rng.choice([1, 2, 4, 8, 16, 64, 1000, 100_000]))
    if hint is float:
        return repr(rng.choice([0.0, 0.01, 0.5, 0.9, 1.0, 2.0, 10.0]))
    return rng.choice(["true", "false"]) if hint is bool else rng.choice(["none", "1", "x", "2 3"])


def _maybe(rng: random.Random, word: str) -> str:
    chance = rng.random()
    return word if chance < 0.85 else _damaged(rng, word) if chance < 0.93 else rng.choice(NONSENSE)


def _damaged(rng: random.Random, word: str) -> str:
    """Returns a word with a letter lost, doubled or changed."""
    i = rng.randrange(len(word) or 1)
    return word[:i] + rng.choice(["", word[i : i + 1] * 2, "x", "\x1b", "é"]) + word[i + 1 :]


def _encodable(words: list[str]) -> list[str]:
    """Returns words as the system would pass them: without NUL, as bytes that can be decoded."""
    return [word.replace("\0", "") for word in words]


def numbers() -> Iterator[Case]:
    """Yields a case for every number of every algorithm, environment and loop, and each value."""
    loop = [(algorithms()[0], TASK, "")]
    learners = [(algorithm, TASK, "learner.") for algorithm in algorithms()]
    worlds = [(algorithms()[0], env_id, "env.") for env_id in environments()]
    for algorithm, env_id, prefix in (*loop, *learners, *worlds):
        for name, hint in options(algorithm, env_id).items():
            number = {int, float} & {hint, *typing.get_args(hint)}
            if not number or not name.startswith(prefix) or (not prefix and "." in name):
                continue
            for value in NUMBERS:
                words = ["train", algorithm, env_id, f"--{name}={value}", "--dry-run"]
                unlimited = value == "inf" and name.endswith("max_grad_norm")
                wrong = value in ("nan", "inf", "-inf") and not unlimited
                yield Case(words, (2,) if wrong else (0, 2))
