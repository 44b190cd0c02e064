"""Export of a trained policy for other programs: StableHLO, parameters and a description.

`export` writes a folder:

    policy.jaxexport        the acting function, for `jax.export.deserialize`
    policy.mlir             the same function as portable StableHLO bytecode, for other runtimes
    arrays.safetensors      the parameters by name, for a network in another framework
    policy.json             inputs, outputs, memory, environment and network

The function acts greedily on a batch of any size. Running it needs JAX, but not marlx.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx._version import __version__
from marlx.runs.policies import Policy
from marlx.xla.names import named

if TYPE_CHECKING:
    from jax.export import Exported

    from marlx.types import Array

PLATFORMS = ("cpu", "cuda", "tpu")
Arrays = dict[str, Any]


def acting(policy: Policy) -> Callable[[Arrays, Arrays], tuple[Array, Arrays]]:
    """Returns the greedy acting function, with plain dictionaries of arrays as inputs.

    Its arguments are the observation `{"local": f32 [b, N, O], "action_mask": bool [b, N, A],
    "global_state": f32 [b, S]}`, with `"active": bool [b, N]` where agents can be absent, and the
    acting memory by names of its leaves. It returns the action, int32 [b, N] or f32 [b, N, A], and
    the next memory.
    """
    import jax

    from marlx.types import Observation

    shape = jax.eval_shape(lambda: policy.learner.memory(1))
    names, structure = list(by_name(shape)), jax.tree.structure(shape)

    def act(obs: Arrays, memory: Arrays) -> tuple[Array, Arrays]:
        before = jax.tree.unflatten(structure, [memory[name] for name in names])
        key = jax.random.key(0)  # not used, because acting is greedy
        action, after, _ = policy.learner.act(policy.arrays, before, Observation(**obs), key, False)
        return action, dict(zip(names, jax.tree.leaves(after), strict=True))

    return act


def exported(policy: Policy, platforms: Sequence[str] = PLATFORMS) -> Exported:
    """Returns the acting function (see `acting`) as StableHLO with a symbolic batch size `b`.

    Args:
      policy: a policy from `load_policy`.
      platforms: platforms to compile for; they need not be available here.

    Raises:
      ValueError: the policy cannot be lowered with a symbolic batch.
    """
    import jax
    from jax import export

    (batch,) = export.symbolic_shape("b")

    def abstract(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)

    obs, memory = jax.tree.map(abstract, inputs(policy))
    try:
        return export.export(jax.jit(acting(policy)), platforms=list(platforms))(obs, memory)
    except Exception as error:  # third-party learners may raise anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"the policy cannot be exported with a symbolic batch size: {reason}"
        ) from None


def description(policy: Policy, function: Exported) -> dict[str, Any]:
    """Returns the content of `policy.json`: all that a program needs to call the function."""
    import jax

    obs, memory = inputs(policy)
    read, _ = _read(policy)
    spec, action = policy.spec, function.out_avals[0]

    def shown(x: Any) -> dict[str, Any]:
        return {"shape": ["b", *x.shape[1:]], "dtype": str(np.dtype(x.dtype))}

    return {
        "marlx": __version__,
        "jax": jax.__version__,
        "calling_convention_version": function.calling_convention_version,
        "platforms": list(function.platforms),
        "algorithm": policy.experiment.algorithm,
        "environment": spec.id,
        "seed": policy.seed,
        "steps": policy.steps,
        "agents": spec.num_agents,
        "actions": spec.num_actions,
        "groups": dict(spec.groups),
        "observation": {name: {**shown(x), "read": read[name]} for name, x in obs.items()},
        "memory": {
            name: {**shown(x), "first": x[0].tolist() if x.any() else "zeros"}
            for name, x in memory.items()
        },
        "action": shown(action),
        "scale": policy.learner_scale,
        "learner": dataclasses.asdict(policy.experiment.learner),
    }


def export(policy: Policy, out: str | Path, platforms: Sequence[str] = PLATFORMS) -> list[Path]:
    """Writes an exported policy, and returns its files.

    Args:
      policy: a policy from `load_policy`.
      out: folder, which is made if it does not exist.
      platforms: platforms to compile for.

    Raises:
      ValueError: the policy cannot be exported, or the folder cannot be written to.
    """
    from safetensors.numpy import save

    function = exported(policy, platforms)
    arrays = {name: np.asarray(array, order="C") for name, array in named(policy.arrays).items()}
    text = json.dumps(description(policy, function), indent=2, default=str) + "\n"
    contents = {
        "policy.jaxexport": bytes(function.serialize()),
        "policy.mlir": function.mlir_module_serialized,
        "arrays.safetensors": save(arrays),
        "policy.json": text.encode(),
    }
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror or error}") from None
    return [folder / name for name in contents]


def inputs(policy: Policy) -> tuple[Arrays, Arrays]:
    """Returns an observation of zeros and the initial memory, by name, for a batch of one."""
    import jax

    spec = policy.spec
    obs = {
        "local": np.zeros((1, spec.num_agents, spec.obs_size), np.float32),
        "action_mask": np.zeros((1, spec.num_agents, spec.num_actions), bool),
        "global_state": np.zeros((1, spec.state_size), np.float32),
    }
    if spec.active_mask:
        obs["active"] = np.zeros((1, spec.num_agents), bool)
    return obs, jax.tree.map(np.asarray, by_name(policy.learner.memory(1)))


def by_name(memory: Any) -> Arrays:
    """Returns an acting memory by names; a single leaf without a path is called `memory`."""
    return {name or "memory": leaf for name, leaf in named(memory).items()}


def _read(policy: Policy) -> tuple[dict[str, bool], dict[str, bool]]:
    """Whether the action or the next memory depends on each part of observation and memory.

    Other parts may have any value, such as the global state for decentralised policies.
    """
    import jax

    given = inputs(policy)
    jaxpr = jax.make_jaxpr(acting(policy))(*given).jaxpr
    needed = {id(x) for x in jaxpr.outvars}  # backwards from the outputs
    for step in reversed(jaxpr.eqns):
        if any(id(x) in needed for x in step.outvars):
            needed |= {id(x) for x in step.invars}
    flags = [id(x) in needed for x in jaxpr.invars]
    read: tuple[dict[str, bool], dict[str, bool]] = jax.tree.unflatten(
        jax.tree.structure(given), flags
    )
    return read
