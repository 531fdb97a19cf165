"""Head pose from the correspondences of a code: scaled orthography, robust against wrong pixels.

RANSAC over affine cameras gives a start. It is refined by turns: pixels are lifted to three dimensions by the present pose's
depth, the weighted similarity of model points to lifted pixels (Procrustes) gives the next pose, and pixels are weighed by
Tukey's biweight. With fixed weights each turn lowers the projection error, so the end is a least-squares pose of the inliers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from facerecon.checks import check_range, check_shape
from facerecon.detection import pose_to_crop, pose_to_photo  # noqa: F401 - part of `facerecon.pncc`
from facerecon.errors import FaceError, FitError
from facerecon.geometry import ScaledOrthographicPose, procrustes
from facerecon.pncc.correspondences import Correspondences

LEAST_PIXELS = 50
# A pixel agrees with a pose within this distance on the face: more than most people differ from the mean, less than chance. In
# the fit itself pixels lose their weight slowly up to twice as far, lest a wide face lose one of its sides.
INLIER_MM = 8.0
REACH_MM = 16.0
LEAST_INLIERS = 0.25
SAMPLES, SAMPLE_SIZE, SCORED = 200, 5, 400
# Enough pixels for a thousandth of a degree; the figures are still those of all pixels.
USED = 3000
TURNS = 100


@dataclasses.dataclass(frozen=True)
class CodePose:
    """Pose from a code, and how well it explains the code.

    Attributes:
        pose: of the vertices in the code's frame (px of its pixels), float32.
        pixels: how many foreground pixels were used.
        inlier_share: share of them within 8 mm (times the scale, in px) of where the pose puts their points.
        residual_px: median distance of those inliers, px.
        residual_mm: the same, divided by the scale.
    """

    pose: ScaledOrthographicPose
    pixels: int
    inlier_share: float
    residual_px: float
    residual_mm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.pose.to_dict(), "pixels": self.pixels, "inlier_share": round(self.inlier_share, 4),
                "residual_px": round(self.residual_px, 4), "residual_mm": round(self.residual_mm, 4)}


def recover_pose(matches: Correspondences, vertices: np.ndarray, *, seed: int = 0) -> CodePose:
    """The scaled orthographic pose that projects the corresponding points of `vertices` onto their pixels.

    Args:
        matches: of `CodeSurface.match`.
        vertices: (V, 3) mm: the model's mean (`CodeSurface.mean`), or a better guess of this head.
        seed: of the random samples; one seed gives one pose.

    Raises:
        FaceError: `no_face` for fewer than 50 foreground pixels.
        FitError: `fit_failed` when fewer than a quarter of the pixels agree on any pose.
    """
    check_shape("pixels", matches.pixels, (None, 2))
    if len(matches) < LEAST_PIXELS:
        raise FaceError(f"code: wanted at least {LEAST_PIXELS} foreground pixels for a pose, got {len(matches)}",
                        code="no_face")
    generator = np.random.default_rng(check_range("seed", seed, 0))
    every, trusted = matches.points(vertices), matches.confidence
    used = generator.choice(len(matches), min(USED, len(matches)), replace=False)
    points, pixels, weights = every[used], matches.pixels[used], trusted[used]
    rotation, translation, scale = _start(points, pixels, weights, generator)
    for _ in range(TURNS):
        away = np.linalg.norm(scale * points @ rotation[:2].T + translation - pixels, axis=1)
        trust = weights * _tukey(away, scale)
        if (trust > 1e-3).sum() < max(LEAST_PIXELS // 2, LEAST_INLIERS * len(points) / 2):
            break
        depth = scale * points @ rotation[2]
        lifted = np.column_stack([pixels, depth])
        moved = procrustes(torch.from_numpy(points), torch.from_numpy(lifted), torch.from_numpy(trust))
        before, rotation, scale = (rotation, scale), moved.rotation.numpy(), float(moved.scale)
        translation = moved.translation.numpy()[:2]
        if np.abs(rotation - before[0]).max() < 1e-7 and abs(scale / before[1] - 1) < 1e-7:
            break
    return _judged(every, matches.pixels, rotation, translation, scale)


def _tukey(away: np.ndarray, scale: float) -> np.ndarray:
    """Biweight whose reach follows the spread of the residuals, at most 16 mm and at least a pixel."""
    reach = REACH_MM * scale
    near = away[away < reach]
    if len(near):
        reach = min(reach, max(1.0, 4.685 * 1.4826 * float(np.median(near))))
    return np.where(away < reach, (1 - (away / reach) ** 2) ** 2, 0.0)


def _start(points: np.ndarray, pixels: np.ndarray, weights: np.ndarray,
           generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """The pose, among those of random handfuls of pixels, that most of the trusted pixels agree with."""
    chance = weights / weights.sum()
    picked = generator.choice(len(points), (SAMPLES, SAMPLE_SIZE), p=chance)
    scored = generator.choice(len(points), min(SCORED, len(points)), replace=False)
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    # One affine camera (4, 2) per handful; a ridge keeps flat handfuls finite.
    a, b = homogeneous[picked], pixels[picked]
    normal = np.swapaxes(a, 1, 2) @ a + 1e-6 * np.eye(4)
    cameras = np.linalg.solve(normal, np.swapaxes(a, 1, 2) @ b)
    left, stretch, right = np.linalg.svd(np.swapaxes(cameras[:, :3], 1, 2), full_matrices=False)
    rows = left @ right
    rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    scales = stretch.mean(axis=1)
    # Nearly all of a handful may be on a line or far from any view of a head; a view is close to a similarity.
    usable = (stretch[:, 1] > 0.3 * stretch[:, 0]) & np.isfinite(scales) & (scales > 1e-6)
    translations = (b - scales[:, None, None] * a[..., :3] @ np.swapaxes(rows, 1, 2)).mean(axis=1)
    projected = scales[:, None, None] * points[scored] @ np.swapaxes(rows, 1, 2) + translations[:, None]
    away = np.linalg.norm(projected - pixels[scored], axis=2) / np.maximum(scales, 1e-6)[:, None]
    agree = np.where(usable, (weights[scored] * np.clip(1 - (away / REACH_MM) ** 2, 0, None)).sum(axis=1), -1.0)
    best = int(agree.argmax())
    if agree[best] <= 0:
        raise FitError("code: no view of a head explains its pixels; is it a projected coordinate code of this model?",
                       code="fit_failed")
    return rotations[best], translations[best], float(scales[best])


def _judged(points: np.ndarray, pixels: np.ndarray, rotation: np.ndarray, translation: np.ndarray, scale: float) -> CodePose:
    away = np.linalg.norm(scale * points @ rotation[:2].T + translation - pixels, axis=1)
    inliers = away < INLIER_MM * scale
    share = float(inliers.mean())
    if share < LEAST_INLIERS or not np.isfinite(away).all():
        raise FitError(f"code: wanted at least {LEAST_INLIERS:.0%} of the pixels to agree on a pose, got {share:.0%}",
                       code="fit_failed")
    residual = float(np.median(away[inliers]))
    pose = ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32) for part in (rotation, translation, scale)))
    return CodePose(pose, len(pixels), share, residual, residual / scale)
