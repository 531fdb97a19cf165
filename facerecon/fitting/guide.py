"""Further points that a landmark fit is drawn to: what a network that has seen the whole face says of its landmarks.

A detector's landmarks are exact where a face looks at the camera; on a turned head those that the camera does not see are
guesses, and the contour ones slide to the outline. A guide's points are anatomical and count in every view.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError
from facerecon.fitting.gauss_newton import PointBasis
from facerecon.fitting.initial_pose import OrthographicView
from facerecon.fitting.landmark_weights import group_weight, landmark_sigma_mm
from facerecon.fitting.rows import LandmarkRows, landmark_rows
from facerecon.fitting.visibility import facing_weight
from facerecon.morphable.model import MorphableModel


@dataclasses.dataclass(frozen=True, eq=False)
class LandmarkGuide:
    """Points of a scheme in a photo, hidden ones too.

    Attributes:
        points: (N, 2) float64 px of the upright photo.
        weights: (N,) float64 >= 0; 1 counts as much as a landmark of a fit to these points alone.
        scheme: of the points, with an embedding in the model.
    """

    points: np.ndarray
    weights: np.ndarray
    scheme: str = "ibug68"

    def __post_init__(self) -> None:
        points, weights = (np.asarray(part, dtype=np.float64) for part in (self.points, self.weights))
        check_finite("guide.points", check_shape("guide.points", points, (None, 2)))
        check_finite("guide.weights", check_shape("guide.weights", weights, (len(points),)))
        if (weights < 0).any():
            raise ArgumentError(f"guide.weights: wanted numbers >= 0, got {weights.min()}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "weights", weights)


class Observations:
    """Landmarks, and a guide's points behind them, as one set.

    Args:
        model: the face model.
        scheme: of the landmarks.
        points: (N, 2) px, the landmarks.
        guide: M further points, or None.

    Attributes:
        rows: of the landmarks alone. basis: of all N + M points. points: (N + M, 2) px.

    Raises:
        ArgumentError: for a scheme that the model has not, or a guide with another number of points than its scheme.
    """

    def __init__(self, model: MorphableModel, scheme: str, points: np.ndarray, guide: LandmarkGuide | None) -> None:
        self.rows: LandmarkRows = landmark_rows(model, scheme)
        self.basis, self.points, self._scheme = self.rows.basis, points, scheme
        self._guide_weights = np.zeros(0)
        if guide is not None:
            more = landmark_rows(model, guide.scheme)
            check_shape("guide.points", guide.points, (len(more.normals), 2))
            self.basis = PointBasis(*(np.concatenate([getattr(self.basis, part), getattr(more.basis, part)])
                                      for part in ("mean", "identity", "expression")))
            self.points = np.concatenate([points, guide.points])
            # An energy has one standard deviation, that of the landmarks.
            unit = landmark_sigma_mm(len(points)) / landmark_sigma_mm(len(guide.points))
            self._guide_weights = guide.weights * more.valid * unit**2

    def with_guide(self, weights: np.ndarray) -> np.ndarray:
        """(N + M,) from the landmarks' weights (N,)."""
        return np.concatenate([weights, self._guide_weights])

    def weights(self, base: np.ndarray, view: OrthographicView) -> np.ndarray:
        """(N + M,): `base` (N,) times how far each landmark can be trusted in this view, and the guide's own."""
        return self.with_guide(view_weights(self.rows, self._scheme, base, view))


def view_weights(rows: LandmarkRows, scheme: str, base: np.ndarray, view: OrthographicView) -> np.ndarray:
    """`base` (N,) times how far each landmark can be trusted in this view."""
    return base * facing_weight(rows.normals, view.rotation) * group_weight(scheme, len(base), view.rotation)
