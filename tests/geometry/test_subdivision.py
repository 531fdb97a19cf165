"""Laws of the subdivision matrices."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import MeshError
from facerecon.geometry.subdivision import loop_subdivide, midpoint_subdivide, subdivide_mesh

TETRAHEDRON = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat square of size x size cells, two triangles each, counter-clockwise from +z."""
    points = np.array([[x, y, 0.0] for y in range(size + 1) for x in range(size + 1)])
    faces = []
    for y in range(size):
        for x in range(size):
            a = y * (size + 1) + x
            faces += [[a, a + 1, a + size + 2], [a, a + size + 2, a + size + 1]]
    return points, np.array(faces)


def edge_count(faces: np.ndarray) -> int:
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return len(np.unique(sides, axis=0))


@pytest.mark.parametrize("scheme", [loop_subdivide, midpoint_subdivide])
@pytest.mark.parametrize("faces", [TETRAHEDRON, grid(4)[1]], ids=["closed", "open"])
def test_counts_partition_of_unity_and_winding(scheme, faces):
    count = faces.max() + 1
    matrix, fine = scheme(faces, count)
    assert matrix.shape == (count + edge_count(faces), count)
    assert fine.shape == (4 * len(faces), 3)
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1.0, atol=1e-14)
    assert matrix.data.min() > 0
    # Each directed side occurs once at most: neighbours stay wound alike, and no edge is used twice the same way.
    sides = np.concatenate([fine[:, [0, 1]], fine[:, [1, 2]], fine[:, [2, 0]]])
    assert len(np.unique(sides, axis=0)) == len(sides)


def test_loop_keeps_a_plane_flat_and_linear_functions_inside():
    points, faces = grid(6)
    tilted = points @ np.array([[1.0, 0.0, 0.3], [0.0, 1.0, -0.7], [0.0, 0.0, 1.0]])
    fine, fine_faces = subdivide_mesh(tilted, faces)
    np.testing.assert_allclose(fine[:, 2], 0.3 * fine[:, 0] - 0.7 * fine[:, 1], atol=1e-12)
    matrix, _ = loop_subdivide(faces, len(points))
    inner = np.flatnonzero(((points > 1) & (points < 5))[:, :2].all(axis=1))
    np.testing.assert_allclose((matrix @ points)[inner], points[inner], atol=1e-12)
    corners = fine[fine_faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).all()


def test_loop_weights_by_hand():
    # A fan of six triangles about vertex 0: an inner vertex of valence six keeps 1 - 6/16 = 5/8 of itself.
    fan = np.array([[0, 1 + k, 1 + (k + 1) % 6] for k in range(6)])
    matrix, _ = loop_subdivide(fan, 7)
    matrix = matrix.toarray()
    np.testing.assert_allclose(matrix[0], [5 / 8] + [1 / 16] * 6)
    # Rim vertex 1: 3/4 of itself, 1/8 of each neighbour on the rim, nothing of the centre.
    np.testing.assert_allclose(matrix[1], [0, 3 / 4, 1 / 8, 0, 0, 0, 1 / 8])
    # Inner edge (0, 1): 3/8 of its ends, 1/8 of the vertices across; rim edge (1, 2): the midpoint.
    rows = {tuple(np.round(row, 6)) for row in matrix[7:]}
    assert tuple(np.round([3 / 8, 3 / 8, 1 / 8, 0, 0, 0, 1 / 8], 6)) in rows
    assert (0, 0.5, 0.5, 0, 0, 0, 0) in rows


def test_valence_three_has_its_own_weight():
    matrix, _ = loop_subdivide(TETRAHEDRON, 4)
    np.testing.assert_allclose(matrix.toarray()[0], [1 - 9 / 16, 3 / 16, 3 / 16, 3 / 16])


def test_boundary_does_not_depend_on_the_inside():
    points, faces = grid(4)
    matrix, _ = loop_subdivide(faces, len(points))
    moved = points.copy()
    inside = ((points > 0) & (points < 4))[:, :2].all(axis=1)
    moved[inside, 2] += 5.0
    rim = np.flatnonzero(np.asarray(matrix[:, ~inside].sum(axis=1)).ravel() > 1 - 1e-12)
    np.testing.assert_allclose((matrix @ moved)[rim, 2], 0.0, atol=1e-12)
    # Sixteen old rim vertices and sixteen rim edges.
    assert len(rim) == 32


def test_children_of_a_triangle_tile_it():
    points, faces = grid(3)
    matrix, fine = midpoint_subdivide(faces, len(points))
    place = matrix @ points

    def area(corners: np.ndarray) -> np.ndarray:
        return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2

    np.testing.assert_allclose(area(place[fine]).reshape(-1, 4), np.repeat(area(points[faces])[:, None] / 4, 4, axis=1))
    centres = place[fine].mean(axis=1).reshape(-1, 4, 3).mean(axis=1)
    np.testing.assert_allclose(centres, points[faces].mean(axis=1), atol=1e-12)


def test_unused_vertices_stay():
    matrix, _ = loop_subdivide(TETRAHEDRON, 6)
    np.testing.assert_array_equal(matrix.toarray()[4:6], np.eye(6)[4:6])


@pytest.mark.parametrize(("faces", "count", "message"), [
    (np.zeros((0, 3), dtype=int), 3, "at least one row"),
    (np.array([[0, 1, 3]]), 3, "indices from 0 to 2"),
    (np.array([[0, 1, 1]]), 3, "join a vertex with itself"),
    (np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]]), 5, "more than two triangles"),
    (np.array([[0.0, 1.0, 2.0]]), 3, "integers"),
])
def test_bad_meshes_are_refused(faces, count, message):
    with pytest.raises(MeshError, match=message):
        loop_subdivide(faces, count)
