"""The methods encoder and auto: which weights, what is recorded, what a broken encoder does and does not do."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from facerecon.detection import CropRule
from facerecon.errors import ArgumentError, BackendError, FaceReconError, ModelError
from facerecon.mofa import CodeLayout, EncoderFacts, EncoderFile, EncoderPredictor, FaceEncoder, save_encoder
from facerecon.pipeline import ENCODER_ASSET, FaceReconstructor, encoder_weights, find_encoder
from facerecon.reconstruction import Reconstruction


@pytest.fixture(scope="module")
def untrained(reconstructor):
    """An encoder of the open model that gives about the mean face, filling the crop."""
    torch.manual_seed(0)
    encoder = FaceEncoder(layout=CodeLayout.of(reconstructor.model))
    return EncoderFile(encoder.eval(), EncoderFacts.of(reconstructor.model, crop=CropRule()))


@pytest.fixture(scope="module")
def weights(untrained, tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder") / "e.safetensors", untrained.encoder, untrained.facts)


def made(reconstructor, **options) -> FaceReconstructor:
    return FaceReconstructor(reconstructor.model, **{"stages": "landmarks", "texture": "none", **options})


def test_the_encoder_alone_gives_a_face_from_a_file(reconstructor, portrait, face, weights, tmp_path):
    with made(reconstructor, method="encoder", weights=weights, faces="largest") as encode:
        (found,) = encode(portrait(0))
        assert encode.method == found.method == "encoder" and found.to_dict()["method"] == "encoder"
    assert {"load", "detect", "encode", "judge", "decode"} == set(found.timings_ms)
    # The mean face that fills the crop lies on the face in the photo, and is judged like a fit.
    scale = np.sqrt(np.prod(face.box[2:] - face.box[:2]))
    assert np.linalg.norm(found.landmarks68[:, :2] - face.landmarks68[:, :2], axis=1).mean() < 0.15 * scale
    assert found.fit["landmark_nme_percent"] > face.fit["landmark_nme_percent"] and found.fit["photometric_rmse"] is None
    assert ("poor_fit" in found.flags) == (found.fit["landmark_nme_percent"] > 6)
    assert np.isfinite(found.vertices).all() and found.save(tmp_path / "x.ply")[0].is_file()


def test_auto_begins_at_the_encoder_and_fit_does_not(reconstructor, portrait, face, untrained, monkeypatch):
    truth = face.parameters
    seen = types.SimpleNamespace(parameters=truth, landmarks68=face.landmarks68[:, :2], crop=types.SimpleNamespace(roll=0.0))
    monkeypatch.setattr(EncoderPredictor, "predict", lambda *_, **__: seen)
    monkeypatch.setattr(EncoderPredictor, "mirrored_landmarks", lambda *_: seen.landmarks68)
    with made(reconstructor, method="auto", weights=untrained) as auto:
        found = auto(portrait(0))[0]
    assert found.method == "auto" and found.flags == face.flags
    assert found.fit["landmark_nme_percent"] == pytest.approx(face.fit["landmark_nme_percent"], rel=0.01)
    assert {"encode", "landmarks"} <= set(found.timings_ms) and face.method == "fit" and "encode" not in face.timings_ms


def answers(broken):
    """A predictor whose second answer, and only that, is broken."""
    count = iter(range(100))

    def predict(self, pixels, box=None, **_):
        if next(count) == 1:
            return broken()
        return EncoderPredictor.__dict__["_kept"](self, pixels, box, **_)

    return predict


def nan_pose():
    raise ModelError("the encoder gave numbers that are not finite", code="model_corrupt")


@pytest.mark.parametrize("method", ["encoder", "auto"])
@pytest.mark.parametrize("broken", [nan_pose, lambda: types.SimpleNamespace(parameters=None)], ids=["raises", "no parameters"])
def test_a_broken_answer_costs_one_face_or_none(reconstructor, portrait, face, untrained, monkeypatch, method, broken):
    monkeypatch.setattr(EncoderPredictor, "_kept", EncoderPredictor.predict, raising=False)
    monkeypatch.setattr(EncoderPredictor, "predict", answers(broken))
    with made(reconstructor, method=method, weights=untrained) as made_:
        outcomes = [made_.attempt(portrait(0))[0] for _ in range(3)]
    assert isinstance(outcomes[0], Reconstruction) and isinstance(outcomes[2], Reconstruction)
    if method == "encoder":
        assert isinstance(outcomes[1], FaceReconError)
    else:
        assert "encoder_unused" in outcomes[1].flags
        np.testing.assert_array_equal(outcomes[1].vertices, face.vertices)


def test_without_weights_auto_is_fit_and_encoder_is_refused(reconstructor, portrait, face, monkeypatch):
    monkeypatch.setattr(encoder_weights, "manifest", dict)
    with made(reconstructor, method="auto") as auto:
        assert auto.method == "fit"
        np.testing.assert_array_equal(auto(portrait(0))[0].vertices, face.vertices)
    with pytest.raises(BackendError, match="facerecon train mofa-cpu-128.*--weights") as caught:
        made(reconstructor, method="encoder")
    assert caught.value.code == "backend_missing"


def test_weights_that_ship_are_used_for_their_model_alone(reconstructor, weights, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_weights, "manifest", lambda: {ENCODER_ASSET: {}})
    monkeypatch.setattr(encoder_weights, "locate", lambda name: weights)
    assert find_encoder(reconstructor.model, method="auto").facts.model == reconstructor.model.name
    assert find_encoder(reconstructor.model, method="fit") is None
    other = EncoderFacts(**{**vars(untrained.facts), "topology_sha256": "0" * 64})
    path = save_encoder(tmp_path / "other.safetensors", untrained.encoder, other)
    monkeypatch.setattr(encoder_weights, "locate", lambda name: path)
    assert find_encoder(reconstructor.model, method="auto") is None
    with pytest.raises(BackendError):
        find_encoder(reconstructor.model, method="encoder")
    with pytest.raises(ModelError) as caught:
        find_encoder(reconstructor.model, method="auto", weights=path)
    assert "0" * 12 in caught.value.message and reconstructor.model.header["topology_sha256"][:12] in caught.value.message


@pytest.mark.parametrize("options", [{"method": "fit", "weights": "x"}, {"method": "auto", "pncc_weights": "x"}])
def test_options_that_would_not_be_used_are_refused(options):
    with pytest.raises(ArgumentError):
        FaceReconstructor("no such model", **options)


def test_channels_and_pncc_weights_must_agree(reconstructor, untrained):
    with pytest.raises(ArgumentError, match="RGB alone"):
        find_encoder(reconstructor.model, method="auto", weights=untrained, pncc_weights="x")
    six = EncoderFile(FaceEncoder(layout=untrained.layout, channels=6).eval(), untrained.facts)
    with pytest.raises(ArgumentError, match="RGB and PNCC"):
        find_encoder(reconstructor.model, method="encoder", weights=six)


def test_boxes_and_profiles_without_dense_points_work_too(reconstructor, portrait, face, untrained):
    import dataclasses

    from facerecon.pipeline.methods import Clock, FaceEstimator

    (found,) = reconstructor._finder.find(portrait(0))
    sparse = dataclasses.replace(found, points478=None)
    estimate = FaceEstimator(reconstructor.model, method="encoder", encoder=EncoderPredictor(reconstructor.model, untrained))
    result = estimate(portrait(0), sparse, Clock({}))
    assert result.scheme == "five" and np.isfinite(result.landmark_nme_percent)
    with pytest.raises(FaceReconError) as caught:
        estimate(portrait(0), dataclasses.replace(sparse, points5=None), Clock({}))
    assert caught.value.code == "no_face"
