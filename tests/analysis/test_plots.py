"""Figures."""

import numpy as np

from marlx.analysis import plots
from marlx.analysis.plots import Line, Panel, panels


def test_ticks_in_steps_are_short_and_exact():
    x = np.linspace(0, 112_500, 9)
    lines = [Line("a", x, x, x, x), Line("b", x, x, x, x)]
    figure = panels([Panel("", lines)], ["a", "b"], x_label="", y_label="", x_in_steps=True)
    axes = figure.axes[0]
    axes.set_xticks([0, 12_500, 112_500, 2_000_000])
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["0", "12.5k", "112.5k", "2M"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_the_legend_of_a_learning_curve_stands_below_the_axes(tmp_path, monkeypatch):
    """Inside them the lines of the optimum and of random play would run through it."""
    drawn = []
    made = plots.figure
    monkeypatch.setattr(plots, "figure", lambda *a, **k: drawn.append(made(*a, **k)) or drawn[-1])
    steps, returns = np.arange(5), np.linspace(0, 1, 10).reshape(5, 2)
    plots.learning_curve(tmp_path / "a.png", steps, returns, random_return=0.0, optimum=1.0)
    (figure,) = drawn
    (legend,), (axes,) = figure.legends, figure.axes
    assert len(legend.get_texts()) == 4 and axes.get_legend() is None
    assert legend.get_window_extent().y1 < axes.get_window_extent().y0
