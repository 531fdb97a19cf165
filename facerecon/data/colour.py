"""Every Pillow colour mode to 8-bit RGB, by one documented rule each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facerecon.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

BACKGROUND = (128, 128, 128)
"""What shows through transparent pixels: mid grey, on which both dark hair and light clothes keep their outline."""

_STRIP_PIXELS = 1 << 20
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")


def to_rgb(image: Image.Image) -> np.ndarray:
    """Pixels of a Pillow image as uint8 RGB (H, W, 3); the image itself is not changed.

    - grey and bilevel are repeated over the channels;
    - 16-bit grey is shifted right by 8 (a linear map, so that all 256 levels survive); 32-bit grey ("I") counts as 8-bit
      when no value exceeds 255, else as 16-bit;
    - alpha, palette transparency and colour-key transparency are composited over `BACKGROUND`;
    - CMYK is (255 - C)(255 - K) / 255, and so on; YCbCr by JFIF. Embedded ICC profiles are not applied;
    - floating point, Lab and other modes are refused, and so is 32-bit grey beyond 16 bits.

    Works in strips, so that no second full-size picture is made on the way.

    Raises:
        ImageError: `image_colorspace`.
    """
    convert = _converter(image)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return pixels


def _converter(image: Image.Image):
    mode, transparency = image.mode, image.info.get("transparency")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or (mode in ("P", "L", "1", "RGB") and transparency is not None):
        return lambda strip: composite(np.asarray(_straight(strip).convert("RGBA")))
    if mode in ("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr"):
        return lambda strip: np.asarray(strip.convert("RGB"))
    if mode in _SIXTEEN or mode == "I":
        low, high = image.getextrema() if mode == "I" else (0, 65535)
        if 0 <= low and high <= 65535:
            shift = 8 if high > 255 else 0
            return lambda strip: (np.asarray(strip) >> shift).astype(np.uint8)[..., None]
    raise ImageError(f"image: colour mode {mode!r} has no certain meaning on a screen; save it as 8 or 16-bit grey or RGB",
                     code="image_colorspace")


def _straight(strip: Image.Image) -> Image.Image:
    # A 16-bit RGB PNG with a colour key arrives with 8-bit pixels and a 16-bit key.
    key = strip.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        strip.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and key > 255:
        strip.info["transparency"] = key >> 8
    # Pillow has no direct way from premultiplied alpha, or from a palette with alpha, to RGBA.
    return strip.convert({"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(strip.mode, strip.mode))


def composite(rgba: np.ndarray) -> np.ndarray:
    """Straight-alpha uint8 RGBA (..., 4) over `BACKGROUND`, rounded to the nearest; returns uint8 RGB (..., 3).

    Colours under alpha 0 leave no trace: (f a + b (255 - a)) / 255 in integers.
    """
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + np.asarray(BACKGROUND, np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
