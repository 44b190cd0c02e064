"""Sweep files in the format of Weights & Biases.

The same file is run by `wandb sweep` and `wandb agent`, and by `marlx sweep` without an account.
Examples are in `configs/sweeps/`; `docs/sweeps.md` describes the format.

Parameters have the names of settings. Options in `command` beside `${args}` hold for every trial.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marlx.config.layers import Experiment, Layer, build, merge, schema
from marlx.config.tree import flatten, unflatten
from marlx.config.yaml_text import parse
from marlx.files import is_number, read_text
from marlx.sweeps.parameters import DISTRIBUTIONS, Hyperband, Kind, Metric, Parameter, Sweep
from marlx.text import shortened, unknown

LARGEST = 2**31 - 1
"""Largest whole number in a sweep file, besides values of parameters."""
_KEYS = ("program", "command", "method", "metric", "parameters", "early_terminate", "run_cap")
_IGNORED = ("name", "description", "project", "entity", "controller", "kind", "apiVersion")


def read_sweep(path: str | Path) -> Sweep:
    """Returns the sweep that a file describes.

    Raises:
      ValueError: it cannot be read, or needs something that `marlx sweep` cannot do; in one line.
    """
    return sweep_from_text(read_text(path), str(path))


def sweep_from_text(text: str, source: str) -> Sweep:
    """Returns the sweep that a text describes; `source` is named in errors."""
    content = parse(text, source)
    for key in content:
        if key in ("job", "image_uri", "scheduler", "metrics"):
            raise ValueError(f"{source} has {key!r}, which only wandb's own service can run")
        if key not in _KEYS and key not in _IGNORED:
            raise unknown("key", key, [*_KEYS, *_IGNORED], source)
    try:
        method = _one_of(content, "method", ("grid", "random", "bayes"))
        parameters = _parameters(content.get("parameters"))
        names, options = _command(content.get("command"), content.get("program"))
        cap = content.get("run_cap")
        if cap is not None and not _whole(cap, 1):
            raise ValueError(f"run_cap is {_shown(cap)}; it must be a whole number from 1 up")
        sweep = Sweep(
            source,
            text,
            names,
            options,
            method,
            _metric(content.get("metric")),
            parameters,
            _hyperband(content.get("early_terminate")),
            cap,
        )
        if method == "grid":
            sweep.grid()
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return sweep


def variant(base: Experiment, values: Mapping[str, Any], source: str) -> Experiment:
    """Returns `base` with settings, by dotted name, over its own.

    Raises:
      ValueError: a setting that does not exist, is ill-typed or refused; `source` is named.
    """
    own = base.settings()
    own = {key: value for key, value in own.items() if key not in ("algorithm", "environment")}
    layers = [Layer("the command", own), Layer(source, unflatten(values))]
    known = schema(base.algorithm, base.environment)
    return build(base.algorithm, base.environment, merge(known, layers))


def check_sweep(sweep: Sweep, base: Experiment) -> None:
    """Check that every value of a parameter is accepted together with some values of the others.

    Raises:
      ValueError: the first that is not.
    """
    rng = np.random.default_rng(0)
    others = [sweep.example()] + [
        {one.name: one.ends()[rng.integers(len(one.ends()))] for one in sweep.parameters}
        for _ in range(15)
    ]
    for one in sweep.parameters:
        for value in one.ends():
            refusals = []
            for point in others:
                try:
                    variant(base, {**point, one.name: value}, sweep.source)
                    break
                except ValueError as error:
                    refusals.append(error)
            else:
                raise ValueError(f"{sweep.source}, {one.name} {value}: {refusals[0]}")
    hints = flatten(schema(base.algorithm, base.environment))
    for one in sweep.parameters:
        if hints.get(one.name) is int and one.kind != "choice" and not one.whole:
            raise ValueError(
                f"{sweep.source}: {one.name} takes whole numbers; give it `values`, int_uniform, "
                "or q_uniform or q_log_uniform_values with a whole q"
            )


def words(values: Mapping[str, Any]) -> list[str]:
    """Returns values as words of a command line, as wandb's agent writes them for `${args}`."""
    return [f"--{name}={value}" for name, value in values.items()]


