"""Size limits of photos, and the checks against them."""

from __future__ import annotations

from facerecon.errors import ImageError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 16384
MIN_SIDE = 16


def check_size(width: int, height: int, *, max_pixels: int = MAX_PIXELS, max_side: int = MAX_SIDE,
               min_side: int = MIN_SIDE) -> None:
    """Require a picture size within the limits.

    Raises:
        ImageError: `image_invalid` for a size of zero or less, `image_too_small`, `image_too_large`.
    """
    if width <= 0 or height <= 0:
        raise ImageError(f"image: wanted a positive size, got {width} x {height}", code="image_invalid")
    if max(width, height) > max_side or width * height > max_pixels:
        raise ImageError(f"image: wanted sides of at most {max_side} px and at most {max_pixels} pixels, got "
                         f"{width} x {height}; scale it down, or raise max_side and max_pixels", code="image_too_large")
    if min(width, height) < min_side:
        raise ImageError(f"image: wanted sides of at least {min_side} px, got {width} x {height}",
                         code="image_too_small")


def check_bytes(size: int, max_bytes: int = MAX_BYTES) -> None:
    """Require a file size from 1 to `max_bytes`; raises ImageError `image_empty` or `image_too_large`."""
    if size == 0:
        raise ImageError("image: the file is empty (0 bytes)", code="image_empty")
    if size > max_bytes:
        raise ImageError(f"image: wanted a file of at most {max_bytes} bytes, got {size}; save it smaller, or raise "
                         "max_bytes", code="image_too_large")
