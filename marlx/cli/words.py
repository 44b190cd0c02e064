"""The words of a command line, read over a schema: which options there are and of which types.

An option is written `--name value` or `--name=value`, with dashes or underscores, and one of a
block as `--block.name value`. Lists are `--name 1 2` or `--name '[1, 2]'`, booleans `--name` and
`--no-name`, and whole blocks `--block '{name: value}'`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marlx.text import unknown

if TYPE_CHECKING:
    from marlx.config.layers import Schema


def read_options(argv: Sequence[str], known: Schema) -> dict[str, Any] | None:
    """Returns the settings that the words give, in the layout of a YAML file; None for `--help`.

    Args:
      argv: options and their values.
      known: name -> type of every option; a block is a nested mapping.

    Raises:
      ValueError: an unknown option, a missing value or one of the wrong type, in one line.
    """
    from marlx.config.tree import flatten, unflatten

    hints, words = flatten(known), list(argv)
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            return None
        if not word.startswith("--"):
            raise ValueError(f"unexpected {word!r}; options are written --name value")
        found |= _read(word, words, hints)
    return unflatten(found)


def _read(word: str, words: list[str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings, by dotted name, that one option gives; takes its values off `words`."""
    given, equals, inline = word[2:].partition("=")
    name = given.replace("-", "_")
    block, _, last = name.rpartition(".")
    positive = f"{block}.{last[3:]}".lstrip(".") if last.startswith("no_") else ""
    if hints.get(positive) is bool and name not in hints:
        return {positive: False}
    is_block = any(one.startswith(f"{name}.") for one in hints)
    hint = None if is_block else hints[_known(given, hints)]
    values = [inline] if equals else []
    while words and not is_option(words[0]) and (not values or _is_list(hint)):
        values.append(words.pop(0))
    if not values and hint is not bool:
        raise ValueError(f"--{given} needs a value")
    if is_block:
        return _block(given, values[0], hints)
    if _is_list(hint) and len(values) == 1 and values[0].startswith(("[", "(")):
        values = values[0].strip("[]() ").replace(",", " ").split()
    return _typed(given, values if _is_list(hint) else (values or ["true"])[0], hints)


def _block(given: str, text: str, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of `--learner '{lr: 0.1}'`; wandb's agent writes nested ones so."""
    from marlx.config.tree import flatten
    from marlx.config.yaml_text import parse

    found: dict[str, Any] = {}
    for name, value in flatten(parse(text, f"--{given}"), f"{given}.").items():
        found |= _typed(name, value, hints)
    return found


def _typed(given: str, value: Any, hints: Mapping[str, Any]) -> dict[str, Any]:
    from marlx.config.coerce import coerce

    name = _known(given, hints)
    try:
        return {name: coerce(value, hints[name])}
    except ValueError as error:
        raise ValueError(f"--{given}: {error}") from None


def _known(given: str, hints: Mapping[str, Any]) -> str:
    """Returns the setting that is written `--given`."""
    from marlx.cli.help import option_name

    name = given.replace("-", "_")
    name = name if name in hints else f"{name}_"  # `--learner.lambda` is `lambda_`
    if name not in hints:
        raise unknown("option", f"--{given}", [f"--{option_name(one)}" for one in hints])
    return name


def is_option(word: str) -> bool:
    """Whether a word is an option and no value, as a negative number is."""
    return re.match(r"-[-a-zA-Z]", word) is not None


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) in (tuple, list)
