"""Reading OBJ and PLY files that may come from anywhere.

The parsers are the package's own because the usual ones trust the file: they allocate what a header declares, and open the
files that a material names. These read what is there, refuse the rest by name, and open no second file unless asked.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_range
from facerecon.errors import MeshError
from facerecon.export import obj_reader, ply_reader
from facerecon.export.source import read_bounded


@dataclasses.dataclass(frozen=True)
class MeshData:
    """A triangle mesh as a file holds it, in the file's own units and axes.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int64; polygons are cut into fans from their first corner.
        uv: (T, 2) float64, v up, or None.
        uv_faces: (F, 3) int64 into `uv`, or None.
        normals: (V, 3) float64 as the file has them, or None (also when the normals are not one for each vertex).
        colours: (V, 3) uint8 vertex colours, or None.
        texture: path of the material's image inside the mesh's folder, or None.
        comments: the comment lines of the header, such as "units: mm".
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    normals: np.ndarray | None = None
    colours: np.ndarray | None = None
    texture: Path | None = None
    comments: tuple[str, ...] = ()


def read_mesh(path: str | os.PathLike[str], *, max_bytes: int = 256 << 20, max_elements: int = 5_000_000,
              follow_materials: bool = False) -> MeshData:
    """Read an OBJ (text) or PLY (text or binary, either byte order) mesh.

    The format is told by content: a file that begins with "ply" is PLY, any other text is OBJ. Polygons become triangles
    by fans, OBJ indices below zero count back from the last vertex so far, points and lines are skipped.

    Args:
        path: file.
        max_bytes: largest file.
        max_elements: most vertices, and most triangles.
        follow_materials: read the OBJ's `mtllib` for `texture`. Only files inside the mesh's own folder are opened.

    Raises:
        MeshError: `mesh_empty` without vertices or faces, `mesh_format` for another format, `mesh_truncated` when the file
            holds less than its header declares, `mesh_too_large` over a limit, `mesh_invalid` for indices out of range or
            numbers that are not finite, `mesh_reference_unsafe` for a material outside the folder.
        PathError: `path_missing`, `path_not_file`, `path_permission`.
    """
    limit = int(check_range("max_bytes", max_bytes, 1))
    elements = int(check_range("max_elements", max_elements, 1))
    source = Path(path)
    too_large = MeshError(f"{source}: wanted at most {limit} bytes; raise max_bytes if you trust it", code="mesh_too_large")
    data = read_bounded(source, max_bytes=limit, too_large=too_large)
    try:
        if not data.strip(b" \t\r\n\0"):
            raise MeshError("the file is empty", code="mesh_empty")
        if data[:4] in (b"ply\n", b"ply\r"):
            parts = ply_reader.parse(data, max_elements=elements)
            libraries: tuple[str, ...] = ()
        else:
            parts, libraries = obj_reader.parse(data, max_elements=elements)
        mesh = _checked(parts)
    except MeshError as error:
        raise MeshError(f"{source}: {error.message}", code=error.code) from error
    if follow_materials and libraries:
        mesh = dataclasses.replace(mesh, texture=obj_reader.find_texture(source, libraries))
    return mesh


def _checked(parts: dict) -> MeshData:
    vertices, faces = parts["vertices"], parts["faces"]
    if not len(vertices) or not len(faces):
        raise MeshError(f"wanted vertices and faces, got {len(vertices)} and {len(faces)}", code="mesh_empty")
    if not np.isfinite(vertices).all():
        raise MeshError(f"wanted finite positions, got {int((~np.isfinite(vertices)).any(axis=1).sum())} vertices that are not")
    _check_indices("vertex", faces, len(vertices))
    if parts.get("uv_faces") is not None:
        _check_indices("texture", parts["uv_faces"], len(parts["uv"]))
        if not np.isfinite(parts["uv"]).all():
            raise MeshError("wanted finite texture coordinates, got NaN or infinite ones")
    return MeshData(**parts)


def _check_indices(kind: str, faces: np.ndarray, count: int) -> None:
    low, high = int(faces.min()), int(faces.max())
    if low < 0 or high >= count:
        raise MeshError(f"wanted {kind} indices inside the {count} that are there, got {low} to {high} (counted from 0)")
