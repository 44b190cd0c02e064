"""Options: typed records, YAML and the words of a command line, put together and checked."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from marlx.cli.records import CLUSTER_OPTIONS, Output, PlayOptions
from marlx.text import unknown

if TYPE_CHECKING:
    from marlx.config.layers import Experiment, Schema

Options = TypeVar("Options")


def parse_train(names: Sequence[str], argv: Sequence[str]) -> tuple[Experiment, Output]:
    """The experiment and the output options of a command line.

    Args:
      names: ALGO and ENV, or what of them is given.
      argv: the options.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.config.layers import build, merge, schema, sources
    from marlx.loop.settings import TrainConfig
    from marlx.registry import algorithm, configured, make_env, settings_of

    given = [*names, None, None]
    algo, env_id, layers = sources(given[0], given[1], value_of(argv, "config"))
    known, output_known = schema(algo, env_id), settings_of(Output)
    not_in_file = ("config", "out", "resume", "distributed", *CLUSTER_OPTIONS)
    in_file = {name: hint for name, hint in output_known.items() if name not in not_in_file}
    values = merge({**known, **in_file}, layers)
    learner, env = values.pop("learner", {}), values.pop("env", {})
    output = {name: values.pop(name) for name in in_file if name in values}
    parts = {
        "training": (_unchecked(TrainConfig()), values, True),
        "learner": (_unchecked(algorithm(algo).config()), learner, False),
        "env": (_unchecked(make_env(env_id)), env, False),
        "output": (Output(), output, True),
    }
    default = _together(
        {name: (configured(part, v, name), bare) for name, (part, v, bare) in parts.items()}
    )
    args = _canonical(argv, {**known, **output_known})
    summary = algorithm(algo).summary
    parsed = _tyro(default, args, f"marlx train {algo} {env_id}", f"{algo}: {summary}.")
    settings = {name: getattr(parsed.training, name) for name in settings_of(TrainConfig)}
    for block in ("learner", "env"):
        settings[block] = _read(getattr(parsed, block), known[block])
    return build(algo, env_id, settings), parsed.output


def run_and_options(
    argv: Sequence[str],
    command: str,
    options: type[Options],
    what: str = "run folder",
    usage: str = "RUN",
) -> tuple[str, Options]:
    """The run folder, or `what` else, and the options of a command that takes one."""
    from marlx.registry import settings_of

    names, rest = positionals(argv)
    wants_help = not names and rest[:1] in (["-h"], ["--help"])
    if len(names) != 1 and not wants_help:
        raise ValueError(f"marlx {command} takes one {what} before its options")
    args = _canonical(rest, settings_of(options))
    parsed = _tyro(
        options(), args, f"marlx {command} {usage}", inspect.cleandoc(options.__doc__ or "")
    )
    return names[0], parsed


def parse_play(env_id: str, argv: Sequence[str]) -> tuple[Any, PlayOptions]:
    """The environment and the options of `marlx render ENV`.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.registry import make_env, settings_of

    env = make_env(env_id)
    known = settings_of(env)
    default = _together({"play": (PlayOptions(), True), "env": (_unchecked(env), False)})
    args = _canonical(argv, {**settings_of(PlayOptions), "env": known})
    parsed = _tyro(default, args, f"marlx render {env_id}", "An episode of random play as a GIF.")
    changed = {
        name: getattr(parsed.env, name)
        for name in known
        if getattr(parsed.env, name) != getattr(env, name)
    }
    return make_env(env_id, **changed), parsed.play


def runs_and_options(
    argv: Sequence[str],
    command: str,
    options: type[Options],
    takes: str = "one run folder or more",
    usage: str = "RUN...",
) -> tuple[list[str], Options]:
    """The runs, or what else it `takes`, and the options of a command that takes several."""
    from marlx.registry import settings_of

    names, rest = positionals(argv)
    if not names and rest[:1] not in (["-h"], ["--help"]):
        raise ValueError(f"marlx {command} takes {takes} before its options")
    args = _canonical(rest, settings_of(options))
    return names, _tyro(
        options(), args, f"marlx {command} {usage}", inspect.cleandoc(options.__doc__ or "")
    )


def env_options(argv: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """What `--env ID` names, the words of `--env.NAME X`, and the other words."""
    other, chosen, rest = None, list[str](), list[str]()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--env" or word.startswith("--env="):
            inline = word.partition("=")[2]
            if not inline and (not words or words[0].startswith("--")):
                raise ValueError("--env needs the id of an environment")
            other = inline or words.pop(0)
            continue
        into = chosen if word.startswith("--env.") else rest
        into.append(word)
        while words and not re.match(r"-[-a-zA-Z]", words[0]):
            into.append(words.pop(0))
    return other, chosen, rest


def with_settings(env: Any, argv: Sequence[str]) -> Any:
    """`env` changed by the words of `--env.NAME X`.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.registry import settings_of

    known = settings_of(env)
    default = _together({"env": (_unchecked(env), False)})
    parsed = _tyro(default, _canonical(argv, {"env": known}), "marlx eval", "").env
    new = {name: getattr(parsed, name) for name in known}
    changed = {name: value for name, value in new.items() if value != getattr(env, name)}
    return dataclasses.replace(env, **changed) if changed else env


