"""Trust passes from the detector's landmarks to the encoder as the head turns, and never to an answer that lies elsewhere."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import torch

from facerecon.errors import FaceError
from facerecon.geometry import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.morphable import FaceParameters
from facerecon.mofa import EncoderPredictor
from facerecon.pipeline.guidance import (
    DOUBT_PERCENT, EVEN, GUIDE_MOST, JAW_LEAST, LANDMARKS_LEAST, SURE, TURN_END_DEG, TURN_START_DEG, Look, both_ways, guidance,
    judged_flags, near_face, turn_degrees, with_heatmaps)
from facerecon.pipeline.methods import Clock, FaceEstimator


def head(model, yaw: float, pitch: float = 0.0, roll: float = 0.0, *, centre=(100.0, 90.0)) -> FaceParameters:
    rotation = torch.as_tensor(euler_deg_to_matrix_aflw(pitch, yaw, roll), dtype=torch.float32)
    return FaceParameters.neutral(model, ScaledOrthographicPose(rotation, torch.tensor(centre), torch.tensor(1.0)))


@pytest.mark.parametrize("yaw, pitch, roll, turn", [(0, 0, 70, 0), (-50, 0, 20, 50), (0, 35, 0, 35), (90, 0, 0, 90)])
def test_the_turn_is_the_angle_to_the_camera(reconstructor, yaw, pitch, roll, turn):
    assert turn_degrees(head(reconstructor.model, yaw, pitch, roll)) == pytest.approx(turn, abs=0.1)


def test_trust_passes_to_the_encoder_as_the_head_turns(reconstructor):
    model = reconstructor.model
    there = np.arange(136.0).reshape(68, 2)
    seen = [guidance(Look(head(model, yaw), there, None), 478)
            for yaw in (0.0, TURN_START_DEG, (TURN_START_DEG + TURN_END_DEG) / 2, TURN_END_DEG, -80.0)]
    jaw, inner = ([guide.weights[index] for guide, _ in seen] for index in (16, 17))
    landmarks = [weights[0] for _, weights in seen]
    # Near the front the encoder speaks of the jaw alone.
    assert jaw[:2] == pytest.approx([JAW_LEAST] * 2) and inner[:2] == pytest.approx([0.0] * 2)
    assert jaw[3:] == pytest.approx([GUIDE_MOST] * 2) and inner[3:] == pytest.approx([GUIDE_MOST] * 2)
    assert landmarks[:2] == pytest.approx([1.0] * 2) and landmarks[3:] == pytest.approx([LANDMARKS_LEAST] * 2)
    # Half way, by the ramp's symmetry, halfway between.
    assert jaw[2] == pytest.approx((JAW_LEAST + GUIDE_MOST) / 2, rel=1e-3) and inner[2] == pytest.approx(GUIDE_MOST / 2, rel=1e-3)
    assert seen[0][1].shape == (478,)
    np.testing.assert_array_equal(seen[0][0].points, there)


def test_an_answer_elsewhere_is_no_guide():
    points = np.random.default_rng(0).uniform(0.0, 100.0, (68, 2))
    points[:2] = (0.0, 0.0), (100.0, 100.0)
    # Moved by a share d of its width, a box overlaps by (1 - d) / (1 + d): 0.33 at a half, 0.18 at 0.7.
    for share, near in ((0.0, True), (0.5, True), (0.7, False)):
        assert near_face(points, np.array([100.0 * share, 0.0, 100.0 + 100.0 * share, 100.0])) is near


def test_doubt_is_how_far_two_looks_differ():
    points = np.random.default_rng(0).uniform(0.0, 100.0, (68, 2))
    points[:2] = (0.0, 0.0), (100.0, 100.0)
    look = both_ways(None, points, points + (3.0, 4.0))
    # 5 px in a box of 100 px.
    assert look.doubt_percent == pytest.approx(5.0)
    np.testing.assert_allclose(look.landmarks68, points + (1.5, 2.0))


def test_heatmaps_count_by_their_confidence(reconstructor):
    there = np.zeros((68, 2), np.float32)
    confidence = np.full(68, SURE)
    confidence[[20, 30, 40]] = 0.0, EVEN, SURE / 2
    look = with_heatmaps(Look(head(reconstructor.model, 80.0), there, 3.0, 0.5), there + (30.0, -60.0), confidence)
    # The encoder's point where there is no confidence; half way between where both count alike.
    np.testing.assert_allclose(look.landmarks68[[20, 30]], [(0.0, 0.0), (15.0, -30.0)], atol=1e-4)
    assert look.landmarks68[0, 0] == pytest.approx(30.0 * SURE / (SURE + EVEN)) and look[2:4] == (3.0, 0.5)
    guide, _ = guidance(look, 478)
    # A quarter for half of the confidence, as for twice the standard deviation.
    np.testing.assert_allclose(guide.weights[[0, 20, 40]], [GUIDE_MOST, 0.0, GUIDE_MOST / 4])


@pytest.mark.parametrize("yaw, doubt, before, after", [
    (20.0, 50.0, (), ()), (20.0, 0.0, ("poor_fit",), ("poor_fit",)), (80.0, DOUBT_PERCENT - 0.1, ("a", "poor_fit"), ("a",)),
    (80.0, DOUBT_PERCENT + 0.1, ("a",), ("a", "poor_fit")), (80.0, None, ("poor_fit",), ("poor_fit",))])
def test_a_head_turned_far_is_judged_by_the_encoders_doubt(reconstructor, yaw, doubt, before, after):
    parameters = head(reconstructor.model, yaw)
    assert judged_flags(before, parameters, Look(parameters, np.zeros((68, 2)), doubt)) == after
    assert judged_flags(before, parameters, None) == before


def told(monkeypatch, landmarks68: np.ndarray, parameters: FaceParameters) -> list:
    """An encoder that always says the same; the boxes, points and rolls that it is asked with."""
    calls = []

    def predict(self, pixels, box=None, *, points=None, roll=0.0):
        calls.append((box, points, roll))
        return types.SimpleNamespace(parameters=parameters, landmarks68=landmarks68, crop=types.SimpleNamespace(roll=roll))

    monkeypatch.setattr(EncoderPredictor, "predict", predict)
    monkeypatch.setattr(EncoderPredictor, "mirrored_landmarks", lambda self, pixels, seen: seen.landmarks68)
    return calls


@pytest.mark.parametrize("yaw, dense, passes", [(5.0, True, 1), (45.0, True, 2), (5.0, False, 2)])
def test_a_turned_or_sparse_face_is_cut_again_by_its_own_landmarks(reconstructor, portrait, monkeypatch, yaw, dense, passes):
    (found,) = reconstructor._finder.find(portrait(0))
    own = np.arange(136.0).reshape(68, 2)
    calls = told(monkeypatch, own, head(reconstructor.model, yaw, centre=(150.0, 150.0)))
    face = found if dense else dataclasses.replace(found, points478=None)
    estimate = FaceEstimator(reconstructor.model, method="encoder", encoder=object.__new__(EncoderPredictor))
    estimate(portrait(0), face, Clock({}))
    assert len(calls) == passes and (calls[0][1] is not None) == dense and {roll for *_, roll in calls} == {0.0}
    if passes == 2:
        np.testing.assert_array_equal(calls[1][1], own)


def test_a_doubtful_answer_is_asked_again_from_the_box(reconstructor, portrait, monkeypatch):
    """The crop of the landmarks gives looks that differ, that of the box gives looks that agree: the second is taken."""
    (found,) = reconstructor._finder.find(portrait(0))
    answers = {True: found.box[:2] + np.arange(136.0).reshape(68, 2), False: found.box[:2] + np.arange(136.0)[::-1].reshape(68, 2)}
    parameters, dense = head(reconstructor.model, 70.0, centre=(150.0, 150.0)), []

    def predict(self, pixels, box=None, *, points=None, roll=0.0):
        if box is not None or np.shape(points) == (68, 2) and not any(points is answer for answer in answers.values()):
            dense.append(box is None)
        return types.SimpleNamespace(parameters=parameters, landmarks68=answers[dense[-1]], crop=types.SimpleNamespace(roll=roll))

    monkeypatch.setattr(EncoderPredictor, "predict", predict)
    monkeypatch.setattr(EncoderPredictor, "mirrored_landmarks", lambda self, pixels, seen: seen.landmarks68 + 40.0 * dense[-1])
    estimate = FaceEstimator(reconstructor.model, method="auto", stages="landmarks", encoder=object.__new__(EncoderPredictor))
    look = estimate._look(portrait(0), found)
    assert dense == [True, False] and look.doubt_percent == 0.0
    np.testing.assert_array_equal(look.landmarks68, answers[False])


def test_a_lying_face_is_shown_upright(reconstructor, portrait, monkeypatch):
    lying = np.ascontiguousarray(np.rot90(portrait(0), -1))
    (found,) = reconstructor._finder.find(lying)
    calls = told(monkeypatch, np.zeros((68, 2)), head(reconstructor.model, 0.0, centre=(150.0, 150.0)))
    FaceEstimator(reconstructor.model, method="encoder", encoder=object.__new__(EncoderPredictor))(lying, found, Clock({}))
    assert np.degrees(calls[0][2]) == pytest.approx(90.0, abs=10)


def test_a_turned_encoder_turns_the_fit(reconstructor, portrait, face, monkeypatch):
    """The landmarks say frontal; at 60 degrees the encoder is believed, but for an answer beside the face."""
    pose, model = face.pose, reconstructor.model
    turned = torch.as_tensor(euler_deg_to_matrix_aflw(0.0, 60.0, 0.0), dtype=torch.float32)
    answer = face.parameters.replace(pose=ScaledOrthographicPose(turned, pose.translation, pose.scale))
    there = answer.pose.project(model.landmarks("ibug68", answer.identity, answer.expression)).numpy()[:, :2]
    told(monkeypatch, there, answer)
    (found,) = reconstructor._finder.find(portrait(0))
    estimate = FaceEstimator(model, method="auto", stages="landmarks", encoder=object.__new__(EncoderPredictor))
    guided = estimate(portrait(0), found, Clock({}))
    assert turn_degrees(guided.parameters) > turn_degrees(face.parameters) + 10 and guided.guide is not None
    told(monkeypatch, there + 300.0, answer)
    plain = estimate(portrait(0), found, Clock({}))
    assert plain.guide is None
    np.testing.assert_array_equal(plain.parameters.pose.rotation, face.parameters.pose.rotation)


@pytest.mark.parametrize("yaw, asked", [(TURN_START_DEG - 5, False), (TURN_START_DEG + 5, True), (85.0, True)])
def test_heatmaps_are_asked_about_turned_heads(reconstructor, portrait, face, monkeypatch, yaw, asked):
    (found,) = reconstructor._finder.find(portrait(0))
    told(monkeypatch, face.landmarks68[:, :2], head(reconstructor.model, yaw, centre=(150.0, 150.0)))
    calls = []

    def network(pixels, about, *, roll):
        calls.append((about, roll))
        raise FaceError("outside", code="box_invalid")

    estimate = FaceEstimator(reconstructor.model, method="auto", stages="landmarks", encoder=object.__new__(EncoderPredictor),
                             landmarks=network)
    # Without an answer the encoder guides the fit alone.
    assert estimate(portrait(0), found, Clock({})).guide is not None
    assert [roll for _, roll in calls] == [0.0] * asked
    if asked:
        np.testing.assert_array_equal(calls[0][0], face.landmarks68[:, :2])
