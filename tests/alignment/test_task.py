"""Crop rule and task: what a weights file says, and what a predictor loads from one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facerecon.alignment import LandmarkPredictor, LandmarkTask, load_scheme
from facerecon.detection import Crop, CropRule, cut_square
from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda import build_autoencoder, build_plain, save_network


def test_the_square_of_each_kind_of_box():
    rule = CropRule(margin=1.6, detector_margin=1.5, detector_shift=0.1)
    crop = rule.crop(np.array([10.0, 20.0, 50.0, 120.0]), size=128, box_of="points")
    assert crop.centre == (30.0, 70.0) and crop.side == pytest.approx(160) and crop.size == 128
    crop = rule.crop(np.array([10.0, 20.0, 50.0, 120.0]), size=256)
    assert crop.centre == (30.0, pytest.approx(80.0)) and crop.side == pytest.approx(150) and crop.size == 256


def test_reduction_averages_and_enlargement_does_not():
    stripes = np.zeros((96, 96, 3), np.float32)
    stripes[:, ::3] = 3.0
    reduced = cut_square(stripes, Crop((47.5, 47.5), 96, 32))
    np.testing.assert_allclose(reduced, 1.0, atol=1e-5)
    ramp = np.repeat(np.arange(40, dtype=np.float32)[None, :, None], 40, axis=0) @ np.ones((1, 3), np.float32)
    for size in (20, 40, 80, 27):
        crop = Crop((19.5, 19.5), 30, size)
        x = crop.to_image(np.column_stack([np.arange(size), np.zeros(size)]))[:, 0]
        # Whole pixels are averaged, so that a slope may be off by a tenth of one; on average it is not.
        error = cut_square(ramp, crop)[size // 2, :, 0] - x
        assert np.abs(error).max() < 0.1 and abs(error.mean()) < 0.01


def test_task_round_trip():
    task = LandmarkTask(load_scheme("wflw98"), 5.0, "argmax", CropRule(1.3, 1.2, 0.05))
    record = json.loads(json.dumps(task.to_dict()))
    assert LandmarkTask.from_dict(record) == task and record["name"] == "landmarks" and record["crop"]["margin"] == 1.3
    short = {"name": "landmarks", "scheme": record["scheme"], "image_size": 128}
    assert LandmarkTask.from_dict(short) == LandmarkTask(load_scheme("wflw98"))


@pytest.mark.parametrize("change", [
    {"name": "pncc"}, {"scheme": {}}, {"scheme": None}, {"sigma": 0}, {"sigma": "7"}, {"decoding": "peak"}, {"crop": 3},
    {"crop": {"rule": "other"}}, {"crop": {"rule": "points_box", "margin": 99}}, {"crop": {"rule": "points_box", "size": 1}},
    {"crop": {"rule": "points_box", "margin": "1"}},
])
def test_a_wrong_task_is_refused(change):
    record = {**LandmarkTask(load_scheme("five")).to_dict(), **change}
    with pytest.raises(ModelError) as error:
        LandmarkTask.from_dict(record)
    assert error.value.code == "model_invalid"


@pytest.mark.parametrize("values", [{"margin": 0.0}, {"detector_margin": float("nan")}, {"detector_shift": 3.0}])
def test_a_wrong_rule_is_refused(values):
    with pytest.raises(ArgumentError):
        CropRule(**values)


@pytest.fixture(scope="module")
def network():
    return build_plain(build_autoencoder(image_size=128).encoder, outputs=5)


def test_a_predictor_from_a_file(network, tmp_path):
    task = LandmarkTask(load_scheme("five"), crop=CropRule(1.4, 1.3, 0.0))
    path = save_network(tmp_path / "five.safetensors", network, task=task.to_dict(), tensor_type="float16")
    predictor = LandmarkPredictor.load(path)
    assert predictor.scheme == load_scheme("five") and predictor.image_size == 128
    photo = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    points, confidence = predictor.predict(photo, [100, 50, 180, 140])
    # Side 1.3 * 90 around (140, 95): no point can be decoded outside.
    assert (np.abs(points - [140, 95]) < 1.3 * 90 / 2 + 1).all() and ((confidence >= 0) & (confidence <= 1)).all()


def test_weights_of_other_tasks_are_refused(network, tmp_path):
    other = save_network(tmp_path / "pncc.safetensors", network, task={"name": "pncc"}, tensor_type="float16")
    with pytest.raises(ModelError, match="pncc.safetensors.*'pncc'") as error:
        LandmarkPredictor.load(other)
    assert error.value.code == "model_invalid"
    six = {**LandmarkTask(load_scheme("aflw19")).to_dict()}
    with pytest.raises(ModelError, match="19"):
        LandmarkPredictor.load(save_network(tmp_path / "six.safetensors", network, task=six, tensor_type="float16"))
    with pytest.raises(ModelError) as error:
        LandmarkPredictor.load(tmp_path / "gone.safetensors")
    assert error.value.code == "model_missing"
