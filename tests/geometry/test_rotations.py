"""Laws of the rotation conversions, singular points included."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from facerecon import geometry
from facerecon.errors import ArgumentError

DIRECTION = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
ANGLES = [0.0, 1e-12, 1e-6, 0.03, 0.0317, 1.0, 3.0, math.pi - 1e-4]


@pytest.fixture
def rotvecs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(200, 3, generator=generator, dtype=torch.float64)


def assert_rotation(matrix: torch.Tensor, tolerance: float = 1e-12) -> None:
    identity = torch.eye(3, dtype=matrix.dtype)
    assert (matrix @ matrix.mT - identity).abs().max() < tolerance
    assert (torch.linalg.det(matrix) - 1).abs().max() < tolerance


def test_rotvec_matches_scipy_and_is_a_rotation(rotvecs):
    matrix = geometry.rotvec_to_matrix(rotvecs)
    assert_rotation(matrix)
    expected = torch.from_numpy(Rotation.from_rotvec(rotvecs.numpy()).as_matrix())
    assert (matrix - expected).abs().max() < 1e-13


def test_conversions_undo_each_other(rotvecs):
    matrix = geometry.rotvec_to_matrix(rotvecs)
    vector = geometry.matrix_to_rotvec(matrix)
    assert vector.norm(dim=-1).max() <= math.pi + 1e-12
    assert (geometry.rotvec_to_matrix(vector) - matrix).abs().max() < 1e-13
    quaternion = geometry.matrix_to_quaternion(matrix)
    assert (quaternion.norm(dim=-1) - 1).abs().max() < 1e-13 and quaternion[:, 3].min() >= 0
    assert (geometry.quaternion_to_matrix(quaternion) - matrix).abs().max() < 1e-13
    assert (geometry.quaternion_to_matrix(-3 * quaternion) - matrix).abs().max() < 1e-13
    expected = Rotation.from_matrix(matrix.numpy()).as_quat(canonical=True)
    assert (quaternion - torch.from_numpy(expected)).abs().max() < 1e-12


@pytest.mark.parametrize("angle", ANGLES)
def test_small_and_large_angles_keep_all_digits(angle):
    vector = DIRECTION * angle
    back = geometry.matrix_to_rotvec(geometry.rotvec_to_matrix(vector))
    assert (back - vector).abs().max() < 1e-11


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_turns(axis):
    vector = torch.zeros(3, dtype=torch.float64)
    vector[axis] = math.pi
    matrix = geometry.rotvec_to_matrix(vector)
    expected = -torch.eye(3, dtype=torch.float64)
    expected[axis, axis] = 1
    assert (matrix - expected).abs().max() < 1e-15
    exact = expected.clone().requires_grad_()
    back = geometry.matrix_to_rotvec(exact)
    assert (back.abs() - vector).abs().max() < 1e-15
    for function in (geometry.matrix_to_rotvec, geometry.matrix_to_quaternion):
        (gradient,) = torch.autograd.grad(function(exact).sum(), exact)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("angle", [*ANGLES, math.pi])
def test_gradients_of_rotvec_to_matrix(angle):
    vector = (DIRECTION * angle).requires_grad_()
    assert torch.autograd.gradcheck(geometry.rotvec_to_matrix, vector)


@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_back_to_rotvec_and_quaternion(angle):
    matrix = geometry.rotvec_to_matrix(DIRECTION * angle).requires_grad_()
    assert torch.autograd.gradcheck(geometry.matrix_to_rotvec, matrix)
    assert torch.autograd.gradcheck(geometry.matrix_to_quaternion, matrix)


def test_gradients_of_the_others():
    generator = torch.Generator().manual_seed(2)
    quaternion = torch.randn(2, 4, generator=generator, dtype=torch.float64).requires_grad_()
    six = torch.randn(2, 6, generator=generator, dtype=torch.float64).requires_grad_()
    angles = torch.tensor([10.0, -20.0, 170.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(geometry.quaternion_to_matrix, quaternion)
    assert torch.autograd.gradcheck(geometry.six_d_to_matrix, six)
    assert torch.autograd.gradcheck(lambda a: geometry.euler_deg_to_matrix_aflw(*a), angles)
    assert torch.autograd.gradcheck(lambda a: geometry.matrix_to_euler_deg_aflw(geometry.euler_deg_to_matrix_aflw(*a)), angles)


def test_six_d_of_two_columns_gives_the_rotation_back(rotvecs):
    matrix = geometry.rotvec_to_matrix(rotvecs)
    six = torch.cat([2 * matrix[..., 0], matrix[..., 1] + 0.3 * matrix[..., 0]], -1)
    assert (geometry.six_d_to_matrix(six) - matrix).abs().max() < 1e-12


def test_euler_angles_are_those_of_the_dataset():
    x, y, z = 0.3, -0.4, 0.5
    c, s = math.cos, math.sin
    about_x = torch.tensor([[1, 0, 0], [0, c(x), s(x)], [0, -s(x), c(x)]], dtype=torch.float64)
    about_y = torch.tensor([[c(y), 0, -s(y)], [0, 1, 0], [s(y), 0, c(y)]], dtype=torch.float64)
    about_z = torch.tensor([[c(z), s(z), 0], [-s(z), c(z), 0], [0, 0, 1]], dtype=torch.float64)
    y_up = about_x @ about_y @ about_z
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)) @ y_up
    degrees = [torch.tensor(math.degrees(angle), dtype=torch.float64) for angle in (x, y, z)]
    assert (geometry.euler_deg_to_matrix_aflw(*degrees) - camera).abs().max() < 1e-15
    # The same angles by another library, from the y-up rotation's transpose.
    expected = Rotation.from_matrix(y_up.T.numpy()).as_euler("xyz", degrees=True)
    assert torch.stack(geometry.matrix_to_euler_deg_aflw(camera)).numpy() == pytest.approx(expected, abs=1e-12)


def test_euler_round_trip_is_exact():
    generator = torch.Generator().manual_seed(3)
    angles = (torch.rand(500, 3, generator=generator, dtype=torch.float64) - 0.5) * torch.tensor([358.0, 179.8, 358.0])
    back = torch.stack(geometry.matrix_to_euler_deg_aflw(geometry.euler_deg_to_matrix_aflw(*angles.unbind(-1))), -1)
    assert (back - angles).abs().max() < 1e-9


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_gimbal_lock_sets_roll_to_zero_and_keeps_the_rotation(yaw):
    matrix = geometry.euler_deg_to_matrix_aflw(*(torch.tensor(a, dtype=torch.float64) for a in (25.0, yaw, 10.0)))
    euler = geometry.matrix_to_euler_deg_aflw(matrix)
    assert euler.roll == 0 and euler.yaw.item() == pytest.approx(yaw)
    assert (geometry.euler_deg_to_matrix_aflw(*euler) - matrix).abs().max() < 1e-9


def test_signs_of_the_angles():
    nose, forehead = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0])
    assert (geometry.euler_deg_to_matrix_aflw(0.0, 30.0, 0.0) @ nose)[0] < -0.4, "yaw > 0: nose to the image's left"
    assert (geometry.euler_deg_to_matrix_aflw(30.0, 0.0, 0.0) @ nose)[1] < -0.4, "pitch > 0: nose up"
    assert (geometry.euler_deg_to_matrix_aflw(0.0, 0.0, 30.0) @ forehead)[0] > 0.4, "roll > 0: clockwise in the image"


def test_nearest_rotation(rotvecs):
    generator = torch.Generator().manual_seed(4)
    matrix = geometry.rotvec_to_matrix(rotvecs[:20])
    assert (geometry.project_to_so3(2.5 * matrix) - matrix).abs().max() < 1e-12
    noisy = torch.randn(20, 3, 3, generator=generator, dtype=torch.float64)
    nearest = geometry.project_to_so3(noisy)
    assert_rotation(nearest)
    turned = nearest @ geometry.rotvec_to_matrix(0.05 * torch.randn(50, 20, 3, generator=generator, dtype=torch.float64))
    assert ((turned - noisy).square().sum((-2, -1)) >= (nearest - noisy).square().sum((-2, -1))).all()
    assert torch.autograd.gradcheck(geometry.project_to_so3, noisy[:4].requires_grad_())
    assert torch.autograd.gradcheck(geometry.project_to_so3, matrix[:4].requires_grad_())


def test_wrong_shapes_are_refused():
    for function, shape in ((geometry.rotvec_to_matrix, (4,)), (geometry.matrix_to_quaternion, (3, 2)),
                            (geometry.quaternion_to_matrix, (3,)), (geometry.six_d_to_matrix, (3, 2)),
                            (geometry.matrix_to_euler_deg_aflw, (9,)), (geometry.project_to_so3, (2, 2))):
        with pytest.raises(ArgumentError, match="wanted shape"):
            function(torch.zeros(shape))
