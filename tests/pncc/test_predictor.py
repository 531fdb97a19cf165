"""The predictor: frames, background, what its weights file must say. A picture of a code stands for a photo."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from facerecon.detection import Crop, CropRule
from facerecon.errors import BackendError, ModelError
from facerecon.gmda import build_autoencoder, build_plain, save_network
from facerecon.pncc import PnccPrediction, PnccPredictor, PnccTask, cleaned, foreground, pose_to_photo, recover_pose


def test_clipped_with_a_black_background():
    raw = np.array([[[1.4, -0.2, 0.3], [0.14, 0.1, 0.0]], [[0.0, 0.16, 0.0], [-1, -1, -1]]])
    np.testing.assert_allclose(cleaned(raw), [[[1, 0, 0.3], [0, 0, 0]], [[0, 0.16, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_array_equal(foreground(np.array([[[38, 0, 0], [37, 37, 37]]], np.uint8)), [[True, False]])


def test_the_threshold_loses_no_place_of_the_open_model(model):
    codes = model.ncc[model.masks["pncc"]]
    assert float(codes.amax(-1).min()) > 0.15


def test_a_crop_is_its_own_frame(echo, task, draw, pose):
    code = draw(pose(25))
    prediction = PnccPredictor(echo, task).predict(code)
    np.testing.assert_allclose(prediction.code, code / 255, atol=1e-6)
    np.testing.assert_allclose(prediction.in_photo((128, 128)), code / 255, atol=1e-6)


def test_a_box_in_a_photo_and_back(echo, task, draw, pose, surface, apart_deg):
    """The code of a face in a larger photo returns to its place, and so does the pose."""
    view = pose(-30, scale=1.1, centre=(250.0, 170.0))
    photo = draw(view, size=(360, 420))
    rows, columns = np.nonzero(photo.any(-1))
    box = (columns.min(), rows.min(), columns.max(), rows.max())
    rule = dataclasses.replace(task, crop=CropRule(margin=1.2))
    prediction = PnccPredictor(echo, rule).predict(photo, box, box_of="points")
    back = prediction.in_photo((360, 420))
    both = (back.max(-1) > 0) & photo.any(-1)
    assert both.sum() > 0.97 * photo.any(-1).sum() and (back.max(-1) > 0).sum() < 1.03 * photo.any(-1).sum()
    assert np.median(np.abs(back - photo / 255)[both]) < 0.01
    found = recover_pose(surface.match(prediction.code), surface.mean)
    placed = pose_to_photo(found.pose, prediction.crop)
    assert apart_deg(placed.rotation, view.rotation) < 0.5 and torch.allclose(placed.translation, view.translation, atol=0.5)


def test_a_crop_that_leaves_the_photo(echo, task, draw, pose):
    photo = draw(pose(0))
    back = PnccPredictor(echo, task).predict(photo, (-60, -20, 60, 110)).in_photo((128, 128))
    seen = back.any(-1)
    assert seen.any() and np.median(np.abs(back - photo / 255)[seen]) < 0.02
    beside = dataclasses.replace(PnccPredictor(echo, task).predict(photo))
    far = dataclasses.replace(beside, crop=dataclasses.replace(beside.crop, centre=(900.0, 900.0)))
    assert not far.in_photo((128, 128)).any()


def test_many_faces_equal_one_by_one(echo, task, draw, pose):
    codes = np.stack([draw(pose(yaw)) for yaw in (0, 40, -70)])
    predictor = PnccPredictor(echo, task, batch_size=2)
    assert predictor.predict_crops(codes).shape == (3, 128, 128, 3)
    assert predictor.predict_crops(codes[:0]).shape == (0, 128, 128, 3)
    for code, batched in zip(codes, predictor.predict_crops(codes)):
        np.testing.assert_array_equal(predictor.predict(code).code, batched)
    assert predictor.predict_boxes(codes[0], []) == []


def test_a_weights_file_loads_and_others_are_refused(tmp_path, task, model):
    network = build_plain(build_autoencoder(image_size=128).encoder, outputs=3)
    path = save_network(tmp_path / "p.safetensors", network, task=task.to_dict(), tensor_type="float16")
    predictor = PnccPredictor.load(path)
    assert predictor.task == task and predictor.image_size == 128
    assert predictor.predict(np.full((150, 150, 3), 90, np.uint8)).code.shape == (128, 128, 3)
    predictor.task.check_model(model)
    with pytest.raises(ModelError):
        dataclasses.replace(task, high=(80.0, 100.0, 60.0)).check_model(model)
    with pytest.raises(ModelError):
        dataclasses.replace(task, topology_sha256="0").check_model(model)
    wrong = {"name": "landmarks"}, {"name": "pncc"}, {**task.to_dict(), "ncc": {"low": [0, 0], "high": [1, 1, 1]}}, {
        **task.to_dict(), "crop": {"rule": "other"}}, {**task.to_dict(), "least": 2}, "pncc"
    for record in wrong:
        with pytest.raises(ModelError) as caught:
            PnccTask.from_dict(record)
        assert caught.value.code == "model_invalid"
    four = build_plain(build_autoencoder(image_size=128).encoder, outputs=4)
    with pytest.raises(ModelError, match="three maps"):
        PnccPredictor(four, task)


def test_a_gpu_that_is_not_there(echo, task, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError):
        PnccPredictor(echo, task, device="cuda")
    assert PnccPredictor(echo, task, device="auto").image_size == 128


def test_maps_that_are_not_finite_are_refused(task, echo):
    class Broken(type(echo)):
        def forward(self, images):
            return super().forward(images) / 0

    with pytest.raises(ModelError) as caught:
        PnccPredictor(Broken(), task).predict(np.zeros((64, 64, 3), np.uint8))
    assert caught.value.code == "model_corrupt"


def test_a_photo_gets_no_colour_that_the_code_has_not():
    """At the outline, too: mixed with the background a colour would be another place of the face."""
    code = np.zeros((128, 128, 3), np.float32)
    code[30:90, 40:80] = (0.8, 0.4, 0.2)
    photo = PnccPrediction(code, Crop((200.0, 150.0), 330.0, 128, 0.0)).in_photo((300, 400))
    covered = photo.any(-1)
    np.testing.assert_allclose(photo[covered], np.broadcast_to((0.8, 0.4, 0.2), (covered.sum(), 3)), atol=1e-5)
    assert covered.sum() == pytest.approx(60 * 40 * (330 / 128) ** 2, rel=0.02)
