"""Scores of embeddings, against answers worked out by hand."""

import numpy as np
import pytest

from marlx.analysis.embeddings import (
    Embedded,
    neighbours_agree,
    picture,
    principal_axes,
    scores,
    silhouette,
    time_points,
)


def test_neighbours_vote():
    reference = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    label = np.array([0, 0, 1, 1, 1, 1])
    query, wanted = np.array([[0.1], [10.5], [2.4]]), np.array([0, 1, 1])
    assert neighbours_agree(reference, label, query, wanted, 3) == pytest.approx(2 / 3)
    assert neighbours_agree(reference, label, query, wanted, 1) == 1


def test_silhouette_by_hand():
    """Points 0, 1 of one label and 4, 6 of another: each (b - a) / max(a, b)."""
    expected = np.mean([(5 - 1) / 5, (4 - 1) / 4, (3.5 - 2) / 3.5, (5.5 - 2) / 5.5])
    found = silhouette(np.array([[0.0], [1.0], [4.0], [6.0]]), np.array([0, 0, 1, 1]))
    assert found == pytest.approx(expected)
    assert silhouette(np.array([[0.0], [9.0], [0.0], [9.0]]), np.array([0, 0, 1, 1])) < 0


def test_principal_axes_find_the_plane():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    x = rng.normal(size=(200, 2)) * [3.0, 1.0] @ plane + 7.0
    centre, axes = principal_axes(x)
    np.testing.assert_allclose((x - centre) @ axes.T @ axes, x - centre, atol=1e-9)
    assert abs(axes[0] @ plane[0]) > 0.99


def test_scores_and_picture_of_embeddings_that_improve(tmp_path):
    """Noise at first, one-hot partners at the end; ended episodes do not count."""
    rng = np.random.default_rng(1)
    partner = np.arange(60) % 3
    alive = np.ones((12, 60), bool)
    alive[6:, :6] = False
    share = np.linspace(0, 1, 12)[:, None, None, None]
    known = np.eye(3)[partner][None, :, None]
    vector = share * known + (1 - share) * rng.normal(size=(12, 60, 1, 3))
    vector[6:, :6] = np.nan
    rows = scores(Embedded(vector, alive, partner), time_points(12))
    assert [row["time"] for row in rows] == [1, 5, 10, 11]
    assert rows[0]["accuracy"] < 0.7 and rows[-1]["accuracy"] == 1
    assert rows[-1]["silhouette"] == pytest.approx(1) and rows[0]["silhouette"] < 0.3
    assert [row["episodes"] for row in rows] == [30, 30, 30, 30]
    path = tmp_path / "picture.png"
    picture(path, Embedded(vector, alive, partner), ["a", "b", "c"], rows)
    assert path.read_bytes()[:4] == b"\x89PNG"
