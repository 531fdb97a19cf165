"""The eight EXIF orientations: turn the stored pixels upright, and carry points back to the stored frame."""

from __future__ import annotations

import struct

import numpy as np

ORIENTATION_TAG = 0x0112
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I"}


def read_ifd(data: bytes, wanted: tuple[int, ...], *, max_values: int = 65536) -> dict[int, tuple[int, ...]]:
    """Integer tags of the first directory of a TIFF structure (a TIFF file, or the EXIF block of another format).

    Tags that are absent, not of an unsigned integer type, or whose values lie outside `data` are left out: EXIF
    blocks are often damaged, and their pictures are still good.

    Source: TIFF Revision 6.0 (Adobe, 1992), section 2.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    found: dict[int, tuple[int, ...]] = {}
    if order is None or len(data) < 8:
        return found
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return found
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
        if tag not in wanted or kind not in _FORMATS or not 0 < length <= max_values:
            continue
        size = _SIZES[kind] * length
        place = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        if place + size <= len(data):
            found[tag] = struct.unpack_from(f"{order}{length}{_FORMATS[kind]}", data, place)
    return found


def ifd_inside(data: bytes) -> bool:
    """Whether the first directory of a TIFF structure, and all that its entries point to, lie inside `data`."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8:
        return False
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return False
    (count,) = struct.unpack_from(order + "H", data, start)
    if start + 2 + 12 * count + 4 > len(data):
        return False
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        _, kind, length, place = struct.unpack_from(order + "HHII", data, entry)
        size = _SIZES.get(kind, 1) * length
        if size > 4 and place + size > len(data):
            return False
    return True


def exif_orientation(exif: bytes | None) -> int:
    """Orientation 1 to 8 from an EXIF block (with or without its `Exif` prefix); 1 when absent or out of range."""
    if not exif:
        return 1
    values = read_ifd(exif[6:] if exif.startswith(b"Exif\0\0") else exif, (ORIENTATION_TAG,))
    value = values.get(ORIENTATION_TAG, (1,))[0]
    return value if 1 <= value <= 8 else 1


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright view or copy of stored pixels (H, W, ...).

    Source: EXIF 2.32, tag 0x0112: the value says which sides of the scene row 0 and column 0 of the file are.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def to_stored_frame(points: np.ndarray, orientation: int, stored_size: tuple[int, int]) -> np.ndarray:
    """Map pixel points (..., 2 or more) of the upright picture to the stored one; further columns pass through.

    Args:
        points: x, y in px of the upright picture; origin at the centre of the top-left pixel.
        orientation: 1 to 8.
        stored_size: (width, height) of the stored picture.
    """
    width, height = stored_size
    mapped = np.array(points, copy=True)
    x, y = points[..., 0], points[..., 1]
    if orientation in (5, 6, 7, 8):
        x, y = y, x
    mapped[..., 0] = width - 1 - x if orientation in (2, 3, 7, 8) else x
    mapped[..., 1] = height - 1 - y if orientation in (3, 4, 6, 7) else y
    return mapped
