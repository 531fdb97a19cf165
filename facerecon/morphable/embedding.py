"""Landmarks as points on triangles, so that one definition serves every shape of a topology."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class LandmarkEmbedding:
    """N points on a mesh.

    Attributes:
        triangle: (N,) int64, row of the mesh's faces.
        barycentric: (N, 3) float64, weights of that triangle's corners; each row sums to one.
        valid: (N,) bool, False where a scheme has a point that this mesh does not carry reliably. Its triangle is then a
            stand-in, and users give it no weight.
    """

    triangle: np.ndarray
    barycentric: np.ndarray
    valid: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.triangle)
        check_shape("triangle", self.triangle, (None,))
        check_finite("barycentric", check_shape("barycentric", self.barycentric, (count, 3)))
        object.__setattr__(self, "triangle", np.asarray(self.triangle, dtype=np.int64))
        object.__setattr__(self, "barycentric", np.asarray(self.barycentric, dtype=np.float64))
        valid = np.ones(count, dtype=bool) if self.valid is None else np.asarray(self.valid, dtype=bool)
        object.__setattr__(self, "valid", check_shape("valid", valid, (count,)))
        if count and self.triangle.min() < 0:
            raise ArgumentError(f"triangle: wanted indices from 0, got {self.triangle.min()}")
        if count and np.abs(self.barycentric.sum(axis=1) - 1).max() > 1e-3:
            raise ArgumentError("barycentric: wanted rows that sum to 1")

    def __len__(self) -> int:
        return len(self.triangle)

    def locate(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The points (N, C) on a mesh with vertices (V, C) and faces (F, 3)."""
        return np.einsum("nk,nkc->nc", self.barycentric, vertices[faces[self.triangle]])


def closest_point_on_triangles(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closest point of a triangle to a point, row by row.

    Args:
        points: (..., 3).
        corners: (..., 3, 3), corner axis first.

    Returns:
        (barycentric (..., 3), squared distance (...)). A triangle without area gives the closest point of its longest edge.
        Regions as in Ericson, "Real-Time Collision Detection" (2005), section 5.1.5, taken here as the best of the plane
        foot and the three edge feet.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    candidates = [_edge(points, a, b, (0, 1)), _edge(points, b, c, (1, 2)), _edge(points, c, a, (2, 0))]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    d20, d21 = _dot(ap, ab), _dot(ap, ac)
    area = d00 * d11 - d01 * d01
    safe = np.where(area > 0, area, 1.0)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    foot = np.stack([1 - v - w, v, w], axis=-1)
    inside = (foot >= 0).all(axis=-1) & (area > 0)
    best = candidates[0]
    distance = _distance(points, corners, best)
    for candidate in candidates[1:]:
        other = _distance(points, corners, candidate)
        closer = other < distance
        best, distance = np.where(closer[..., None], candidate, best), np.where(closer, other, distance)
    best = np.where(inside[..., None], foot, best)
    return best, _distance(points, corners, best)


def embed_points(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, *,
                 allowed: np.ndarray | list[np.ndarray] | None = None) -> tuple[LandmarkEmbedding, np.ndarray]:
    """Put points on a mesh at the closest place of its surface.

    Args:
        points: (N, 3).
        vertices: (V, 3).
        faces: (F, 3).
        allowed: triangles that may be used: indices or a mask (F,) for all points, or a list of N index arrays.

    Returns:
        (embedding, distance (N,)).
    """
    check_finite("points", check_shape("points", points, (None, 3)))
    shared = None
    if not isinstance(allowed, list):
        shared = np.arange(len(faces)) if allowed is None else np.asarray(allowed)
        shared = np.flatnonzero(shared) if shared.dtype == bool else shared
    triangle = np.zeros(len(points), dtype=np.int64)
    barycentric = np.zeros((len(points), 3))
    distance = np.zeros(len(points))
    for row, point in enumerate(points):
        candidates = shared if shared is not None else np.asarray(allowed[row])
        if len(candidates) == 0:
            raise ArgumentError(f"allowed: wanted at least one triangle for point {row}, got none")
        weights, squared = closest_point_on_triangles(point[None], vertices[faces[candidates]])
        best = int(np.argmin(squared))
        triangle[row], barycentric[row], distance[row] = candidates[best], weights[best], squared[best] ** 0.5
    return LandmarkEmbedding(triangle, barycentric), distance


def _edge(points: np.ndarray, start: np.ndarray, end: np.ndarray, corners: tuple[int, int]) -> np.ndarray:
    along = end - start
    length = _dot(along, along)
    place = np.clip(_dot(points - start, along) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    weights = np.zeros((*place.shape, 3))
    weights[..., corners[0]], weights[..., corners[1]] = 1 - place, place
    return weights


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=-1)


def _distance(points: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    offset = points - np.einsum("...k,...kc->...c", weights, corners)
    return _dot(offset, offset)
