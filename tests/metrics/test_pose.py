"""Euler angles of AFLW2000-3D's convention and geodesic angles."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.metrics import angle_error_deg, euler_deg_from_rotation, geodesic_deg, rotation_from_euler_deg, within_angles


def elementary(axis, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # The elementary matrices of the specification, written out.
    return {"x": np.array([[1, 0, 0], [0, c, s], [0, -s, c]]), "y": np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]),
            "z": np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])}[axis]


def random_angles(count=500):
    generator = np.random.default_rng(0)
    return np.stack([generator.uniform(-99, 99, count), generator.uniform(-89.9, 89.9, count),
                     generator.uniform(-99, 99, count)], axis=1)


def test_rotation_is_the_product_of_the_elementary_ones():
    for pitch, yaw, roll in random_angles(20):
        product = elementary("x", pitch) @ elementary("y", yaw) @ elementary("z", roll)
        np.testing.assert_allclose(rotation_from_euler_deg([pitch, yaw, roll]), product, atol=1e-15)


def test_angles_survive_the_round_trip():
    angles = random_angles()
    np.testing.assert_allclose(euler_deg_from_rotation(rotation_from_euler_deg(angles)), angles, atol=1e-9)


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation(yaw):
    rotation = rotation_from_euler_deg([25.0, yaw, 10.0])
    pitch, read, roll = euler_deg_from_rotation(rotation)
    assert roll == 0 and read == pytest.approx(yaw)
    np.testing.assert_allclose(rotation_from_euler_deg([pitch, read, roll]), rotation, atol=1e-12)


def test_scipy_agrees():
    scipy_rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    angles = random_angles(50)
    transposed = np.swapaxes(rotation_from_euler_deg(angles), -1, -2)
    np.testing.assert_allclose(scipy_rotation.from_matrix(transposed).as_euler("xyz", degrees=True), angles, atol=1e-9)


def test_the_legacy_reading_is_another_order_of_angles():
    rotation = rotation_from_euler_deg([-20.0, 40.0, 10.0])
    legacy = euler_deg_from_rotation(rotation, extraction="legacy_R20")
    x, y, z = np.radians([-20.0, 40.0, 10.0])
    assert legacy[1] == pytest.approx(np.degrees(np.arcsin(np.cos(x) * np.sin(y) * np.cos(z) + np.sin(x) * np.sin(z))))
    assert abs(legacy[1] - 40) > 1
    # With yaw alone both readings agree.
    assert euler_deg_from_rotation(rotation_from_euler_deg([0, 40.0, 0]), extraction="legacy_R20")[1] == pytest.approx(40)


def test_geodesic_angles():
    angles = random_angles(50)
    first = rotation_from_euler_deg(angles)
    assert geodesic_deg(first, first).max() < 1e-6
    for degrees in (1e-7, 0.01, 30.0, 179.9999, 180.0):
        np.testing.assert_allclose(geodesic_deg(first, first @ elementary("z", degrees)), degrees, rtol=1e-6, atol=1e-9)


def test_absolute_and_wrapped_errors():
    np.testing.assert_allclose(angle_error_deg([350.0, -5], [10.0, 5]), [340, 10])
    np.testing.assert_allclose(angle_error_deg([350.0, -5, 540], [10.0, 5, 0], wrapped=True), [20, 10, 180])


def test_the_exclusion_rule():
    kept = within_angles([[0, 0, 0], [99, -99, 99], [99.1, 0, 0], [0, 351, 0], [0, 0, -100]])
    assert kept.tolist() == [True, True, False, False, False]
    assert within_angles([0, 30, 0], limit=20).tolist() is False


def test_refusals():
    for call in (lambda: euler_deg_from_rotation(np.eye(4)), lambda: euler_deg_from_rotation(np.eye(3), extraction="x"),
                 lambda: rotation_from_euler_deg([1, 2]), lambda: geodesic_deg(np.eye(3), np.eye(2))):
        with pytest.raises(ArgumentError):
            call()
