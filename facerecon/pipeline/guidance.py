"""How far the fit of a face follows the encoder, and how far the detector's landmarks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from facerecon.detection.boxes import iou, points_box
from facerecon.fitting import LandmarkGuide
from facerecon.fitting.result import landmark_nme_percent
from facerecon.morphable import FaceParameters

# Degrees between the directions of face and camera over which trust passes from the landmarks to the encoder: the detector
# was made for faces that look at the camera.
TURN_START_DEG, TURN_END_DEG = 20.0, 50.0
# Weight of the encoder's points after; and before, of the jaw alone, which detectors put on the outline even near the front,
# while their mouths and eyes show expressions that an encoder smooths away.
GUIDE_MOST, JAW_LEAST = 2.0, 0.1
JAW = slice(0, 17)
# What remains of the landmarks' weight after.
LANDMARKS_LEAST = 0.1
# Beyond this turn a detector's landmarks say little of how good an answer is.
JUDGED_BY_LOOKS_DEG = 50.0
# Looks at a crop and at its mirror image differ by 2 % at the median and 6 % at the 98th percentile; wrong answers by far more.
DOUBT_PERCENT = 6.0
POOR_FIT = "poor_fit"
# A heatmap's point counts as much as the encoder's where its confidence is this, and in full as a guide from SURE on.
EVEN, SURE = 0.3, 0.8
# An answer whose landmarks' box overlaps the detector's less is that of another face, or of none.
LEAST_OVERLAP = 0.25


class Look(NamedTuple):
    """What an encoder says of a face.

    Attributes:
        parameters: with the pose in px of the photo, checked.
        landmarks68: (68, 2) float32 px, from the crop as it is and, where that was looked at, mirrored; with those of a heatmap
            network, where it was asked.
        doubt_percent: mean distance of the encoder's two as percent of sqrt(w h) of their box; None without the mirrored look.
        roll: radians by which the crop leans in the photo.
        trust: (68,) in [0, 1], how far each landmark can guide a fit; None: all in full.
    """

    parameters: FaceParameters
    landmarks68: np.ndarray
    doubt_percent: float | None
    roll: float = 0.0
    trust: np.ndarray | None = None


def both_ways(parameters: FaceParameters, landmarks68: np.ndarray, mirrored68: np.ndarray, *, roll: float = 0.0) -> Look:
    """A look at a crop joined with one at its mirror image, both (68, 2) px of the photo."""
    mean = (landmarks68 + mirrored68) / 2
    away = landmark_nme_percent(mirrored68, landmarks68, np.ones(len(landmarks68), bool))
    return Look(parameters, mean, away, roll)


def with_heatmaps(look: Look, points: np.ndarray, confidence: np.ndarray) -> Look:
    """A look joined with the points (68, 2) px of a heatmap network, each as far as its confidence (68,) goes.

    An encoder sees a whole head and places no point exactly; heatmaps are exact where the point is seen.
    """
    share = (confidence / (confidence + EVEN))[:, None]
    mean = share * points + (1 - share) * look.landmarks68
    return look._replace(landmarks68=mean.astype(np.float32), trust=np.minimum(confidence / SURE, 1.0) ** 2)


def judged_flags(flags: tuple[str, ...], parameters: FaceParameters, look: Look | None) -> tuple[str, ...]:
    """Flags of a result: of a head turned far aside `poor_fit` by the encoder's doubt, not by the detector's landmarks."""
    if look is None or look.doubt_percent is None or turn_degrees(parameters) < JUDGED_BY_LOOKS_DEG:
        return flags
    kept = tuple(flag for flag in flags if flag != POOR_FIT)
    return (*kept, POOR_FIT) if look.doubt_percent > DOUBT_PERCENT else kept


def turn_degrees(parameters: FaceParameters) -> float:
    """The angle between the face's direction and the camera's, 0 for a frontal face, in degrees."""
    return math.degrees(math.acos(min(max(-float(parameters.pose.rotation[2, 2]), -1.0), 1.0)))


def near_face(landmarks68: np.ndarray, box: np.ndarray) -> bool:
    """Whether an encoder's landmarks (68, 2) px lie in a detector's box (4,) px, so that they can guide a fit."""
    return float(iou(points_box(landmarks68), np.asarray(box, np.float64)[None])[0]) >= LEAST_OVERLAP


def guidance(look: Look, count: int) -> tuple[LandmarkGuide, np.ndarray]:
    """The guide of a fit to `count` landmarks of a detector, and the landmarks' weights (count,); the turn decides, and of each
    point of the guide its trust."""
    along = min(max((turn_degrees(look.parameters) - TURN_START_DEG) / (TURN_END_DEG - TURN_START_DEG), 0.0), 1.0)
    turned = along * along * (3.0 - 2.0 * along)
    weights = np.full(len(look.landmarks68), GUIDE_MOST * turned)
    weights[JAW] = JAW_LEAST + (GUIDE_MOST - JAW_LEAST) * turned
    if look.trust is not None:
        weights *= look.trust
    return LandmarkGuide(look.landmarks68, weights), np.full(count, 1.0 + (LANDMARKS_LEAST - 1.0) * turned)
