"""From a candidate to a described face: dense landmarks that agree with it, confidence, flags; duplicates and order."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from facerecon.detection.boxes import areas, iou, points_box
from facerecon.detection.candidates import Candidate, best_score, same_place
from facerecon.detection.confidence import evidence, probability, rank
from facerecon.detection.crop import Crop
from facerecon.detection.face import LOW_QUALITY_PX, TOO_SMALL_PX, DetectedFace
from facerecon.detection.five_points import approximate_yaw_deg, five_from_dense, roll_of
from facerecon.detection.landmarker import DenseLandmarks, Landmarker, ShortRangeFaces

PADDING = 2.0
ROLL_LIMIT = math.radians(15)
AGREE_IOU = 0.35
AGREE_POINTS = 0.2
EQUAL_AREA = 0.85
# MTCNN's log-odds from which missing landmarks are looked for in other views: (padding, mirrored).
SURE_LOGIT = 2.0
OTHER_VIEWS = ((2.0, True), (2.6, False), (1.5, True))
# Log-odds that a face is given for standing upright, as most do.
UPRIGHT_LEAD = 1.0

Dense = tuple[np.ndarray, dict[str, float]]


def describe(pixels: np.ndarray, ways: list[Candidate], landmarker: Landmarker) -> DetectedFace:
    """Look closely at a candidate, in each way round that it may be, and keep the most convincing.

    Args:
        pixels: uint8 RGB (H, W, 3).
        ways: the candidate the ways round that it may be, as `with_turns` gives it.
        landmarker: MediaPipe.
    """
    looks = [_look(pixels, candidate, landmarker) for candidate in ways]
    return with_flags(max(looks, key=lambda look: look[0])[1], (pixels.shape[1], pixels.shape[0]))


def _look(pixels: np.ndarray, candidate: Candidate, landmarker: Landmarker) -> tuple[float, DetectedFace]:
    """How convincing a candidate is among its ways round, and the face that it makes."""
    crop = _crop(candidate)
    view = crop.extract(pixels)
    seen = landmarker.find(view)
    corners = seen.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    boxes = np.array([points_box(crop.to_image(corner)) for corner in corners]).reshape(-1, 4)
    score = best_score(candidate.box, ShortRangeFaces(boxes, seen.scores, seen.keypoints))
    dense = _agreeing(candidate, crop, landmarker.landmarks(view))
    if dense is None and candidate.logit >= SURE_LOGIT:
        dense = _other_views(pixels, candidate, landmarker)
    box, points5, points478, shapes = candidate.box, candidate.points5, None, None
    if dense is not None:
        points478, shapes = dense
        box, points5 = points_box(points478), five_from_dense(points478)
    face = DetectedFace(box=np.asarray(box, np.float32),
                        confidence=probability(evidence(candidate.logit, score, dense is not None)),
                        points478=points478, points5=np.asarray(points5, np.float32),
                        yaw_deg=approximate_yaw_deg(points5), blendshapes=shapes, source=candidate.source)
    upright = abs(roll_of(candidate.points5)) < math.radians(60)
    return rank(candidate.logit, score, dense is not None) + UPRIGHT_LEAD * upright, face


def _crop(candidate: Candidate, padding: float = PADDING) -> Crop:
    roll = roll_of(candidate.points5)
    side = padding * float(max(candidate.box[2:] - candidate.box[:2]))
    size = int(np.clip(round(side), 192, 512))
    return Crop.around(candidate.box, size=size, padding=padding, roll=roll if abs(roll) > ROLL_LIMIT else 0.0)


def _other_views(pixels: np.ndarray, candidate: Candidate, landmarker: Landmarker) -> Dense | None:
    # Near a profile MediaPipe's networks are at their limit, and a little change of the view decides.
    for padding, mirrored in OTHER_VIEWS:
        crop = _crop(candidate, padding)
        dense = _agreeing(candidate, crop, landmarker.landmarks(crop.extract(pixels), mirrored=mirrored))
        if dense is not None:
            return dense
    return None


def _agreeing(candidate: Candidate, crop: Crop, found: list[DenseLandmarks]) -> Dense | None:
    """The dense landmarks that lie on the candidate: their box overlaps its, and their five points are near its.

    Where MTCNN does not believe in a face (a mask, a close-up), its points are guesses and are not asked.
    """
    scale = math.sqrt(float(areas(candidate.box)))
    for dense in found:
        points = crop.to_image(dense.points)
        overlap = float(iou(points_box(points), candidate.box[None])[0])
        away = float(np.linalg.norm(five_from_dense(points) - candidate.points5, axis=1).mean()) / scale
        if overlap >= AGREE_IOU and (away <= AGREE_POINTS or candidate.logit < 0):
            return points.astype(np.float32), dense.blendshapes
    return None


def with_flags(face: DetectedFace, size: tuple[int, int]) -> DetectedFace:
    """The face with the flags that follow from its box and points in a photo of (width, height)."""
    box, flags = face.box, []
    if face.size < LOW_QUALITY_PX:
        flags.append("too_small" if face.size < TOO_SMALL_PX else "low_quality")
    if box[0] < -0.5 or box[1] < -0.5 or box[2] > size[0] - 0.5 or box[3] > size[1] - 0.5:
        flags.append("partial")
    turn = round(math.degrees(roll_of(face.points5)) / 90) % 4 * 90 if face.points5 is not None else 0
    if turn:
        flags.append(f"rotated_{turn}")
    if face.points478 is None:
        flags.append("no_dense_landmarks")
    return replace(face, flags=tuple(flags))


def one_of_each(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Leave out faces at the place of a better one: one with dense landmarks, then one of higher confidence."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda face: (face.points478 is None, -face.confidence)):
        if not kept or not same_place(face.box, np.array([other.box for other in kept])).any():
            kept.append(face)
    return kept


def in_order(faces: list[DetectedFace], width: int) -> list[DetectedFace]:
    """Largest first; of faces about equally large (areas within 15 % of the largest of them) the more central first."""
    rest = sorted(faces, key=lambda face: -face.size)
    ordered: list[DetectedFace] = []
    while rest:
        alike = [face for face in rest if face.size**2 >= EQUAL_AREA * rest[0].size**2]
        rest = rest[len(alike):]
        ordered += sorted(alike, key=lambda face: (abs(float(face.box[0] + face.box[2]) - (width - 1)), float(face.box[1])))
    return ordered
