"""From a projected normalised coordinate code to correspondences: which point of the face does each pixel show?

A code's colour is a place on the mean face (thesis, section 4.1.1), so the nearest point of the coloured surface is the pixel's
correspondence, and the distance in colour says how far it can be trusted: blurred outlines and wrong predictions leave the
surface.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.spatial

from facerecon.checks import check_finite, check_shape
from facerecon.errors import FaceError
from facerecon.morphable import MorphableModel
from facerecon.pncc.code import FOREGROUND_LEAST, foreground

# Colour distance at which a correspondence counts half: 3 % of the code's range, some 4 mm on the open model.
HALF_TRUST = 0.03


@dataclasses.dataclass(frozen=True, eq=False)
class Correspondences:
    """Pixels and the points of the face that they show.

    Attributes:
        pixels: (N, 2) float64, x and y px of the code's frame, pixel centres at integers.
        corners: (N, 3) int64, the vertices of the triangle that each pixel shows.
        barycentric: (N, 3) float64 >= 0, place in the triangle; rows sum to 1.
        distance: (N,) float64, distance between the pixel's colour and that of the place, codes in [0, 1].
    """

    pixels: np.ndarray
    corners: np.ndarray
    barycentric: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) in (0, 1]: 1 / (1 + (distance / 0.03)^2)."""
        return 1 / (1 + (self.distance / HALF_TRUST) ** 2)

    def points(self, vertices: np.ndarray) -> np.ndarray:
        """The places (N, 3) on a mesh (V, 3) of the model's topology: the mean, or a fitted head."""
        vertices = check_shape("vertices", np.asarray(vertices, np.float64), (None, 3))
        return np.einsum("nk,nkc->nc", self.barycentric, vertices[self.corners])


class CodeSurface:
    """The face's region as a surface in colour space, made once for a model and searched for every code.

    Args:
        model: whose mask `pncc` and `ncc` the codes were drawn with.

    Attributes:
        mean: (V, 3) float64 mm, the model's mean shape. model_name: its name.
    """

    def __init__(self, model: MorphableModel) -> None:
        faces, code = model.faces.numpy(), model.ncc.clamp(0, 1).double().numpy()
        region = model.masks["pncc"].numpy() if "pncc" in model.masks else np.ones(len(code), dtype=bool)
        self.mean, self.model_name = model.mean.double().numpy(), model.name
        self._faces = faces[region[faces].all(axis=1)]
        self._code = code
        self._vertices = np.unique(self._faces)
        self._tree = scipy.spatial.cKDTree(code[self._vertices])
        self._around = _triangles_around(self._faces, self._vertices)

    def match(self, code: np.ndarray, *, least: float = FOREGROUND_LEAST) -> Correspondences:
        """Correspondences of every foreground pixel.

        The nearest vertex in colour is found first, then the nearest point of the triangles around it.

        Args:
            code: (H, W, 3) float in [0, 1], or uint8.
            least: of `foreground`.

        Raises:
            FaceError: `no_face` when no pixel is foreground.
            ArgumentError: `shape_invalid`, `nonfinite`.
        """
        check_shape("code", code, (None, None, 3))
        if code.dtype != np.uint8:
            check_finite("code", code)
        rows, columns = np.nonzero(foreground(code, least=least))
        if not len(rows):
            raise FaceError("code: wanted a code with a face in it, got background alone; is this photo's face found at all?",
                            code="no_face")
        colours = code[rows, columns].astype(np.float64) / (255 if code.dtype == np.uint8 else 1)
        _, nearest = self._tree.query(colours)
        candidates = self._around[nearest]
        corners = self._faces[candidates.clip(0)]
        weights = nearest_in_triangle(colours[:, None], self._code[corners])
        distance = np.linalg.norm(np.einsum("nmk,nmkc->nmc", weights, self._code[corners]) - colours[:, None], axis=2)
        best = np.where(candidates >= 0, distance, np.inf).argmin(axis=1)
        row = np.arange(len(rows))
        return Correspondences(np.stack([columns, rows], axis=1).astype(np.float64), corners[row, best], weights[row, best],
                               distance[row, best])


def nearest_in_triangle(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Barycentrics (..., 3) of the points of triangles (..., 3, D) that are nearest to points (..., D); leading axes broadcast.

    The foot of the perpendicular where it lies inside, else the nearest point of the three edges. A triangle without area is
    treated as its edges.
    """
    points = np.broadcast_to(points, np.broadcast_shapes(points.shape, triangles.shape[:-2] + points.shape[-1:]))
    a, b, c = (triangles[..., k, :] for k in range(3))
    u, v, w = b - a, c - a, points - a
    uu, uv, vv, wu, wv = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = uu * vv - uv * uv
    safe = np.where(area > 1e-18, area, 1)
    second, third = (vv * wu - uv * wv) / safe, (uu * wv - uv * wu) / safe
    foot = np.stack([1 - second - third, second, third], axis=-1)
    inside = (foot >= 0).all(-1) & (area > 1e-18)
    edges = np.stack([_on_edge(points, triangles, i, j) for i, j in ((0, 1), (1, 2), (2, 0))])
    away = ((np.einsum("e...k,...kd->e...d", edges, triangles) - points) ** 2).sum(-1)
    edge = np.take_along_axis(edges, away.argmin(axis=0)[None, ..., None], axis=0)[0]
    return np.where(inside[..., None], foot, edge)


def _on_edge(points: np.ndarray, triangles: np.ndarray, start: int, end: int) -> np.ndarray:
    first, along = triangles[..., start, :], triangles[..., end, :] - triangles[..., start, :]
    share = ((points - first) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30)
    weights = np.zeros((*share.shape, 3))
    weights[..., end] = share.clip(0, 1)
    weights[..., start] = 1 - weights[..., end]
    return weights


def _triangles_around(faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(len(vertices), most) the triangles that touch each vertex, -1 where there are fewer."""
    corner = np.searchsorted(vertices, faces.reshape(-1))
    order = np.argsort(corner, kind="stable")
    counts = np.bincount(corner, minlength=len(vertices))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(vertices), counts.max()), -1)
    table[corner[order], place] = order // 3
    return table
