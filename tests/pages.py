"""The pages of README and docs as programs: their code blocks, and what runs them as a reader would.

Everything in a fenced block of `python`, `bash` or `console` is run, in the order of the page, in
one namespace and one folder of its own. What a reader should not see stands in comments before a
block (the site leaves them out):

    <!-- test: skip, WHY -->            not run: it installs something, say; counted in test_docs.py
    <!-- test: slow -->                 not in the quick tests, where training only gets as far as
                                        compiling; `make test-slow` runs it whole
    <!-- test: exits with 2 -->         the command is wrong on purpose
    <!-- test: run                      Python, run before the block: what the page takes for granted
    prepare(run="runs/mine")
    -->

Long trainings are shortened, in the quick tests and the slow ones alike: two rollouts of learning in
4 environments, from a warm-up of one rollout (`SHORT`). What `console` blocks show below a command has
to be among what it prints. Blocks with a title are files of a package; `files` finds them, and the tests
that install it run them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from marlx import cli, registry
from marlx.cli import options

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
RUNNABLE = ("python", "bash", "console")
SHORT = {"num_envs": 4, "evals": 1, "eval_episodes": 4}

_PIECE = re.compile(
    r"^<!-- test: (?P<note>.*?)-->$|^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Block(NamedTuple):
    """A fenced block, and what the comments before it say."""

    line: int
    language: str
    text: str
    title: str = ""
    skip: str = ""
    slow: bool = False
    code: int = 0
    before: str = ""


def blocks(page: Path) -> list[Block]:
    """Every block of a page that is to be run, in order.

    Raises:
      ValueError: a comment says something else than the ones above.
    """
    found, notes = [], dict[str, Any]()
    text = page.read_text(encoding="utf-8")
    for piece in _PIECE.finditer(text):
        line = text.count("\n", 0, piece.start()) + 1
        if piece["note"] is not None:
            notes |= _note(piece["note"], f"{page.name}:{line}")
            continue
        if piece["language"] in RUNNABLE:
            title = re.search(r'title="([^"]+)"', piece["info"])
            name = {"title": title[1]} if title else {}
            found.append(Block(line, piece["language"], piece["text"], **name, **notes))
            notes = {}
    if notes:
        raise ValueError(f"{page.name}: {notes} belongs to no block")
    return found


def _note(text: str, where: str) -> dict[str, Any]:
    text = text.strip("\n ")
    if reason := re.fullmatch(r"skip, (.{10,})", text):
        return {"skip": reason[1]}
    if text == "slow":
        return {"slow": True}
    if code := re.fullmatch(r"exits with (\d+)", text):
        return {"code": int(code[1])}
    if code := re.fullmatch(r"run\n(.*)", text, re.S):
        return {"before": code[1]}
    raise ValueError(f"{where}: test: {text.splitlines()[0]!r} is not one of those in pages.py")


def files(page: Path) -> dict[str, str]:
    """Blocks with a title, by it: the files that the page asks its reader to write."""
    fence = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.M | re.S)
    return dict(fence.findall(page.read_text(encoding="utf-8")))


class Reader:
    """Follows one page: runs its blocks one after another.

    Args:
      page: a Markdown file.
      prepare: what the hidden code of pages may call as `prepare(...)`.
      whole: train (shortened) wherever the page does; False stops a command before it compiles,
        unless its result is used: where it names the run folder (`--out`), or goes on with one.
    """

    def __init__(self, page: Path, prepare: Callable[..., None], *, whole: bool) -> None:
        self.page, self.whole = page, whole
        self.names: dict[str, Any] = {"__name__": "page"}
        self.prepare = prepare

    def follow(self, block: Block, capsys: pytest.CaptureFixture[str]) -> None:
        """Run a block.

        Raises:
          AssertionError: a command's exit code or output is not what the page says.
        """
        if block.before:
            scope = {"prepare": self.prepare}
            exec(compile(block.before, f"{self.page.name} (hidden)", "exec"), scope, self.names)
        if block.language == "python":
            # so that tracebacks tell the line of the page
            code = "\n" * block.line + block.text
            exec(compile(code, str(self.page), "exec"), self.names)
            return
        for command, shown in commands(block):
            where = f"{self.page.name}:{block.line}: {' '.join(command)}"
            capsys.readouterr()
            code = self._command(command)
            said = "".join(capsys.readouterr())
            assert code == block.code, f"{where} ended with {code}: {said}"
            for line in shown:
                assert line.strip() in said, f"{where} does not print {line!r}, but {said}"

    def _command(self, words: list[str]) -> int:
        assert words[0] == "marlx", f"{words} is no command of marlx; mark the block to be skipped"
        argv = words[1:]
        if argv[:1] == ["train"] and not {"--help", "-h"} & set(argv):
            argv = [*argv, *shorter(argv[1:])]
            if not self.whole and not {"--resume", "--out"} & set(argv):
                return _until_compiled(argv)
        if argv[:2] == ["pool", "train"]:
            argv = [*argv, "--total-steps", "12000"]
        return cli.run(argv)


def commands(block: Block) -> Iterator[tuple[list[str], list[str]]]:
    """Each command's words and, of a console block, the lines shown below it."""
    text = block.text.replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    if block.language == "bash":
        for line in lines:
            if words := shlex.split(line, comments=True):
                yield words, []
        return
    starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield shlex.split(lines[start][2:], comments=True), lines[start + 1 : end]


