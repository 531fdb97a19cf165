"""F01 to F06 and F13: which content is taken, what is refused, and with which code."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from facerecon.data import load_image
from facerecon.data.limits import MAX_PIXELS
from facerecon.errors import FaceReconError, ImageError


def code_of(source, **options) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    return caught.value.code


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


@pytest.mark.parametrize("name, options", [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}),
                                           ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("GIF", {})])
def test_every_allowed_format_gives_the_picture(photo, encode, tmp_path, name, options):
    path = tmp_path / "wrong_name.txt"
    path.write_bytes(encode(photo, name, **options))
    loaded = load_image(path)
    tolerance = {"JPEG": 3, "GIF": 8}.get(name, 0)
    assert loaded.pixels.dtype == np.uint8 and loaded.pixels.flags.c_contiguous
    assert np.abs(loaded.pixels.astype(int) - np.asarray(photo)).mean() <= tolerance
    assert (loaded.path, loaded.size, loaded.stored_size, loaded.flags) == (str(path), (160, 120), (160, 120), ())


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    assert code_of(path) == "image_empty"
    assert code_of(b"") == "image_empty"


@pytest.mark.parametrize("content", [
    np.random.default_rng(0).bytes(4096), b"just a text\n" * 20, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    b"8BPS\0\1" + bytes(40), b"P6\n20 20\n255\n" + bytes(1200), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8",
    b"BM not a bitmap at all, only a text that starts so", b"RIFF\x10\0\0\0WAVEfmt "])
def test_other_content_is_refused_and_no_decoder_is_run(monkeypatch, tmp_path, content):
    def forbidden(*_, **__):
        raise AssertionError("a decoder was started")

    monkeypatch.setattr(ImageFile.ImageFile, "__init__", forbidden)
    monkeypatch.setattr(Image, "open", forbidden)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert code_of(path) == "image_format"


def test_content_decides_and_not_the_name(photo, encode, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encode(photo, "TIFF"))
    np.testing.assert_array_equal(load_image(path).pixels, np.asarray(photo))


@pytest.mark.parametrize("name, options", [
    ("JPEG", {"quality": 90}), ("JPEG", {"quality": 90, "progressive": True}), ("PNG", {}), ("WEBP", {}), ("BMP", {}),
    ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("GIF", {})])
def test_a_file_cut_anywhere_is_refused(photo, encode, name, options):
    data = encode(photo, name, **options)
    # A GIF is whole without its last byte, the trailer: all pixels are there.
    end = len(data) - (name == "GIF")
    places = {int(end * share) for share in (0.01, 0.1, 0.5, 0.9, 0.99)} | set(range(40, end, 997)) | {end - 1}
    for place in sorted(places):
        assert code_of(data[:place]) == "image_truncated", place


def test_bytes_behind_the_end_do_no_harm(photo, encode):
    for name in ("JPEG", "PNG"):
        data = encode(photo, name)
        np.testing.assert_array_equal(load_image(data + b"\xff\xd8 trailer").pixels, load_image(data).pixels)


def test_png_without_its_end_chunk_is_refused(photo, encode):
    data = encode(photo, "PNG")
    assert code_of(data[:data.rindex(b"IEND") - 4]) == "image_truncated"


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_png_with_a_wrong_checksum_is_refused(photo, encode, kind):
    data = bytearray(encode(photo, "PNG"))
    place = data.index(kind)
    (length,) = struct.unpack_from(">I", data, place - 4)
    data[place + 4 + length] ^= 1
    assert code_of(bytes(data)) == "image_truncated"


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_truncated_is_shown_when_allowed_and_flagged(photo, encode, name):
    data = encode(photo, name)
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    loaded = load_image(data[: int(len(data) * 0.7)], allow_truncated=True)
    assert loaded.flags == ("truncated",) and loaded.size == (160, 120)
    whole = load_image(data)
    np.testing.assert_array_equal(loaded.pixels[:48], whole.pixels[:48])
    assert np.abs(loaded.pixels[-10:].astype(int) - whole.pixels[-10:]).mean() > 5
    assert ImageFile.LOAD_TRUNCATED_IMAGES == before and whole.flags == ()


def test_interlaced_png_cut_is_shown_when_allowed(noise):
    import cv2

    grey = noise[..., 0]
    data = bytearray(cv2.imencode(".png", grey)[1].tobytes())
    raw = b"".join(b"".join(b"\0" + grey[y, x0::dx].tobytes() for y in range(y0, 40, dy))
                   for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                                          (0, 1, 1, 2)))
    head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 0, 0, 0, 1))
    data = head + png_chunk(b"IDAT", zlib.compress(raw, 0)) + png_chunk(b"IEND", b"")
    np.testing.assert_array_equal(load_image(data).pixels[..., 0], grey)
    cut = load_image(data[:len(data) - 700], allow_truncated=True)
    np.testing.assert_array_equal(cut.pixels[::8, ::8, 0], grey[::8, ::8])


def gif_bomb() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + (
        b"\x02\x02\x4c\x01\x00;")


def wide_first_frame_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + (
        b"\x02\x02\x4c\x01\x00;")


def tiff_bomb(tile: bool = False) -> bytes:
    side = 64 if tile else 60000
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1)]
    entries += [(322, 4, 1 << 20), (323, 4, 1 << 20), (324, 4, 200), (325, 4, 10)] if tile else [(273, 4, 200), (279, 4, 10)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)).ljust(300, b"\0")


BOMBS = {
    "png": lambda: png_header(30000, 30000, 1, 0) + png_chunk(b"IDAT", zlib.compress(bytes(30000 * 3751), 9)) + png_chunk(
        b"IEND", b""),
    "gif": gif_bomb,
    "gif frame": wide_first_frame_gif,
    "bmp": lambda: b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHH", 40, 60000, 60000, 1, 24) + bytes(64),
    "tiff": tiff_bomb,
    "tiff tile": lambda: tiff_bomb(tile=True),
    "jpeg": lambda: b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\1\x03\x11\1" + b"\xff\xd9",
    "webp": lambda: b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\0" * 2 + bytes(78),
    "packed text": lambda: png_header(32, 32) + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20), 9)),
    "packed international text": lambda: png_header(32, 32) + png_chunk(
        b"iTXt", b"a\0\1\0en\0a\0" + zlib.compress(bytes(50 << 20), 9)),
    "packed profile": lambda: png_header(32, 32) + png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50 << 20), 9)),
    "long text": lambda: png_header(32, 32) + png_chunk(b"tEXt", b"a\0" + b"b" * (3 << 20)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_from_the_header(name):
    resource = pytest.importorskip("resource")
    data = BOMBS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert code_of(data) == "image_too_large"
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 100e6


def test_limits_can_be_raised_and_lowered(photo, encode):
    data = encode(photo, "PNG")
    assert code_of(data, max_bytes=len(data) - 1) == "image_too_large"
    assert code_of(data, max_pixels=160 * 120 - 1) == "image_too_large"
    assert code_of(data, max_side=159) == "image_too_large"
    assert code_of(data, min_side=121) == "image_too_small"
    assert load_image(data, max_bytes=len(data), max_pixels=160 * 120, max_side=160, min_side=120).size == (160, 120)
    assert 50e6 < MAX_PIXELS < 108e6


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (15, 15), (16, 15)])
def test_tiny_pictures_are_refused(encode, size):
    for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        assert code_of(encode(Image.new("RGB", size), name)) == "image_too_small", name
    assert code_of(np.zeros((size[1], size[0], 3), np.uint8)) == "image_too_small"
    assert code_of(Image.new("RGB", size)) == "image_too_small"


def test_pillow_size_warning_never_reaches_the_user(encode):
    data = encode(Image.new("L", (10000, 9500)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert code_of(data) == "image_too_large"
        assert load_image(data, max_pixels=10**8).size == (10000, 9500)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_is_taken(photo, encode, name):
    frames = [photo, Image.new("RGB", photo.size, (255, 0, 0)), Image.new("RGB", photo.size, (0, 0, 255))]
    options = {"WEBP": {"lossless": True}}.get(name, {})
    loaded = load_image(encode(frames[0], name, save_all=True, append_images=frames[1:], **options))
    assert loaded.flags == ("first_frame",)
    assert np.abs(loaded.pixels.astype(int) - np.asarray(photo)).mean() < 6


def test_metadata_does_not_change_the_pixels(photo, encode):
    exif = Image.Exif()
    exif[0x010E] = "x" * 30000
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    plain = encode(photo, "JPEG", quality=95)
    loaded = load_image(encode(photo, "JPEG", quality=95, exif=exif, icc_profile=bytes(range(256)) * 2000, comment=b"c" * 60000))
    np.testing.assert_array_equal(loaded.pixels, load_image(plain).pixels)
    assert set(vars(loaded)) == {"pixels", "path", "stored_size", "orientation", "flags"}


def test_large_files_give_the_same_pixels_as_small_ones(monkeypatch, photo, encode):
    from facerecon.data import decode

    files = [encode(photo, "JPEG", quality=90), encode(photo.convert("L"), "JPEG"), encode(photo, "PNG"),
             encode(photo, "JPEG", subsampling=0, progressive=True), encode(photo, "WEBP"),
             encode(photo, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
             encode(photo, "PNG", exif=b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")]
    usual = [load_image(data) for data in files]
    monkeypatch.setattr(decode, "LARGE", 1)
    for data, expected in zip(files, usual):
        loaded = load_image(data)
        np.testing.assert_array_equal(loaded.pixels, expected.pixels)
        assert loaded.orientation == expected.orientation
    assert [loaded.orientation for loaded in usual[-2:]] == [6, 6]


def test_large_png_whose_pixels_end_early_is_refused(monkeypatch, noise):
    from facerecon.data import decode

    monkeypatch.setattr(decode, "LARGE", 1)
    raw = b"".join(b"\0" + row.tobytes() for row in noise[:30])
    data = png_header(60, 40) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    assert code_of(data) == "image_truncated"
    monkeypatch.setattr(decode, "LARGE", 1 << 30)
    assert code_of(data) == "image_truncated"


def test_decoders_do_not_write_to_the_terminal(monkeypatch, photo, encode, capfd):
    from facerecon.data import decode

    tiff = bytearray(encode(photo, "TIFF", compression="tiff_deflate"))
    tiff[60:200] = bytes(140)
    jpeg = bytearray(encode(photo, "JPEG"))
    place = jpeg.index(b"\xff\xda") + 300
    jpeg[place:place + 40] = bytes(40)
    for damaged in (tiff, jpeg):
        monkeypatch.setattr(decode, "LARGE", 1 if damaged is jpeg else 1 << 30)
        try:
            load_image(bytes(damaged))
        except ImageError:
            assert damaged is tiff
    assert capfd.readouterr().err == ""


def test_unknown_sources_are_refused():
    for source in (None, 3, [1, 2], {"a": 1}, io.BytesIO(b"x")):
        with pytest.raises(FaceReconError, match="wanted a path"):
            load_image(source)
