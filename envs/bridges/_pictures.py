"""Pictures of other libraries' states, by the libraries' own drawing, without a window."""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.envs.bridges._common import library
from marlx.types import Tree

_DPI = 40  # jumanji's figures are 10 inches wide


def no_picture(name: str) -> ValueError:
    """Returns the error of an environment that is not drawn."""
    return ValueError(f"{name} has no pictures: marlx has none of this environment of its library")


def jumanji_picture(name: str, env: Any, state: Tree) -> np.ndarray:
    """Returns uint8 [height, width, 3], jumanji's own picture of one state.

    Raises:
      ValueError: jumanji draws no picture of it.
    """
    viewer: Any = getattr(env, "_viewer", None)
    if not hasattr(viewer, "_get_fig_ax") or not hasattr(viewer, "_display"):
        raise no_picture(name)
    viewer._get_fig_ax = lambda *_, **__: _figure(viewer.figure_size)  # pyplot's opens a window
    viewer._display = _pixels
    picture = env.render(state)
    if not isinstance(picture, np.ndarray):
        raise no_picture(name)
    return picture


def overcooked_picture(env: Any, state: Any) -> np.ndarray:
    """Returns uint8 [height, width, 3], JaxMARL's own picture of a state of Overcooked."""
    drawing = library("jaxmarl.viz.overcooked_visualizer").OvercookedVisualizer
    border = env.agent_view_size - 2
    grid = np.asarray(state.maze_map)[border:-border, border:-border]
    facing, held = np.asarray(state.agent_dir_idx), np.asarray(state.agent_inv)
    return np.asarray(drawing._render_grid(grid, agent_dir_idx=facing, agent_inv=held), np.uint8)


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot(111)


def _pixels(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]
