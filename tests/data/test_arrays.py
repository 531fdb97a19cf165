"""F11: NumPy arrays, torch tensors and Pillow images as photos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from facerecon.data import load_image
from facerecon.errors import ArgumentError, ImageError


def code_of(source, **options) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    return caught.value.code


def test_uint8_is_copied_and_the_input_stays(noise):
    source = noise.copy()
    loaded = load_image(source)
    np.testing.assert_array_equal(loaded.pixels, noise)
    loaded.pixels[:] = 0
    np.testing.assert_array_equal(source, noise)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_real_numbers_in_both_ranges(noise, dtype):
    np.testing.assert_array_equal(load_image((noise / 255).astype(dtype)).pixels, noise)
    np.testing.assert_array_equal(load_image(noise.astype(dtype)).pixels, noise)


def test_the_range_can_be_said(noise):
    dark = np.full((20, 20, 3), 0.6)
    assert (load_image(dark).pixels == 153).all()
    assert (load_image(dark, value_range="255").pixels == 1).all()
    assert (load_image(np.full((20, 20, 3), 1.6)).pixels == 2).all()
    assert code_of(noise.astype(float), value_range="1") == "array_invalid"
    with pytest.raises(ArgumentError):
        load_image(dark, value_range="both")


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint32])
def test_wide_integers_must_fit(noise, dtype):
    np.testing.assert_array_equal(load_image(noise.astype(dtype)).pixels, noise)
    assert code_of(noise.astype(dtype) + dtype(1)) == "array_invalid"


def test_bool_and_16_bit(noise):
    assert set(np.unique(load_image(noise > 100).pixels)) == {0, 255}
    np.testing.assert_array_equal(load_image(noise.astype(np.uint16) * 256 + 255).pixels, noise)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_is_refused(noise, bad):
    array = noise / 255
    array[3, 4, 1] = bad
    assert code_of(array) == "array_nonfinite"
    assert code_of(torch.from_numpy(array)) == "array_nonfinite"


@pytest.mark.parametrize("array", [
    np.zeros((20, 20, 2), np.uint8), np.zeros((20, 20, 5), np.uint8), np.zeros(400, np.uint8),
    np.zeros((1, 20, 20, 3), np.uint8), np.zeros((20, 20, 3), complex), np.zeros((20, 20, 3), "U1"),
    np.full((20, 20, 3), -1.0), np.full((20, 20, 3), 300.0), np.zeros((0, 20, 3), np.uint8), np.zeros((20, 20, 3), object)])
def test_what_is_no_photo_is_refused(array):
    assert code_of(array) == "array_invalid"


def test_layouts(noise):
    first = np.ascontiguousarray(noise.transpose(2, 0, 1))
    np.testing.assert_array_equal(load_image(first).pixels, noise)
    np.testing.assert_array_equal(load_image(torch.from_numpy(first)).pixels, noise)
    np.testing.assert_array_equal(load_image(torch.from_numpy(noise)).pixels, noise)
    assert code_of(first, layout="hwc") == "array_invalid"
    assert code_of(noise, layout="chw") == "array_invalid"


def test_where_both_layouts_fit_numpy_reads_last_and_torch_first():
    array = np.zeros((3, 20, 3), np.uint8)
    assert load_image(array, min_side=1).size == (20, 3)
    assert load_image(torch.from_numpy(array), min_side=1).size == (3, 20)
    assert load_image(torch.from_numpy(array), min_side=1, layout="hwc").size == (20, 3)


def test_bgr(noise):
    np.testing.assert_array_equal(load_image(noise[..., ::-1], channel_order="bgr").pixels, noise)
    clear = np.dstack([noise[..., ::-1], np.full(noise.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(load_image(clear, channel_order="bgr").pixels, noise)


def test_grey_and_alpha_arrays(noise):
    for grey in (noise[..., 0], noise[..., :1]):
        np.testing.assert_array_equal(load_image(grey).pixels, noise[..., :1].repeat(3, 2))
    clear = np.dstack([noise, np.zeros(noise.shape[:2], np.uint8)])
    assert (load_image(clear).pixels == 128).all()


def test_strides_of_every_kind(noise):
    np.testing.assert_array_equal(load_image(noise[::-1, ::-1]).pixels, noise[::-1, ::-1])
    np.testing.assert_array_equal(load_image(np.asfortranarray(noise)).pixels, noise)
    flat = np.broadcast_to(np.array([1, 2, 3], np.uint8), (20, 30, 3))
    assert (load_image(flat).pixels == (1, 2, 3)).all()
    frozen = noise.copy()
    frozen.flags.writeable = False
    pixels = load_image(frozen).pixels
    assert pixels.flags.writeable and pixels.flags.c_contiguous


def test_tensors_that_need_care(noise):
    tensor = torch.from_numpy(noise / 255).permute(2, 0, 1).requires_grad_()
    np.testing.assert_array_equal(load_image(tensor).pixels, noise)
    assert tensor.requires_grad
    half = load_image(torch.full((3, 20, 20), 0.5, dtype=torch.bfloat16)).pixels
    assert (half == 128).all()


def test_limits_hold_for_arrays(noise):
    assert code_of(noise, max_side=59) == "image_too_large"
    assert code_of(Image.fromarray(noise), max_pixels=100) == "image_too_large"


def test_a_loaded_image_passes_through(noise):
    loaded = load_image(noise)
    assert load_image(loaded) is loaded


def test_a_pillow_image_is_not_changed(photo):
    picture = photo.quantize(8)
    picture.info["transparency"] = 3
    before = picture.tobytes(), dict(picture.info), picture.mode
    load_image(picture)
    assert (picture.tobytes(), dict(picture.info), picture.mode) == before
