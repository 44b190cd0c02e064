"""Many settings in one compiled program: runs that differ in numbers train in parallel.

A learner's setting that is declared `traced` (see `marlx.settings.setting`) can be an argument of
the compiled program instead of a constant in it. Runs that differ only in such settings, and in
their seed, share a program, with one more axis for the runs. Runs that differ in anything else are
compiled separately.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.config.layers import Experiment
from marlx.config.tree import flatten, plain, unflatten
from marlx.learner import Learner
from marlx.loop.drive import drive, variant_result
from marlx.loop.placement import Variants
from marlx.loop.progress import Progress, Result
from marlx.loop.run import Run
from marlx.registry import algorithm, configured
from marlx.settings import traced_settings
from marlx.testing.checks import require_types


class Group(NamedTuple):
    """Experiments that one compiled program can train in parallel.

    Attributes:
      members: indices of the experiments.
      values: the learner's settings in which they differ, by dotted name, each [members].
      first_seeds: int [members].
    """

    members: tuple[int, ...]
    values: dict[str, np.ndarray[Any, Any]]
    first_seeds: np.ndarray[Any, Any]

    def part(self, start: int, stop: int) -> Group:
        """Returns the group of the members in `range(start, stop)`."""
        values = {name: value[start:stop] for name, value in self.values.items()}
        return Group(self.members[start:stop], values, self.first_seeds[start:stop])


def groups(experiments: Sequence[Experiment]) -> list[Group]:
    """Returns the fewest groups that hold each of `experiments` once.

    Experiments are in one group where they differ in nothing but `seed` and `traced` settings of
    the learner.
    """
    members: dict[str, list[int]] = {}
    for i, experiment in enumerate(experiments):
        members.setdefault(_constants(experiment), []).append(i)
    return [_group(experiments, indices) for indices in members.values()]


def _group(experiments: Sequence[Experiment], members: Sequence[int]) -> Group:
    settings = [traced_settings(experiments[i].learner) for i in members]
    columns = {name: np.array([one[name] for one in settings]) for name in settings[0]}
    values = {name: column for name, column in columns.items() if (column != column[0]).any()}
    seeds = np.array([experiments[i].train.seed for i in members])
    return Group(tuple(members), dict(sorted(values.items())), seeds)


def _constants(experiment: Experiment) -> str:
    """Returns all that experiments of one program have in common, as text to group by."""

    def all_fields(record: Any) -> list[str]:
        return [field.name for field in dataclasses.fields(record) if field.init]

    learner = flatten(plain(experiment.learner, names=all_fields))
    for name in traced_settings(experiment.learner):
        del learner[name]
    others = {k: v for k, v in experiment.settings().items() if k not in ("learner", "seed")}
    return repr((type(experiment.learner).__qualname__, learner, others))


def rounds(group: Group, width: int) -> list[Group]:
    """Splits `group` into the fewest parts of at most `width` members, of nearly equal size."""
    count = len(group.members)
    number = math.ceil(count / width)
    edges = [round(i * count / number) for i in range(number + 1)]
    return [group.part(start, stop) for start, stop in itertools.pairwise(edges)]


def start(experiments: Sequence[Experiment], group: Group) -> Run:
    """Returns the run of all members of `group`, not yet compiled.

    Raises:
      ValueError: settings that do not go together.
    """
    first = experiments[group.members[0]]
    env, params, learner = first.build()
    require_types(env, params)
    values = {
        name: value.astype(np.int32 if value.dtype.kind == "i" else np.float32)
        for name, value in group.values.items()
    }
    variants = Variants(values, functools.partial(learner_with, first), group.first_seeds)
    run = Run(env, params, learner, first.train, variants)
    run.read_warm_start()
    return run


def learner_with(experiment: Experiment, values: Mapping[str, Any]) -> Learner:
    """Returns the experiment's learner with some `traced` settings replaced.

    Args:
      experiment: environment, algorithm and all other settings.
      values: settings by dotted name; they may be arrays, which are not checked.
    """
    env = experiment.prepared()
    config = configured(experiment.learner, unflatten(values), experiment.algorithm)
    return algorithm(experiment.algorithm).build(env.spec(env.default_params), config)


def share(progress: Progress, index: int, seeds: int) -> Progress:
    """Returns the part of `progress` that belongs to the variant `index`."""
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
    for i, one in enumerate(experiments):
        if not isinstance(one, Experiment):
            raise ValueError(
                f"experiments[{i}] is of type {type(one).__name__}; make them with "
                "marlx.config.experiment(ALGORITHM, ENVIRONMENT)"
            )
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
