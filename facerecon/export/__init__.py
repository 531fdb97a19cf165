"""Files out of plain arrays: OBJ, PLY, GLB, images, landmarks; and a safe reader for OBJ and PLY."""

from __future__ import annotations

import importlib

_HOMES = {
    "DepthRange": "images",
    "MeshData": "meshfile",
    "ObjFiles": "obj",
    "UNITS": "units",
    "depth_to_uint16": "images",
    "encode_image": "images",
    "normals_to_rgb": "images",
    "read_landmarks_json": "landmarks",
    "read_mesh": "meshfile",
    "read_pts": "landmarks",
    "units_per_mm": "units",
    "write_depth_png": "images",
    "write_glb": "glb",
    "write_image": "images",
    "write_landmarks_json": "landmarks",
    "write_obj": "obj",
    "write_ply": "ply",
    "write_pts": "landmarks",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
