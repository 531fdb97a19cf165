"""Faces in photos: boxes, five points and 478 dense landmarks, from MTCNN and MediaPipe together."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "Crop": "crop",
    "CropRule": "crop_rule",
    "DetectedFace": "face",
    "FaceFinder": "finder",
    "Mtcnn": "mtcnn",
    "approximate_yaw_deg": "five_points",
    "cut_square": "crop_rule",
    "find_landmarker": "landmarker_file",
    "pose_to_crop": "crop_pose",
    "pose_to_photo": "crop_pose",
})
