"""Rotations: conversions between matrices, rotation vectors, quaternions, six numbers and Euler angles.

Matrices act on column vectors (`R @ v`). Every function takes any leading batch axes, keeps dtype and device, and is
differentiable; values and gradients are finite at the identity and at half turns. Quaternions are x, y, z, w.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from facerecon.checks import check_shape

# Below this squared angle the closed forms lose digits to cancellation; the Taylor polynomials of degree 3 in the squared
# angle are then exact to float64 (their first omitted term is below 1e-17).
_SMALL_SQUARED = 1e-3


class EulerDegrees(NamedTuple):
    """Pitch, yaw and roll in degrees, in AFLW2000-3D's convention."""

    pitch: Tensor
    yaw: Tensor
    roll: Tensor


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotation vector to matrix (Rodrigues).

    Args:
        rotvec: (..., 3), axis times angle in radians, any length.

    Returns:
        (..., 3, 3). Differentiable everywhere, the zero vector included.
    """
    check_shape("rotvec", rotvec, ("...", 3))
    squared = (rotvec * rotvec).sum(-1)
    small = squared < _SMALL_SQUARED
    # `where` alone lets NaN gradients of the unused branch through, so that branch gets a harmless argument.
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    half_sine = torch.sin(angle / 2) / angle
    sine_over = torch.where(small, 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42)), torch.sin(angle) / angle)
    versine_over = torch.where(small, 0.5 - squared / 24 * (1 - squared / 30 * (1 - squared / 56)), 2 * half_sine**2)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + sine_over[..., None, None] * cross + versine_over[..., None, None] * (cross @ cross)


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Rotation matrix (..., 3, 3) to rotation vector (..., 3), angle in [0, pi].

    At exactly half a turn both signs of the vector are right; one of them is returned, with finite gradients.
    """
    quaternion = matrix_to_quaternion(matrix)
    axis, w = quaternion[..., :3], quaternion[..., 3]
    squared = (axis * axis).sum(-1)
    small = squared < _SMALL_SQUARED / 4
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    cosine = torch.where(small, w, torch.ones_like(w))
    # angle / sin(angle / 2) for a unit quaternion: 2 atan(s / w) / s with the series of atan.
    ratio = squared / cosine**2
    series = 2 / cosine * (1 - ratio * (1 / 3 - ratio * (1 / 5 - ratio * (1 / 7 - ratio * (1 / 9 - ratio / 11)))))
    return axis * torch.where(small, series, 2 * torch.atan2(sine, w) / sine)[..., None]


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Quaternion (..., 4) as x, y, z, w to matrix (..., 3, 3).

    The quaternion is normalised here, so any non-zero length is right. The zero quaternion is undefined (gives NaN).
    """
    check_shape("quaternion", quaternion, ("...", 4))
    x, y, z, w = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Rotation matrix (..., 3, 3) to unit quaternion (..., 4) as x, y, z, w with w >= 0.

    The sum of the matrix's elements gives the 4 x 4 matrix 4 q q^T; its row with the largest diagonal, normalised, is the
    quaternion. No square root of a number near zero occurs, so gradients are finite everywhere. (Shepperd, 1978.)
    """
    check_shape("matrix", matrix, ("...", 3, 3))
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    xw, yw, zw = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xx = 1 + m[0][0] - m[1][1] - m[2][2]
    yy = 1 - m[0][0] + m[1][1] - m[2][2]
    zz = 1 - m[0][0] - m[1][1] + m[2][2]
    ww = 1 + m[0][0] + m[1][1] + m[2][2]
    outer = torch.stack([xx, xy, xz, xw, xy, yy, yz, yw, xz, yz, zz, zw, xw, yw, zw, ww], -1).unflatten(-1, (4, 4))
    best = torch.stack([xx, yy, zz, ww], -1).argmax(-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def six_d_to_matrix(six: Tensor) -> Tensor:
    """Six numbers (..., 6), the first two columns before orthonormalisation, to a rotation matrix (..., 3, 3).

    Gram-Schmidt; continuous, hence fit for regression by networks. Undefined (finite, not a rotation) when the two columns
    are parallel or zero. Source: Zhou et al., On the continuity of rotation representations, CVPR 2019.
    """
    check_shape("six", six, ("...", 6))
    first = torch.nn.functional.normalize(six[..., :3], dim=-1)
    second = six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def euler_deg_to_matrix_aflw(pitch: Tensor | float, yaw: Tensor | float, roll: Tensor | float) -> Tensor:
    """AFLW2000-3D pitch, yaw, roll in degrees to the camera rotation (..., 3, 3).

    The dataset's rotation is Rx(pitch) Ry(yaw) Rz(roll) with the transposed elementary matrices, in a y-up frame; the
    result here is diag(1, -1, -1) times it (x right, y down, z forward). Pitch > 0 looks up, yaw > 0 turns the nose to the
    image's left, roll > 0 turns the head clockwise in the image. Numbers give float32; tensors keep their dtype.
    """
    pitch, yaw, roll = torch.broadcast_tensors(*(torch.as_tensor(angle) for angle in (pitch, yaw, roll)))
    if not pitch.is_floating_point():
        pitch, yaw, roll = (angle.to(torch.get_default_dtype()) for angle in (pitch, yaw, roll))
    sines = [torch.sin(angle * (math.pi / 180)) for angle in (pitch, yaw, roll)]
    cosines = [torch.cos(angle * (math.pi / 180)) for angle in (pitch, yaw, roll)]
    (sx, sy, sz), (cx, cy, cz) = sines, cosines
    rows = [
        cy * cz, cy * sz, -sy,
        -(sx * sy * cz - cx * sz), -(sx * sy * sz + cx * cz), -(sx * cy),
        -(cx * sy * cz + sx * sz), -(cx * sy * sz - sx * cz), -(cx * cy),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_euler_deg_aflw(matrix: Tensor) -> EulerDegrees:
    """Camera rotation (..., 3, 3) to AFLW2000-3D pitch, yaw, roll in degrees; yaw in [-90, 90].

    The exact inverse of `euler_deg_to_matrix_aflw` for |yaw| < 90. When the yaw is a right angle (gimbal lock) the roll is
    set to 0. Differentiable away from there.
    """
    check_shape("matrix", matrix, ("...", 3, 3))
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=matrix.dtype, device=matrix.device)
    r = flip[:, None] * matrix
    squared_cosine = r[..., 0, 0] ** 2 + r[..., 0, 1] ** 2
    locked = squared_cosine < (1e-12 if matrix.dtype == torch.float64 else 1e-8)
    safe = torch.where(locked, torch.ones_like(squared_cosine), squared_cosine)
    cosine = torch.where(locked, torch.zeros_like(safe), safe.sqrt())
    # atan2 of sine and cosine keeps all digits near 90 degrees, where asin would lose half of them.
    yaw = torch.atan2(-r[..., 0, 2], cosine)
    free_pitch = torch.atan2(r[..., 1, 2], r[..., 2, 2])
    locked_pitch = torch.atan2(-r[..., 1, 0] * torch.sign(r[..., 0, 2]), r[..., 1, 1])
    roll = torch.atan2(r[..., 0, 1], r[..., 0, 0])
    degrees = 180 / math.pi
    return EulerDegrees(
        torch.where(locked, locked_pitch, free_pitch) * degrees,
        yaw * degrees,
        torch.where(locked, torch.zeros_like(roll), roll) * degrees,
    )


def project_to_so3(matrix: Tensor) -> Tensor:
    """The rotation nearest to a matrix (..., 3, 3) in the Frobenius norm (SVD with the determinant's sign mended).

    Differentiable wherever the nearest rotation is unique, also at rotations themselves, where the three singular values
    coincide and the plain derivative of the SVD is infinite.
    """
    check_shape("matrix", matrix, ("...", 3, 3))
    return _NearestRotation.apply(matrix)


class _NearestRotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix):
        u, singular, vh = torch.linalg.svd(matrix)
        sign = torch.ones_like(singular)
        sign[..., 2] = torch.linalg.det(u @ vh).sign()
        vh = sign[..., None] * vh
        ctx.save_for_backward(u, sign * singular, vh)
        return u @ vh

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        # With M = U S V^T and R = U V^T: dR = U K V^T, K_ij = (P - P^T)_ij / (s_i + s_j), P = U^T dM V.
        u, singular, vh = ctx.saved_tensors
        q = u.mT @ gradient @ vh.mT
        total = singular[..., :, None] + singular[..., None, :]
        tiny = torch.finfo(total.dtype).eps
        inner = (q - q.mT) / torch.where(total.abs() < tiny, torch.full_like(total, math.inf), total)
        return u @ inner @ vh