def _one_of(content: Mapping[str, Any], key: str, accepted: tuple[Any, ...]) -> Any:
    choices = f"{', '.join(accepted[:-1])} or {accepted[-1]}"
    if content.get(key) is None:
        raise ValueError(f"there is no {key}; it must be {choices}")
    if not isinstance(content[key], str) or content[key] not in accepted:
        raise ValueError(f"{key} is {_shown(content[key])}; it must be {choices}")
    return content[key]


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= LARGEST


def _number(value: Any) -> bool:
    return is_number(value)


def _shown(value: Any) -> str:
    return shortened(repr(value))


def _metric(content: Any) -> Metric:
    if content is None:
        raise ValueError("there is no metric; for example: metric: {name: return, goal: maximize}")
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise ValueError("metric needs a name; for example: metric: {name: return, goal: maximize}")
    known = ("name", "goal", "target", "impute", "impute_while_running")
    for key in content:
        if key not in known:
            raise unknown("key", key, known, "metric")
    goal = _one_of({"goal": "minimize", **content}, "goal", ("maximize", "minimize"))
    target = content.get("target")
    if target is not None and not _number(target):
        raise ValueError(f"metric's target is {_shown(target)}; it must be a number")
    return Metric(content["name"], goal, target)


def _hyperband(content: Any) -> Hyperband | None:
    if content is None:
        return None
    known = ("type", "min_iter", "max_iter", "s", "eta", "strict")
    if not isinstance(content, dict) or content.get("type") != "hyperband":
        raise ValueError("early_terminate must have `type: hyperband`")
    for key in content:
        if key not in known:
            raise unknown("key", key, known, "early_terminate")
    eta = content.get("eta", 3)
    if not _number(eta) or eta != int(eta) or not 2 <= eta <= LARGEST:
        raise ValueError(
            f"early_terminate's eta is {_shown(eta)}; it must be a whole number from 2 up"
        )
    eta = int(eta)
    least, most, number = (content.get(key) for key in ("min_iter", "max_iter", "s"))
    if least is None and most is not None and number is not None:
        if not _whole(most, 1) or not _whole(number, 1):
            raise ValueError("early_terminate's max_iter and s must be whole numbers from 1 up")
        # eta**number is above most for every s beyond its 31 bits
        return Hyperband(max(1, most // eta ** min(number, 31)), most, eta)
    if not _whole(least, 1) or not (most is None or _whole(most, 1)):
        raise ValueError("early_terminate needs min_iter, or max_iter and s: whole numbers")
    assert isinstance(least, int)
    return Hyperband(least, most, eta)


def _parameters(content: Any, prefix: str = "") -> tuple[Parameter, ...]:
    if not isinstance(content, dict) or not content:
        raise ValueError("there are no parameters; for example: learner.lr: {values: [0.001]}")
    found: list[Parameter] = []
    for given, about in content.items():
        name = f"{prefix}{str(given).replace('-', '_')}"
        if not isinstance(about, dict):
            raise ValueError(
                f"{name} is {_shown(about)}; it must say `value`, `values`, or min and max"
            )
        if set(about) == {"parameters"}:
            found += _parameters(about["parameters"], f"{name}.")
        else:
            found.append(_parameter(name, about))
    twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
    if twice:
        raise ValueError(f"{min(twice)} appears twice")
    return tuple(found)


def _parameter(name: str, about: Mapping[str, Any]) -> Parameter:
    distribution = about.get("distribution", _guessed(about))
    if not isinstance(distribution, str):
        raise ValueError(f"{name}: distribution is {_shown(distribution)}; it must be a name")
    if distribution not in DISTRIBUTIONS or "probabilities" in about:
        asked = "probabilities" if distribution in DISTRIBUTIONS else repr(distribution)
        raise ValueError(
            f"{name}: {asked} cannot be drawn here; known: {', '.join(sorted(DISTRIBUTIONS))}"
        )
    kind = DISTRIBUTIONS[distribution]
    if distribution == "constant":
        needed: tuple[str, ...] = ("value",)
    elif distribution == "categorical":
        needed = ("values",)
    else:
        needed = ("min", "max")
    optional = ("distribution", *(("q",) if kind in ("steps", "log_steps") else ()))
    for key in about:
        if key not in (*needed, *optional):
            raise unknown("key", key, [*needed, *optional], f"{name} ({distribution})")
    for key in needed:
        if key not in about:
            raise ValueError(f"{name}: {distribution} needs {' and '.join(needed)}")
    if kind == "choice":
        values = [about["value"]] if distribution == "constant" else about["values"]
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name}: values is {_shown(values)}; it must be a list")
        unlike = {json.dumps(value, default=str): value for value in values}
        return Parameter(name, kind, tuple(unlike.values()))
    return _range(name, kind, about["min"], about["max"], about.get("q", 1))


def _range(name: str, kind: Kind, low: Any, high: Any, step: Any) -> Parameter:
    if not (_number(low) and _number(high) and low < high):
        raise ValueError(
            f"{name}: min is {_shown(low)} and max {_shown(high)}; they must be numbers, min less"
        )
    if kind == "whole" and not (_whole(low, low) and _whole(high, high)):
        raise ValueError(f"{name}: min is {low} and max {high}; they must be whole numbers")
    if kind in ("log", "log_steps") and low <= 0:
        raise ValueError(f"{name}: min is {low}; a logarithm needs it above 0")
    if kind not in ("steps", "log_steps"):
        return Parameter(name, kind, (), low, high)
    if not _number(step) or step <= 0:
        raise ValueError(f"{name}: q is {_shown(step)}; it must be above 0")
    if kind in ("steps", "log_steps") and (high - low) / step > LARGEST:
        raise ValueError(f"{name}: q is {_shown(step)}; it makes more than {LARGEST} values")
    if kind == "steps":
        high = low + int((high - low) / step + 1e-9) * step
    return Parameter(name, kind, (), low, high, step)


def _guessed(about: Mapping[str, Any]) -> str:
    """Returns the distribution that wandb uses where none is named."""
    if "value" in about:
        return "constant"
    if "values" in about:
        return "categorical"
    if isinstance(about.get("min"), int) and isinstance(about.get("max"), int):
        return "int_uniform"
    return "uniform"


def _command(command: Any, program: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns ALGO and ENV, and the options beside `${args}`, of wandb's list of words."""
    shape = 'command must be like ["${env}", marlx, train, ALGO, ENV, "${args}"]'
    if not isinstance(command, list) or not all(isinstance(w, str | int | float) for w in command):
        raise ValueError(shape)

    def said(word: str) -> str:
        word = str(program) if word == "${program}" else word
        return re.sub(r"\$\{envvar:(\w+)\}", lambda found: os.environ.get(found[1], found[1]), word)

    given = [said(str(word)) for word in command if word not in ("${env}", "${interpreter}")]
    if given and re.fullmatch(r"python[\d.]*", Path(given[0]).name):
        given = given[1:]
    if given[:1] == ["-m"]:  # ["${env}", "${interpreter}", "-m", marlx, ...]
        given = given[1:]
    args = [word for word in given if word in ("${args}", "${args_no_equals}")]
    if len(given) < 2 or (Path(given[0]).name, given[1]) != ("marlx", "train") or len(args) != 1:
        raise ValueError(shape)
    rest: Sequence[str] = [word for word in given[2:] if word not in args]
    macro = next((word for word in rest if "${" in word), None)
    if macro is not None:
        raise ValueError(f"command has {macro}; ${{args}} and ${{args_no_equals}} are understood")
    count = next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))
    return tuple(rest[:count]), tuple(rest[count:])
