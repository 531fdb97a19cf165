"""Images and landmark files: what is written comes back, and the conventions are those that are stated."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from facerecon.errors import ArgumentError, LandmarkError, PathError
from facerecon.export import (
    depth_to_uint16, encode_image, normals_to_rgb, read_landmarks_json, read_pts, write_depth_png, write_image, write_landmarks_json, write_pts,
)


def test_png_is_lossless_and_rgb(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    path = write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    shown = np.asarray(Image.open(write_image(tmp_path / "a.jpg", red))).reshape(-1, 3).mean(axis=0)
    assert shown[0] > 240 and shown[1:].max() < 15


def test_floats_are_clipped_and_tensors_taken(tmp_path):
    values = torch.tensor([[[-1.0, 0.5, 2.0], [0.0, 1.0, float("nan")]]])
    got = cv2.imdecode(np.frombuffer(encode_image(values, "png"), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert got.tolist() == [[[0, 128, 255], [0, 255, 0]]]


@pytest.mark.parametrize(("image", "kind"), [(np.zeros((4, 4, 4), np.uint8), "png"), (np.zeros((4, 4, 3), np.int32), "png"),
                                             (np.zeros((4, 4), np.uint16), "jpeg"), (np.zeros((0, 4, 3), np.uint8), "png")])
def test_other_images_are_refused(image, kind):
    with pytest.raises(ArgumentError):
        encode_image(image, kind)


def test_an_unknown_extension_writes_nothing(tmp_path):
    with pytest.raises(ArgumentError, match="extension"):
        write_image(tmp_path / "a.gif", np.zeros((4, 4, 3), np.uint8))
    assert os.listdir(tmp_path) == []


def test_depth_comes_back_within_half_a_code(tmp_path):
    rng = np.random.default_rng(1)
    depth = rng.normal(size=(40, 50)) * 100.0
    covered = rng.random((40, 50)) < 0.6
    depth[~covered] = np.nan
    limits = write_depth_png(tmp_path / "d.png", depth, covered, units="mm")
    codes = np.asarray(Image.open(tmp_path / "d.png"))
    assert codes.dtype == np.uint16 and ((codes == 0) == ~covered).all()
    back = limits.decode(codes)
    assert np.nanmax(np.abs(back - depth)) <= 0.51 * (limits.far - limits.near) / 65534 and np.isnan(back[~covered]).all()
    assert limits.to_dict()["invalid"] == 0 and limits.units == "mm"
    assert codes[covered].min() == 1 and codes[covered].max() == 65535


def test_depth_of_nothing_and_of_a_wall():
    codes, limits = depth_to_uint16(np.zeros((3, 3)), np.zeros((3, 3), bool))
    assert not codes.any() and (limits.near, limits.far) == (0.0, 0.0)
    codes, limits = depth_to_uint16(np.full((3, 3), 7.0), np.ones((3, 3), bool))
    assert (codes == 1).all() and limits.decode(codes)[0, 0] == 7.0


def test_normals_by_hand():
    normals = np.array([[[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]])
    assert normals_to_rgb(normals, np.array([[True, True, False]])).tolist() == [[[128, 128, 255], [255, 128, 128], [0, 0, 0]]]


def test_pts_counts_from_one_and_round_trips(tmp_path):
    points = np.array([[0.0, 0.0], [10.25, -3.5], [511.123456, 7.0]])
    path = write_pts(tmp_path / "a.pts", points)
    lines = path.read_text().split("\n")
    assert lines[:4] == ["version: 1", "n_points: 3", "{", "1.000000 1.000000"] and lines[6] == "}"
    np.testing.assert_allclose(read_pts(path), points, atol=1e-6)
    write_pts(path, np.concatenate([points, np.ones((3, 1))], axis=1))
    np.testing.assert_allclose(read_pts(path), points, atol=1e-6)


@pytest.mark.parametrize(("text", "code"), [
    ("version: 1\nn_points: 3\n{\n1 1\n2 2\n}\n", "landmarks_count"), ("version: 1\nn_points: 1\n{\n1 nan\n}\n", "landmarks_nonfinite"),
    ("version: 1\nn_points: 1\n{\n1 2 3\n}\n", "landmarks_invalid"), ("hello", "landmarks_invalid"), ("", "landmarks_invalid"),
    ("version: 1\nn_points: 1\n{\none two\n}\n", "landmarks_invalid"), ("version: 1\n}\n1 1\n{\n", "landmarks_invalid"),
])
def test_bad_pts_are_refused(tmp_path, text, code):
    path = tmp_path / "a.pts"
    path.write_text(text)
    with pytest.raises(LandmarkError) as caught:
        read_pts(path)
    assert caught.value.code == code


def test_pts_layouts_of_other_programs(tmp_path):
    path = tmp_path / "a.pts"
    path.write_bytes(b"version: 1\r\nn_points:  2\r\n{\r\n1 1\r\n 2.5\t3 \r\n}\r\n")
    np.testing.assert_allclose(read_pts(path), [[0, 0], [1.5, 2]])


def test_json_round_trip(tmp_path):
    points = np.random.default_rng(2).normal(size=(5, 3))
    path = write_landmarks_json(tmp_path / "a.json", points, scheme="five", image_size=(640, 480), visibility=np.ones(5), confidence=0.9)
    record = read_landmarks_json(path)
    np.testing.assert_allclose(record["points"], points, atol=1e-6)
    assert record["scheme"] == "five" and record["image_size"] == [640, 480] and record["visibility"] == [1.0] * 5


@pytest.mark.parametrize(("text", "code"), [("{}", "landmarks_invalid"), ("[1]", "landmarks_invalid"), ('{"points": [[1, NaN]]}', "landmarks_nonfinite"),
                                            ('{"points": [[1]]}', "landmarks_invalid"), ('{"points": [["a", 1]]}', "landmarks_invalid"), ("{", "landmarks_invalid")])
def test_bad_json_is_refused(tmp_path, text, code):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(LandmarkError) as caught:
        read_landmarks_json(path)
    assert caught.value.code == code


def test_missing_landmark_file(tmp_path):
    with pytest.raises(PathError) as caught:
        read_pts(tmp_path / "none.pts")
    assert caught.value.code == "path_missing"
