"""Damaged run folders, and every command that reads one."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from files import DAMAGES, VALUES
from judge import Case

RUN = (
    "train iql matrix/climbing --seeds 2 --total-steps 600 --num-envs 8 --rollout-length 5 "
    "--evals 2 --eval-episodes 8 --learner.hidden 8 --learner.warmup 80 --learner.batch 4 "
    "--learner.capacity 800 --devices 1"
)
QUICK = (
    "doctor {run}", "plot {run} --out curves.svg", "report {run} --out page.html",
    "train --resume {run} --total-steps 1200", "train --resume {run}", "sweep {run}",
    "train --config {run}/config.yaml --dry-run", "report {run}/.. --out page.html",
)  # fmt: skip
"""Commands that every damaged folder meets."""
COMPILING = (
    "eval {run} --episodes 4", "render {run} --out episode.gif", "export {run} --out exported",
    "embeddings {run}", "crossplay {run} {run}",
)  # fmt: skip
"""Commands that compile; a damaged folder meets one of them."""
JSONS: tuple[Any, ...] = (
    None, "", "x" * 5000, 0, -1, 1.5, 1e308, 10**400, True, [], {}, [[]], [1, "a"], {"a": {"b": 1}},
    "\x1b[31m", "$x^2$", "$", "<script>", "../..", [None] * 3, float("nan"), float("inf"),
    1_000_000_000, [1e400, -1e400], "🙂", "\ud800",
)  # fmt: skip


LARGEST = 10_000_000
"""Bytes of the largest file whose content is changed."""


def make_run(folder: Path) -> Path:
    """Trains the run whose copies are damaged, and returns its folder."""
    from marlx import cli

    run = folder / "iql-run"
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        assert (
            cli.run([*RUN.split(), "--quiet", "--checkpoint-seconds", "0", "--out", str(run)]) == 0
        )
    return run


def case(seed: int | str, number: int, run: Path, scratch: Path) -> Case:
    """Returns a command on a damaged copy of `run`, which it makes in `scratch`.

    Nine numbers that follow one another are of the same damage: eight commands that are quick, and
    one that compiles.
    """
    folder, command = divmod(number, len(QUICK) + 1)
    rng = random.Random(f"{seed}/folders/{folder}")
    shutil.rmtree(scratch, ignore_errors=True)
    copy = scratch / "run"
    shutil.copytree(run, copy)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        if files:
            target = _target(rng, files)
            change = rng.choice(CHANGES)
            if target.suffix in (".json", ".jsonl") and rng.random() < 0.7:
                change = _node
            change(rng, target)
    compiles = command == len(QUICK)
    line = COMPILING[folder % len(COMPILING)] if compiles else QUICK[command]
    words = line.format(run=copy).split()
    shapes = line.endswith("--resume {run}")  # arrays are read after shapes
    draws = words[0] in ("plot", "report")
    return Case(words, (0, 1, 2), compiles=compiles or draws, shapes=shapes)


def _target(rng: random.Random, files: list[Path]) -> Path:
    """Returns one of the files; those of arrays, which are many, together as often as another."""
    named = [path for path in files if "arrays" not in path.parts]
    return rng.choice(named if named and rng.random() < 0.85 else files)


def _node(rng: random.Random, path: Path) -> None:
    """Replaces a value somewhere in a JSON file, or in a line of one."""
    if path.stat().st_size > LARGEST:  # an earlier change of the same case made it so
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    text = "\n".join(lines) if path.suffix == ".json" else rng.choice(lines)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return
    places: list[tuple[Any, Any]] = []
    todo = [content]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()  # noqa: E501  # fmt: skip
        places += [(node, key) for key in keys]
        todo += [node[key] for key in keys]
    if places and rng.random() < 0.9:
        node, key = rng.choice(places)
        if isinstance(node, dict) and rng.random() < 0.3:
            node[rng.choice(["x", "\x1b[31m", "steps", ""])] = node.pop(key)
        else:
            node[key] = rng.choice(JSONS)
        new = json.dumps(content)
    else:
        deep = 50_000
        new = rng.choice([json.dumps(rng.choice(JSONS)), "[" * deep + "]" * deep, "{" * deep])
    path.write_text(new if path.suffix == ".json" else path.read_text().replace(text, new))


def _content(rng: random.Random, path: Path) -> None:
    if path.stat().st_size < LARGEST:
        path.write_bytes(rng.choice(DAMAGES)(rng, path.read_bytes()))


def _value(rng: random.Random, path: Path) -> None:
    path.write_text(rng.choice(VALUES), encoding="utf-8", errors="replace")


def _remove(rng: random.Random, path: Path) -> None:
    path.unlink()


def _folder(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(rng: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(
        rng.choice(["/dev/zero", "/dev/full", "/dev/null", "/dev/stdin", path.name, "/"])
    )


def _sparse(rng: random.Random, path: Path) -> None:
    os.truncate(path, 20_000_000_000)


def _name(rng: random.Random, path: Path) -> None:
    path.rename(path.with_name(rng.choice(["\x1b[31m", "x" * 200, "$", "000000000999", ".hidden"])))


CHANGES: tuple[Callable[[random.Random, Path], None], ...] = (
    _content, _content, _content, _value, _remove, _folder, _pipe, _device, _sparse, _name,
)  # fmt: skip
