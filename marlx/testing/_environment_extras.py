"""Checks of what an environment may declare beside its play: subgoals and a scene."""

from __future__ import annotations

import json

import jax
import numpy as np

from marlx.testing._compiling import jit
from marlx.testing._environment_case import BATCH, EnvironmentCase, call
from marlx.types import SCENE_KINDS, Array


def check_subgoals(case: EnvironmentCase, key: Array) -> None:
    """Checks shapes and dtypes of subgoals, and that each agent has a choice."""
    subgoals = case.env.subgoals(case.params)
    if subgoals is None:
        return
    count = len(subgoals.names)
    known = all(0 <= g < count for needed in subgoals.requires for g in needed)
    case.expect(
        len(subgoals.requires) == count and known,
        f"subgoals.requires must give each of the {count} subgoals indices of others",
    )
    keys, states, actions = case.begin(key)
    for now in (states, case.step_env(keys, states, actions, case.params)[0]):
        local = case.observe(now).local
        for name, argument in (("achieved", now), ("available", now), ("choices", local)):
            function = jit(jax.vmap(getattr(subgoals, name)))
            found = np.asarray(call(case.name, f"subgoals.{name}", function, argument))
            wanted = (BATCH, case.spec.num_agents, count)
            case.expect(
                found.shape == wanted and found.dtype == bool,
                f"subgoals.{name} gives {found.dtype}{list(found.shape)}, not bool{list(wanted)}",
            )
            if name == "choices":
                case.expect(found.any(-1), "subgoals.choices leaves an agent without a choice")


def check_scene(case: EnvironmentCase, key: Array) -> None:
    """Checks that viewers can draw the scene of single states, at first and after a step."""
    scene = call(case.name, "scene", case.env.scene, case.params)
    if scene is None:
        return
    case.expect(
        scene.kind in SCENE_KINDS, f"scene.kind is {scene.kind!r}; it must be one of {SCENE_KINDS}"
    )
    call(case.name, "writing scene.facts as JSON", json.dumps, scene.facts)
    keys, states, actions = case.begin(key)
    shapes = []
    for now in (states, case.step_env(keys, states, actions, case.params)[0]):
        state = jax.device_get(jax.tree.map(lambda x: x[0], now))
        frame = call(case.name, "scene.frame", scene.frame, state)
        arrays = {name: np.asarray(values) for name, values in frame.items()}
        wrong = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
        case.expect(not wrong, f"scene.frame gives {wrong}, which are no arrays of numbers")
        shapes.append({name: array.shape for name, array in arrays.items()})
    case.expect(shapes[0] == shapes[1], "the arrays of scene.frame change their names or shapes")
