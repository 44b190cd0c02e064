"""Figures."""

import csv
import itertools

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


def lines_of(labels, points=5):
    x = np.linspace(0, 1e5, points)
    return [Line(label, x, x / 1e5 + k, x / 1e5 + k - 0.1, x / 1e5 + k + 0.1)
            for k, label in enumerate(labels)]  # fmt: skip


def distance(first, second, mixed):
    """How far apart two colours are for an eye that mixes channels so, from 0 to about 1."""
    rgb = [np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for c in (first, second)]
    return float(np.linalg.norm(mixed @ (rgb[0] - rgb[1])))


def test_safe_colours_differ_for_colour_blind_eyes():
    """Vienot et al. 1999: matrices for eyes without red and without green receptors."""
    no_red = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.004, -0.004, 1]])
    no_green = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    for mixed in (no_red, no_green, np.eye(3)):
        near = [
            distance(a, b, mixed)
            for i, a in enumerate(plots.SAFE_COLORS[:6])
            for b in plots.SAFE_COLORS[:i]
        ]
        assert min(near) > 0.1


def test_safe_methods_have_line_styles_of_their_own():
    labels = list("abcdefgh")
    looks = [plots.style(labels, label, safe=True) for label in labels]
    assert len({look["color"] for look in looks}) == 8
    assert all(a["linestyle"] != b["linestyle"] for a, b in itertools.pairwise(looks))


def test_a_figure_for_a_column_is_as_wide_and_its_panels_stand_below_each_other(tmp_path):
    contents = [Panel("one", lines_of("ab"), {"optimum": 2.0}), Panel("two", lines_of("ab"))]
    look = plots.Look(plots.COLUMN, 7.5, safe=True)
    drawn = panels(contents, ["a", "b"], x_label="steps", y_label="return", look=look)
    assert drawn.get_figwidth() == 3.35
    plots.write_figure(tmp_path / "a.pdf", drawn)
    first, second = (axes.get_position() for axes in drawn.axes)
    assert first.y0 > second.y1
    for axes in drawn.axes:
        assert {label.get_fontsize() for label in axes.get_xticklabels()} == {7.5}
        box = axes.get_tightbbox()
        assert 0 <= box.x0 and box.x1 <= drawn.bbox.x1
    again = panels(contents, ["a", "b"], x_label="steps", y_label="return", look=look)
    plots.write_figure(tmp_path / "b.pdf", again)
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert b"/Type3" not in content  # journals refuse such fonts


def test_the_numbers_of_a_figure_come_back_exactly():
    contents = [Panel("=task, 1", lines_of(["a"], 3))]
    rows = list(csv.reader(plots.lines_csv(contents, ("x", "m", "l", "h")).splitlines()))
    assert rows[0] == ["task", "method", "x", "m", "l", "h"]
    assert rows[1][:2] == ["'=task, 1", "a"]
    line = contents[0].lines[0]
    expected = np.stack([line.x, line.middle, line.low, line.high], 1)
    np.testing.assert_array_equal(np.array([row[2:] for row in rows[1:]], float), expected)
