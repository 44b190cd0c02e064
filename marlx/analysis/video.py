"""Recording of an episode, and its rendering as an animated GIF or as MP4."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Judged, Learner, acting
from marlx.types import Array, Mark, Tree

_LINE = 16  # height of a line of caption in pixels


class Episode(NamedTuple):
    """A recorded episode of T steps."""

    states: list[Tree]  # T + 1 environment states, unbatched, without a reset at the end
    rewards: list[float]  # T team rewards
    captions: list[str]  # T captions from `Learner.describe`; "" without one
    subgoals: list[np.ndarray[Any, Any]]  # T subgoals [N], where pictures show them; else empty


def record_episode(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    judged: Judged | None = None,
) -> Episode:
    """Returns one episode.

    Args:
      env: the environment.
      params: its parameters.
      learner: learner with `act` and, for captions, `describe`; `inspect` tells its subgoals.
      policy: parameters for `learner.act`.
      key: consumed.
      judged: `drawn` or `greedy` actions; None: those that the learner is judged by.
    """
    spec = env.spec(params)
    act = acting(learner, judged or learner.judged)
    inspect = learner.inspect if _mark(env, params) is not None else None

    @jax.jit
    def step(
        policy: Tree, keys: Array, time: Array, state: Tree, memory: Tree
    ) -> tuple[Tree, Tree, Tree, Array, Array, Tree]:
        key_act, key_step = jax.random.split(keys[time])
        obs = env.observe(state, params)
        batch = jax.tree.map(lambda x: x[None], obs)
        action, after, extras = act(policy, memory, batch, key_act, True)
        shown = {} if inspect is None else inspect(policy, memory, batch, extras)
        state, reward, terminated, _ = env.step_env(key_step, state, action[0], params)
        team = spec.team_reward(reward, obs.active)
        return state, after, extras, team, terminated, shown.get("subgoal")

    key, key_reset = jax.random.split(key)
    episode = Episode([jax.jit(env.reset_env)(key_reset, params)], [], [], [])
    memory = learner.memory(1)
    keys = jax.random.split(key, spec.horizon)
    for time in np.arange(spec.horizon, dtype=np.int32):
        now = policy, keys, time, episode.states[-1], memory
        state, memory, extras, reward, terminated, subgoal = step(*now)
        caption = ""
        if learner.describe is not None:
            caption = learner.describe(*jax.tree.map(lambda x: x[0], (memory, extras)))
        episode.states.append(state)
        episode.rewards.append(float(reward))
        episode.captions.append(caption)
        if subgoal is not None:
            episode.subgoals.append(np.asarray(subgoal[0]))
        if terminated:
            break
    return episode


def episode_frames(
    env: Environment[Any, Any],
    params: EnvParams,
    episode: Episode,
) -> list[np.ndarray[Any, Any]]:
    """Returns a frame uint8 [height, width, 3] for each state, with a caption above it.

    The caption has step and return so far, and the learner's caption of the next step. The subgoal
    of each agent is marked, where the environment can do that (`Subgoals.mark`).

    Args:
      env: the environment, which must have `render`.
      params: its parameters.
      episode: an episode from `record_episode`.

    Raises:
      ValueError: the environment cannot be rendered.
    """
    returns = np.concatenate([[0.0], np.cumsum(episode.rewards)])
    lines = max(caption.count("\n") + (caption != "") for caption in episode.captions)
    # no step follows the last state; empty lines keep all frames the same size
    below = [*episode.captions, "\n" * max(0, lines - 1)]
    captions = [
        f"step {step}   return {total:.3g}" + f"\n{more}" * (lines > 0)
        for step, (total, more) in enumerate(zip(returns, below, strict=True))
    ]
    width, pictures = _width(captions), [env.render(state, params) for state in episode.states]
    mark = _mark(env, params)
    for i, goals in enumerate(episode.subgoals):
        assert mark is not None, "or there would be none"
        pictures[i] = mark(pictures[i], episode.states[i], goals)
    return [
        _captioned(picture, caption, width)
        for picture, caption in zip(_of_one_size(pictures), captions, strict=True)
    ]


def _of_one_size(pictures: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Pictures as large as the largest; what is added has the colour of the top left pixel."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    whole = []
    for picture in map(np.asarray, pictures):
        canvas = np.broadcast_to(picture[:1, :1], (height, width, 3)).copy()
        canvas[: picture.shape[0], : picture.shape[1]] = picture
        whole.append(canvas)
    return whole


def _mark(env: Environment[Any, Any], params: EnvParams) -> Mark | None:
    """Returns `Subgoals.mark` of an environment, if it has it."""
    declared = env.subgoals(params)
    return None if declared is None else declared.mark


def write_gif(
    path: str | Path, frames: Sequence[np.ndarray[Any, Any]], *, frames_per_second: float = 4.0
) -> None:
    """Writes frames uint8 [height, width, 3] as a looping GIF that pauses on the last frame."""
    from PIL import Image

    # one palette, from the first, middle and last frame, so that colours do not flicker
    sample = Image.fromarray(np.concatenate([frames[i] for i in (0, len(frames) // 2, -1)]))
    palette = sample.quantize(colors=256, dither=Image.Dither.NONE)
    images = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    millis = round(1000 / frames_per_second)
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=[millis] * (len(images) - 1) + [max(2000, millis)],
        loop=0,
        optimize=False,
    )


def write_mp4(
    path: str | Path, frames: Sequence[np.ndarray[Any, Any]], *, frames_per_second: float = 4.0
) -> None:
    """Writes frames uint8 [height, width, 3] as MP4 (H.264), which shows the last for 2 seconds.

    Raises:
      OSError: ffmpeg is missing or cannot write it.
    """
    height, width = frames[0].shape[:2]
    last = [frames[-1]] * round(2 * frames_per_second)
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(frames_per_second), "-i", "-"]
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # H.264 has no odd sizes
    command += ["-vf", even, "-pix_fmt", "yuv420p", "-f", "mp4", os.path.abspath(path)]
    pixels = b"".join(np.ascontiguousarray(frame).tobytes() for frame in [*frames, *last])
    done = subprocess.run(command, input=pixels, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise OSError(f"ffmpeg: {reason[0] if reason else f'exit code {done.returncode}'}")


def _width(captions: Sequence[str]) -> int:
    """Width of the longest line of all captions in pixels."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=12)
    lines = [line for caption in captions for line in caption.split("\n")]
    return 12 + max(int(np.ceil(font.getlength(line))) for line in lines)


def _captioned(picture: np.ndarray[Any, Any], caption: str, least: int) -> np.ndarray[Any, Any]:
    """`picture` with `caption` above it, at least `least` pixels wide."""
    from PIL import Image, ImageDraw, ImageFont

    # small pictures are enlarged; one that is still narrower than its caption gets margins
    scale = max(1, -(-160 // picture.shape[1]))
    picture = np.repeat(np.repeat(picture, scale, 0), scale, 1)
    height, width = picture.shape[:2]
    lines = caption.split("\n")
    strip = 6 + _LINE * len(lines)
    image = Image.new("RGB", (max(width, least), strip + height), (24, 26, 31))
    image.paste(Image.fromarray(np.asarray(picture, np.uint8)), ((image.width - width) // 2, strip))
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        colour = (236, 236, 236) if i == 0 else (255, 196, 87)
        draw.text((6, 4 + _LINE * i), line, fill=colour, font=ImageFont.load_default(size=12))
    return np.asarray(image)
