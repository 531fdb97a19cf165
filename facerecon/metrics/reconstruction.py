"""Error of a reconstructed face shape after alignment with the true one."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_choice, check_finite, check_range, check_shape
from facerecon.errors import ArgumentError

ALIGNMENTS = ("similarity", "rigid", "sadrnet_closed_form", "icp_rigid", "icp_similarity", "none")
DISTANCES = ("index", "nearest")


@dataclasses.dataclass(frozen=True)
class SimilarityTransform:
    """x -> scale * rotation @ x + translation.

    Attributes:
        scale: larger than zero.
        rotation: (3, 3), determinant +1 (`sadrnet_closed_form` alone may mirror degenerate points).
        translation: (3,).
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) -> (N, 3)."""
        return points @ (self.scale * self.rotation.T) + self.translation


def align_points(source: np.ndarray, target: np.ndarray, *, mode: str = "similarity") -> SimilarityTransform:
    """Closed-form alignment of points in correspondence.

    Args:
        source: (N, 3); `target`: (N, 3).
        mode: "similarity": least squares over scale, rotation and translation (Umeyama 1991), never a mirror image.
            "rigid": the same with scale 1. "sadrnet_closed_form": SADRNet's published one: the scale is the ratio of the
            summed distances to the first point, then the rotation by Kabsch without guard against mirror images.

    Raises:
        ArgumentError: `argument_invalid` for points without extent.
    """
    check_choice("mode", mode, ("similarity", "rigid", "sadrnet_closed_form"))
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    check_shape("source", source, (None, 3))
    check_shape("target", target, (len(source), 3))
    source_mean, target_mean = _centre(source), _centre(target)
    centred = source - source_mean
    u, singular, vt = np.linalg.svd(centred.T @ (target - target_mean))
    sign = np.ones(3)
    if mode != "sadrnet_closed_form":
        sign[2] = np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0
    rotation = (vt.T * sign) @ u.T
    if mode == "rigid":
        scale = 1.0
    else:
        if mode == "similarity":
            above, below = float(singular @ sign), float(np.einsum("nd,nd->", centred, centred))
        else:
            above, below = _distances(target, target[0]).sum(), _distances(source, source[0]).sum()
        if not (0 < above < np.inf and 0 < below < np.inf):
            raise ArgumentError("source, target: wanted points with an extent to find a scale, got points that coincide")
        scale = float(above / below)
    return SimilarityTransform(scale, rotation, target_mean - scale * rotation @ source_mean)


def interocular_distance(landmarks: np.ndarray) -> np.ndarray:
    """3D distance of the outer eye corners, iBUG points 36 and 45 counted from 0: (..., 68, 3) -> (...).

    In 3D on purpose: in the image it collapses for profile views.
    """
    check_shape("landmarks", landmarks, ("...", 68, 3))
    return np.linalg.norm(np.asarray(landmarks[..., 36, :], dtype=np.float64) - landmarks[..., 45, :], axis=-1)


def reconstruction_error(prediction: np.ndarray, truth: np.ndarray, *, normaliser: float, align: str = "similarity",
                         distance: str = "index", stride: int = 1, iterations: int = 50,
                         tolerance: float = 1e-6) -> float:
    """Mean vertex distance after alignment, over a normaliser.

    E = (1/N) sum_k |T(p_k) - t_k| / D. Closed-form alignments use the correspondence of the indices. The `icp_` alignments
    pair every `stride`-th aligned point with its nearest true point, solve, and repeat until the mean distance changes by
    less than `tolerance` (relative), starting from matched centroids (Besl and McKay 1992).

    Args:
        prediction: (N, 3); `truth`: (N, 3), one frame and handedness for both.
        normaliser: D in the unit of the points: the 3D distance of the outer eye corners (PRNet, SADRNet) or a box size.
        align: "similarity", "rigid", "sadrnet_closed_form", "icp_rigid", "icp_similarity", or "none".
        distance: "index", or "nearest" true point.
        stride: which points drive the ICP (2DASL takes every 50th).

    Returns:
        The error as a fraction.
    """
    check_choice("align", align, ALIGNMENTS)
    check_choice("distance", distance, DISTANCES)
    check_range("normaliser", float(normaliser), 0.0)
    if not normaliser > 0:
        raise ArgumentError("normaliser: wanted a length above zero, got 0")
    prediction = check_finite("prediction", np.asarray(prediction, dtype=np.float64))
    truth = check_finite("truth", np.asarray(truth, dtype=np.float64))
    check_shape("truth", truth, (None, 3))
    check_shape("prediction", prediction, (len(truth), 3))
    tree = None
    if align.startswith("icp") or distance == "nearest":
        # Only these two need the search tree, and importing it takes longer than most calls here.
        import scipy.spatial

        tree = scipy.spatial.cKDTree(truth)
    if align.startswith("icp"):
        aligned = _icp(prediction, truth, tree, "rigid" if align == "icp_rigid" else "similarity", stride, iterations,
                       tolerance)(prediction)
    elif align == "none":
        aligned = prediction
    else:
        aligned = align_points(prediction, truth, mode=align)(prediction)
    if distance == "nearest":
        distances = tree.query(aligned)[0]
    else:
        distances = _distances(aligned, truth)
    return float(distances.mean() / normaliser)


def _centre(points: np.ndarray) -> np.ndarray:
    # A matrix product sums rows of three several times faster than mean(axis=0).
    return np.full(len(points), 1.0 / len(points)) @ points


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    difference = points - others
    return np.sqrt(np.einsum("nd,nd->n", difference, difference))


def _icp(source: np.ndarray, target: np.ndarray, tree, mode: str, stride: int, iterations: int,
         tolerance: float) -> SimilarityTransform:
    chosen = source[::stride]
    transform = SimilarityTransform(1.0, np.eye(3), _centre(target) - _centre(source))
    before = np.inf
    for _ in range(iterations):
        distances, nearest = tree.query(transform(chosen))
        transform = align_points(chosen, target[nearest], mode=mode)
        now = float(distances.mean())
        if abs(before - now) <= tolerance * max(now, 1e-12):
            break
        before = now
    return transform