def positionals(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first option, and the rest."""
    count = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    return list(argv[:count]), list(argv[count:])


def value_of(argv: Sequence[str], option: str) -> str | None:
    """The value of `--option`, looked up before the other options can be known."""
    for i, word in enumerate(argv):
        if word == f"--{option}" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"--{option}="):
            return word.split("=", 1)[1]
    return None


def _canonical(argv: Sequence[str], known: Schema) -> list[str]:
    """`argv` checked, with every value in the form that tyro reads.

    Raises:
      ValueError: an unknown option, a missing value or one of the wrong type, in one line.
    """
    from marlx.config.coerce import coerce

    hints = dict(_flat(known))
    out: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            return ["--help"]
        if not word.startswith("--"):
            raise ValueError(f"unexpected {word!r}; options are written --name value")
        given, _, inline = word[2:].partition("=")
        name = given.replace("-", "_")
        if "=" in word and name in _blocks(known):
            words = [*_inside(name, inline), *words]
            continue
        block, _, last = name.rpartition(".")
        off = f"{block}.{last[3:]}".lstrip(".") if last.startswith("no_") else ""
        if hints.get(off) is bool and name not in hints:
            out += [f"--{off}", "False"]
            continue
        name = name if name in hints else f"{name}_" if f"{name}_" in hints else name
        if name not in hints:
            raise unknown("option", f"--{given}", [f"--{_dashed(known)}" for known in hints])
        values = [inline] if "=" in word else []
        while not values or _is_list(hints[name]):
            if not words or re.match(r"-[-a-zA-Z]", words[0]):
                break
            values.append(words.pop(0))
        if not values:
            if hints[name] is not bool:
                raise ValueError(f"--{given} needs a value")
            values = ["true"]
        try:
            if _is_list(hints[name]) and len(values) == 1 and values[0].startswith(("[", "(")):
                values = values[0].strip("[]() ").replace(",", " ").split()
            value = coerce(values if _is_list(hints[name]) else values[0], hints[name])
        except ValueError as error:
            raise ValueError(f"--{given}: {error}") from None
        out += [f"--{name}", *map(str, value if isinstance(value, tuple | list) else [value])]
    return out


def _flat(known: Schema, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of every setting."""
    for name, hint in known.items():
        if isinstance(hint, dict):
            yield from _flat(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def _blocks(known: Schema, prefix: str = "") -> set[str]:
    """Dotted names of the blocks that hold settings."""
    found: set[str] = set()
    for name, hint in known.items():
        if isinstance(hint, dict):
            found |= {prefix + name} | _blocks(hint, f"{prefix}{name}.")
    return found


def _inside(block: str, text: str) -> list[str]:
    """`--learner.lr=0.1` for `--learner={'lr': 0.1}`: so wandb's agent gives nested parameters."""
    from marlx.config.yaml_text import parse

    content = parse(text, f"--{block}")
    return [f"--{block}.{name}={value}" for name, value in content.items()]


def _dashed(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) in (tuple, list)


def _unchecked(record: Any) -> Any:
    """`record` as an instance of a class that checks nothing.

    A file may hold settings that only go together with an option: they are checked once, when all
    are known.
    """
    from tyro import conf

    cls, suppress = type(record), cast(Any, conf.Suppress)
    hidden = [
        (field.name, suppress[Any], dataclasses.field(default=None))
        for field in dataclasses.fields(cls)
        if field.name in ("id", "name") or field.name.startswith("_")
    ]
    parts = {
        field.name: _unchecked(getattr(record, field.name))
        for field in dataclasses.fields(cls)
        if dataclasses.is_dataclass(getattr(record, field.name))
    }
    nested = [(name, type(part), dataclasses.field(default=part)) for name, part in parts.items()]
    free = dataclasses.make_dataclass(
        cls.__name__,
        [*hidden, *nested],
        bases=(cls,),
        namespace={
            "__post_init__": lambda self: None,
            "__doc__": (cls.__doc__ or "").split("\n\n")[0],
        },
        frozen=True,
        kw_only=True,
    )
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    return free(**{name: getattr(record, name) for name in fields} | parts)


def _read(record: Any, known: Schema) -> dict[str, Any]:
    """The settings in `record`, in the layout of a YAML file."""
    return {
        name: _read(getattr(record, name), hint)
        if isinstance(hint, dict)
        else getattr(record, name)
        for name, hint in known.items()
    }


def _together(parts: Mapping[str, tuple[Any, bool]]) -> Any:
    """One record of several; those marked True have options without their name as prefix."""
    from tyro import conf

    bare_names = cast(Any, conf.OmitArgPrefixes)
    fields = [
        (name, bare_names[type(part)] if bare else type(part), part)
        for name, (part, bare) in parts.items()
    ]
    return dataclasses.make_dataclass("Options", fields, frozen=True)()


def _tyro(default: Any, args: Sequence[str], prog: str, description: str) -> Any:
    """`default` with the options of `args`; whatever tyro has to say becomes one line."""
    import tyro

    said = io.StringIO()
    config = (tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default),
                default=default,
                args=args,
                prog=prog,
                description=description,
                config=config,
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = re.sub(r"[╭╮╰╯│─]+", " ", said.getvalue().split("───\n│")[0])
        raise ValueError(" ".join(text.split()) or "the options cannot be read") from None
