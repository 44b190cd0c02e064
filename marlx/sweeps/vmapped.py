"""Many settings in one compiled program: runs that differ in numbers train side by side.

A number among the learner's settings can be an argument of the program instead of a constant in
it, unless a shape or the program's structure depends on it. No list says which: a learner is built
with abstract numbers in its settings and the loop is traced with it. What raises, or changes a
shape, has to stay a constant, and runs that differ in it are compiled apart.

0 often means that something is off, so zeros stay constants too (see `marlx.learner.is_zero`).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.config.layers import Experiment
from marlx.learner import Learner
from marlx.loop.drive import drive, variant_result
from marlx.loop.placement import Variants
from marlx.loop.program import loop
from marlx.loop.progress import Progress, Result
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.registry import algorithm
from marlx.types import Array, Tree

_TRACEABLE: dict[str, frozenset[str]] = {}
"""What was found out once: a search asks again and again."""


class Group(NamedTuple):
    """Experiments that one compiled program can train side by side.

    Attributes:
      members: indices of the experiments.
      values: what they differ in, by the name of the learner's setting, each [members].
      first_seeds: int [members].
    """

    members: tuple[int, ...]
    values: dict[str, np.ndarray[Any, Any]]
    first_seeds: np.ndarray[Any, Any]

    def part(self, start: int, stop: int) -> Group:
        """The group of the members in `range(start, stop)`."""
        values = {name: value[start:stop] for name, value in self.values.items()}
        return Group(self.members[start:stop], values, self.first_seeds[start:stop])


def groups(experiments: Sequence[Experiment]) -> list[Group]:
    """The fewest programs that train all `experiments`, each once.

    Experiments share a program where they differ in nothing but `seed` and numbers of the learner
    that may be arguments of the program.
    """
    numbers = [_numbers(experiment.learner) for experiment in experiments]
    found = []
    for members in _split(range(len(experiments)), lambda i: _apart(experiments[i], numbers[i])):
        free = _traceable(experiments[members[0]], _varied([numbers[i] for i in members]))

        def fixed(i: int, free: frozenset[str] = free) -> Any:
            return [(name, value) for name, value in numbers[i].items() if name not in free]

        for together in _split(members, fixed):
            kept = sorted(free & _varied([numbers[i] for i in together]))
            values = {name: np.array([numbers[i][name] for i in together]) for name in kept}
            seeds = np.array([experiments[i].train.seed for i in together])
            found.append(Group(tuple(together), values, seeds))
    return found


def rounds(group: Group, width: int) -> list[Group]:
    """`group` in as few parts of at most `width` as there can be, as even as they can be."""
    count = len(group.members)
    number = math.ceil(count / width)
    edges = [round(i * count / number) for i in range(number + 1)]
    return [group.part(start, stop) for start, stop in itertools.pairwise(edges)]


def start(experiments: Sequence[Experiment], group: Group) -> Run:
    """The run of all members of `group`, not yet compiled.

    Raises:
      ValueError: settings that do not go together.
    """
    first = experiments[group.members[0]]
    env, params, learner = first.build()
    values = {
        name: value.astype(np.int32 if value.dtype.kind == "i" else np.float32)
        for name, value in group.values.items()
    }
    variants = Variants(values, functools.partial(_learner, first), group.first_seeds)
    return Run(env, params, learner, first.train, variants)


def share(progress: Progress, index: int, seeds: int) -> Progress:
    """What `progress` of several variants says of the variant `index`."""
    part = slice(index * seeds, (index + 1) * seeds)
    return progress._replace(
        metrics={name: value[part] for name, value in progress.metrics.items()},
        policies=lambda: jax.tree.map(lambda x: x[part], progress.policies()),
    )


def train_many(
    experiments: Sequence[Experiment],
    *,
    width: int = 32,
    report: Callable[[int, Progress], None] | None = None,
) -> list[Result]:
    """Trains all `experiments`, up to `width` of them in parallel in one compiled program.

    Args:
      experiments: from `marlx.config.experiment`; they may differ in anything, and those that
        differ in nothing but `seed` and numbers of the learner share a program.
      width: most runs at once; each trains all its seeds.
      report: called after every evaluation with the index of the experiment and its `Progress`.

    Returns:
      A `Result` per experiment, in their order; its `phases` are those of the whole program.

    Raises:
      ValueError: settings that cannot work, before that program is compiled.
    """
    results: dict[int, Result] = {}
    for group in groups(experiments):
        for part in rounds(group, width):
            results |= _train_part(experiments, part, report)
    return [results[i] for i in range(len(experiments))]


def _train_part(
    experiments: Sequence[Experiment],
    part: Group,
    report: Callable[[int, Progress], None] | None,
) -> dict[int, Result]:
    """Trains the experiments of one program; results by the index of the experiment."""
    run, seeds = start(experiments, part), experiments[part.members[0]].train.seeds
    history: dict[int, list[Progress]] = {i: [] for i in part.members}

    def log(progress: Progress) -> None:
        for place, i in enumerate(part.members):
            history[i].append(share(progress, place, seeds))
            if report is not None:
                report(i, history[i][-1])

    result = drive(run, [], log=log)
    assert result is not None, "nothing stops it"
    return {
        i: variant_result(run, result, place, history[i])._replace(
            learner=experiments[i].build()[2]
        )
        for place, i in enumerate(part.members)
    }


def _split(items: Sequence[int], key: Callable[[int], Any]) -> list[list[int]]:
    """Items in groups of equal keys, in the order of their first; keys need not be hashable."""
    found: dict[str, list[int]] = {}
    for item in items:
        found.setdefault(repr(key(item)), []).append(item)
    return list(found.values())


def _apart(experiment: Experiment, numbers: Mapping[str, float]) -> Any:
    """All that experiments of one program must have in common, whatever can be traced.

    Fields that are no settings are among it: what a settings record works out from a number when it
    is made stays a constant, so runs that differ in that number cannot share it.
    """
    nonzero = {name for name, value in numbers.items() if value != 0}
    settings = {k: v for k, v in experiment.settings().items() if k not in ("learner", "seed")}
    return settings, _fields(experiment.learner, nonzero)


def _fields(record: Any, without: set[str], prefix: str = "") -> list[tuple[str, Any]]:
    """Every attribute of a settings record by dotted name, but the settings named."""
    found: list[tuple[str, Any]] = [(prefix, type(record).__qualname__)]
    for name, value in vars(record).items():
        if dataclasses.is_dataclass(value):
            found += _fields(value, without, f"{prefix}{name}.")
        elif prefix + name not in without:
            found.append((prefix + name, value))
    return found


def _numbers(record: Any, prefix: str = "") -> dict[str, float]:
    """The settings that are numbers, by dotted name."""
    found: dict[str, float] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            found |= _numbers(value, f"{prefix}{field.name}.")
        elif field.init and isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + field.name] = value
    return found


def _varied(numbers: Sequence[Mapping[str, float]]) -> frozenset[str]:
    """Names whose values differ, and are not 0, in all of `numbers`, which have the same names."""
    return frozenset(
        name
        for name in numbers[0]
        if len({one[name] for one in numbers}) > 1 and all(one[name] != 0 for one in numbers)
    )


def _traceable(experiment: Experiment, names: frozenset[str]) -> frozenset[str]:
    """Those of the learner's settings `names` that can be arguments of the program, together."""
    if not names:
        return names
    numbers = _numbers(experiment.learner)
    others = {name: value for name, value in numbers.items() if name not in names}
    key = repr((_apart(experiment, numbers), others, sorted(names)))
    if key not in _TRACEABLE:
        _TRACEABLE[key] = _tried(experiment, names)
    return _TRACEABLE[key]


