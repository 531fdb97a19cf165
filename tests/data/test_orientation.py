"""F07: the eight EXIF orientations."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from facerecon.data import load_image
from facerecon.data.orientation import apply_orientation, exif_orientation, to_stored_frame


def exif_block(value: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    return b"Exif\0\0" + head + struct.pack(order + "HHHI", 1, 0x0112, kind, count) + packed + bytes(4)


def stored_for(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The stored picture that shows as `upright`, by undoing Pillow's own rule."""
    undo = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    picture = Image.fromarray(upright)
    picture.getexif()[0x0112] = undo
    return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_orientations_show_the_same_picture(noise, encode, name, orientation):
    stored = stored_for(noise, orientation)
    if name == "TIFF":
        data = encode(Image.fromarray(stored), name, tiffinfo={0x0112: orientation})
    else:
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(name, {})
        data = encode(Image.fromarray(stored), name, exif=exif_block(orientation), **options)
    loaded = load_image(data)
    tolerance = 6 if name == "JPEG" else 0
    assert np.abs(loaded.pixels.astype(int) - noise).max() <= tolerance
    assert loaded.orientation == orientation and loaded.stored_size == (stored.shape[1], stored.shape[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_go_back_to_the_stored_frame(noise, orientation):
    stored = stored_for(noise, orientation)
    np.testing.assert_array_equal(apply_orientation(stored, orientation), noise)
    rows, columns = np.mgrid[0:noise.shape[0], 0:noise.shape[1]]
    points = np.stack([columns, rows, rows * 0 + 7], axis=2).astype(np.float32)
    back = to_stored_frame(points, orientation, (stored.shape[1], stored.shape[0])).astype(int)
    np.testing.assert_array_equal(stored[back[..., 1], back[..., 0]], noise)
    assert (back[..., 2] == 7).all()


@pytest.mark.parametrize("exif", [
    None, b"", b"Exif\0\0", exif_block(0), exif_block(9), exif_block(65535), exif_block(6, kind=2), exif_block(6, count=0),
    exif_block(6)[:20], b"Exif\0\0XX*\0" + bytes(30), b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(20),
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(50)])
def test_damaged_or_absent_tag_means_upright(exif):
    assert exif_orientation(exif) == 1


def test_byte_orders_and_long_values():
    assert exif_orientation(exif_block(6, order=">")) == 6
    assert exif_orientation(exif_block(8, kind=4)) == 8
    assert exif_orientation(exif_block(3)[6:]) == 3


def test_pillow_image_is_turned_by_its_exif(noise, encode, tmp_path):
    path = tmp_path / "turned.png"
    path.write_bytes(encode(Image.fromarray(stored_for(noise, 6)), "PNG", exif=exif_block(6)))
    with Image.open(path) as picture:
        np.testing.assert_array_equal(load_image(picture).pixels, noise)
