"""Fitting landmarks: known faces come back, mirror images fit mirrored, scale and turn are followed, nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, LandmarkError
from facerecon.fitting import FitResult, fit_landmarks
from facerecon.geometry.rotations import matrix_to_euler_deg_aflw
from facerecon.morphable.schemes import IBUG68_FLIP, MEDIAPIPE478_FLIP

LEFT_RIGHT = ("Left", "Right")


def a_face(model, rng, *, identity=0.6, actions=None):
    coefficients = torch.tensor(rng.normal(0, identity, model.sizes[0]), dtype=torch.float32)
    return coefficients, model.expression_vector(actions or {"jawOpen": 0.4, "mouthSmileLeft": 0.5, "eyeBlinkRight": 0.7})


def expression_by_name(model, result: FitResult) -> dict[str, float]:
    return dict(zip(model.expression_names, result.parameters.expression.tolist()))


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, -10, 15), (-25, 20, -30)])
def test_mean_face_without_noise_is_recovered(open_model, make, angles):
    pose = make.pose(*angles)
    none = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
    result = fit_landmarks(open_model, make.landmarks(open_model, *none, pose), image_size=(400, 400))
    assert result.landmark_nme_percent < 0.01
    np.testing.assert_allclose(result.parameters.pose.rotation, pose.rotation, atol=1e-3)
    np.testing.assert_allclose(result.parameters.pose.translation, pose.translation, atol=0.05)
    assert float(result.parameters.pose.scale) == pytest.approx(1.5, rel=1e-3)
    assert float(result.parameters.identity.abs().max()) < 0.02 and float(result.parameters.expression.max()) < 0.02
    assert result.flags == ()


def test_known_face_comes_back_near(open_model, make, rng):
    identity, expression = a_face(open_model, rng)
    pose = make.pose(20, 5, -10)
    result = fit_landmarks(open_model, make.landmarks(open_model, identity, expression, pose))
    assert result.landmark_nme_percent < 0.35
    turn = result.parameters.pose.rotation @ pose.rotation.T
    assert np.degrees(np.arccos((np.trace(turn.numpy()) - 1) / 2)) < 2.0
    found = expression_by_name(open_model, result)
    assert found["jawOpen"] > 0.2 and found["eyeBlinkRight"] > 0.4 and found["eyeBlinkLeft"] < 0.15
    with torch.no_grad():
        mask = open_model.masks["face"]
        true = pose.project(open_model.vertices(identity, expression))[mask, :2]
        fitted = result.parameters.pose.project(
            open_model.vertices(result.parameters.identity, result.parameters.expression))[mask, :2]
        mean = pose.project(open_model.mean)[mask, :2]
    assert (fitted - true).norm(dim=1).mean() < 0.25 * (mean - true).norm(dim=1).mean()


def test_mirrored_points_give_the_mirrored_fit(open_model, make, rng):
    identity, expression = a_face(open_model, rng, identity=0.3)
    points = make.landmarks(open_model, identity, expression, make.pose(30, 10, 12))
    flipped = points[list(MEDIAPIPE478_FLIP)] * [-1.0, 1.0] + [299.0, 0.0]
    first, second = fit_landmarks(open_model, points), fit_landmarks(open_model, flipped)
    mirrored = first.parameters.pose.flipped(300)
    turn = mirrored.rotation @ second.parameters.pose.rotation.T
    assert np.degrees(np.arccos(min((np.trace(turn.numpy()) - 1) / 2, 1.0))) < 1.0
    one, other = expression_by_name(open_model, first), expression_by_name(open_model, second)
    for name, value in one.items():
        side = next((side for side in LEFT_RIGHT if name.endswith(side)), None)
        partner = name if side is None else name.removesuffix(side) + LEFT_RIGHT[1 - LEFT_RIGHT.index(side)]
        assert other[partner] == pytest.approx(value, abs=0.12), name


def test_larger_photo_scales_pose_and_nothing_else(open_model, make, rng):
    identity, expression = a_face(open_model, rng)
    points = make.landmarks(open_model, identity, expression, make.pose(-15, 8, 0)) + rng.normal(0, 1, (478, 2))
    first, second = fit_landmarks(open_model, points), fit_landmarks(open_model, 4.0 * points + 1.5)
    np.testing.assert_allclose(second.parameters.identity, first.parameters.identity, atol=1e-3)
    np.testing.assert_allclose(second.parameters.expression, first.parameters.expression, atol=1e-3)
    np.testing.assert_allclose(second.parameters.pose.translation, 4.0 * first.parameters.pose.translation + 1.5, atol=0.05)
    assert second.landmark_nme_percent == pytest.approx(first.landmark_nme_percent, rel=1e-3)


def test_landmark_distance_is_percent_of_the_box(open_model, make):
    from facerecon.fitting.result import landmark_nme_percent

    square = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 10.0], [0.0, 10.0]])
    moved = square + [[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    # Distances 5, 0, 0, 1 over a box of 40 x 10: 1.5 / 20.
    assert landmark_nme_percent(moved, square, np.ones(4, bool)) == pytest.approx(7.5)
    assert landmark_nme_percent(moved, square, np.array([True, True, True, False])) == pytest.approx(100 * (5 / 3) / 20)


@pytest.mark.parametrize("scheme", ["ibug68", "five"])
def test_other_schemes_give_the_pose(open_model, make, scheme):
    pose = make.pose(25, -5, 10)
    none = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
    result = fit_landmarks(open_model, make.landmarks(open_model, *none, pose, scheme), scheme=scheme)
    angles = matrix_to_euler_deg_aflw(result.parameters.pose.rotation.double())
    np.testing.assert_allclose([float(a) for a in angles], [-5, 25, 10], atol=0.5)
    assert result.scheme == scheme and result.weights.shape == (len(result.points),)


def test_turning_head_degrades_smoothly_and_stays_finite(open_model, make, rng):
    identity, expression = a_face(open_model, rng, actions={})
    noise = rng.normal(0, 1.5, (478, 2))
    errors, visible = [], []
    for yaw in range(0, 91, 10):
        pose = make.pose(yaw, 0, 0)
        result = fit_landmarks(open_model, make.landmarks(open_model, identity, expression, pose) + noise)
        assert all(torch.isfinite(part).all() for part in (result.parameters.identity, result.parameters.expression,
                                                          result.parameters.pose.rotation))
        turn = result.parameters.pose.rotation @ pose.rotation.T
        errors.append(float(np.degrees(np.arccos(min((np.trace(turn.double().numpy()) - 1) / 2, 1.0)))))
        visible.append(float(result.visibility68.sum()))
        assert "pose_out_of_range" not in result.flags
    assert max(errors) < 6.0 and max(np.abs(np.diff(errors))) < 3.0
    # Half of the face hides as the head turns.
    assert visible[0] > 55 and visible[-1] < 40
    assert np.diff(visible).max() < 4


def test_visible_side_is_the_near_one(open_model, make):
    none = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
    # Yaw > 0 turns the nose to the image's left: the subject's right side, which is at the image's left, is the far one.
    result = fit_landmarks(open_model, make.landmarks(open_model, *none, make.pose(80)))
    far, near = list(range(36, 42)), [IBUG68_FLIP[row] for row in range(36, 42)]
    assert result.visibility68[near].mean() > 0.9
    assert result.visibility68[far].mean() < 0.5


def test_far_turned_heads_are_flagged(open_model, make):
    none = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
    points = make.landmarks(open_model, *none, make.pose(100.0 - 180.0, 180.0, 180.0))
    angle = make.pose(100.0 - 180.0, 180.0, 180.0).rotation[2, 2]
    assert angle > 0  # the face looks away
    assert "pose_out_of_range" in fit_landmarks(open_model, points).flags


@pytest.mark.parametrize("code, spoil", [
    ("landmarks_count", lambda p: p[:100]),
    ("landmarks_nonfinite", lambda p: np.where(np.arange(478)[:, None] == 7, np.nan, p)),
    ("landmarks_degenerate", lambda p: np.full_like(p, 120.0)),
    ("landmarks_degenerate", lambda p: np.repeat(p[:, :1], 2, axis=1)),
    ("landmarks_outside", lambda p: p + 4000.0),
    ("landmarks_invalid", lambda p: p[:, ::-1]),
    ("landmarks_invalid", lambda p: p * [-1.0, 1.0] + [300.0, 0.0]),
])
def test_nonsense_is_refused(open_model, make, code, spoil):
    none = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
    points = make.landmarks(open_model, *none, make.pose(15, 5, 0))
    with pytest.raises(LandmarkError) as caught:
        fit_landmarks(open_model, spoil(points), image_size=(300, 300))
    assert caught.value.code == code


def test_random_points_are_refused_or_finite(open_model, rng):
    for _ in range(4):
        try:
            result = fit_landmarks(open_model, rng.uniform(0, 300, (478, 2)), image_size=(300, 300))
        except LandmarkError:
            continue
        assert torch.isfinite(result.parameters.identity).all() and "poor_fit" in result.flags


def test_weights_are_checked_and_used(open_model, make, rng):
    identity, expression = a_face(open_model, rng)
    points = make.landmarks(open_model, identity, expression, make.pose(10))
    spoiled, weights = points.copy(), np.ones(478)
    spoiled[:40] += 25.0
    weights[:40] = 0.0
    first = fit_landmarks(open_model, points, weights=weights)
    second = fit_landmarks(open_model, spoiled, weights=weights)
    np.testing.assert_allclose(second.parameters.identity, first.parameters.identity, atol=1e-6)
    for bad in (np.ones(5), -np.ones(478), np.full(478, np.nan)):
        with pytest.raises(ArgumentError):
            fit_landmarks(open_model, points, weights=bad)
    with pytest.raises(LandmarkError) as caught:
        fit_landmarks(open_model, points, weights=np.zeros(478))
    assert caught.value.code == "landmarks_degenerate"
    with pytest.raises(ArgumentError):
        fit_landmarks(open_model, points, scheme="no such scheme")
