"""Spherical harmonics light: three bands, coloured, as in MoFA (eq. 1.7: C = r * sum_b gamma_b H_b(n)).

The basis is the orthonormal real one (its Gram matrix over the sphere is the identity), in the order
1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2, with the usual constants and no sign factors.

The light lives in the camera's frame with y up: x right, y up, z toward the viewer. Turn model-space normals into it with
`camera.light_frame(normals)`; the light then stays with the photo when the head turns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError

_C0 = 0.5 / math.sqrt(math.pi)
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / (4 * math.pi))
_C2_Z = math.sqrt(5 / (16 * math.pi))


def sh_basis(normals: Tensor) -> Tensor:
    """The nine basis functions at unit normals: (..., 3) -> (..., 9). Differentiable.

    Normals are not normalised here; the polynomials are evaluated as they stand.
    """
    check_shape("normals", normals, ("...", 3))
    x, y, z = normals.unbind(-1)
    return torch.stack([
        torch.full_like(x, _C0), _C1 * y, _C1 * z, _C1 * x,
        _C2 * x * y, _C2 * y * z, _C2_Z * (3 * z * z - 1), _C2 * x * z, 0.5 * _C2 * (x * x - y * y),
    ], -1)


def shade(albedo: Tensor, normals: Tensor, light: Tensor) -> Tensor:
    """Radiosity of a Lambertian surface under distant light (eq. 1.7).

    Args:
        albedo: (..., 3), reflectance in [0, 1]; broadcasts against the normals.
        normals: (..., 3), unit, in the frame of the light.
        light: (9, 3) for all, or (B, 9, 3), its leading axes matching the first axes of `normals`: rows are basis
            functions, columns red, green, blue. The Lambertian band factors are part of the coefficients.

    Returns:
        (..., 3), not clamped. Differentiable in all three.
    """
    check_shape("light", light, ("...", 9, 3))
    check_shape("albedo", albedo, ("...", 3))
    check_shape("normals", normals, ("...", 3))
    lead = light.ndim - 2
    if normals.ndim <= lead or any(a not in (1, b) for a, b in zip(light.shape[:lead], normals.shape[:lead])):
        raise ArgumentError(f"light: wanted shape (9, 3) or leading axes like those of normals {tuple(normals.shape)}, got "
                            f"{tuple(light.shape)}", code="shape_invalid")
    basis = sh_basis(normals)
    flat = basis.reshape(*basis.shape[:lead], -1, 9)
    return albedo * (flat @ light).reshape(*basis.shape[:-1], 3)


def ambient_light(level: float = 1.0, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Light (9, 3) that is equal from all sides: the shaded colour is `level` times the albedo."""
    light = torch.zeros(9, 3, dtype=dtype)
    light[0] = level / _C0
    return light


def turned_light(light: Tensor, turn: Tensor) -> Tensor:
    """The light of a picture whose content, light included, is turned or mirrored: a turned surface is lit as before.

    The bands are closed under rotation (Ramamoorthi and Hanrahan 2001), so directions in general position give the exact map.

    Args:
        light: (..., 9, 3).
        turn: (..., 3, 3) orthogonal, in the camera frame (x right, y down, z forward).

    Returns:
        (..., 9, 3) in the dtype of `light`; `light` itself where nothing is turned.
    """
    check_shape("light", light, ("...", 9, 3))
    check_shape("turn", turn, ("...", 3, 3))
    if bool((turn == torch.eye(3, dtype=turn.dtype, device=turn.device)).all()):
        return light
    # To the frame of the light, whose y points up and whose z comes to the viewer.
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64, device=turn.device)
    matrix = flip[:, None] * turn.double() * flip
    normals = _directions().to(turn.device)
    # Solved from what is wanted: basis(Q n) light' = basis(n) light.
    change = torch.linalg.pinv(sh_basis(normals @ matrix.mT)) @ sh_basis(normals)
    return (change @ light.double()).to(light.dtype)


def _directions(count: int = 48) -> Tensor:
    """(count, 3) float64 unit vectors spread over the sphere by the golden angle."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * index / count, index * math.pi * (3 - math.sqrt(5))
    ring = (1 - z * z).sqrt()
    return torch.stack([ring * torch.cos(turn), ring * torch.sin(turn), z], -1)
