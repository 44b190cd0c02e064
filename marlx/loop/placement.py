"""How the seeds of a run, and their environments, are laid over devices.

Devices form groups. Each group trains seeds of its own, which have nothing to say to those of other
groups; the devices of a group share the environments of its seeds, with everything that has an axis
of environments: their states, replays, rollouts. Parameters and optimisers are on every device of
the group.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

from marlx.learner import Learner
from marlx.loop import multihost
from marlx.types import Array, Tree
from marlx.xla.sharding import DATA

SEEDS = "seeds"
"""The axis of a mesh that seeds are laid over."""

Devices: TypeAlias = str | int
"""What devices a run asks for; see `layout`."""


class Variants(NamedTuple):
    """Runs of one compiled program that differ in numbers only, see `marlx.sweeps.vmapped`.

    Attributes:
      values: those numbers by name, each [V]; they reach the program as arguments.
      learner: `(values of one variant) -> Learner`, called while the program is traced.
      first_seeds: int [V], where each variant's seeds begin.
    """

    values: dict[str, np.ndarray[Any, Any]]
    learner: Callable[[dict[str, Array]], Learner]
    first_seeds: np.ndarray[Any, Any]


class Layout(NamedTuple):
    """Groups of devices, and how many devices each has."""

    groups: int
    share: int

    def __str__(self) -> str:
        return f"{self.groups}x{self.share}" if self.share > 1 else str(self.groups)


def layout(devices: Devices, there: int, seeds: int, num_envs: int) -> Layout:
    """The groups that `devices` make.

    Seeds come first, as they cost no communication: N devices are N groups while there are so many
    seeds. More devices than seeds are as many groups as seeds, if that divides them.

    Args:
      devices: how many: a number, `all`, or `auto`, which is one for each seed while they last. Or
        groups and the devices of each, as in `2x4`.
      there: devices that can be used.
      seeds: runs trained at once.
      num_envs: environments of each.

    Raises:
      ValueError: seeds or environments do not divide, or so many devices are not there.
    """
    asked = parse_devices(devices)
    if asked == "auto":
        return Layout(min(there, seeds), 1)
    if isinstance(asked, Layout):
        found = asked
    else:
        count = there if asked == "all" else int(asked)
        if count > seeds and count % seeds:
            raise ValueError(
                f"devices is {devices}, which makes {count}, and seeds is {seeds}; more devices "
                f"than seeds must be a multiple of them, or say the groups and the devices of "
                f"each: 1x{count} has all devices share the environments of every seed"
            )
        groups = min(count, seeds)
        found = Layout(groups, count // groups)
    if found.groups > seeds:
        raise ValueError(
            f"devices is {devices} and seeds is {seeds}; there must be at most as many groups as "
            "seeds"
        )
    if found.groups * found.share > there:
        raise ValueError(f"devices is {devices}; it must be at most {there}, as many as there are")
    if num_envs % found.share:
        raise ValueError(
            f"num_envs is {num_envs}; it must be a multiple of {found.share}, the devices that "
            "share the environments of a seed"
        )
    return found


def parse_devices(devices: Devices) -> str | int | Layout:
    """`auto`, `all`, a number, or groups and their size.

    Raises:
      ValueError: it is none of these.
    """
    text = str(devices)
    if text in ("auto", "all"):
        return text
    if match := re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text):
        groups, share = match.groups()
        return Layout(int(groups), int(share)) if share else int(groups)
    raise ValueError(
        f"devices is {devices}; it must be auto, all, a number from 1 up, or the number of groups "
        "and the devices of each, as in 2x4"
    )


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How functions of one seed run over several: `vmap`ped on each group, groups side by side.

    Where seeds do not divide evenly, the groups with fewer train one more that nobody asked for,
    and `Run` drops it: a device that would otherwise stand idle. A group with one seed runs its
    function as it is.

    Attributes:
      width: seeds that are run, at least as many as were asked for.
      layout: groups of devices.
      mesh: of the devices; None where there is one.
      sharding: of arrays `[width, ...]` that every device of a group has.
      told: of those that the host reads.
    """

    width: int
    layout: Layout
    mesh: Mesh | None
    sharding: Sharding
    told: Sharding

    def filled(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """`[width]` of a value per seed asked for: what is added repeats the last."""
        return np.pad(values, (0, self.width - len(values)), mode="edge")

    def over(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """`function` of one seed as a function of arrays `[width, ...]`."""
        each = jax.vmap if self.width > self.layout.groups else _alone
        if self.mesh is None:
            return each(function)
        spec = PartitionSpec(SEEDS)
        return jax.shard_map(
            each(function),
            mesh=self.mesh,
            in_specs=spec,
            out_specs=spec,
            axis_names={SEEDS},
            check_vma=False,
        )

    def of_state(self, axes: Callable[[], Tree]) -> Tree:
        """Shardings of a state whose `axes` of environments are known, see `environment_axes`."""
        if self.mesh is None or self.layout.share == 1:
            return self.sharding
        mesh = self.mesh

        def sharding(axis: int) -> NamedSharding:
            rest = [] if axis < 0 else [*[None] * axis, DATA]
            return NamedSharding(mesh, PartitionSpec(SEEDS, *rest))

        return jax.tree.map(sharding, axes())


def lanes(seeds: int, num_envs: int, devices: Devices = "auto") -> Lanes:
    """The lanes of `seeds`, over the devices of this process, or of all where there are several.

    Raises:
      ValueError: see `layout`.
    """
    there: Sequence[Any] = jax.local_devices()
    if multihost.several():
        there, devices = jax.devices(), "all" if devices == "auto" else devices
    found = layout(devices, len(there), seeds, num_envs)
    used = found.groups * found.share
    if multihost.several() and used < len(there):
        raise ValueError(
            f"devices is {devices}; {multihost.count()} processes have {len(there)} devices, and "
            "all of them must be used"
        )
    width = math.ceil(seeds / found.groups) * found.groups
    if used == 1:
        one = SingleDeviceSharding(there[0])
        return Lanes(width, found, None, one, one)
    # the devices of a group are neighbours: of one process, as far as that has enough of them
    names, sizes = ((SEEDS, DATA), found) if found.share > 1 else ((SEEDS,), (found.groups,))
    types = (AxisType.Auto,) * len(names)
    mesh = jax.make_mesh(sizes, names, axis_types=types, devices=there[:used])
    sharding = NamedSharding(mesh, PartitionSpec(SEEDS))
    told = NamedSharding(mesh, PartitionSpec()) if multihost.several() else sharding
    return Lanes(width, found, mesh, sharding, told)


def environment_axes(state_of: Callable[[int], Tree], num_envs: int, share: int) -> Tree:
    """Which axis of each array of a state is that of environments; -1 where none is.

    It is the one that is as long as there are environments, whatever their number: found from the
    shapes alone, so that a learner need not say how its state is laid out.

    Args:
      state_of: shapes of the state for a number of environments.
      num_envs: how many there are.
      share: devices that share them.

    Raises:
      ValueError: the state can be made for no other number.
    """
    now = state_of(num_envs)
    refused: ValueError | None = None
    # a small replay may refuse more environments, minibatches may refuse fewer
    for other in (2 * num_envs, 3 * num_envs, num_envs // share):
        try:
            then = state_of(other)
        except ValueError as error:
            refused = refused or error
        else:
            axis = functools.partial(_environment_axis, num_envs, other)
            return jax.tree.map(axis, now, then)
    raise ValueError(
        f"{share} devices cannot share {num_envs} environments: which arrays belong to them is "
        f"found by asking for twice as many, and {refused}"
    )


def _environment_axis(num_envs: int, other: int, now: Any, then: Any) -> int:
    sizes = zip(now.shape, then.shape, strict=True)
    return next((i for i, size in enumerate(sizes) if size == (num_envs, other)), -1)


def _alone(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """`jax.vmap` for an axis of one: under `vmap`, both sides of every branch are computed."""

    def call(*args: Tree) -> Tree:
        result = function(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: x[None], result)

    return call
