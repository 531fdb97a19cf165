"""F08 to F10: grey, alpha, palettes, 16 bits, four inks."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from facerecon.data import BACKGROUND, load_image
from facerecon.errors import ImageError


def over(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255.0
    return np.rint(rgb * share + np.array(BACKGROUND) * (1 - share))


@pytest.fixture(scope="module")
def alpha(photo) -> np.ndarray:
    ramp = np.tile(np.linspace(0, 255, photo.width).round(), (photo.height, 1))
    ramp[:20], ramp[-20:] = 0, 255
    return ramp.astype(np.uint8)


def test_grey_is_repeated(photo, encode):
    grey = photo.convert("L")
    for name in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(load_image(encode(grey, name)).pixels, np.asarray(grey)[..., None].repeat(3, 2))


def test_bilevel_is_black_and_white(photo, encode):
    pixels = load_image(encode(photo.convert("1"), "PNG")).pixels
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_and_hidden_colours_leave_no_trace(photo, encode, alpha, name):
    rgb = np.asarray(photo).copy()
    rgb[:20] = np.random.default_rng(0).integers(0, 256, rgb[:20].shape)
    picture = Image.fromarray(np.dstack([rgb, alpha]), "RGBA")
    options = {"WEBP": {"lossless": True, "exact": True}}.get(name, {})
    pixels = load_image(encode(picture, name, **options)).pixels
    np.testing.assert_array_equal(pixels, over(rgb, alpha))
    assert (pixels[:20] == BACKGROUND).all()
    np.testing.assert_array_equal(load_image(picture).pixels, pixels)


def test_grey_with_alpha(photo, encode, alpha):
    grey = np.asarray(photo.convert("L"))
    picture = Image.fromarray(np.dstack([grey, alpha]), "LA")
    np.testing.assert_array_equal(load_image(encode(picture, "PNG")).pixels, over(grey[..., None].repeat(3, 2), alpha))


def test_palette_with_transparency(photo, encode):
    picture = photo.quantize(16)
    shown = np.asarray(picture.convert("RGB"))
    clear = bytes([0, 128] + [255] * 14)
    expected = over(shown, np.frombuffer(clear, np.uint8)[np.asarray(picture)])
    np.testing.assert_array_equal(load_image(encode(picture, "PNG", transparency=clear)).pixels, expected)
    np.testing.assert_array_equal(load_image(encode(picture, "PNG")).pixels, shown)


def test_colour_key_transparency(photo, encode):
    rgb = np.asarray(photo).copy()
    rgb[:10] = (1, 2, 3)
    pixels = load_image(encode(Image.fromarray(rgb), "PNG", transparency=(1, 2, 3))).pixels
    assert (pixels[:10] == BACKGROUND).all()
    np.testing.assert_array_equal(pixels[10:], rgb[10:])


def test_grey_16_bit_keeps_its_levels(encode):
    ramp = np.tile(np.arange(0, 65536, 64, dtype=np.uint16), (32, 1))
    for name in ("PNG", "TIFF"):
        pixels = load_image(encode(Image.fromarray(ramp), name)).pixels
        np.testing.assert_array_equal(pixels, (ramp >> 8)[..., None].repeat(3, 2))
        assert len(np.unique(pixels)) == 256
    for mode in ("I;16", "I;16B"):
        picture = Image.frombytes(mode, ramp.shape[::-1], ramp.astype("<u2" if mode == "I;16" else ">u2").tobytes())
        np.testing.assert_array_equal(load_image(picture).pixels[..., 0], ramp >> 8)
    np.testing.assert_array_equal(load_image(Image.fromarray(ramp.astype(np.int32))).pixels[..., 1], ramp >> 8)
    np.testing.assert_array_equal(load_image(ramp).pixels[..., 2], ramp >> 8)


def png_16_bit(picture: np.ndarray, colour: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of a uint16 picture (H, W, C), with further chunks before its pixels."""
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in picture)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")))


def test_colour_key_of_a_16_bit_png():
    picture = np.full((20, 30, 3), 40000, np.uint16)
    picture[:10] = (300, 20000, 65535)
    pixels = load_image(png_16_bit(picture, 2, (b"tRNS", struct.pack(">HHH", 300, 20000, 65535)))).pixels
    assert (pixels[:10] == BACKGROUND).all() and (pixels[10:] == 40000 >> 8).all()


@pytest.mark.parametrize("colour, channels", [(2, 3), (6, 4), (4, 2)])
def test_colour_16_bit_png_keeps_its_levels(colour, channels):
    ramp = np.arange(0, 65536, 64, dtype=np.uint16)
    picture = np.stack([np.tile(np.roll(ramp, 100 * c), (20, 1)) for c in range(channels)], axis=2)
    if channels in (2, 4):
        picture[..., -1] = 65535
    expected = (picture >> 8)[..., [0, 0, 0] if channels == 2 else [0, 1, 2]]
    np.testing.assert_array_equal(load_image(png_16_bit(picture, colour)).pixels, expected)


def naive_inks(rgb: np.ndarray) -> np.ndarray:
    """CMYK with some black, exact under (255 - C)(255 - K) / 255 up to rounding."""
    rgb = rgb.astype(float)
    white = np.clip(rgb.max(axis=2, keepdims=True) * 0.5 + 127, 1, 255)
    inks = 255 - 255 * rgb / white
    return np.rint(np.concatenate([np.clip(inks, 0, 255), 255 - white], axis=2)).astype(np.uint8)


def close_to(photo, pixels) -> bool:
    difference = np.abs(pixels.reshape(-1, 3).mean(0) - np.asarray(photo).reshape(-1, 3).mean(0)).max()
    return difference <= 8 and np.abs(pixels.astype(int) - np.asarray(photo)).mean() <= 8


def test_cmyk_jpeg_with_adobe_marker(photo, encode):
    inks = naive_inks(np.asarray(photo))
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert close_to(photo, load_image(data).pixels)
    assert close_to(photo, load_image(encode(Image.fromarray(inks, "CMYK"), "TIFF")).pixels)


def test_ycck_jpeg(photo, encode):
    inks = naive_inks(np.asarray(photo))
    # Adobe stores inverted inks, and YCCK is the colour transform of those read as 255 - RGB; Pillow writes 255 - what it
    # is given. Patching the marker's last byte then says what the numbers are.
    transformed = np.asarray(Image.fromarray(inks[..., :3], "RGB").convert("YCbCr"))
    stored = np.dstack([255 - transformed, inks[..., 3]])
    data = bytearray(encode(Image.fromarray(stored, "CMYK"), "JPEG", quality=95, subsampling=0))
    place = data.index(b"Adobe")
    data[place + 11] = 2
    assert close_to(photo, load_image(bytes(data)).pixels)


def test_four_inks_without_adobe_marker_are_refused(photo, encode):
    data = bytearray(encode(photo.convert("CMYK"), "JPEG"))
    place = data.index(b"Adobe") - 4
    length = int.from_bytes(data[place + 2:place + 4], "big")
    del data[place:place + 2 + length]
    with pytest.raises(ImageError) as caught:
        load_image(bytes(data))
    assert caught.value.code == "image_colorspace"


@pytest.mark.parametrize("mode", ["F", "HSV"])
def test_modes_without_a_certain_meaning_are_refused(photo, mode):
    with pytest.raises(ImageError) as caught:
        load_image(photo.convert(mode))
    assert caught.value.code == "image_colorspace"
