"""A crop's map, its inverse, and its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.detection import Crop
from facerecon.errors import ArgumentError

CROPS = [Crop((50.0, 40.0), 64.0, 64), Crop((33.3, 71.9), 20.0, 192, 0.4), Crop((-5.0, 200.0), 333.0, 100, -2.8),
         Crop((400.0, 300.0), 1000.0, 48, 1.57)]


@pytest.mark.parametrize("crop", CROPS)
def test_there_and_back(crop):
    points = np.random.default_rng(0).uniform(-100, 500, (50, 3))
    np.testing.assert_allclose(crop.to_image(crop.to_crop(points)), points, atol=1e-9)
    np.testing.assert_allclose(crop.to_crop(crop.to_image(points)), points, atol=1e-9)


@pytest.mark.parametrize("crop", CROPS)
def test_the_map_is_a_similarity_about_the_centre(crop):
    np.testing.assert_allclose(crop.to_crop(np.array([crop.centre])), [[(crop.size - 1) / 2] * 2], atol=1e-9)
    turn = crop.matrix[:, :2] / crop.scale
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_edges_land_on_edges():
    crop = Crop((50.0, 40.0), 20.0, 100)
    np.testing.assert_allclose(crop.to_crop(np.array([[40.0, 30.0], [60.0, 50.0]])), [[-0.5, -0.5], [99.5, 99.5]])


def test_roll_is_clockwise_as_seen():
    # The crop's x axis points down in the picture when the region is turned by a quarter clockwise.
    crop = Crop((10.0, 10.0), 8.0, 8, np.pi / 2)
    np.testing.assert_allclose(crop.to_image(np.array([[3.5, 3.5], [4.5, 3.5]])), [[10, 10], [10, 11]], atol=1e-12)


def test_depth_is_scaled_and_the_dtype_kept():
    crop = Crop((10.0, 10.0), 50.0, 100)
    points = np.array([[10.0, 10.0, 3.0]], np.float32)
    assert crop.to_crop(points)[0, 2] == 6 and crop.to_image(points)[0, 2] == 1.5
    assert crop.to_crop(points).dtype == np.float32


def test_identity_crop_copies_the_pixels():
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    crop = Crop((17.5, 13.5), 16.0, 16)
    np.testing.assert_array_equal(crop.extract(pixels), pixels[6:22, 10:26])


@pytest.mark.parametrize("crop", [Crop((60.0, 50.0), 40.0, 80, 0.3), Crop((64.0, 60.0), 90.0, 31, -1.1),
                                  Crop((60.0, 60.0), 110.0, 12, 0.0), Crop((61.0, 59.0), 100.0, 23, 2.5)])
def test_pixels_follow_the_map_when_enlarged_and_reduced(crop):
    # A linear ramp survives every interpolation, so each crop pixel must show the ramp's value at its own place.
    rows, columns = np.mgrid[0:130, 0:140].astype(np.float32)
    ramp = np.stack([columns, rows, columns + rows], axis=2)
    size = crop.size
    spots = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=2).reshape(-1, 2).astype(float)
    places = crop.to_image(spots)
    inside = (places > 6).all(axis=1) & (places[:, 0] < 132) & (places[:, 1] < 122)
    assert inside.sum() > 60
    view = crop.extract(ramp).reshape(-1, 3)
    np.testing.assert_allclose(view[inside, :2], places[inside], atol=0.05)


def test_outside_is_filled():
    pixels = np.full((20, 20, 3), 200, np.uint8)
    assert (Crop((-100.0, -100.0), 30.0, 16).extract(pixels) == 0).all()
    assert (Crop((-1000.0, -100.0), 300.0, 16).extract(pixels, fill=7) == 7).all()


def test_impossible_crops_are_refused():
    for arguments in (((0.0, 0.0), 0.0, 10), ((0.0, 0.0), np.nan, 10), ((0.0, 0.0), 5.0, 0)):
        with pytest.raises(ArgumentError):
            Crop(*arguments)
