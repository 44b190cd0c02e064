"""How the seeds of a run, and their environments, are placed on devices.

Seeds are split over groups of devices, with no communication between groups. Inside a group the
environment axis is sharded, with everything that has one: environment states, replays, rollouts.
Parameters and optimisers are replicated on every device of the group.

A replica is one seed that a run computes. Groups are padded to the same number of replicas; `Run`
drops what the padding computes.
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
from marlx.text import shortened
from marlx.types import Array, Tree
from marlx.xla.sharding import DATA

SEEDS = "seeds"
"""The mesh axis that replicas are sharded over."""

MOST_DEVICES = 65_536
"""Most devices of a run, over all processes."""
Devices: TypeAlias = str | int
"""The devices that a run asks for; see `layout`."""


class Variants(NamedTuple):
    """Runs of one compiled program that differ only in numbers, see `marlx.sweeps.vmapped`.

    Attributes:
      values: those numbers by name, each [V]; they are arguments of the program.
      make_learner: `(values of one variant) -> Learner`, called while the program is traced.
      first_seeds: int [V], the first seed of each variant.
    """

    values: dict[str, np.ndarray[Any, Any]]
    make_learner: Callable[[dict[str, Array]], Learner]
    first_seeds: np.ndarray[Any, Any]


class Layout(NamedTuple):
    """Number of device groups, and of devices in each."""

    groups: int
    group_size: int

    def __str__(self) -> str:
        return f"{self.groups}x{self.group_size}" if self.group_size > 1 else str(self.groups)


def layout(devices: Devices, available: int, seeds: int, num_envs: int) -> Layout:
    """Returns the groups that `devices` make.

    Seeds come first, as they cost no communication: N devices are N groups while there are at least
    N seeds. More devices than seeds are as many groups as seeds, if that divides them.

    Args:
      devices: how many: a number, `all`, or `auto`, which is one for each seed as far as they go.
        Or groups and the devices of each, as in `2x4`.
      available: devices that can be used.
      seeds: runs trained at once.
      num_envs: environments of each.

    Raises:
      ValueError: seeds or environments do not divide, or there are too few devices.
    """
    requested = parse_devices(devices)
    if requested == "auto":
        return Layout(min(available, seeds), 1)
    if isinstance(requested, Layout):
        found = requested
    else:
        count = available if requested == "all" else int(requested)
        if count > seeds and count % seeds:
            raise ValueError(
                f"devices is {devices}, which makes {count}, and seeds is {seeds}; more devices "
                f"than seeds must be a multiple of them, or give the groups and the devices of "
                f"each: 1x{count} has all devices share the environments of every seed"
            )
        groups = min(count, seeds)
        found = Layout(groups, count // groups)
    if found.groups > seeds:
        raise ValueError(
            f"devices is {devices} and seeds is {seeds}; there must be at most as many groups as "
            "seeds"
        )
    if found.groups * found.group_size > available:
        raise ValueError(
            f"devices is {devices}; it must be at most {available}, as many as there are"
        )
    if num_envs % found.group_size:
        raise ValueError(
            f"num_envs is {num_envs}; it must be a multiple of {found.group_size}, the devices "
            "that share the environments of a seed"
        )
    return found


def parse_devices(devices: Devices) -> str | int | Layout:
    """Returns `auto`, `all`, a number of devices, or groups and their size.

    Raises:
      ValueError: it is none of these.
    """
    text = str(devices)
    if text in ("auto", "all"):
        return text
    if match := re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text):
        groups, group_size = match.groups()
        if len(text) > 12 or int(groups) * int(group_size or 1) > MOST_DEVICES:
            raise ValueError(f"devices is {shortened(text)}; it must be at most {MOST_DEVICES}")
        return Layout(int(groups), int(group_size)) if group_size else int(groups)
    raise ValueError(
        f"devices is {shortened(text)}; it must be auto, all, a number from 1 up, or the number of "
        "groups and the devices of each, as in 2x4"
    )


@dataclasses.dataclass(frozen=True)
class Placement:
    """Runs functions of one seed for several: `vmap` inside a group, `shard_map` over groups.

    Where seeds do not divide over the groups, the last replicas are padding: they repeat the last
    seed, on devices that would otherwise idle. A group with one replica runs its function without
    `vmap`.

    Attributes:
      num_replicas: seeds that are computed, at least as many as were asked for.
      layout: groups of devices.
      mesh: of the devices; None where there is only one.
      sharding: of arrays `[num_replicas, ...]` that every device of a group holds in full.
      host_visible: of those that the host reads: replicated where there are several processes.
    """

    num_replicas: int
    layout: Layout
    mesh: Mesh | None
    sharding: Sharding
    host_visible: Sharding

    def pad(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """`[num_replicas]` from one value per seed; padding repeats the last."""
        return np.pad(values, (0, self.num_replicas - len(values)), mode="edge")

    def add_axis(self, shapes: Tree) -> Tree:
        """Shapes `[num_replicas, ...]` from those of one replica."""
        count = self.num_replicas
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), shapes)

    def put(self, tree: Tree) -> Tree:
        """`tree`, arrays `[num_replicas, ...]` on the host, on the devices."""
        return multihost.device_put(tree, self.sharding)

    def map_replicas(self, function: Callable[..., Tree], shared: int = 0) -> Callable[..., Tree]:
        """`function` of one replica as a function of arrays `[num_replicas, ...]`.

        Args:
          function: of one replica.
          shared: so many of its last arguments are the same for all replicas, without that axis.
        """
        over = _unbatched if self.num_replicas == self.layout.groups else jax.vmap

        def mapped(*args: Tree) -> Tree:
            own, rest = args[: len(args) - shared], args[len(args) - shared :]
            return over(lambda *own: function(*own, *rest))(*own)

        if self.mesh is None:
            return mapped
        mesh, spec = self.mesh, PartitionSpec(SEEDS)

        def sharded(*args: Tree) -> Tree:
            own = (spec,) * (len(args) - shared)
            return jax.shard_map(
                mapped,
                mesh=mesh,
                in_specs=(*own, *(PartitionSpec(),) * shared),
                out_specs=spec,
                axis_names={SEEDS},
                check_vma=False,
            )(*args)

        return sharded

    @property
    def replicated(self) -> Sharding:
        """The sharding of arrays that every device holds in full, without an axis of replicas."""
        return self.sharding if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def state_sharding(self, state_shape: Callable[[int], Tree], num_envs: int) -> Tree:
        """Returns the shardings of a state: one for all arrays, or a tree of them.

        Args:
          state_shape: see `infer_environment_axes`.
          num_envs: environments of a seed.

        Raises:
          ValueError: environments are sharded and the state can be made for no other number.
        """
        if self.mesh is None or self.layout.group_size == 1:
            return self.sharding
        mesh = self.mesh

        def sharding(axis: int) -> NamedSharding:
            rest = [] if axis < 0 else [*[None] * axis, DATA]
            return NamedSharding(mesh, PartitionSpec(SEEDS, *rest))

        return jax.tree.map(
            sharding, infer_environment_axes(state_shape, num_envs, self.layout.group_size)
        )


def place(seeds: int, num_envs: int, devices: Devices = "auto") -> Placement:
    """Places `seeds` on the devices of this process, or of all processes where there are several.

    Args:
      seeds: runs trained at once.
      num_envs: environments of each.
      devices: see `layout`; `auto` means `all` where there are several processes.

    Raises:
      ValueError: see `layout`; or several processes would leave devices unused.
    """
    available: Sequence[Any] = jax.local_devices()
    if multihost.is_multihost():
        available, devices = jax.devices(), "all" if devices == "auto" else devices
    found = layout(devices, len(available), seeds, num_envs)
    used = found.groups * found.group_size
    if multihost.is_multihost() and used < len(available):
        raise ValueError(
            f"devices is {devices}; {multihost.num_processes()} processes have {len(available)} "
            "devices, and all of them must be used"
        )
    num_replicas = math.ceil(seeds / found.groups) * found.groups
    if used == 1:
        one = SingleDeviceSharding(available[0])
        return Placement(num_replicas, found, None, one, one)
    # the devices of a group are neighbours: of one process, as far as it has enough of them
    names, sizes = ((SEEDS, DATA), found) if found.group_size > 1 else ((SEEDS,), (found.groups,))
    types = (AxisType.Auto,) * len(names)
    mesh = jax.make_mesh(sizes, names, axis_types=types, devices=available[:used])
    sharding = NamedSharding(mesh, PartitionSpec(SEEDS))
    replicated = NamedSharding(mesh, PartitionSpec())
    visible = replicated if multihost.is_multihost() else sharding
    return Placement(num_replicas, found, mesh, sharding, visible)


def infer_environment_axes(
    state_shape: Callable[[int], Tree], num_envs: int, group_size: int
) -> Tree:
    """Guesses which axis of each array of a state is the environment axis; -1 where none is.

    A heuristic, so that a learner need not describe the layout of its state: the shapes of the
    state are computed for `num_envs` and for another number of environments, and the first axis
    whose length equals both numbers is taken. It is wrong in two cases, neither of which changes
    results, since XLA inserts the communication that a sharding needs:

    * An axis follows the number of environments without being theirs, such as a buffer with room
      for B of something else. It is sharded although that is of no use.
    * The length of the environment axis is not the number itself but a function of it, such as B +
      1 or B * T for a flattened rollout. The array is replicated, which costs memory.

    Args:
      state_shape: `(number of environments) -> shapes of the state`.
      num_envs: the number that the run has.
      group_size: devices that share them.

    Raises:
      ValueError: the state cannot be made for any other number.
    """
    shapes = state_shape(num_envs)
    error: ValueError | None = None
    # more environments may not fit into a small replay, fewer may not fill the minibatches
    for other in (2 * num_envs, 3 * num_envs, num_envs // group_size):
        try:
            other_shapes = state_shape(other)
        except ValueError as refused:
            error = error or refused
        else:
            axis = functools.partial(_environment_axis, num_envs, other)
            return jax.tree.map(axis, shapes, other_shapes)
    raise ValueError(
        f"{group_size} devices cannot share {num_envs} environments: the arrays that belong to "
        f"environments are found by building the state for twice as many, and {error}"
    )


def _environment_axis(num_envs: int, other: int, x: Any, x_other: Any) -> int:
    sizes = zip(x.shape, x_other.shape, strict=True)
    return next((i for i, size in enumerate(sizes) if size == (num_envs, other)), -1)


def _unbatched(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """`jax.vmap` for an axis of length 1, but without computing both sides of every branch."""

    def call(*args: Tree) -> Tree:
        result = function(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: x[None], result)

    return call
