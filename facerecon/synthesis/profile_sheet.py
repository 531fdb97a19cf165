"""What surrounds a head in its photo, as a mesh that gives way when the head turns."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from facerecon.geometry import ScaledOrthographicPose
from facerecon.render import interpolate, rasterize
from facerecon.synthesis.profile_head import HeadSurface
from facerecon.synthesis.profile_window import fill_in

CONTOUR_STEP_MM = 5.0
GRID_STEP_MM = 18.0
# Hair and hat around the head move with it up to here, and fade out; behind the outline they fall back this steeply.
HAIR_MM = (8.0, 45.0)
FALL_BACK = 0.6
# How firmly the hair is held against the smoothness of the motion around it.
HAIR_HOLD = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """Background, hair, neck and shoulders behind the head, one connected mesh over the whole window.

    Attributes:
        points: (A, 3) float64, anchors in px of the window, with depth.
        triangles: (T, 3) int64, Delaunay's.
        turned: (A,) float64 in [0, 1], how much of the head's turn an anchor takes where it is held.
        hold: (A,) float64, how firmly it is held: infinite on the outline, 0 where it is free.
        plate: (N, N, 3) float32, the photo without the head.
    """

    points: np.ndarray
    triangles: np.ndarray
    turned: np.ndarray
    hold: np.ndarray
    plate: np.ndarray

    def moved(self, turn: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """(A, 3) px: the anchors after the head turned by `turn` (3, 3, camera frame) about `pivot` (3,).

        Held anchors move as the head's outline does; the others follow so that neighbours keep their relative places as well
        as they can (the linear system of Zhu et al., CVPR 2016, section 5.2). The window's border stays.
        """
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import spsolve

        centred = self.points - pivot
        wanted = self.turned[:, None] * (centred @ turn.T - centred)
        first, second = edges_of(self.triangles).T
        length = np.linalg.norm(self.points[first, :2] - self.points[second, :2], axis=1)
        stiff = 1.0 / np.maximum(length, 1e-6)
        count = len(self.points)
        graph = coo_matrix((stiff, (first, second)), (count, count))
        graph = graph + graph.T
        degree = np.asarray(graph.sum(axis=1)).ravel()
        fixed = np.isinf(self.hold)
        hold = np.where(fixed, 0.0, self.hold * degree)
        system = (diags(degree + hold) - graph).tocsc()
        free = ~fixed
        right = hold[:, None] * wanted - system[:, np.flatnonzero(fixed)] @ wanted[fixed]
        motion = wanted.copy()
        motion[free] = spsolve(system[free][:, free], right[free]).reshape(-1, 3)
        return self.points + motion

    def draw(self, anchors: np.ndarray, pose: ScaledOrthographicPose, window_pose: ScaledOrthographicPose, size: int, *,
             factor: int = 2) -> np.ndarray:
        """(size, size, 3) float32: the mesh with its anchors at `anchors` (A, 3), in a picture cut out of the window.

        Args:
            anchors: px of the window.
            pose: of any head in px of the picture, and `window_pose` of the same head in px of the window: they say how the
                picture is cut.
            size: the picture's side, px.
            factor: supersampling.
        """
        import cv2

        large = pose.scaled_image(factor)
        scale = float(large.scale / window_pose.scale)
        placed = np.concatenate([(anchors[:, :2] - window_pose.translation.double().numpy()) * scale
                                 + large.translation.double().numpy(), anchors[:, 2:]], axis=1)
        faces = torch.from_numpy(self.triangles)
        fragments = rasterize(torch.from_numpy(placed).float(), faces, (factor * size,) * 2)
        drawn = interpolate(fragments, torch.from_numpy(self.points[:, :2]).float(), faces)[0].numpy()
        colour = cv2.remap(self.plate, drawn[..., 0], drawn[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.resize(colour, (size, size), interpolation=cv2.INTER_AREA)


def edges_of(triangles: np.ndarray) -> np.ndarray:
    """(E, 2) each edge of the triangles once."""
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0)


def surrounding_sheet(head: HeadSurface) -> Sheet:
    """The mesh around a head in its window.

    Anchors lie on the head's outline, where they have its depth; on a grid to the window's border; and under the head, so that
    there is something behind it everywhere. Outside, depth goes on from the nearest place of the outline and falls back.
    """
    import cv2
    from scipy.spatial import Delaunay

    size, unit = head.window.size, head.window.px_per_mm
    mask = head.fragments.mask[0].numpy()
    twist = interpolate(head.fragments, head.twist[:, None], head.model.faces)[0, ..., 0].numpy()
    # The outermost pixels' depth varies wildly from one to the next; a little further in it is steady.
    steady = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    nearest = _nearest(steady if steady.any() else mask)
    depth, twist = head.fragments.depth[0].numpy()[nearest], twist[nearest]

    contour = _contour(mask, CONTOUR_STEP_MM * unit)
    line = cv2.polylines(np.ones((size, size), np.uint8), [contour[:, None]], True, 0)
    from_line = cv2.distanceTransform(line, cv2.DIST_L2, 5) / unit
    ticks = np.linspace(0, size - 1, int(np.ceil((size - 1) / (GRID_STEP_MM * unit))) + 1).round().astype(int)
    grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    edge = (grid == 0).any(1) | (grid == size - 1).any(1)
    keep = edge | (from_line[grid[:, 1], grid[:, 0]] > 0.45 * GRID_STEP_MM)
    grid, edge = grid[keep], edge[keep]

    at, along = (grid[:, 1], grid[:, 0]), (contour[:, 1], contour[:, 0])
    away = from_line[at]
    # Beside the neck nothing is held: shoulders follow the neck only as far as they must.
    hair = np.clip((HAIR_MM[1] - away) / (HAIR_MM[1] - HAIR_MM[0]), 0, 1) ** 2 * np.clip(4 * twist[at] - 3, 0, 1)
    hold = np.where(edge, np.inf, np.where(mask[at], 0.0, HAIR_HOLD * hair))
    points = np.concatenate([np.column_stack([contour, depth[along]]),
                             np.column_stack([grid, depth[at] + FALL_BACK * away * unit])]).astype(np.float64)
    known = cv2.erode((~mask).astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1).astype(np.float32)
    return Sheet(points, Delaunay(points[:, :2]).simplices.astype(np.int64),
                 np.concatenate([twist[along], np.where(edge, 0.0, twist[at])]),
                 np.concatenate([np.full(len(contour), np.inf), hold]), fill_in(head.window.image, known))


def _contour(mask: np.ndarray, step: float) -> np.ndarray:
    """(C, 2) int, x and y of pixels of the mask's outer outline, about `step` px apart."""
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    return outline[::max(int(step), 1)]


def _nearest(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (H, W) each of the nearest known pixel."""
    from scipy.ndimage import distance_transform_edt

    return tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))
