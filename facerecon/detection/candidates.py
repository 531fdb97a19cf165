"""Places where a face may be: what MTCNN and MediaPipe's detector say, joined, each place once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facerecon.detection.boxes import areas, intersections, iou, suppress
from facerecon.detection.landmarker import ShortRangeFaces
from facerecon.detection.mtcnn import Mtcnn, MtcnnFaces

SAME_PLACE_IOU = 0.3
LONE_SHORT_RANGE = 0.5
TURNS = (0, 90, 180, 270)
# Log-odds by which one way round must beat another to be taken without a second look.
DOUBT = 3.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A place where a face may be.

    Attributes:
        box: (4,) px.
        logit: log-odds of MTCNN's last network, or of YuNet's score.
        points5: (5, 2) px from the same.
        source: who found it: "mtcnn", "mediapipe", "both", "yunet" or "box" (the caller).
    """

    box: np.ndarray
    logit: float
    points5: np.ndarray
    source: str


def merge_detections(pixels: np.ndarray, mtcnn: Mtcnn, found: list[MtcnnFaces],
                     short_range: ShortRangeFaces) -> list[Candidate]:
    """Join detections of one photo, best first.

    MTCNN boxes that lie mostly in a better one go (noses and ears look like small faces). MediaPipe boxes are joined to the
    MTCNN box they overlap; alone they need a high score, and MTCNN's last network gives its opinion.

    Args:
        pixels: the photo, uint8 RGB (H, W, 3).
        mtcnn: gives the opinion.
        found: what MTCNN found, one entry for each pass.
        short_range: what MediaPipe's detector found.
    """
    boxes = np.concatenate([np.zeros((0, 4))] + [faces.boxes for faces in found])
    logits = np.concatenate([np.zeros(0)] + [faces.logits for faces in found])
    points = np.concatenate([np.zeros((0, 5, 2))] + [faces.points for faces in found])
    kept = suppress(boxes, logits, 0.6, by_smaller=True)
    candidates = []
    for i in kept:
        source = "both" if best_score(boxes[i], short_range) >= LONE_SHORT_RANGE else "mtcnn"
        candidates.append(Candidate(boxes[i], float(logits[i]), points[i], source))
    lone = [i for i in suppress(short_range.boxes, short_range.scores, SAME_PLACE_IOU)
            if short_range.scores[i] >= LONE_SHORT_RANGE and not same_place(short_range.boxes[i], boxes[kept]).any()]
    (seen,) = mtcnn.inspect(pixels, short_range.boxes[lone])
    for i, logit, five in zip(lone, seen.logits, seen.points):
        candidates.append(Candidate(short_range.boxes[i], float(logit), five, "mediapipe"))
    return candidates


def with_turns(pixels: np.ndarray, mtcnn: Mtcnn, candidates: list[Candidate]) -> list[list[Candidate]]:
    """For each candidate, the ways round that it may be, likeliest first: as found, or turned by 90, 180 or 270 degrees.

    MTCNN finds many lying and upside-down faces as if they were upright, with points that are wrong. Its last network, shown
    the same place turned, prefers the right way in 19 of 20 cases; the others that come near it are given too.
    """
    boxes = np.array([candidate.box for candidate in candidates]).reshape(-1, 4)
    answers = mtcnn.inspect(pixels, boxes, turns=TURNS) if candidates else []
    ways = []
    for i, candidate in enumerate(candidates):
        logits = np.array([answer.logits[i] for answer in answers])
        near = [k for k in np.argsort(-logits, kind="stable") if logits[k] > logits.max() - DOUBT]
        turned = {k: replace(candidate, logit=float(logits[k]), points5=answers[k].points[i]) for k in near}
        # As found, MTCNN has fitted the window to the face, so its own answer is the better one.
        ways.append([candidate if k == 0 else turned[k] for k in near])
    return ways


def same_place(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of `boxes` (N, 4) mean the same face as `box` (4,): they overlap well, or one holds most of the other."""
    smaller = np.minimum(areas(box), areas(boxes))
    return (iou(box, boxes) >= SAME_PLACE_IOU) | (intersections(box, boxes) >= 0.6 * np.maximum(smaller, 1e-12))


def best_score(box: np.ndarray, short_range: ShortRangeFaces) -> float:
    """Highest score of MediaPipe's detections that overlap `box` (4,); 0 when there is none."""
    overlap = iou(box, short_range.boxes) >= SAME_PLACE_IOU
    return float(short_range.scores[overlap].max(initial=0.0))
