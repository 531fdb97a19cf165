"""Points on triangles."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.morphable.embedding import LandmarkEmbedding, closest_point_on_triangles, embed_points

TRIANGLE = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])


@pytest.mark.parametrize(("point", "place"), [
    ((1, 1, 5), (1, 1, 0)),          # above the inside
    ((-2, -2, 0), (0, 0, 0)),        # corner a
    ((9, -1, 0), (4, 0, 0)),         # corner b
    ((-1, 8, 1), (0, 3, 0)),         # corner c
    ((2, -3, 0), (2, 0, 0)),         # edge ab
    ((-5, 1, 2), (0, 1, 0)),         # edge ca
    ((3.28, 3.04, 0), (2, 1.5, 0)),  # beyond the middle of edge bc, whose outward normal is (3, 4)
])
def test_closest_point_by_hand(point, place):
    point = np.array([point], dtype=float)
    if place == (2, 1.5, 0):
        point = np.array([[2 + 0.3 * 3, 1.5 + 0.3 * 4, 0]])
    weights, squared = closest_point_on_triangles(point, TRIANGLE[None])
    np.testing.assert_allclose(weights @ TRIANGLE, [place], atol=1e-12)
    np.testing.assert_allclose(squared, ((point - place) ** 2).sum())


def test_closest_point_beats_every_sample():
    generator = np.random.default_rng(3)
    corners, points = generator.normal(size=(50, 3, 3)), 3 * generator.normal(size=(50, 3))
    weights, squared = closest_point_on_triangles(points, corners)
    assert (weights >= -1e-12).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    samples = generator.dirichlet([1, 1, 1], 400)
    other = ((points[:, None] - np.einsum("sk,nkc->nsc", samples, corners)) ** 2).sum(axis=2)
    assert (squared[:, None] <= other + 1e-12).all()


def test_triangles_without_area():
    line = np.array([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    weights, squared = closest_point_on_triangles(np.array([[1.5, 1.0, 0]]), line)
    np.testing.assert_allclose(weights[0] @ line[0], [1.5, 0, 0])
    np.testing.assert_allclose(squared, 1.0)


def test_embed_finds_points_of_the_surface_again(tiny):
    data = tiny.tiny_data()
    generator = np.random.default_rng(5)
    triangle = generator.integers(0, len(data.faces), 20)
    there = LandmarkEmbedding(triangle, generator.dirichlet([2, 2, 2], 20)).locate(data.mean, data.faces)
    found, distance = embed_points(there, data.mean, data.faces)
    np.testing.assert_allclose(found.locate(data.mean, data.faces), there, atol=1e-7)
    assert distance.max() < 1e-6
    only, distance = embed_points(there, data.mean, data.faces, allowed=np.arange(2))
    assert set(only.triangle) <= {0, 1} and distance.max() > 0.5


def test_bad_embeddings_are_refused():
    with pytest.raises(ArgumentError, match="sum to 1"):
        LandmarkEmbedding(np.array([0]), np.array([[0.5, 0.6, 0.0]]))
    with pytest.raises(ArgumentError, match="from 0"):
        LandmarkEmbedding(np.array([-1]), np.array([[1.0, 0.0, 0.0]]))
    with pytest.raises(ArgumentError, match="barycentric"):
        LandmarkEmbedding(np.array([0, 1]), np.array([[1.0, 0.0, 0.0]]))