def _tried(experiment: Experiment, names: frozenset[str]) -> frozenset[str]:
    plain = _shapes(experiment, frozenset())
    if _fits(experiment, names, plain):
        return names
    kept: frozenset[str] = frozenset()
    for name in sorted(names):
        if _fits(experiment, kept | {name}, plain):
            kept |= {name}
    return kept


def _fits(experiment: Experiment, names: frozenset[str], plain: Any) -> bool:
    try:
        return bool(_shapes(experiment, names) == plain)
    except Exception:  # whatever a learner does with a number that has no value: it needs one
        return False


def _shapes(experiment: Experiment, names: frozenset[str]) -> Any:
    """Structure, shapes and types that the loop gives, with the settings `names` abstract."""
    c: TrainConfig = dataclasses.replace(experiment.train, seeds=1)
    env = experiment.prepared()
    params = env.default_params

    def run(values: dict[str, Array], key: Array) -> Tree:
        functions = loop(env, params, _learner(experiment, values), c)
        state = functions.init(key)
        after, metrics = functions.block(state)
        return state, after, metrics, functions.evaluate(after, key)

    numbers = _numbers(experiment.learner)
    values = {
        name: jax.ShapeDtypeStruct((), np.int32 if isinstance(numbers[name], int) else np.float32)
        for name in names
    }
    shapes = jax.eval_shape(run, values, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _learner(experiment: Experiment, values: Mapping[str, Any]) -> Learner:
    """The experiment's learner, with some of its settings being `values`, which nobody checks."""
    env = experiment.prepared()
    spec = env.spec(env.default_params)
    return algorithm(experiment.algorithm).build(spec, _holding(experiment.learner, values))


def _holding(record: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a settings record with `values` by dotted name and without its checks.

    The numbers that they stand for were checked when each experiment was made.
    """
    if not values:
        return record
    changed = copy.copy(record)
    object.__setattr__(changed, "__class__", _unchecked(type(record)))
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        part, _, rest = name.partition(".")
        if rest:
            parts.setdefault(part, {})[rest] = value
        else:
            object.__setattr__(changed, name, value)
    for part, inside in parts.items():
        object.__setattr__(changed, part, _holding(getattr(record, part), inside))
    return changed


def _unchecked(cls: type[Any]) -> type[Any]:
    """`cls` without `__post_init__`, so that `dataclasses.replace` checks nothing either."""
    return type(cls.__name__, (cls,), {"__post_init__": lambda self: None})
