"""Find every face of a photo, in any pose, with dense landmarks where they can be trusted."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np

from facerecon.checks import check_range, check_shape
from facerecon.data.orientation import apply_orientation, to_stored_frame
from facerecon.detection.boxes import checked_box, points_box
from facerecon.detection.candidates import Candidate, merge_detections, with_turns
from facerecon.detection.confidence import ACCEPTED, CERTAIN
from facerecon.detection.description import describe, in_order, one_of_each, with_flags
from facerecon.detection.face import TOO_SMALL_PX, DetectedFace
from facerecon.detection.landmarker import Landmarker
from facerecon.detection.mtcnn import WINDOW, Mtcnn
from facerecon.detection.yunet import YuNet
from facerecon.errors import ArgumentError

LENIENT = (0.5, 0.6, 0.6)
STRICT = (0.9, 0.7, 0.8)
BORDER = 0.25
# YuNet's least score for a face that the others did not see.
PROFILE_SCORE = 0.55
# EXIF orientations that turn a photo by 90, 180 and 270 degrees counter-clockwise.
_TURNS = (8, 3, 6)


class FaceFinder:
    """MTCNN finds faces of any pose; MediaPipe confirms them and gives 478 landmarks. Thread-safe; a context manager.

    MTCNN on a pyramid of the photo (lenient on windows over 6 % of its longer side, strict below) and MediaPipe's detector
    on the whole photo give candidates. Each is cut out with a margin, the right way round and upright by its eye line, and
    given to MediaPipe, whose landmarks are kept only where they agree with the candidate. A photo without a certain face is
    shown to YuNet, which sees profiles, and looked at again turned by 90, 180 and 270 degrees, then with a border around it,
    then for faces down to 12 px.

    Args:
        landmarker: MediaPipe `.task` file; default as `facerecon.detection.find_landmarker`.
        min_face: side of the smallest face to report, px; default 24 px, or 0.8 % of the photo's longer side if more.
        use_mtcnn: False leaves MediaPipe alone: faster, for near-frontal faces that fill a fifth of the photo or more.
    """

    def __init__(self, landmarker: str | os.PathLike[str] | None = None, *, min_face: float | None = None,
                 use_mtcnn: bool = True) -> None:
        if min_face is not None:
            check_range("min_face", float(min_face), WINDOW)
        self._landmarker = Landmarker(landmarker)
        self._mtcnn, self._yunet = Mtcnn(), YuNet()
        self._min_face = min_face
        self._use_mtcnn = use_mtcnn

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release MediaPipe; a closed finder cannot be used again."""
        self._landmarker.close()

    def find(self, pixels: np.ndarray) -> list[DetectedFace]:
        """Every face of a photo, largest first; [] when there is none.

        Faces whose areas differ by less than 15 % count as equally large and come in the order of their distance from the
        photo's vertical centre line, so that a mirrored photo gives the same order.

        Args:
            pixels: uint8 RGB (H, W, 3).

        Raises:
            ArgumentError: `shape_invalid`, `dtype_invalid`.
        """
        pixels = _checked_pixels(pixels)
        longer = max(pixels.shape[:2])
        smallest = self._min_face if self._min_face is not None else max(TOO_SMALL_PX, 0.008 * longer)
        faces = self._search(pixels, smallest)
        if self._use_mtcnn and not _certain(faces):
            faces = self._search_profiles(pixels, smallest, faces)
        if not _certain(faces):
            faces = self._search_turned(pixels, smallest, faces)
        if not faces:
            faces = self._search_bordered(pixels, smallest)
        if self._min_face is not None:
            faces = [face for face in faces if face.size >= self._min_face]
        elif not faces and longer <= 1024:
            # Too small to reconstruct, but "too small" is a better answer than "no face" where it is certain.
            faces = [face for face in self._search(pixels, WINDOW) if face.confidence >= CERTAIN]
        return in_order(faces, pixels.shape[1])

    def landmarks_in_box(self, pixels: np.ndarray, box: object) -> DetectedFace:
        """The face in a box that the caller knows of.

        No detector decides here: `confidence` says how much what is in the box looks like a face.

        Args:
            pixels: uint8 RGB (H, W, 3).
            box: x0, y0, x1, y1 px; it may reach outside the photo.

        Raises:
            FaceError: `box_invalid`.
            ArgumentError: `shape_invalid`, `dtype_invalid`.
        """
        pixels = _checked_pixels(pixels)
        box = checked_box(box, pixels.shape[1], pixels.shape[0])
        (seen,) = self._mtcnn.inspect(pixels, box[None])
        candidate = Candidate(box, float(seen.logits[0]), seen.points[0], "box")
        (ways,) = with_turns(pixels, self._mtcnn, [candidate])
        return describe(pixels, ways, self._landmarker)

    def _search(self, pixels: np.ndarray, smallest: float) -> list[DetectedFace]:
        found = []
        if self._use_mtcnn:
            coarse = max(smallest, 60.0, 0.06 * max(pixels.shape[:2]))
            found = [self._mtcnn.detect(pixels, min_face=coarse, thresholds=LENIENT)]
            if smallest < coarse:
                found.append(self._mtcnn.detect(pixels, min_face=smallest, max_face=coarse, thresholds=STRICT))
        candidates = merge_detections(pixels, self._mtcnn, found, self._landmarker.find(pixels))
        faces = [describe(pixels, ways, self._landmarker) for ways in with_turns(pixels, self._mtcnn, candidates)]
        return one_of_each([face for face in faces if face.confidence >= ACCEPTED])

    def _search_profiles(self, pixels: np.ndarray, smallest: float, faces: list[DetectedFace]) -> list[DetectedFace]:
        seen = self._yunet.detect(pixels, least=PROFILE_SCORE)
        more = []
        for box, score, points in zip(*seen):
            # The others have looked here and hold it for something else; only their landmarks are asked again.
            candidate = Candidate(box, math.log(score / (1 - score)), points, "yunet")
            face = describe(pixels, [candidate], self._landmarker)
            more.append(replace(face, confidence=max(face.confidence, float(score))))
        return one_of_each([*faces, *(face for face in more if face.size >= smallest)])

    def _search_turned(self, pixels: np.ndarray, smallest: float, faces: list[DetectedFace]) -> list[DetectedFace]:
        best, best_faces = max((face.confidence for face in faces), default=0.0), faces
        for orientation in _TURNS:
            turned = np.ascontiguousarray(apply_orientation(pixels, orientation))
            found = self._search(turned, smallest)
            score = max((face.confidence for face in found), default=0.0)
            if score > best:
                size = pixels.shape[1], pixels.shape[0]
                best, best_faces = score, [_turned_back(face, orientation, size) for face in found]
        return best_faces

    def _search_bordered(self, pixels: np.ndarray, smallest: float) -> list[DetectedFace]:
        # A face that fills the whole photo has no window of its size inside it.
        border = int(BORDER * max(pixels.shape[:2]))
        wide = np.pad(pixels, ((border, border), (border, border), (0, 0)))
        return [_moved(face, -border, pixels.shape[1::-1]) for face in self._search(wide, max(smallest, border / 2))]


