"""Geometry: rotations, cameras, vertex normals, alignment, subdivision. Pure and batched; torch is imported at first use."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
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
})
