"""Parsing of Wavefront OBJ text; see `meshfile.read_mesh` for the rules."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.errors import MeshError
from facerecon.export.source import read_bounded, text_lines

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".tga"}
_MOST_MATERIAL_BYTES = 1 << 20
_KNOWN = {b"v", b"vt", b"vn", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"mtllib", b"usemtl", b"mg"}


def parse(data: bytes, *, max_elements: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arrays of `MeshData`, and the names of the material libraries.

    Raises:
        MeshError: without a path in the message.
    """
    if b"\0" in data[:65536]:
        raise MeshError("wanted an OBJ or PLY mesh, got other binary data", code="mesh_format")
    table = _Table()
    libraries: list[str] = []
    comments: list[str] = []
    known = 0
    if b"\\" in data:
        data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    for number, line in enumerate(text_lines(data), start=1):
        words = line.split()
        if not words:
            continue
        key = words[0]
        known += key in _KNOWN
        try:
            if key in _ADDERS:
                _ADDERS[key](table, words)
            elif key == b"mtllib":
                libraries.append(line.split(None, 1)[1].strip().decode("utf-8", "replace"))
            elif key.startswith(b"#") and not known and len(comments) < 64:
                comments.append(line.lstrip(b"# ").strip().decode("utf-8", "replace"))
        except (ValueError, IndexError, OverflowError) as error:
            raise MeshError(f"line {number}: {error}, got {line[:60]!r}", code="mesh_invalid" if known > 1 else "mesh_format") from error
        if table.longest > max_elements:
            raise MeshError(f"wanted at most {max_elements} vertices and triangles", code="mesh_too_large")
    if not known:
        raise MeshError("wanted an OBJ or PLY mesh, got text without a vertex or face", code="mesh_format")
    return {**table.arrays(), "comments": tuple(comments)}, tuple(libraries)


def find_texture(source: Path, libraries: tuple[str, ...]) -> Path | None:
    """The first image that a material names, inside the folder of `source`; None when there is none.

    Raises:
        MeshError: `mesh_reference_unsafe` for a name that leads out of the folder, by `..`, an absolute path or a link.
    """
    for library in libraries:
        material = _inside(source, library)
        if not material.is_file():
            continue
        too_large = MeshError(f"{material}: wanted at most {_MOST_MATERIAL_BYTES} bytes", code="mesh_too_large")
        text = read_bounded(material, max_bytes=_MOST_MATERIAL_BYTES, too_large=too_large).decode("utf-8", "replace")
        for line in text.splitlines():
            words = line.split(None, 1)
            # Options such as "-s 1 1 1" stand before the name; the whole rest is tried first, for names with spaces.
            if len(words) == 2 and words[0].lower() == "map_kd":
                for name in (words[1].strip(), words[1].split()[-1]):
                    image = _inside(source, name)
                    if image.suffix.lower() in _IMAGES and image.is_file():
                        return image
    return None


def _inside(source: Path, name: str) -> Path:
    folder = source.resolve().parent
    # A backslash is a separator to the Windows programs that write many OBJ files.
    try:
        target = (folder / name.replace("\\", "/")).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise MeshError(f"{source}: the material name {name!r} is no path", code="mesh_reference_unsafe") from error
    if not target.is_relative_to(folder):
        raise MeshError(f"{source}: wanted materials inside its own folder, got {name!r}", code="mesh_reference_unsafe")
    return target


class _Table:
    """The numbers so far, packed: lists of Python floats would take ten times the memory."""

    def __init__(self) -> None:
        self.positions, self.colours, self.uv, self.normals = array("d"), array("d"), array("d"), array("d")
        self.corners = array("q")
        self.count = self.uv_count = self.normal_count = 0

    @property
    def longest(self) -> int:
        return max(self.count, self.uv_count, self.normal_count, len(self.corners) // 9)

    def add_position(self, words: list[bytes]) -> None:
        numbers = _numbers(words, 3)
        self.positions.extend(numbers[:3])
        # "v x y z r g b"; seven numbers also carry an alpha, which is dropped.
        if len(numbers) in (6, 7):
            self.colours.extend(numbers[3:6])
        self.count += 1

    def add_uv(self, words: list[bytes]) -> None:
        self.uv.extend((_numbers(words, 1) + [0.0])[:2])
        self.uv_count += 1

    def add_normal(self, words: list[bytes]) -> None:
        self.normals.extend(_numbers(words, 3)[:3])
        self.normal_count += 1

    def add_face(self, words: list[bytes]) -> None:
        polygon = [self._corner(word.split(b"/")) for word in words[1:]]
        if len(polygon) < 3:
            raise ValueError("a face needs three corners")
        for second in range(1, len(polygon) - 1):
            self.corners.extend(polygon[0] + polygon[second] + polygon[second + 1])

    def arrays(self) -> dict[str, Any]:
        index = np.array(self.corners, np.int64).reshape(-1, 3, 3)
        parts: dict[str, Any] = {"vertices": np.array(self.positions).reshape(-1, 3), "faces": np.ascontiguousarray(index[..., 0])}
        if self.uv_count and (index[..., 1] >= 0).all():
            parts["uv"], parts["uv_faces"] = np.array(self.uv).reshape(-1, 2), np.ascontiguousarray(index[..., 1])
        if self.count and self.normal_count == self.count and (index[..., 2] == index[..., 0]).all():
            parts["normals"] = np.array(self.normals).reshape(-1, 3)
        if self.count and len(self.colours) == 3 * self.count:
            rgb = np.nan_to_num(np.array(self.colours).reshape(-1, 3))
            parts["colours"] = (np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return parts

    def _corner(self, parts: list[bytes]) -> tuple[int, int, int]:
        return (_index(parts[0], self.count), _index(parts[1], self.uv_count) if len(parts) > 1 and parts[1] else -1,
                _index(parts[2], self.normal_count) if len(parts) > 2 and parts[2] else -1)


_ADDERS = {b"v": _Table.add_position, b"vt": _Table.add_uv, b"vn": _Table.add_normal, b"f": _Table.add_face}


def _numbers(words: list[bytes], least: int) -> list[float]:
    if len(words) <= least:
        raise ValueError(f"wanted {least} numbers")
    return [float(word) for word in words[1:]]


def _index(word: bytes, count: int) -> int:
    value = int(word)
    resolved = value - 1 if value > 0 else count + value
    # A positive index may point forward, so its upper end is checked when all lines are read.
    if value == 0 or resolved < 0:
        raise ValueError(f"wanted an index from 1 up, or from -{count} to -1")
    return resolved