def _certain(faces: list[DetectedFace]) -> bool:
    return any(face.confidence >= CERTAIN for face in faces)


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    check_shape("pixels", pixels, ("height", "width", 3))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ArgumentError(f"pixels: wanted a uint8 NumPy array, got {getattr(pixels, 'dtype', type(pixels).__name__)}; use "
                            "facerecon.data.load_image", code="dtype_invalid")
    if min(pixels.shape[:2]) < WINDOW:
        raise ArgumentError(f"pixels: wanted at least {WINDOW} x {WINDOW}, got {pixels.shape}", code="shape_invalid")
    return pixels


def _turned_back(face: DetectedFace, orientation: int, size: tuple[int, int]) -> DetectedFace:
    # The turned photo is what an upright one is to a stored one; its points go the same way back.
    def back(points: np.ndarray | None) -> np.ndarray | None:
        return None if points is None else to_stored_frame(points, orientation, size)

    box = points_box(back(face.box.reshape(2, 2)))
    return with_flags(replace(face, box=box, points478=back(face.points478), points5=back(face.points5)), size)


def _moved(face: DetectedFace, offset: float, size: tuple[int, int]) -> DetectedFace:
    def moved(points: np.ndarray | None) -> np.ndarray | None:
        return None if points is None else np.concatenate([points[:, :2] + np.float32(offset), points[:, 2:]], axis=1)

    face = replace(face, box=face.box + np.float32(offset), points478=moved(face.points478), points5=moved(face.points5))
    return with_flags(face, size)
