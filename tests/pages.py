"""The pages of README and docs as programs: their code blocks, and what runs them.

Everything in a fenced block of `python`, `bash` or `console` is run, in the order of the page, in
one namespace and one folder of its own. What a reader should not see stands in comments before a
block (the site leaves them out):

    <!-- test: skip, WHY -->            not run: it installs something, say; counted in test_docs.py
    <!-- test: slow -->                 only `make test-slow` runs it
    <!-- test: exits with 2 -->         the command is wrong on purpose
    <!-- test: run                      Python, run before the block: what the page relies on
    prepare(run="runs/mine")
    -->

Long trainings are shortened: two rollouts of learning in 4 environments, after a warm-up of one
(`SHORT`). The slow tests train whatever the page does. The quick ones only check the settings of
a `marlx train` and build environment and learner, and where the command names its run folder, put a
run there that such a training has left, made once for all pages.

What `console` blocks show below a command has to be among what it prints; `...` stands for what
differs. Blocks with a title are
files of a package; `files` finds them, and the tests that install it run them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
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
SHORT = {"num_envs": 4, "seeds": 1, "evals": 1, "eval_episodes": 4}

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
      whole: train (shortened) wherever the page does; False only checks trainings of the command
        line, and prepares what they would leave.
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
            scope = {**self.names, "prepare": self.prepare}
            exec(compile(block.before, f"{self.page.name} (hidden)", "exec"), scope, self.names)
        if block.language == "python":
            # so that tracebacks tell the line of the page
            code = "\n" * block.line + block.text
            exec(compile(code, str(self.page), "exec"), self.names)
            return
        for command, shown in commands(block):
            assert command[0] == "marlx", f"{self.page.name}:{block.line}: mark it to be skipped"
            where = f"{self.page.name}:{block.line}: {' '.join(command)}"
            capsys.readouterr()
            code = self._command(command[1:], wrong=bool(block.code))
            said = "".join(capsys.readouterr())
            assert code == block.code, f"{where} ended with {code}: {said}"
            for part in (part.strip() for line in shown for part in line.split("...")):
                assert part in said, f"{where} does not print {part!r}, but {said}"

    def _command(self, argv: list[str], wrong: bool) -> int:
        if argv[:2] == ["pool", "train"]:
            argv = [*argv, "--total-steps", "12000"]
        if argv[0] == "train" and not wrong and not {"--help", "--resume"} & set(argv):
            if not self.whole:
                return self._check(argv[1:])
            argv = [*argv, *shorter(argv[1:])]
        try:
            return cli.run(argv)
        except SystemExit as done:  # after --help
            return int(done.code or 0)

    def _check(self, argv: list[str]) -> int:
        for names, rest in pairs(argv):
            experiment, output = options.parse_train(names, rest)
            experiment.build()
        if output.out is not None:
            self.prepare(output.out, experiment.algorithm, experiment.environment)
        return 0


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


def pairs(argv: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """ALGO and ENV, and the options, of every run that `marlx train` with these words makes."""
    names, rest = options.positionals(argv)
    for chosen in itertools.product(*(name.split(",") for name in names)):
        yield [*chosen], rest


def _warmups(known: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Dotted names of the settings called warmup, of a learner and of its parts."""
    for name, kind in known.items():
        if isinstance(kind, Mapping):
            yield from _warmups(kind, f"{before}{name}.")
        elif name == "warmup":
            yield f"{before}{name}"


def shorter(argv: list[str]) -> list[str]:
    """Options that make a training last two rollouts after its warm-up.

    Args:
      argv: the words after `marlx train`.
    """
    experiment, _ = options.parse_train(*next(pairs(argv)))
    train = experiment.train
    steps = SHORT["num_envs"] * train.rollout_length
    settings = {**SHORT, "total_steps": 3 * steps}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    record = registry.algorithm(experiment.algorithm)
    return words + [
        f"--learner.{name}={steps}" for name in _warmups(registry.settings_of(record.config))
    ]


def _warmed(settings: Any, steps: int) -> Any:
    """A learner's settings, its parts' included, with a warm-up of `steps`."""
    changed = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            changed[field.name] = _warmed(value, steps)
        elif field.name == "warmup":
            changed["warmup"] = steps
    return dataclasses.replace(settings, **changed)


@contextlib.contextmanager
def shortened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While it lasts, what Python code trains is short too."""
    import marlx
    from marlx import config, training
    from marlx.config import layers as config_layers
    from marlx.loop import settings

    train, build, experiment = training.train, registry.Algorithm.__call__, config.experiment
    default = settings.TrainConfig()

    def length(train: settings.TrainConfig) -> settings.TrainConfig:
        steps = 3 * SHORT["num_envs"] * train.rollout_length
        return dataclasses.replace(train, **SHORT, total_steps=steps)

    def short(env: Any, learner: Any, params: Any = None, **settings: Any) -> Any:
        names = {field.name for field in dataclasses.fields(default)} & settings.keys()
        given = {name: settings.pop(name) for name in names}
        whole = dataclasses.replace(settings.pop("config", None) or default, **given)
        return train(env, learner, params, config=length(whole), **settings)

    def short_experiment(*names: Any, **settings: Any) -> Any:
        run = experiment(*names, **settings)
        warm = _warmed(run.learner, SHORT["num_envs"] * run.train.rollout_length)
        return run._replace(train=length(run.train), learner=warm)

    def call(record: Any, spec: Any, **settings: Any) -> Any:
        learner = build(record, spec, **settings)
        warm = _warmed(learner.config, SHORT["num_envs"] * default.rollout_length)
        return registry.built(record, registry.source_of(record, spec), warm)

    with monkeypatch.context() as patch:
        patch.setattr(registry.Algorithm, "__call__", call)
        patch.setattr(config_layers, "experiment", short_experiment)
        patch.setattr(marlx, "train", short)  # first: looking it up asks `training`
        patch.setattr(training, "train", short)
        yield
