"""Images out: PNG and JPEG, 16-bit depth, normals as colours."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_range, check_shape
from facerecon.errors import ArgumentError
from facerecon.export.arrays import plain
from facerecon.files import write_atomic

_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclasses.dataclass(frozen=True)
class DepthRange:
    """How 16-bit depth was coded: depth = near + (code - 1) / 65534 * (far - near) for code >= 1; code 0 has no depth.

    `units` names the unit of near and far. Depth grows away from the camera.
    """

    near: float
    far: float
    units: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the rule for readers."""
        return {"near": self.near, "far": self.far, "units": self.units, "invalid": 0, "first_code": 1, "last_code": 65535}

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Float64 depth; NaN where the code is 0."""
        depth = self.near + (np.asarray(codes, np.float64) - 1) / 65534 * (self.far - self.near)
        return np.where(np.asarray(codes) == 0, np.nan, depth)


def encode_image(image: Any, kind: str, *, quality: int = 92, compression: int = 2) -> bytes:
    """An image file in memory.

    Args:
        image: (H, W, 3) RGB uint8 or float in [0, 1] (clipped), (H, W) uint8, or (H, W) uint16 (PNG only).
        kind: "png" or "jpeg".
        quality: JPEG, 1 to 100.
        compression: PNG, 0 to 9; photographs gain little above 2, and 9 is ten times slower.

    Raises:
        ArgumentError: another shape, dtype or kind.
    """
    import cv2

    check_choice("kind", kind, ("png", "jpeg"))
    pixels = np.asarray(plain(image))
    if pixels.ndim != 2:
        check_shape("image", pixels, (None, None, 3))
    if pixels.dtype.kind == "f":
        pixels = (np.clip(np.nan_to_num(pixels), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    deep = pixels.dtype == np.uint16 and pixels.ndim == 2 and kind == "png"
    if not pixels.size or not (pixels.dtype == np.uint8 or deep):
        raise ArgumentError(f"image: wanted non-empty uint8, float, or 16-bit grey for PNG, got {pixels.dtype} {pixels.shape}",
                            code="dtype_invalid")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    if kind == "png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, int(check_range("compression", compression, 0, 9))]
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, int(check_range("quality", quality, 1, 100))]
    done, data = cv2.imencode(".png" if kind == "png" else ".jpg", pixels, options)
    if not done:
        raise ArgumentError(f"image: the {kind} encoder refused {pixels.dtype} {pixels.shape}")
    return data.tobytes()


def write_image(path: str | os.PathLike[str], image: Any, *, quality: int = 92) -> Path:
    """Write a PNG or JPEG, chosen by the extension of `path`; arguments and errors as in `encode_image`."""
    suffix = check_choice("extension", Path(path).suffix.lower(), tuple(_KINDS))
    return write_atomic(path, encode_image(image, _KINDS[suffix], quality=quality))


def depth_to_uint16(depth: Any, covered: Any, *, units: str = "px") -> tuple[np.ndarray, DepthRange]:
    """Depth as 16-bit codes over its own range.

    Args:
        depth: (H, W) float, growing away from the camera.
        covered: (H, W) bool, True where there is a surface.
        units: of `depth`, for the record: "px" of a scaled orthographic pose, "mm" of a perspective camera.

    Returns:
        (uint16 (H, W), 0 where nothing is covered; DepthRange).
    """
    depth = np.asarray(plain(depth), np.float64)
    covered = np.asarray(plain(covered), bool)
    check_shape("covered", covered, check_shape("depth", depth, (None, None)).shape)
    if not covered.any():
        return np.zeros(depth.shape, np.uint16), DepthRange(0.0, 0.0, units)
    values = depth[covered]
    if not np.isfinite(values).all():
        raise ArgumentError("depth: wanted finite numbers where covered, got NaN or infinite ones", code="nonfinite")
    near, far = float(values.min()), float(values.max())
    codes = np.zeros(depth.shape, np.uint16)
    codes[covered] = 1 + np.rint((values - near) * (65534 / (far - near) if far > near else 0.0)).astype(np.uint16)
    return codes, DepthRange(near, far, units)


def write_depth_png(path: str | os.PathLike[str], depth: Any, covered: Any, *, units: str = "px") -> DepthRange:
    """Write depth as a 16-bit grey PNG (0 = no surface) and return the range that gives the codes their meaning."""
    codes, limits = depth_to_uint16(depth, covered, units=units)
    write_atomic(path, encode_image(codes, "png"))
    return limits


def normals_to_rgb(normals: Any, covered: Any) -> np.ndarray:
    """Unit normals (H, W, 3) in [-1, 1] as uint8 colours, 127.5 (n + 1); black where nothing is covered."""
    normals = np.nan_to_num(check_shape("normals", np.asarray(plain(normals), np.float64), (None, None, 3)))
    covered = check_shape("covered", np.asarray(plain(covered), bool), normals.shape[:2])
    rgb = np.rint((np.clip(normals, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return np.where(covered[..., None], rgb, np.uint8(0))
