"""Pose from points: exact on exact points, from any direction, and refusals for what no face can have made."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import LandmarkError
from facerecon.fitting.initial_pose import OrthographicView, check_landmarks, estimate_view, pose_jacobian, rotation_from_vector
from facerecon.fitting.rows import landmark_rows

FRONTAL = np.diag([1.0, -1.0, -1.0])


def turned(yaw=0.0, pitch=0.0, roll=0.0) -> np.ndarray:
    about_y, about_x, about_z = (rotation_from_vector(np.radians(angle) * np.eye(3)[axis])
                                 for axis, angle in ((1, yaw), (0, pitch), (2, roll)))
    return about_z @ about_x @ FRONTAL @ about_y


def test_rotation_vector_matches_its_definition():
    quarter = rotation_from_vector(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)
    half = rotation_from_vector(np.array([np.pi, 0.0, 0.0]))
    np.testing.assert_allclose(half, np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    np.testing.assert_array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))


@pytest.mark.parametrize("yaw", [-85, -40, 0, 30, 88])
@pytest.mark.parametrize("pitch", [-40, 0, 35])
@pytest.mark.parametrize("scheme", ["mediapipe478", "ibug68", "five"])
def test_exact_points_give_the_exact_view(open_model, yaw, pitch, scheme):
    shape = landmark_rows(open_model, scheme).basis.mean
    true = OrthographicView(turned(yaw, pitch, 170.0 if yaw == 30 else -15.0), np.array([210.0, 90.0]), 0.7)
    view = estimate_view(shape, true.project(shape))
    np.testing.assert_allclose(view.rotation, true.rotation, atol=1e-5)
    np.testing.assert_allclose(view.translation, true.translation, atol=1e-3)
    assert view.scale == pytest.approx(0.7, rel=1e-5)


def test_result_follows_shift_and_scale_of_the_points(open_model, rng):
    shape = landmark_rows(open_model, "ibug68").basis.mean
    points = OrthographicView(turned(25.0, 10.0), np.zeros(2), 2.0).project(shape) + rng.normal(0, 3, (68, 2))
    view, other = estimate_view(shape, points), estimate_view(shape, 3.0 * points + [40.0, -7.0])
    np.testing.assert_allclose(other.rotation, view.rotation, atol=1e-5)
    np.testing.assert_allclose(other.translation, 3.0 * view.translation + [40.0, -7.0], atol=1e-2)
    assert other.scale == pytest.approx(3.0 * view.scale, rel=1e-5)


def test_pose_jacobian_is_the_derivative(open_model, rng):
    shape = landmark_rows(open_model, "five").basis.mean
    view = OrthographicView(turned(30.0, -20.0, 50.0), np.array([5.0, 9.0]), 1.3)
    points = rng.normal(0, 50, (5, 2))
    residual, jacobian = pose_jacobian(view, shape, points)
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6
        slope = (view.moved(step).project(shape) - view.moved(-step).project(shape)) / 2e-6
        np.testing.assert_allclose(jacobian[:, :, axis], slope, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(residual, view.project(shape) - points)


@pytest.mark.parametrize("spoil", ["mirrored", "transposed"])
@pytest.mark.parametrize("scheme", ["mediapipe478", "ibug68", "five"])
def test_mirrored_faces_are_refused(open_model, spoil, scheme):
    shape = landmark_rows(open_model, scheme).basis.mean
    points = OrthographicView(turned(20.0, 5.0), np.array([120.0, 140.0]), 1.0).project(shape)
    points = points[:, ::-1] if spoil == "transposed" else points * [-1.0, 1.0] + [240.0, 0.0]
    with pytest.raises(LandmarkError) as caught:
        estimate_view(shape, points)
    assert caught.value.code == "landmarks_invalid"


@pytest.mark.parametrize("code, make", [
    ("landmarks_count", lambda good: good[:67]),
    ("landmarks_count", lambda good: good.T),
    ("landmarks_count", lambda good: good[:, 0]),
    ("landmarks_nonfinite", lambda good: np.where(np.arange(68)[:, None] == 3, np.nan, good)),
    ("landmarks_nonfinite", lambda good: np.where(np.arange(68)[:, None] == 3, np.inf, good)),
    ("landmarks_degenerate", lambda good: np.full((68, 2), 100.0)),
    ("landmarks_degenerate", lambda good: np.linspace(10, 200, 68)[:, None] * [1.0, 0.5]),
    ("landmarks_outside", lambda good: good + 5000.0),
    ("landmarks_outside", lambda good: np.where(np.arange(68)[:, None] == 3, -900.0, good)),
    ("landmarks_outside", lambda good: good * 1e9),
    ("landmarks_invalid", lambda good: "no points"),
])
def test_bad_points_are_refused_with_their_code(code, make):
    good = np.random.default_rng(0).uniform(40, 260, (68, 2))
    assert check_landmarks(good, count=68, image_size=(300, 300)).shape == (68, 2)
    with pytest.raises(LandmarkError) as caught:
        check_landmarks(make(good), count=68, image_size=(300, 300))
    assert caught.value.code == code
