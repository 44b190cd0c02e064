"""Broken, hostile and merely odd YAML: as settings of a training, and as sweep files."""

from __future__ import annotations

import random
from collections.abc import Callable

from judge import Case

CONFIG = """\
algorithm: iql
environment: matrix/climbing
total_steps: 2000
num_envs: 8
rollout_length: 5
seeds: 2
learner: {lr: 0.001, hidden: 8, warmup: 80, batch: 4, capacity: 800}
env: {horizon: 25}
checkpoints: true
"""
SWEEP = """\
program: marlx
command: [marlx, train, iql, matrix/climbing, --total-steps, 2000, --num-envs, 8, "${args}"]
method: random
metric: {name: return, goal: maximize}
early_terminate: {type: hyperband, min_iter: 1, eta: 3, s: 2}
run_cap: 4
parameters:
  learner.lr: {distribution: log_uniform_values, min: 0.0001, max: 0.01}
  learner.gamma: {values: [0.9, 0.99]}
  learner.batch: {distribution: int_uniform, min: 2, max: 8}
  learner.epsilon_end: {distribution: q_uniform, q: 0.01, min: 0.0, max: 0.2}
"""
VALUES = (
    "null", "''", "[]", "{}", "[[[]]]", "{a: {b: {c: 1}}}", "nan", ".nan", ".inf", "-.inf", "1e309",
    "0", "-1", "1e-12", "1e10", "1000000000", "2147483648", "9" * 400, "x" * 5000, "!!int zz",
    "!!float zz", "!!binary x", "!!timestamp x", "!!set {a}", "!!python/object/apply:os.system [a]",
    "!unknown x", "*nothing", "&a [*a]", "2026-11-30", "2026-13-45", "12:30:45", "0b1_0", "0o9",
    "'\\e[31m'", '"\\e[31mred"', '"\\x07"', '"\\u2028"', "🙂", "yes", "~", "? a", "- a", "|", ">",
    "{[1, 2]: 3}", "{1: 2}", "{true: 1}", "{null: 1}", "[" * 2000, "[" * 20000 + "]" * 20000,
    "{a: " * 3000 + "1" + "}" * 3000, "range(10)", "1e400", "-0.0",
)  # fmt: skip
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
WHOLE = {
    "empty": b"",
    "not text": bytes(range(256)),
    "UTF-16": CONFIG.encode("utf-16"),
    "a mark": b"\xef\xbb\xbf" + CONFIG.encode(),
    "CRLF": CONFIG.replace("\n", "\r\n").encode(),
    "tabs": CONFIG.replace("learner:", "learner:\t").encode(),
    "NUL": CONFIG.encode() + b"\0",
    "aliases": BOMB.encode(),
    "merged aliases": (BOMB + "learner: {<<: *a39}\n").encode(),
    "many lines": b"a: 1\n" + b"".join(b"k%d: 1\n" % i for i in range(700_000)),
    "a long line": b"a: " + b"x" * 30_000_000,
    "two documents": (CONFIG + "---\n" + CONFIG).encode(),
    "a list": b"- 1\n- 2\n",
    "a word": b"word\n",
    "twice": (CONFIG + CONFIG).encode(),
    "deep": ("[" * 100_000).encode(),
    "deep blocks": "".join(" " * i + "a:\n" for i in range(2000)).encode(),
    "large grid": (
        "method: grid\ncommand: [marlx, train, iql, matrix/climbing, '${args}']\nparameters:\n"
        + "".join(
            f"  learner.{name}: {{values: [{', '.join(str(i / 100) for i in range(1, 61))}]}}\n"
            for name in ("lr", "gamma", "epsilon_start", "epsilon_end", "target_rate", "lambda_")
        )
    ).encode(),
}


def case(rng: random.Random) -> Case:
    """Returns a training or a sweep from a damaged file."""
    sweep = rng.random() < 0.5
    if rng.random() < 0.05:
        content = rng.choice(list(WHOLE.values()))
    else:
        content = (SWEEP if sweep else CONFIG).encode()
        for _ in range(rng.randrange(1, 4)):
            content = rng.choice(DAMAGES)(rng, content)
    return _of(sweep, content, rng.random() < 0.05)


def every() -> list[Case]:
    """Returns each whole file, as a sweep and as settings."""
    return [_of(sweep, content) for content in WHOLE.values() for sweep in (True, False)]


def _of(sweep: bool, content: bytes, shapes: bool = False) -> Case:
    if sweep:
        return Case(["sweep", "file.yaml", "--out", "sweep"], files={"file.yaml": content})
    words = ["train", "iql", "matrix/climbing", "--config", "file.yaml", "--devices", "1"]
    return Case([*words, "--out", "run"], files={"file.yaml": content}, shapes=shapes)


def _value(rng: random.Random, content: bytes) -> bytes:
    """Replaces what follows a colon."""
    lines = content.decode("utf-8", "replace").split("\n")
    i = rng.randrange(len(lines))
    head, colon, tail = lines[i].partition(":")
    if rng.random() < 0.5 and ": " in tail:  # inside braces
        inner, _, rest = tail.rpartition(": ")
        lines[i] = f"{head}:{inner}: {rng.choice(VALUES)}{'}' * rest.count('}')}"
    else:
        lines[i] = f"{head}{colon} {rng.choice(VALUES)}"
    return "\n".join(lines).encode("utf-8", "replace")


def _line(rng: random.Random, content: bytes) -> bytes:
    """Removes, doubles or moves a line."""
    lines = content.split(b"\n")
    i = rng.randrange(len(lines))
    line = lines.pop(i)
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _bytes(rng: random.Random, content: bytes) -> bytes:
    """Changes a few bytes."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, content: bytes) -> bytes:
    """Keeps the beginning."""
    return content[: rng.randrange(len(content) + 1)]


def _key(rng: random.Random, content: bytes) -> bytes:
    """Adds a line."""
    key = rng.choice(
        ["name", "learner", "learner.lr", "env", "x", "<<", "1", "total_steps", "kind"]
    )
    return content + f"{key}: {rng.choice(VALUES)}\n".encode("utf-8", "replace")


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _value, _value, _line, _bytes, _cut, _key,
)  # fmt: skip
