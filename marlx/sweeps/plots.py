"""Pictures of a sweep as PNG files: parallel coordinates and importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marlx.analysis.plots import plain_label
from marlx.sweeps.parameters import Parameter
from marlx.sweeps.trials import Row


def parallel_coordinates(
    path: str | Path,
    rows: Sequence[Row],
    parameters: Sequence[Parameter],
    metric: str,
    goal: str,
) -> None:
    """Draw every finished trial as a line across one axis per parameter, coloured by its value.

    Args:
      path: of the PNG file to write.
      rows: trials; those without a value are left out, those stopped early are dashed.
      parameters: the axes, left to right; the metric's is the last.
      metric: its name.
      goal: `maximize` or `minimize`: the best are drawn last and darkest.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    drawn = [row for row in rows if row.value is not None and np.isfinite(row.value)]
    sign = 1.0 if goal == "maximize" else -1.0
    drawn.sort(key=lambda row: sign * (row.value or 0.0))
    values = [row.value or 0.0 for row in drawn] or [0.0, 1.0]
    low, high = min(values), max(values)
    figure = Figure(figsize=(2.2 + 1.7 * len(parameters), 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    shade = Normalize(low, high if high > low else low + 1.0)
    colours = ScalarMappable(shade, "viridis_r" if goal == "maximize" else "viridis")
    scales = [_Scale(one, drawn) for one in parameters]
    for row in drawn:
        heights = [scale.height(row.values.get(scale.name)) for scale in scales]
        heights.append(float(shade(row.value or 0.0)))
        dashed = row.state == "stopped early"
        axes.plot(
            range(len(heights)),
            heights,
            color=colours.to_rgba(np.array(row.value)),
            lw=1.3,
            ls=(0, (4, 3)) if dashed else "-",
            alpha=0.5 if dashed else 0.85,
        )
    for x, scale in enumerate(scales):
        axes.axvline(x, color="#444444", lw=0.8)
        for height, label in scale.ticks():
            axes.annotate(label, (x, height), xytext=(3, 0), textcoords="offset points", fontsize=8)
    names = [plain_label(name) for name in (*(scale.name for scale in scales), metric)]
    axes.set_xticks(range(len(scales) + 1), names, fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(scales) + 0.02)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    figure.colorbar(colours, ax=axes, pad=0.01, label=plain_label(metric))
    figure.savefig(path, format="png")


def importance_bars(path: str | Path, importances: Mapping[str, float], metric: str) -> None:
    """Draw a bar per parameter, the most important on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted(importances, key=lambda name: importances[name])
    figure = Figure(figsize=(6.0, 1.4 + 0.36 * len(order)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    bars = axes.barh(order, [importances[name] for name in order], color="#1f6fb4")
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1.1 * max(importances.values()))
    axes.set_xlabel(f"importance for {plain_label(metric)} (PED-ANOVA, sums to 1)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, format="png")


class _Scale:
    """One axis of the parallel coordinates, from 0 to 1."""

    def __init__(self, parameter: Parameter, rows: Sequence[Row]) -> None:
        self.name, self._parameter = parameter.name, parameter
        seen = [row.values[self.name] for row in rows if self.name in row.values]
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in seen)
        self._choices: list[str] = []
        if not numbers:
            self._choices = list(dict.fromkeys(map(str, parameter.values)))
            return
        known = [*parameter.values] if parameter.kind == "choice" else []
        bounds = [*known, *seen] or [0, 1]
        if parameter.kind != "choice":
            bounds += [parameter.low, parameter.high]
        self._low, self._high = float(min(bounds)), float(max(bounds))
        wide = self._low > 0 and self._high / self._low > 20
        self._log = parameter.kind in ("log", "log_steps") or (parameter.kind == "choice" and wide)

    def height(self, value: Any) -> float:
        """Returns the height of a value, between 0 and 1; nan for no value."""
        if value is None and "None" not in self._choices:
            return float("nan")
        if self._choices:
            return self._choices.index(str(value)) / max(1, len(self._choices) - 1)
        low, high, x = self._low, self._high, float(value)
        if self._log:
            low, high, x = np.log(low), np.log(high), np.log(x)
        return float((x - low) / (high - low)) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Returns heights and labels."""
        if self._choices:
            return [(self.height(choice), plain_label(choice)) for choice in self._choices]
        return [(self.height(x), f"{x:.3g}") for x in dict.fromkeys((self._low, self._high))]
