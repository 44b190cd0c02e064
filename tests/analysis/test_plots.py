"""Figures."""

import numpy as np

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
