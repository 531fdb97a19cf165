"""Wavefront OBJ with its material and texture."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.errors import ArgumentError
from facerecon.export import arrays
from facerecon.export.decimal_text import face_lines, fixed_point_lines
from facerecon.export.images import encode_image
from facerecon.export.units import units_per_mm
from facerecon.files import atomic_path, safe_stem

_MATERIAL = "face"


@dataclasses.dataclass(frozen=True)
class ObjFiles:
    """What `write_obj` wrote: paths of the OBJ, and of the MTL and PNG or None."""

    obj: Path
    mtl: Path | None
    png: Path | None

    @property
    def paths(self) -> list[Path]:
        """All files, the OBJ first."""
        return [path for path in (self.obj, self.mtl, self.png) if path is not None]


def write_obj(path: str | os.PathLike[str], vertices: Any, faces: Any, *, uv: Any = None, uv_faces: Any = None,
              normals: Any = None, texture: Any = None, colours: Any = None, units: str = "mm", scale: float = 1.0,
              comments: Sequence[str] = ()) -> ObjFiles:
    """Write `name.obj`, and with a texture `name.mtl` and `name.png` beside it, by relative names.

    +y up, the face looks along +z, front faces counter-clockwise, 6 decimals (9 digits of a metre with `units="m"`, so that
    no unit loses precision). The files appear together: all are complete on the disk before the first takes its name, the
    OBJ last.

    Args:
        path: of the OBJ.
        vertices: (V, 3) millimetres, model space.
        faces: (F, 3) integers from 0.
        uv: (T, 2), u right, v up; needed with a texture.
        uv_faces: (F, 3) into `uv`; None when T = V and a vertex has one uv.
        normals: (V, 3); None computes them, weighted by area.
        texture: uint8 (H, W, 3), first row at v = 1.
        colours: (V, 3) vertex colours, uint8 or floats in [0, 1], written after each position ("xyzrgb": MeshLab and Blender
            read it, Unity does not); None leaves them out.
        units: "mm", "cm" or "m".
        scale: extra factor on the geometry.
        comments: lines for the header.

    Raises:
        ArgumentError, MeshError: arrays that do not fit each other. PathError: `path_write`.
    """
    vertices, faces = arrays.mesh(vertices, faces)
    factor = units_per_mm(units, scale)
    if texture is not None and uv is None:
        raise ArgumentError("uv: wanted texture coordinates with a texture, got none")
    if uv is not None:
        uv, uv_faces = arrays.uv_layout(uv, uv_faces, faces)
    normals = arrays.vertex_normals(vertices, faces) if normals is None else arrays.points("normals", normals, 3, len(vertices))
    rgb = None if colours is None else arrays.colour_bytes("colours", colours, len(vertices)) / 255.0

    goal = Path(path)
    stem = _companion_stem(goal.stem)
    files = ObjFiles(goal, *((goal.with_name(stem + ".mtl"), goal.with_name(stem + ".png")) if texture is not None else (None,) * 2))
    png = None if texture is None else encode_image(arrays.texture_image(texture), "png")
    header = ["facerecon", f"units: {units}", "axes: right-handed, +y up, face along +z, counter-clockwise front faces",
              *comments]
    text = _obj_text(header, files.mtl, vertices * factor, rgb, uv, normals, faces, uv_faces, 9 if units == "m" else 6)

    # Leaving the stack publishes in reverse order: PNG, MTL, then the OBJ that names them.
    with contextlib.ExitStack() as stack:
        stack.enter_context(atomic_path(files.obj)).write_bytes(text)
        if files.mtl is not None and files.png is not None and png is not None:
            stack.enter_context(atomic_path(files.mtl)).write_text(_material_text(files.png.name), encoding="utf-8", newline="\n")
            stack.enter_context(atomic_path(files.png)).write_bytes(png)
    return files


def _obj_text(header: Sequence[str], mtl: Path | None, vertices: np.ndarray, rgb: np.ndarray | None, uv: np.ndarray | None,
              normals: np.ndarray, faces: np.ndarray, uv_faces: np.ndarray | None, decimals: int) -> bytes:
    lines = [f"# {' '.join(line.split())}" for line in header]
    if mtl is not None:
        lines.append(f"mtllib {mtl.name}")
    parts = ["\n".join([*lines, "o face", ""]).encode("utf-8")]
    if rgb is None:
        parts.append(fixed_point_lines(b"v", vertices, decimals=decimals))
    else:
        parts.append(fixed_point_lines(b"v", np.concatenate([vertices, rgb], axis=1), decimals=decimals))
    if uv is not None:
        parts.append(fixed_point_lines(b"vt", uv))
    parts.append(fixed_point_lines(b"vn", normals))
    if mtl is not None:
        parts.append(f"usemtl {_MATERIAL}\n".encode())
    parts.append(b"s 1\n")
    middle = np.zeros_like(faces) if uv_faces is None else uv_faces + 1
    parts.append(face_lines(np.stack([faces + 1, middle, faces + 1], axis=-1)))
    return b"".join(parts)


def _material_text(png: str) -> str:
    # illum 1: diffuse without highlights; the photo's own highlights are in the texture.
    return (f"# facerecon\nnewmtl {_MATERIAL}\nKa 0.000000 0.000000 0.000000\nKd 1.000000 1.000000 1.000000\n"
            f"Ks 0.000000 0.000000 0.000000\nd 1.000000\nillum 1\nmap_Kd {png}\n")


def _companion_stem(stem: str) -> str:
    # Spaces in `mtllib` and `map_Kd` split the name in many readers. A changed name gets a sum of the old one, so that
    # "a b.obj" and "a_b.obj" do not share their texture.
    safe = safe_stem(stem)
    return safe if safe == stem else f"{safe}-{zlib.crc32(stem.encode('utf-8', 'surrogateescape')):08x}"
