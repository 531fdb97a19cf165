"""Binary PLY with normals and vertex colours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.export import arrays
from facerecon.export.units import units_per_mm
from facerecon.files import write_atomic


def write_ply(path: str | os.PathLike[str], vertices: Any, faces: Any, *, normals: Any = None, colours: Any = None,
              units: str = "mm", scale: float = 1.0, comments: Sequence[str] = ()) -> Path:
    """Write a binary little-endian PLY: float32 positions and normals, uchar colours, int32 faces.

    Args:
        path: goal.
        vertices: (V, 3) millimetres, model space (+y up, face along +z).
        faces: (F, 3) integers from 0, counter-clockwise front faces.
        normals: (V, 3); None computes them, weighted by area.
        colours: (V, 3) RGB, uint8 or floats in [0, 1]; None leaves them out.
        units: "mm", "cm" or "m".
        scale: extra factor on the geometry.
        comments: lines for the header.

    Raises:
        ArgumentError, MeshError: arrays that do not fit each other. PathError: `path_write`.
    """
    vertices, faces = arrays.mesh(vertices, faces)
    normals = arrays.vertex_normals(vertices, faces) if normals is None else arrays.points("normals", normals, 3, len(vertices))
    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    if colours is not None:
        fields += [(name, "u1") for name in ("red", "green", "blue")]
    points = np.empty(len(vertices), np.dtype(fields))
    for axis, name in enumerate("xyz"):
        points[name] = vertices[:, axis] * units_per_mm(units, scale)
        points["n" + name] = normals[:, axis]
    if colours is not None:
        for channel, name in enumerate(("red", "green", "blue")):
            points[name] = arrays.colour_bytes("colours", colours, len(vertices))[:, channel]
    sides = np.empty(len(faces), np.dtype([("count", "u1"), ("index", "<i4", 3)]))
    sides["count"], sides["index"] = 3, faces

    header = ["ply", "format binary_little_endian 1.0", "comment facerecon", f"comment units: {units}",
              "comment axes: right-handed, +y up, face along +z, counter-clockwise front faces"]
    header += [f"comment {' '.join(line.split())}" for line in comments]
    header += [f"element vertex {len(vertices)}"]
    header += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return write_atomic(path, "\n".join(header).encode("utf-8") + points.tobytes() + sides.tobytes())
