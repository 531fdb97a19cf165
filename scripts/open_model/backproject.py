"""Carry points of a picture through the triangles of the drawn head to the mean head."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.morphable.modelfile import ModelData
from facerecon.morphable.schemes import MEDIAPIPE478_GROUPS as GROUPS
from open_model.landmarks import components
from open_model.portrait import Portrait

_UPPER_INNER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
_LOWER_INNER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
SEARCH = 9
# A point that is only ever seen on the silhouette still has a place: weight of the least kind.
LEAST_WEIGHT = 0.003
# Points seen as squarely as this tell how the detector's depth relates to millimetres; its spread, mm.
TRUSTED, DEPTH_TRUST = 0.3, 7.0


@dataclasses.dataclass(frozen=True)
class MeanMap:
    """The mean head and which triangles each of the 478 points may lie on.

    label (F,): 0 none of these, 1 outer skin, 2 image-left (subject's right) eyeball, 3 the other, 4 upper lip, 5 lower lip;
    lips are skin too. wanted: per point a tuple of labels.
    """

    mean: np.ndarray
    faces: np.ndarray
    label: np.ndarray
    wanted: tuple[tuple[int, ...], ...]

    def triangles_for(self, point: int) -> np.ndarray:
        """Indices of the triangles that a point may lie on."""
        return np.flatnonzero(np.isin(self.label, self.wanted[point]))

    def carry(self, portrait: Portrait, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image points (478, 3) -> places (478, 3) on the mean head and weights (478,).

        A point counts by how squarely its surface is seen, and by how well the surface's depth agrees with the depth that
        the detector gives it: a point of the far cheek is drawn on the silhouette, where another part of the head is.
        """
        factor = portrait.face_index.shape[0] / portrait.pixels.shape[0]
        places, weights, height = np.zeros((len(points), 3)), np.zeros(len(points)), np.zeros(len(points))
        for row, point in enumerate((points[:, :2] + 0.5) * factor - 0.5):
            found = self._nearest(portrait, point, self.wanted[row])
            if found is None:
                continue
            place, distance = found
            index = portrait.face_index[place]
            places[row] = portrait.barycentric[place] @ self.mean[self.faces[index]]
            height[row] = portrait.height[place]
            weights[row] = (max(portrait.facing[place], 0.0) ** 2 + LEAST_WEIGHT) * np.exp(-0.5 * (distance / 4) ** 2)
        trusted = weights > TRUSTED
        for _ in range(3):
            line = np.polynomial.Polynomial.fit(-points[trusted, 2], height[trusted], 1)
            gap = np.abs(height - line(-points[:, 2]))
            trusted = (weights > TRUSTED) & (gap < DEPTH_TRUST)
        return places, weights * np.exp(-0.5 * (gap / DEPTH_TRUST) ** 2)

    def _nearest(self, portrait: Portrait, point: np.ndarray, wanted: tuple[int, ...]):
        height, width = portrait.face_index.shape
        column, row = np.rint(point).astype(int)
        r0, r1 = max(row - SEARCH, 0), min(row + SEARCH + 1, height)
        c0, c1 = max(column - SEARCH, 0), min(column + SEARCH + 1, width)
        if r0 >= r1 or c0 >= c1:
            return None
        index = portrait.face_index[r0:r1, c0:c1]
        allowed = (index >= 0) & np.isin(self.label[np.maximum(index, 0)], wanted)
        if not allowed.any():
            return None
        rows, columns = np.nonzero(allowed)
        distance = np.hypot(rows + r0 - point[1], columns + c0 - point[0])
        best = distance.argmin()
        place = rows[best] + r0, columns[best] + c0
        return place, distance[best]


def build_mean_map(data: ModelData) -> MeanMap:
    """Label the triangles: parts by connectivity and masks, lips above and below the slit by their place in the atlas."""
    mean, faces = data.mean.astype(np.float64), data.faces
    part = components(faces)
    eyes = data.masks["eyes"][faces].all(axis=1)
    inside = data.masks["mouth"][faces].any(axis=1)
    body = np.bincount(part).argmax()
    label = np.where((part[faces[:, 0]] == body) & ~inside, 1, 0)
    middle = mean[faces].mean(axis=1)
    label[eyes] = np.where(middle[eyes, 0] < 0, 2, 3)
    lips = data.masks["lips"][faces].all(axis=1) & (label == 1)
    height = data.uv[data.uv_faces].mean(axis=1)[:, 1]
    # The slit between the lips is a hole of the atlas: the lips' rim against the mouth's inside lies on both its sides.
    rim = lips & data.masks["mouth"][faces].any(axis=1) if (lips & inside).any() else lips
    slit = (height[rim].max() + height[rim].min()) / 2
    label[lips & (height > slit)] = 4
    label[lips & (height <= slit)] = 5
    wanted = [(1, 4, 5)] * 478
    for point in _UPPER_INNER:
        wanted[point] = (4,)
    for point in _LOWER_INNER:
        wanted[point] = (5,)
    for group, number in (("right iris", 2), ("left iris", 3)):
        for point in GROUPS[group]:
            wanted[point] = (number,)
    return MeanMap(mean, faces, label, tuple(wanted))


def robust_mean(places: np.ndarray, weights: np.ndarray, *, rounds: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Weighted Huber mean (N, 3) over detections (D, N, 3) and the weighted spread (N,), root mean square, in mm."""
    used = weights + 1e-12
    mean = (used[..., None] * places).sum(axis=0) / used.sum(axis=0)[:, None]
    for _ in range(rounds):
        distance = np.linalg.norm(places - mean, axis=2)
        huber = used / np.maximum(distance, 1.5)
        mean = (huber[..., None] * places).sum(axis=0) / huber.sum(axis=0)[:, None]
    distance = np.minimum(np.linalg.norm(places - mean, axis=2), 10.0)
    return mean, np.sqrt((used * distance ** 2).sum(axis=0) / used.sum(axis=0))
