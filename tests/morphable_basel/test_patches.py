"""The surface that the order of the Basel vertices implies, against published facts about the files."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.morphable.basel.common import KEYPOINTS
from facerecon.morphable.basel.patches import patch_faces, patch_mirror, patch_plane, trim_index


def flat(count: int) -> np.ndarray:
    return np.concatenate([patch_plane(count), np.zeros((count, 1))], axis=1)


def test_trim_index_agrees_with_published_index_pairs():
    trim = trim_index()
    assert len(trim) == 53215 and (np.diff(trim) > 0).all() and trim[-1] == 53489
    # Nose tip, right and left outer eye corner, in both numberings.
    assert [trim[8192], trim[2215], trim[14066]] == [8321, 2215, 14341]
    removed = np.setdiff1d(np.arange(53490), trim) + 1
    assert len(removed) == 275 and removed.min() == 6168 and removed.max() == 10680


def test_full_topology_has_the_number_of_triangles_of_the_release():
    faces = patch_faces(flat(53490))
    assert faces.shape == (106466, 3) and len(np.unique(faces)) == 53490


@pytest.mark.parametrize("count", [53215, 53490])
def test_surface_is_a_manifold_wound_one_way(count):
    points = flat(count)
    faces = patch_faces(points)
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)
    _, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert uses.max() == 2
    corners = points[faces]
    # Seen from the viewer in the plane of the grids, every triangle turns counter-clockwise.
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_the_mouth_is_closed_in_one_topology_and_open_in_the_other():
    def rims(count: int) -> int:
        import scipy.sparse
        import scipy.sparse.csgraph

        faces = patch_faces(flat(count))
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        edges, uses = np.unique(sides, axis=0, return_counts=True)
        rim = edges[uses == 1]
        graph = scipy.sparse.csr_matrix((np.ones(len(rim)), rim.T), (count, count))
        return len(np.unique(scipy.sparse.csgraph.connected_components(graph, directed=False)[1][np.unique(rim)]))

    assert rims(53490) == 1 and rims(53215) == 2


def test_plane_gives_each_vertex_its_own_place_and_mirror():
    plane = patch_plane(53215)
    assert len(np.unique(plane, axis=0)) == 53215
    mirror = patch_mirror(53215)
    assert np.mean(mirror[mirror] == np.arange(53215)) > 0.999
    assert np.abs(plane[mirror] * (-1, 1) - plane).max() < 8


def test_the_slit_of_the_mouth_lies_between_the_lips_in_every_column(open_data):
    """On a face with this topology the rows above and below the slit belong to different lips."""
    from .conftest import basel_surface

    surface, plane = basel_surface(open_data), patch_plane(53215)
    for column in range(-13, 15):
        rows = np.flatnonzero(plane[:, 0] == column)
        rows = rows[np.abs(plane[rows, 1]) <= 64]
        rows = rows[np.argsort(-plane[rows, 1])]
        gap = np.argmax(-np.diff(plane[rows, 1]))
        upper, lower = surface[rows[gap - 12:gap + 1]], surface[rows[gap + 1:gap + 14]]
        assert upper[:, 1].mean() > lower[:, 1].mean() and -np.diff(plane[rows, 1])[gap] >= 8
        assert plane[rows[gap], 1] == -36


def test_keypoints_lie_mirrored_in_the_plane():
    plane = patch_plane(53215)[KEYPOINTS]
    for right, left in ((36, 45), (39, 42), (48, 54), (31, 35), (17, 26), (0, 16)):
        assert plane[right, 0] < 0 < plane[left, 0]
        assert np.abs(plane[right] * (-1, 1) - plane[left]).max() <= 4
    assert abs(plane[30, 0]) <= 1 and plane[27, 1] > plane[30, 1] > plane[33, 1] > plane[8, 1]
