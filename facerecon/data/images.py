"""Load a photo from anything: a path, encoded bytes, a Pillow image, a NumPy array or a torch tensor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from facerecon.data import limits
from facerecon.data.arrays import array_to_rgb, is_tensor
from facerecon.data.orientation import apply_orientation, exif_orientation, to_stored_frame
from facerecon.errors import ArgumentError, ImageError


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A photo, upright, in memory.

    Attributes:
        pixels: uint8 RGB (H, W, 3), contiguous, EXIF orientation applied. sRGB is assumed; ICC profiles are not applied.
        path: where it came from, None for arrays, bytes and Pillow images without a file.
        stored_size: (width, height) before the orientation was applied.
        orientation: EXIF orientation 1 to 8 that was applied.
        flags: "truncated" (a cut file that was allowed), "first_frame" (more frames were left out).
    """

    pixels: np.ndarray
    path: str | None
    stored_size: tuple[int, int]
    orientation: int = 1
    flags: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of `pixels`."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def to_stored(self, points: np.ndarray) -> np.ndarray:
        """Map pixel points (..., 2 or more) of `pixels` to the frame as stored in the file; further columns pass through."""
        return to_stored_frame(points, self.orientation, self.stored_size)


def load_image(source: Any, *, allow_truncated: bool = False, max_bytes: int = limits.MAX_BYTES,
               max_pixels: int = limits.MAX_PIXELS, max_side: int = limits.MAX_SIDE, min_side: int = limits.MIN_SIDE,
               layout: str = "auto", channel_order: str = "rgb", value_range: str = "auto") -> LoadedImage:
    """Load one photo as upright 8-bit RGB.

    Files are recognised by content, not by name: JPEG, PNG, WebP, BMP, TIFF, GIF (first frame), and HEIC where pillow-heif
    is installed. Sizes are checked against the header before anything is decoded. Cut files are refused, JPEG cut anywhere
    and PNG with a wrong check sum included. Colour rules: `facerecon.data.colour.to_rgb`; array rules:
    `facerecon.data.arrays.array_to_rgb`. The source is never changed. Metadata is read for the orientation only.

    Args:
        source: path (str or PathLike), encoded file content (bytes), Pillow image, NumPy array or torch tensor.
        allow_truncated: take a damaged JPEG or PNG as far as it goes (the rest grey or black), flagged "truncated".
        max_bytes: largest file.
        max_pixels: largest width x height.
        max_side: largest width or height.
        min_side: smallest width and height.
        layout, channel_order, value_range: how arrays are read.

    Raises:
        PathError: `path_missing`, `path_not_file`, `path_permission`, `path_loop`, `path_invalid`.
        ImageError: `image_empty`, `image_format`, `image_truncated`, `image_too_large`, `image_too_small`,
            `image_colorspace`, `image_invalid`, `array_nonfinite`, `array_invalid`.
        ArgumentError: `source` is none of these things.
    """
    sizes = {"max_pixels": max_pixels, "max_side": max_side, "min_side": min_side}
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        limits.check_bytes(len(data), max_bytes)
        return _from_bytes(data, None, allow_truncated, sizes)
    if isinstance(source, (str, os.PathLike)):
        from facerecon.data.sources import read_file

        path = os.fspath(source)
        return _from_bytes(read_file(path, max_bytes=max_bytes), os.fsdecode(path), allow_truncated, sizes)
    if isinstance(source, np.ndarray) or is_tensor(source):
        return _from_array(source, sizes, layout, channel_order, value_range)
    from PIL import Image

    if isinstance(source, Image.Image):
        return _from_pillow(source, sizes)
    raise ArgumentError(f"image: wanted a path, bytes, Pillow image, NumPy array or torch tensor, got {type(source).__name__}")


def _from_bytes(data: bytes, path: str | None, allow_truncated: bool, sizes: dict[str, int]) -> LoadedImage:
    from facerecon.data.decode import decode
    from facerecon.data.formats import read_header

    header = read_header(data)
    if header.size != (0, 0) or header.format != "HEIF":
        limits.check_size(*header.size, **sizes)
    if header.refusal:
        raise ImageError(f"image: {header.refusal}", code="image_colorspace")
    pixels, cut = decode(data, header, allow_truncated=allow_truncated, limits=sizes)
    flags = ("truncated",) * cut + ("first_frame",) * header.several
    if header.format == "TIFF":
        # Pillow turns TIFF upright by itself.
        return _loaded(pixels, path, header.orientation, flags, turned=True)
    return _loaded(pixels, path, header.orientation, flags)


def _from_array(source: Any, sizes: dict[str, int], layout: str, channel_order: str, value_range: str) -> LoadedImage:
    pixels = array_to_rgb(source, layout=layout, channel_order=channel_order, value_range=value_range)
    limits.check_size(pixels.shape[1], pixels.shape[0], **sizes)
    return _loaded(pixels, None, 1, ())


def _from_pillow(source: Any, sizes: dict[str, int]) -> LoadedImage:
    from facerecon.data.colour import to_rgb

    limits.check_size(*source.size, **sizes)
    try:
        orientation = exif_orientation(source.info.get("exif"))
        if source.format == "TIFF":
            orientation = 1
        pixels = to_rgb(source)
        several = getattr(source, "n_frames", 1) > 1
    except OSError as error:
        code = "image_truncated" if "truncated" in str(error) else "image_invalid"
        raise ImageError(f"image: Pillow cannot load it: {error}", code=code) from error
    return _loaded(pixels, getattr(source, "filename", None) or None, orientation, ("first_frame",) * several)


def _loaded(pixels: np.ndarray, path: str | None, orientation: int, flags: tuple[str, ...], *,
            turned: bool = False) -> LoadedImage:
    upright = pixels if turned else apply_orientation(pixels, orientation)
    height, width = upright.shape[:2]
    stored = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
    return LoadedImage(np.ascontiguousarray(upright), path, stored, orientation, flags)
