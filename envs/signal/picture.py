"""Pictures of signalling games: target, message, candidates and the last choice, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.envs import raster


def described(env: Any, number: int) -> str:
    """Returns an object as people read it: its number, or the values of its properties."""
    if number >= env.objects:
        return "-"
    if env.properties == 1:
        return str(number)
    return " ".join(str(int(value)) for value in env.values_of(np.asarray(number)))


def spoken(env: Any, message: np.ndarray) -> str:
    """Returns a message, with a dot for what was not said yet."""
    return " ".join("." if symbol >= env.vocabulary else str(int(symbol)) for symbol in message)


def lines(env: Any, state: Any) -> list[str]:
    """Returns what a person should know of a state, a fact in each line."""
    round_ = min(int(state.time) // (env.speaking + 1) + 1, env.rounds)
    found = [
        f"round {round_} of {env.rounds}, won {int(state.hits)}",
        f"target     {described(env, int(state.target))}",
        f"message    {spoken(env, np.asarray(state.message))}",
    ]
    if env.candidates:
        names = [described(env, int(one)) for one in np.asarray(state.candidates)]
        found += [f"candidate {i}: {name}" for i, name in enumerate(names)]
    if int(state.last_choice) < env.objects:
        hit = int(state.last_choice) == int(state.last_target)
        found += [
            f"before: {spoken(env, np.asarray(state.last_message))} meant "
            f"{described(env, int(state.last_target))},",
            f"chosen {described(env, int(state.last_choice))}: {'hit' if hit else 'miss'}",
        ]
    return found


def draw(env: Any, state: Any) -> np.ndarray:
    """Returns uint8 [height, width, 3]: the facts of `lines`, as large for all states of a game."""
    words = lines(env, state)
    symbols = env.length * (1 + len(str(env.vocabulary - 1)))
    values = env.properties * (1 + len(str(env.values - 1)))
    wide = max(220, 9 * (len("before: meant ,") + symbols + values) + 24)
    canvas = raster.Canvas(wide, 25 * (5 + env.candidates) + 18)  # a choice is two more lines
    for i, line in enumerate(words):
        canvas.text(wide / 2, 20 + 25 * i, line, 13.0)
    return canvas.pixels()
