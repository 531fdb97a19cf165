"""What a fit reached, as a value."""

from __future__ import annotations

import dataclasses

from typing import TYPE_CHECKING

import numpy as np

from facerecon.morphable.parameters import FaceParameters

if TYPE_CHECKING:
    from facerecon.fitting.guide import LandmarkGuide


@dataclasses.dataclass(frozen=True)
class FitResult:
    """Parameters of one face, and how well they explain the photo.

    Attributes:
        parameters: identity, expression, albedo, light and pose; always finite.
        points: (N, 2) float64 px, the landmarks that were fitted.
        scheme: the landmarks' scheme.
        weights: (N,) float64, the weight that each landmark ended with, before robust down-weighting.
        landmark_nme_percent: mean distance over all N valid landmarks, weighted equally, between projected and given ones, as
            percent of sqrt(w h) of the given landmarks' bounding box.
        photometric_rmse: root mean square colour difference over pixels and channels, RGB in [0, 1], on visible skin: the
            pixels of the model's skin mask that face the camera, without patches that something covers (hair, hat, glasses,
            background beside a wrong outline), at the resolution of the fit; None when the photometric stage did not run.
        photometric_rmse_all: the same with the covered patches.
        covered_share: share of the skin mask's visible pixels that count as covered.
        iterations: accepted steps of all stages.
        visibility68: (68,) float32 in [0, 1], 1 where the camera sees the iBUG-68 point; None when the model has none.
        energies: the energy at the start and after each accepted step of the last stage; never rises.
        terms: the last stage's final energy by term.
        flags: `pose_out_of_range` when the head sees the camera beyond 95 degrees to its side or 70 above or below,
            `poor_fit` above 6 % landmark distance, `photometric_skipped` when too little skin is visible for that stage.
        warm: the stages, "landmarks" and "photometric", that began at parameters given to them rather than at the mean face.
        guide: the further points that the face was drawn to, in px of the photo, if any.
    """

    parameters: FaceParameters
    points: np.ndarray
    scheme: str
    weights: np.ndarray
    landmark_nme_percent: float
    photometric_rmse: float | None
    iterations: int
    visibility68: np.ndarray | None
    energies: tuple[float, ...] = ()
    terms: dict[str, float] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()
    photometric_rmse_all: float | None = None
    covered_share: float | None = None
    warm: tuple[str, ...] = ()
    guide: LandmarkGuide | None = None

    def replace(self, **changes) -> FitResult:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def landmark_nme_percent(projected: np.ndarray, points: np.ndarray, valid: np.ndarray) -> float:
    """Mean distance as percent of sqrt(w h) of the bounding box of `points`, over the valid rows; (N, 2) px each."""
    width, height = np.ptp(points[valid], axis=0)
    distance = np.sqrt(((projected[valid] - points[valid]) ** 2).sum(axis=1))
    return float(100 * distance.mean() / max(np.sqrt(width * height), 1e-9))
