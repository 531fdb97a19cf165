"""What every mesh writer asks of its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError, MeshError


def points(name: str, values: Any, axes: int, count: int | None = None) -> np.ndarray:
    """Finite float64 (count or any, axes) from anything that NumPy reads, tensors included."""
    array = check_shape(name, np.asarray(plain(values)), (count, axes))
    if array.dtype.kind not in "fiu":
        raise ArgumentError(f"{name}: wanted numbers, got {array.dtype}", code="dtype_invalid")
    return check_finite(name, array.astype(np.float64, copy=False))


def triangles(name: str, values: Any, vertex_count: int, count: int | None = None) -> np.ndarray:
    """Int64 (count or any, 3) with every index in [0, vertex_count)."""
    array = check_shape(name, np.asarray(plain(values)), (count, 3))
    if array.dtype.kind not in "iu":
        raise ArgumentError(f"{name}: wanted integers, got {array.dtype}", code="dtype_invalid")
    array = array.astype(np.int64, copy=False)
    if array.size and (array.min() < 0 or array.max() >= vertex_count):
        raise MeshError(f"{name}: wanted indices from 0 to {vertex_count - 1}, got {array.min()} to {array.max()}")
    return array


def mesh(vertices: Any, faces: Any) -> tuple[np.ndarray, np.ndarray]:
    """Checked vertices (V, 3) and faces (F, 3); a mesh without a triangle is refused as `mesh_empty`."""
    vertices = points("vertices", vertices, 3)
    faces = triangles("faces", faces, len(vertices))
    if not len(faces):
        raise MeshError("faces: wanted at least one triangle, got none", code="mesh_empty")
    return vertices, faces


def colour_bytes(name: str, values: Any, count: int) -> np.ndarray:
    """RGB (count, 3) as uint8, from uint8 or from floats in [0, 1] (clipped)."""
    array = check_shape(name, np.asarray(plain(values)), (count, 3))
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise ArgumentError(f"{name}: wanted uint8 or floats in [0, 1], got {array.dtype}", code="dtype_invalid")
    return (np.clip(check_finite(name, array), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def texture_image(values: Any) -> np.ndarray:
    """A texture as contiguous uint8 (H, W, 3)."""
    array = check_shape("texture", np.asarray(plain(values)), (None, None, 3))
    if array.dtype != np.uint8 or not array.size:
        raise ArgumentError(f"texture: wanted a non-empty uint8 image, got {array.dtype} {array.shape}", code="dtype_invalid")
    return np.ascontiguousarray(array)


def uv_layout(uv: Any, uv_faces: Any, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked uv (T, 2) and uv_faces (F, 3); without `uv_faces`, every vertex has one uv and they equal `faces`."""
    uv = points("uv", uv, 2)
    if uv_faces is None:
        return uv, triangles("faces as uv_faces", faces, len(uv), len(faces))
    return uv, triangles("uv_faces", uv_faces, len(uv), len(faces))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (..., V, 3), weighted by area; a vertex without a triangle gets +z."""
    import torch

    from facerecon.geometry import vertex_normals as by_area

    normals = by_area(torch.from_numpy(np.ascontiguousarray(vertices)), torch.from_numpy(np.ascontiguousarray(faces))).numpy()
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 0.5, normals, np.array([0.0, 0.0, 1.0], normals.dtype))


def plain(values: Any) -> Any:
    """A tensor without its graph and its device; anything else as it is."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
