"""The heatmap network of a fit: where the 68 points of a turned head are, once an encoder has said about where."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from facerecon.assets import locate, manifest
from facerecon.detection import cut_square
from facerecon.detection.boxes import checked_box, points_box
from facerecon.lazy import Once

if TYPE_CHECKING:
    from facerecon.alignment import LandmarkPredictor, Landmarks

LANDMARK_ASSET = "weights/landmarks-128.safetensors"


def landmark_network_ships() -> bool:
    """Whether weights of a landmark network are among the shipped assets."""
    return LANDMARK_ASSET in manifest()


class LandmarkNetwork:
    """The network with its weights, loaded for the first head that wants it; thread-safe.

    Args:
        weights: of a landmark network of 68 points; None for those that ship.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        def load() -> LandmarkPredictor:
            from facerecon.alignment import LandmarkPredictor

            return LandmarkPredictor.load(locate(LANDMARK_ASSET) if weights is None else weights)

        self._predictor = Once(load)

    def __call__(self, pixels: np.ndarray, about: np.ndarray, *, roll: float = 0.0) -> Landmarks:
        """The landmarks of one face.

        Args:
            pixels: (H, W, 3) uint8 RGB, the upright photo.
            about: (68, 2) px, where they are about.
            roll: radians by which the face lies in the photo, see `CropRule.crop`.

        Returns:
            (68, 2) px of the photo, and confidences (68,) in [0, 1].

        Raises:
            FaceError: `box_invalid` for points outside the photo. ModelError: weights that cannot be used.
        """
        predictor = self._predictor()
        checked_box(points_box(about), pixels.shape[1], pixels.shape[0])
        crop = predictor.crop_rule.around_points(about, size=predictor.image_size, roll=roll)
        found = predictor.predict_crops(cut_square(pixels, crop)[None])
        return found._replace(points=crop.to_image(found.points[0]), confidence=found.confidence[0])
