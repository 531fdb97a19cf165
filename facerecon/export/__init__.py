"""Files out of plain arrays: OBJ, PLY, GLB, images, landmarks; and a safe reader for OBJ and PLY."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
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
})
