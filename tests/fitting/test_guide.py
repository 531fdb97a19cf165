"""A guide's points draw a fit in every view, count as they say, and are no part of the reported distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.fitting import LandmarkGuide, fit_landmarks, refine_photometric
from facerecon.fitting.guide import Observations, view_weights
from facerecon.fitting.initial_pose import estimate_view
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.geometry.rotations import matrix_to_rotvec

NONE = (np.zeros(102), np.zeros(52))


def guide(points: np.ndarray, weight: float = 1.0) -> LandmarkGuide:
    return LandmarkGuide(points, np.full(len(points), weight))


def test_a_guide_turns_a_face_whose_landmarks_are_wrong(open_model, make):
    truth = make.pose(75.0)
    # What a detector says that knows no profiles: a head turned less far.
    points = make.landmarks(open_model, *NONE, make.pose(50.0))
    alone = fit_landmarks(open_model, points)
    told = fit_landmarks(open_model, points, weights=np.full(478, 0.05),
                         guide=guide(make.landmarks(open_model, *NONE, truth, scheme="ibug68"), 5.0))
    off = [float(torch.rad2deg(matrix_to_rotvec(fit.parameters.pose.rotation @ truth.rotation.T).norm())) for fit in (alone, told)]
    assert off[0] > 20 and off[1] < 3
    assert told.landmark_nme_percent > alone.landmark_nme_percent and len(told.points) == len(told.weights) == 478


def test_a_guide_without_weight_changes_nothing(open_model, make, rng):
    points = make.landmarks(open_model, *NONE, make.pose(20.0, 5.0)) + rng.normal(0, 1.0, (478, 2))
    plain = fit_landmarks(open_model, points)
    guided = fit_landmarks(open_model, points, guide=guide(np.zeros((68, 2)) + 40.0, 0.0))
    np.testing.assert_allclose(guided.parameters.identity, plain.parameters.identity, atol=1e-4)
    np.testing.assert_allclose(guided.energies[-1], plain.energies[-1], rtol=1e-6)


def test_a_guide_completes_five_points(open_model, make):
    pose, identity = make.pose(40.0), np.zeros(102)
    identity[0] = 2.0
    dense = make.landmarks(open_model, identity, NONE[1], pose, scheme="ibug68")
    five = make.landmarks(open_model, identity, NONE[1], pose, scheme="five")
    alone, told = (fit_landmarks(open_model, five, scheme="five", guide=one) for one in (None, guide(dense, 3.0)))
    wrong = [np.abs(make.landmarks(open_model, fit.parameters.identity, fit.parameters.expression, fit.parameters.pose,
                                   scheme="ibug68") - dense).mean() for fit in (alone, told)]
    assert wrong[1] < 0.25 * wrong[0]


def test_weights_are_in_units_of_a_fit_to_the_guide_alone(open_model, make):
    points = make.landmarks(open_model, *NONE, make.pose())
    seen = Observations(open_model, "mediapipe478", points, guide(np.zeros((68, 2)), 2.0))
    view = estimate_view(seen.rows.basis.mean, points)
    weights = seen.weights(np.ones(478), view)
    assert seen.basis.mean.shape == (546, 3) and seen.points.shape == (546, 2)
    np.testing.assert_array_equal(weights[:478], view_weights(seen.rows, "mediapipe478", np.ones(478), view))
    # Standard deviations: 3.5 mm for 478 points, 1.5 mm for 68.
    np.testing.assert_allclose(weights[478:], 2.0 * (3.5 / 1.5) ** 2)
    alone = Observations(open_model, "ibug68", points[:68], guide(np.zeros((68, 2)), 2.0))
    np.testing.assert_allclose(alone.with_guide(np.ones(68))[68:], 2.0)


def test_the_photometric_stage_keeps_the_guide(open_model, make):
    pose = make.pose(scale=0.9, centre=(100.0, 105.0))
    points = make.landmarks(open_model, *NONE, pose)
    landmarks = fit_landmarks(open_model, points, guide=guide(make.landmarks(open_model, *NONE, pose, scheme="ibug68")))
    pixels = np.full((200, 200, 3), 128, np.uint8)
    problem = SynthesisProblem(open_model, pixels, landmarks, size=96)
    assert len(problem.landmarks.points) == 546
    np.testing.assert_allclose(problem.landmarks.weights[:478], landmarks.weights)
    refined = refine_photometric(open_model, pixels, landmarks, size=96, rounds=1, steps=1)
    assert refined.guide is landmarks.guide and refined.landmark_nme_percent < 2
    with torch.no_grad():
        placed = refined.parameters.pose.project(open_model.landmarks("ibug68", refined.parameters.identity,
                                                                      refined.parameters.expression))
    assert np.abs(placed[:, :2].numpy() - landmarks.guide.points).mean() < 2


@pytest.mark.parametrize("points, weights, code", [
    (np.zeros((68, 3)), np.ones(68), "shape_invalid"), (np.zeros((68, 2)), np.ones(67), "shape_invalid"),
    (np.full((68, 2), np.nan), np.ones(68), "nonfinite"), (np.zeros((68, 2)), np.full(68, np.inf), "nonfinite"),
    (np.zeros((68, 2)), np.full(68, -1.0), "argument_invalid")])
def test_nonsense_is_refused(points, weights, code):
    with pytest.raises(ArgumentError, match="guide") as caught:
        LandmarkGuide(points, weights)
    assert caught.value.code == code


def test_a_guide_must_have_its_schemes_points(open_model, make):
    points = make.landmarks(open_model, *NONE, make.pose())
    with pytest.raises(ArgumentError, match="guide.points"):
        fit_landmarks(open_model, points, guide=guide(points[:60]))
    with pytest.raises(ArgumentError, match="scheme"):
        fit_landmarks(open_model, points, guide=LandmarkGuide(points[:60], np.ones(60), "dlib60"))
