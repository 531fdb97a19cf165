"""Decode a picture file whose header is already read and accepted."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from facerecon.data.colour import to_rgb
from facerecon.data.formats import Header
from facerecon.data.jpeg import complete_jpeg
from facerecon.data.limits import check_size
from facerecon.data.png import complete_png, pixel_chunks, pixels_complete
from facerecon.data.quiet import native_log_silenced
from facerecon.errors import FaceReconError, ImageError

LARGE = 16 * 2**20
"""From this many pixels on, plain JPEG, PNG and WebP go through OpenCV, which holds 3 bytes a pixel where Pillow holds 4
and then needs a copy. For those files both give the same picture."""


def decode(data: bytes, header: Header, *, allow_truncated: bool, limits: dict[str, int]) -> tuple[np.ndarray, bool]:
    """Stored pixels, uint8 RGB (H, W, 3), of the first frame, and whether a part of them was missing.

    Args:
        data: the file.
        header: what `read_header` says of it; its size is within the limits (HEIF: not known yet).
        allow_truncated: show what there is of a cut JPEG or PNG instead of refusing it.
        limits: keyword arguments of `check_size`, for formats whose size only the decoder knows.

    Raises:
        ImageError: `image_truncated`, `image_invalid`, `image_colorspace`, `image_format` (a missing plug-in).
    """
    missing = header.missing
    if header.format == "PNG" and not missing and not pixels_complete(data):
        # Decoders leave rows that are missing black without a word.
        missing = "the pixel data ends early"
    if missing:
        if not (allow_truncated and header.format in ("JPEG", "PNG")):
            raise ImageError(f"image: the {header.format} is cut or damaged: {missing}; get the whole file, or allow "
                             "truncated JPEG and PNG", code="image_truncated")
        data = complete_jpeg(data) if header.format == "JPEG" else complete_png(data)
    try:
        if header.plain and header.size[0] * header.size[1] >= LARGE:
            with native_log_silenced():
                return _decode_large(data, header), bool(missing)
        # libtiff writes its complaints to the error stream; Pillow's other decoders are silent.
        with native_log_silenced() if header.format == "TIFF" else contextlib.nullcontext():
            return _decode_pillow(data, header, limits), bool(missing)
    except FaceReconError:
        raise
    except MemoryError as error:
        raise ImageError(f"image: not enough memory for {header.size[0]} x {header.size[1]} pixels",
                         code="image_too_large") from error
    except Exception as error:
        # A decoder that is fed a damaged file raises whatever its author met; all of it means the same here.
        raise _refusal(header, error) from error


def _refusal(header: Header, error: Exception) -> ImageError:
    text = str(error)
    cut = isinstance(error, EOFError) or any(word in text.lower() for word in ("truncated", "not processed", "end of"))
    return ImageError(f"image: the {header.format} cannot be decoded: {text or type(error).__name__}; save it again with "
                      "another program", code="image_truncated" if cut else "image_invalid")


def _decode_pillow(data: bytes, header: Header, limits: dict[str, int]) -> np.ndarray:
    # The plug-in's class is called directly: no other plug-in is tried, and Pillow's own size warning, for which the
    # limits here stand, is not raised.
    with _plugin(header.format)(io.BytesIO(pixel_chunks(data) if header.format == "PNG" else data)) as image:
        if header.format == "HEIF":
            check_size(*image.size, **limits)
        image.load()
        return to_rgb(image)


def _plugin(name: str):
    if name == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile as plugin
    elif name == "PNG":
        from PIL.PngImagePlugin import PngImageFile as plugin
    elif name == "WEBP":
        from PIL.WebPImagePlugin import WebPImageFile as plugin
    elif name == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile as plugin
    elif name == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile as plugin
    elif name == "GIF":
        from PIL.GifImagePlugin import GifImageFile as plugin
    else:
        try:
            from pillow_heif.as_plugin import HeifImageFile as plugin
        except ImportError as error:
            raise ImageError("image: HEIC needs the package pillow-heif; `pip install pillow-heif`, or save the photo as "
                             "JPEG", code="image_format") from error
    return plugin


def _decode_large(data: bytes, header: Header) -> np.ndarray:
    import cv2

    if header.format == "PNG":
        data = pixel_chunks(data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageError(f"image: the {header.format} cannot be decoded", code="image_invalid")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
