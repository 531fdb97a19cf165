"""Geometry: rotations, cameras, vertex normals, alignment, subdivision. Pure and batched; torch is imported at first use."""

from __future__ import annotations

import importlib

_HOMES = {
    "EulerDegrees": "rotations",
    "euler_deg_to_matrix_aflw": "rotations",
    "matrix_to_euler_deg_aflw": "rotations",
    "matrix_to_quaternion": "rotations",
    "matrix_to_rotvec": "rotations",
    "project_to_so3": "rotations",
    "quaternion_to_matrix": "rotations",
    "rotvec_to_matrix": "rotations",
    "six_d_to_matrix": "rotations",
    "PerspectiveCamera": "cameras",
    "ScaledOrthographicPose": "cameras",
    "camera_to": "cameras",
    "face_normals": "normals",
    "vertex_normals": "normals",
    "Similarity": "alignment",
    "procrustes": "alignment",
    "loop_subdivide": "subdivision",
    "midpoint_subdivide": "subdivision",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