def _until_compiled(argv: list[str]) -> int:
    """The exit code of a training that goes as far as being ready to compile."""
    try:
        todo = cli._command(argv)
    except ValueError as error:
        print(error)
        return 2
    return todo if isinstance(todo, int) else 0


def _warmups(known: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Dotted names of the settings called warmup, of a learner and of its parts."""
    for name, kind in known.items():
        if isinstance(kind, Mapping):
            yield from _warmups(kind, f"{before}{name}.")
        elif name == "warmup":
            yield f"{before}{name}"


def shorter(argv: list[str]) -> list[str]:
    """Options that make a training last two rollouts after its warm-up; `argv` is without `train`."""
    names, rest = options.positionals(argv)
    if "--resume" in rest:
        return []
    try:
        experiment, _ = options.parse_train(names, [x for x in rest if x != "--out"])
    except ValueError:
        return []  # it is wrong, and is to say so
    train = experiment.train
    steps = SHORT["num_envs"] * train.rollout_length
    settings = {**SHORT, "total_steps": 3 * steps, "seeds": min(train.seeds, 2)}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    record = registry.algorithm(experiment.algorithm)
    return words + [
        f"--learner.{name}={steps}" for name in _warmups(registry.settings_of(record.config))
    ]


@contextlib.contextmanager
def shortened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While it lasts, `marlx.train` and `marlx.train_many` from Python are short too."""
    from marlx import training, vmapped

    steps = SHORT["num_envs"] * training.TrainConfig().rollout_length
    train, build = training.train, registry.Algorithm.__call__

    def short(env: Any, learner: Any, params: Any = None, **settings: Any) -> Any:
        config = settings.pop("config", None) or training.TrainConfig()
        own = {f.name for f in dataclasses.fields(config)} & settings.keys()
        config = dataclasses.replace(config, **{name: settings.pop(name) for name in own})
        total = 3 * SHORT["num_envs"] * config.rollout_length
        config = dataclasses.replace(config, **SHORT, total_steps=total, seeds=min(config.seeds, 2))
        return train(env, learner, params, config=config, **settings)

    def short_many(runs: Any, **settings: Any) -> Any:
        def one(run: Any) -> Any:
            total = 3 * SHORT["num_envs"] * run.train.rollout_length
            length = dataclasses.replace(run.train, **SHORT, total_steps=total)
            return dataclasses.replace(
                run, train=length, learner=dataclasses.replace(run.learner, warmup=steps)
            )

        return many([one(run) for run in runs], **settings)

    def call(record: Any, spec: Any, **settings: Any) -> Any:
        for name in _warmups(registry.settings_of(record.config)):
            *parts, last = name.split(".")
            place = functools.reduce(lambda at, part: at.setdefault(part, {}), parts, settings)
            place[last] = steps
        return build(record, spec, **settings)

    many = vmapped.train_many
    with monkeypatch.context() as patch:
        import marlx

        patch.setattr(registry.Algorithm, "__call__", call)
        for module, name, value in (
            (training, "train", short),
            (marlx, "train", short),
            (vmapped, "train_many", short_many),
            (marlx, "train_many", short_many),
        ):
            patch.setattr(module, name, value, raising=False)
        yield
