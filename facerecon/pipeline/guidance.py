"""How far the fit of a face follows the encoder, and how far the detector's landmarks."""

from __future__ import annotations

import math

import numpy as np

from facerecon.fitting import LandmarkGuide, guide_of
from facerecon.fitting.result import landmark_nme_percent
from facerecon.morphable import FaceParameters, MorphableModel

# Degrees between the directions of face and camera over which trust passes from the landmarks to the encoder: the detector
# was made for faces that look at the camera.
TURN_START_DEG, TURN_END_DEG = 20.0, 60.0
# Weight of the encoder's points before and after.
GUIDE_LEAST, GUIDE_MOST = 0.2, 2.0
# What remains of the landmarks' weight after.
LANDMARKS_LEAST = 0.25
GUIDE_SCHEME = "ibug68"
# An answer whose landmarks lie farther from the detector's is that of another face, or of none.
FAR_PERCENT = 30.0


def turn_degrees(parameters: FaceParameters) -> float:
    """The angle between the face's direction and the camera's, 0 for a frontal face, in degrees."""
    return math.degrees(math.acos(min(max(-float(parameters.pose.rotation[2, 2]), -1.0), 1.0)))


def near_landmarks(model: MorphableModel, encoded: FaceParameters, points: np.ndarray, scheme: str) -> bool:
    """Whether an encoder's face lies where the landmarks (N, 2 or more) px of the scheme are, so that it can guide a fit."""
    if GUIDE_SCHEME not in model.embeddings:
        return False
    placed = guide_of(model, encoded, scheme=scheme).points
    return landmark_nme_percent(placed, points[:, :2], model.embeddings[scheme].valid) < FAR_PERCENT


def guidance(model: MorphableModel, encoded: FaceParameters, count: int) -> tuple[LandmarkGuide, np.ndarray]:
    """The guide of a fit to `count` landmarks of a detector, and the landmarks' weights (count,).

    Args:
        model: the face model of the parameters.
        encoded: an encoder's answer, in px of the photo.
        count: of the landmarks.
    """
    along = min(max((turn_degrees(encoded) - TURN_START_DEG) / (TURN_END_DEG - TURN_START_DEG), 0.0), 1.0)
    turned = along * along * (3.0 - 2.0 * along)
    guide = guide_of(model, encoded, weight=GUIDE_LEAST + (GUIDE_MOST - GUIDE_LEAST) * turned, scheme=GUIDE_SCHEME)
    return guide, np.full(count, 1.0 + (LANDMARKS_LEAST - 1.0) * turned)
