"""An episode as an animated GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.types import Tree

if TYPE_CHECKING:
    from marlx.environment import Environment, EnvParams

_STRIP = 22  # pixels of caption above the picture


def episode_frames(
    env: Environment[Any, Any],
    params: EnvParams,
    states: Sequence[Tree],
    rewards: Sequence[float],
) -> list[np.ndarray[Any, Any]]:
    """uint8 [height, width, 3] for every state, under a strip that tells step and return so far.

    Args:
      env: whose `render` draws.
      params: its parameters.
      states: unbatched, the first one at reset.
      rewards: team reward of each step, one fewer than `states`.

    Raises:
      ValueError: the environment has no picture.
    """
    returns = np.concatenate([[0.0], np.cumsum(rewards)])
    return [
        _captioned(env.render(state, params), f"step {step}   return {total:.3g}")
        for step, (state, total) in enumerate(zip(states, returns, strict=True))
    ]


def write_gif(
    path: str | Path, frames: Sequence[np.ndarray[Any, Any]], *, frames_per_second: float = 4.0
) -> None:
    """Write `frames` uint8 [height, width, 3] as a GIF that loops, holding the last for a while."""
    from PIL import Image

    # one palette for all, taken from first, middle and last frame, so that colours do not flicker
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


def _captioned(picture: np.ndarray[Any, Any], caption: str) -> np.ndarray[Any, Any]:
    from PIL import Image, ImageDraw, ImageFont

    width = picture.shape[1]
    scale = max(1, -(-160 // width))  # tiny pictures are enlarged, so that the caption fits
    picture = np.repeat(np.repeat(picture, scale, 0), scale, 1)
    strip = Image.new("RGB", (width * scale, _STRIP), (24, 26, 31))
    draw = ImageDraw.Draw(strip)
    draw.text((6, 4), caption, fill=(236, 236, 236), font=ImageFont.load_default(size=12))
    return np.concatenate([np.asarray(strip), np.asarray(picture, np.uint8)])
