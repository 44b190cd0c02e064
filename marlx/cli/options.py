"""The options of every command: read from its words, checked, and shown by `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from marlx.cli.records import ONCE_OPTIONS, Output, PlayOptions
from marlx.cli.words import is_option, read_options
from marlx.settings import check_settings

if TYPE_CHECKING:
    from marlx.cli.help import Section
    from marlx.config.layers import Experiment

Options = TypeVar("Options")


def parse_train(names: Sequence[str], argv: Sequence[str]) -> tuple[Experiment, Output]:
    """Returns the experiment and the output options of a command line.

    Args:
      names: ALGO and ENV, or those of them that are given.
      argv: the options.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.cli.help import Section
    from marlx.config.layers import Layer, build, merge, schema, sources
    from marlx.loop.settings import TrainConfig
    from marlx.registry import algorithm, make_env, settings_of

    given_names = [*names, None, None]
    algo, env_id, layers = sources(given_names[0], given_names[1], value_of(argv, "config"))
    known, output_known = schema(algo, env_id), settings_of(Output)
    in_file = {name: hint for name, hint in output_known.items() if name not in ONCE_OPTIONS}
    values = merge({**known, **in_file}, layers)
    given = read_options(argv, {**known, **output_known})
    if given is None:
        record = algorithm(algo)
        sections = (
            Section("training options", TrainConfig()),
            Section("learner options", record.config(), "learner."),
            Section("env options", make_env(env_id), "env."),
            Section("output options", Output()),
        )
        _help(f"train {algo} {env_id}", f"{algo}: {record.summary}.", sections, values)
    below, above = Layer("the layers below", values), Layer("the command line", given)
    values = merge({**known, **output_known}, (below, above))
    output = {name: values.pop(name) for name in output_known if name in values}
    return build(algo, env_id, values), Output(**output)


def run_and_options(
    argv: Sequence[str],
    command: str,
    options: type[Options],
    what: str = "run folder",
    usage: str = "RUN",
) -> tuple[str, Options]:
    """Returns the run folder and the options of a command that takes one.

    Args:
      argv: the words after the command.
      command: for messages.
      options: dataclass of the options.
      what: name of the first word, for messages.
      usage: the same in the usage line.

    Raises:
      ValueError: anything unknown or ill-typed, in one line.
    """
    names, rest = positionals(argv)
    if len(names) != 1 and not _help_alone(names, rest):
        raise ValueError(f"marlx {command} takes one {what} before its options")
    return names[0] if names else "", _options(rest, f"{command} {usage}", options)


def runs_and_options(
    argv: Sequence[str],
    command: str,
    options: type[Options],
    takes: str = "one run folder or more",
    usage: str = "RUN...",
) -> tuple[list[str], Options]:
    """Returns the run folders and the options of a command that takes several.

    The arguments are those of `run_and_options`; `takes` names the first words in messages.
    """
    names, rest = positionals(argv)
    if not names and not _help_alone(names, rest):
        raise ValueError(f"marlx {command} takes {takes} before its options")
    return names, _options(rest, f"{command} {usage}", options)


def parse_play(env_id: str, argv: Sequence[str]) -> tuple[Any, PlayOptions]:
    """Returns the environment and the options of `marlx render ENV`.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.cli.help import Section
    from marlx.registry import make_env, settings_of

    env = make_env(env_id)
    given = read_options(argv, {**settings_of(PlayOptions), "env": settings_of(env)})
    if given is None:
        sections = Section("play options", PlayOptions()), Section("env options", env, "env.")
        _help(f"render {env_id}", "An episode of random play as a GIF.", sections)
    changed = given.pop("env", {})
    return make_env(env_id, **changed), _checked(PlayOptions(**given))


def with_settings(env: Any, argv: Sequence[str]) -> Any:
    """Returns `env` changed by the options `--env.NAME X`.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.registry import configured, settings_of

    given = read_options(argv, {"env": settings_of(env)}) or {}
    return configured(env, given.get("env", {}), "env")


def env_options(argv: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """Splits words into the ID of `--env ID`, those of `--env.NAME X`, and the others."""
    chosen, words = options_under(("env",), argv)
    other, rest = None, list[str]()
    while words:
        word = words.pop(0)
        if word == "--env" or word.startswith("--env="):
            inline = word.partition("=")[2]
            if not inline and (not words or words[0].startswith("--")):
                raise ValueError("--env needs the id of an environment")
            other = inline or words.pop(0)
            continue
        rest.append(word)
    return other, chosen, rest


def options_under(parts: Sequence[str], argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits words into the options `--PART.NAME X` of some parts, and the others."""
    chosen, rest = list[str](), list[str]()
    words = list(argv)
    while words:
        word = words.pop(0)
        into = chosen if word.startswith(tuple(f"--{part}." for part in parts)) else rest
        into.append(word)
        while words and not is_option(words[0]):
            into.append(words.pop(0))
    return chosen, rest


def positionals(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits words into those before the first option and the rest."""
    count = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    return list(argv[:count]), list(argv[count:])


def value_of(argv: Sequence[str], option: str) -> str | None:
    """Returns the value of `--option`, which is read before the other options are known."""
    for i, word in enumerate(argv):
        if word == f"--{option}" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"--{option}="):
            return word.split("=", 1)[1]
    return None


def _options(argv: Sequence[str], usage: str, options: type[Options]) -> Options:
    from marlx.cli.help import Section
    from marlx.registry import settings_of

    given = read_options(argv, settings_of(options))
    if given is None:
        _help(usage, inspect.cleandoc(options.__doc__ or ""), (Section("", options()),))
    return _checked(options(**given))


def _checked(options: Options) -> Options:
    """Returns a command's options if they are within their bounds.

    Raises:
      ValueError: one is not; the message begins with the option.
    """
    try:
        check_settings(options)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')} {rest}") from None
    return options


def _help(
    usage: str,
    description: str,
    sections: Sequence[Section],
    values: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Print the help of a command, with `values` over the defaults, and leave."""
    from marlx.cli.help import help_text
    from marlx.config.tree import flatten, plain

    shown = flatten(values or {})
    for section in sections:
        shown = flatten(plain(section.record), section.prefix) | shown
    print(help_text(f"marlx {usage}", description, sections, shown), end="")
    raise SystemExit(0)


def _help_alone(names: Sequence[str], rest: Sequence[str]) -> bool:
    return not names and rest[:1] in (["-h"], ["--help"])
