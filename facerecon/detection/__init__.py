"""Faces in photos: boxes, five points and 478 dense landmarks, from MTCNN and MediaPipe together."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Crop": "crop",
    "DetectedFace": "face",
    "FaceFinder": "finder",
    "Mtcnn": "mtcnn",
    "approximate_yaw_deg": "five_points",
    "find_landmarker": "landmarker_file",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Public names load their module on first use: MediaPipe, torch and OpenCV take seconds to import.
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
