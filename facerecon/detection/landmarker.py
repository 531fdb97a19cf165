"""MediaPipe's face detector and 478-point landmarker, quiet, thread-safe and closed in order."""

from __future__ import annotations

import os
import threading
import weakref
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from facerecon.data.quiet import native_log_silenced
from facerecon.detection.dense_mirror import unmirror_blendshapes, unmirror_points
from facerecon.detection.landmarker_file import find_landmarker
from facerecon.errors import ArgumentError, ModelError

DETECTOR = "face_detector.tflite"
POINTS = 478


@dataclass(frozen=True, eq=False)
class DenseLandmarks:
    """points (478, 3) float32 px of the picture given (z smaller is nearer), blendshapes {name: score in [0, 1]}."""

    points: np.ndarray
    blendshapes: dict[str, float]


@dataclass(frozen=True, eq=False)
class ShortRangeFaces:
    """BlazeFace, N faces: boxes (N, 4) px, scores (N,), keypoints (N, 6, 2) px: eyes, nose, mouth, ears (picture's left
    first)."""

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray


class Landmarker:
    """The two MediaPipe tasks on one model file; loaded on first use.

    Args:
        path: a `.task` file; default as `find_landmarker`.
        detection_threshold: score at which the built-in detector starts the landmark network.
        presence_threshold: score at which the landmark network's result counts as a face.
        max_faces: how many detections of a picture get landmarks, best first.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, detection_threshold: float = 0.05,
                 presence_threshold: float = 0.1, max_faces: int = 1) -> None:
        self.path = find_landmarker(path)
        self._thresholds = (detection_threshold, presence_threshold)
        self._max_faces = max_faces
        self._tasks: dict[str, Any] = {}
        # MediaPipe's tasks run one call at a time, and close() must not overtake a call.
        self._lock = threading.RLock()
        self._closed = False
        self._finalizer = weakref.finalize(self, _close_all, self._tasks)

    def find(self, pixels: np.ndarray) -> ShortRangeFaces:
        """Faces that fill a fifth of the picture or more (the detector sees the picture at 128 px).

        Args:
            pixels: uint8 RGB (H, W, 3).
        """
        found = self._run("detector", pixels).detections
        size = np.array([pixels.shape[1], pixels.shape[0]])
        boxes = [(d.bounding_box.origin_x, d.bounding_box.origin_y, d.bounding_box.origin_x + d.bounding_box.width,
                  d.bounding_box.origin_y + d.bounding_box.height) for d in found]
        keypoints = [[(k.x, k.y) for k in d.keypoints] for d in found]
        return ShortRangeFaces(_brow_to_chin(np.array(boxes, np.float64).reshape(-1, 4)) - 0.5,
                               np.array([d.categories[0].score for d in found], np.float64),
                               np.array(keypoints, np.float64).reshape(-1, 6, 2) * size - 0.5)

    def landmarks(self, pixels: np.ndarray, *, mirrored: bool = False) -> list[DenseLandmarks]:
        """Dense landmarks of the faces in a picture, uint8 RGB (H, W, 3), best detection first.

        `mirrored` shows MediaPipe the mirror image and brings the answer back: near a profile, one of the two often works.
        """
        if mirrored:
            found = self.landmarks(pixels[:, ::-1])
            return [DenseLandmarks(unmirror_points(face.points, pixels.shape[1]), unmirror_blendshapes(face.blendshapes))
                    for face in found]
        result = self._run("landmarker", pixels)
        height, width = pixels.shape[:2]
        faces = []
        for index, points in enumerate(result.face_landmarks):
            # Normalised to the picture's edges; z in the scale of x.
            array = np.array([(p.x * width - 0.5, p.y * height - 0.5, p.z * width) for p in points], np.float32)
            shapes = result.face_blendshapes[index] if index < len(result.face_blendshapes) else []
            if array.shape == (POINTS, 3) and np.isfinite(array).all():
                faces.append(DenseLandmarks(array, {c.category_name: float(c.score) for c in shapes}))
        return faces

    def close(self) -> None:
        """Release both tasks; later calls raise ArgumentError."""
        with self._lock:
            self._closed = True
            self._finalizer()

    def _run(self, name: str, pixels: np.ndarray) -> Any:
        with self._lock:
            if self._closed:
                raise ArgumentError("the face finder is closed; make a new one")
            if name in self._tasks:
                return self._tasks[name].detect(_image(pixels))
            # The log lines come when a task is made and at its first run.
            with native_log_silenced():
                self._tasks[name] = self._make(name)
                return self._tasks[name].detect(_image(pixels))

    def _make(self, name: str) -> Any:
        from mediapipe.tasks.python import BaseOptions, vision

        detection, presence = self._thresholds
        try:
            if name == "detector":
                with zipfile.ZipFile(self.path) as archive:
                    content = archive.read(DETECTOR)
                options = vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_buffer=content),
                                                     min_detection_confidence=detection)
                return vision.FaceDetector.create_from_options(options)
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(self.path)), num_faces=self._max_faces,
                min_face_detection_confidence=detection, min_face_presence_confidence=presence,
                output_face_blendshapes=True)
            return vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"face landmark model {self.path}: MediaPipe cannot load it: {error}; wanted a face landmarker "
                             ".task file of MediaPipe", code="model_corrupt") from error


def _brow_to_chin(boxes: np.ndarray) -> np.ndarray:
    # The detector's squares end at the brows; measured on 300 photos, a tenth up and 0.90 x 1.18 of the side makes them
    # MTCNN's boxes.
    side = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - side * (0.0, 0.10)
    half = side * (0.45, 0.59)
    return np.concatenate([centre - half, centre + half], axis=1)


def _image(pixels: np.ndarray) -> Any:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(pixels))


def _close_all(tasks: dict[str, Any]) -> None:
    if not tasks:
        return
    with native_log_silenced():
        for task in tasks.values():
            try:
                task.close()
            except RuntimeError:
                # At interpreter exit the task's worker thread is gone before this runs; the process frees the rest. Without
                # a handle the task's destructor stays silent.
                task._handle = None
        tasks.clear()
