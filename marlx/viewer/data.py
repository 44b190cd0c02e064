"""Episodes as JSON for the viewer, with arrays packed into base64.

An array is `{"type", "shape", "data"}`: whole numbers in as few bytes as hold them, truth values as
bits, values of the networks as half floats, other floats in 32 bits; little-endian, row by row.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.text import printable
from marlx.types import SCENE_KINDS, EnvSpec, Scene, Tree
from marlx.viewer.recording import Recording

MOST_PICTURES = 60
"""Most pictures of an episode that are embedded, where an environment has no scene."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def packed(array: Any, *, half: bool = False) -> dict[str, Any]:
    """Returns an array as the viewer reads it.

    Args:
      array: of numbers or truth values.
      half: keep floats as 16 bits, three digits: enough for bars, not for networks or places.
    """
    values = np.asarray(array)
    if values.dtype.kind == "b":
        kind, content = "bits", np.packbits(values.ravel(), bitorder="little")
    elif values.dtype.kind in "iu":
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        small = next(k for k in ("int8", "int16", "int32") if _fits(k, low, high))
        kind, content = small, values.astype(f"<{np.dtype(small).str[1:]}")
    elif half:
        limit = float(np.finfo(np.float16).max)
        kind, content = "float16", np.clip(values, -limit, limit).astype("<f2")
    else:
        kind, content = "float32", values.astype("<f4")
    data = base64.b64encode(content.tobytes()).decode("ascii")
    return {"type": kind, "shape": list(values.shape), "data": data}


def _fits(kind: str, low: int, high: int) -> bool:
    return bool(np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)


def scene_of(env: Environment[Any, Any], params: EnvParams) -> Scene:
    """Returns the environment's scene; where it declares none, pictures of `render`, or nothing.

    Raises:
      ValueError: its kind is none of `SCENE_KINDS`.
    """
    scene = env.scene(params)
    if scene is not None and scene.kind not in SCENE_KINDS:
        raise ValueError(f"scene.kind is {scene.kind!r}; it must be one of {SCENE_KINDS}")
    if scene is not None:
        return scene
    if type(env.unwrapped).render is Environment.render:
        return Scene("nothing", {}, lambda state: {"time": state.time})
    return Scene("pictures", {}, lambda state: {"time": state.time})


def board(env: Environment[Any, Any], params: EnvParams, spec: EnvSpec) -> dict[str, Any]:
    """Returns what is the same in all episodes: the scene, the agents and their actions."""
    scene = scene_of(env, params)
    goals = () if spec.subgoals is None else spec.subgoals.names
    ego = [int(agent) for agent in scene.facts.get("ego", range(spec.num_agents))]
    known = scene.facts.get("agent_actions") or [scene.actions] * (1 + max(ego))
    return {
        "kind": scene.kind,
        "facts": _plain(scene.facts),
        "id": printable(spec.id),
        "agents": [{"seat": seat, "name": agent_name(seat)} for seat in ego],
        "names": [
            action_names(known[seat], count)
            for seat, count in zip(ego, spec.action_sizes, strict=True)
        ],
        "sizes": list(spec.action_sizes),
        "continuous": spec.continuous,
        "subgoals": [printable(name) for name in goals],
        "horizon": spec.horizon,
        "optimum": spec.optimum,
    }


def action_names(known: Sequence[str], count: int) -> list[str]:
    """Returns the names of `count` actions: numbers where no name is known."""
    return [printable(known[a]) if a < len(known) else str(a) for a in range(count)]


def agent_name(index: int) -> str:
    """Returns the letter of an agent: A to Z, then A2 and so on."""
    again, letter = divmod(index, len(LETTERS))
    return LETTERS[letter] + (str(again + 1) if again else "")


def episode(env: Environment[Any, Any], params: EnvParams, recording: Recording) -> dict[str, Any]:
    """Returns an episode as the viewer reads it."""
    scene = scene_of(env, params)
    frames = [scene.frame(state) for state in recording.states]
    fields = {name: np.stack([np.asarray(frame[name]) for frame in frames]) for name in frames[0]}
    content: dict[str, Any] = {
        "frames": {name: packed(values) for name, values in fields.items()},
        "action": packed(recording.action),
        "legal": packed(recording.legal),
        "reward": packed(recording.reward.astype(np.float32)),
        "shown": {name: packed(values, half=True) for name, values in recording.shown.items()},
    }
    if recording.captions and "subgoal" not in recording.shown:  # those stand on the cards
        content["captions"] = [_lines(caption) for caption in recording.captions]
    if scene.kind == "pictures":
        content["pictures"] = _pictures(env, params, recording.states)
    return content


def _pictures(env: Environment[Any, Any], params: EnvParams, states: Sequence[Tree]) -> list[str]:
    """Returns PNG pictures of the first states, as data addresses."""
    from PIL import Image

    made = []
    for state in states[:MOST_PICTURES]:
        file = io.BytesIO()
        image = Image.fromarray(np.asarray(env.render(state, params), np.uint8))
        image.quantize(colors=64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        made.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}")
    return made


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _plain(value: Any) -> Any:
    """Returns facts with all text printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
