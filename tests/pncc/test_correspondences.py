"""Correspondences: the nearest point in a triangle, and what each pixel of a true code shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, FaceError
from facerecon.pncc import Correspondences
from facerecon.pncc.correspondences import nearest_in_triangle

RIGHT = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(("point", "weights"), [
    ((0.25, 0.25, 5.0), (0.5, 0.25, 0.25)),  # above the inside: its foot
    ((0.5, -3.0, 0.0), (0.5, 0.5, 0.0)),  # beyond an edge: onto the edge
    ((-1.0, -1.0, 1.0), (1.0, 0.0, 0.0)),  # beyond a corner: the corner
    ((1.0, 1.0, 0.0), (0.0, 0.5, 0.5)),  # beyond the long edge
    ((3.0, -1.0, 2.0), (0.0, 1.0, 0.0)),
])
def test_nearest_point_by_hand(point, weights):
    np.testing.assert_allclose(nearest_in_triangle(np.array(point), RIGHT), weights, atol=1e-12)


def test_no_point_of_a_triangle_is_nearer():
    generator = np.random.default_rng(0)
    triangles, points = generator.normal(size=(200, 3, 3)), 2 * generator.normal(size=(200, 3))
    weights = nearest_in_triangle(points, triangles)
    assert (weights >= 0).all() and np.allclose(weights.sum(-1), 1)
    best = np.linalg.norm(np.einsum("nk,nkc->nc", weights, triangles) - points, axis=1)
    others = generator.dirichlet((0.6, 0.6, 0.6), (500, 1))
    away = np.linalg.norm(np.einsum("snk,nkc->snc", np.broadcast_to(others, (500, 200, 3)), triangles) - points, axis=2)
    assert (away >= best - 1e-12).all()


def test_a_triangle_without_area_is_its_edges():
    line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    weights = nearest_in_triangle(np.array([0.5, 1.0, 0.0]), line)
    assert np.isfinite(weights).all() and np.allclose(weights @ line, [0.5, 0, 0])
    assert np.allclose(nearest_in_triangle(np.array([3.0, 1, 0]), np.ones((3, 3))).sum(), 1)


@pytest.mark.parametrize("yaw", [0, -50, 80])
def test_a_true_code_gives_the_true_points(model, surface, draw, pose, yaw):
    """The point that a pixel is said to show lies where the camera puts that pixel."""
    view = pose(yaw)
    matches = surface.match(draw(view))
    assert len(matches) > 4000 and matches.distance.max() < 0.02 and matches.confidence.min() > 0.65
    projected = view.project(torch.from_numpy(matches.points(surface.mean)).float()).numpy()[:, :2]
    away_mm = np.linalg.norm(projected - matches.pixels, axis=1) / float(view.scale)
    # Vertices are 2 mm apart in the middle and 9 mm at most; 8-bit colours alone move a point by up to 0.5 mm.
    assert np.quantile(away_mm, 0.99) < 0.7 and np.quantile(away_mm, 0.999) < 2 and away_mm.max() < 3


def test_colours_that_no_place_has_are_not_trusted(surface, draw, pose):
    code = draw(pose(0)) // 2
    trusted = surface.match(code).confidence
    assert np.median(trusted) < 0.2


def test_points_follow_the_given_head():
    matches = Correspondences(np.zeros((1, 2)), np.array([[2, 0, 1]]), np.array([[0.5, 0.25, 0.25]]), np.zeros(1))
    np.testing.assert_allclose(matches.points(np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 4]])), [[1, 1, 2]])
    assert matches.confidence == [1.0]


def test_refusals(surface, draw, pose):
    with pytest.raises(FaceError) as caught:
        surface.match(np.zeros((128, 128, 3)))
    assert caught.value.code == "no_face"
    with pytest.raises(ArgumentError):
        surface.match(np.zeros((128, 128)))
    broken = draw(pose(0)) / 255
    broken[60, 60, 0] = np.nan
    broken[60, 60, 1] = np.inf
    with pytest.raises(ArgumentError) as caught:
        surface.match(broken)
    assert caught.value.code == "nonfinite"
