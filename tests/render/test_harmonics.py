"""Spherical harmonics: an orthonormal basis in the stated order and frame, and eq. 1.7."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.render import ambient_light, render_colour, sh_basis, shade

F64 = torch.float64


def sphere_quadrature() -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights that integrate polynomials up to degree 7 exactly over the sphere."""
    z, weight = np.polynomial.legendre.leggauss(4)
    angle = np.arange(8) * (2 * np.pi / 8)
    z, angle = (part.ravel() for part in np.meshgrid(z, angle, indexing="ij"))
    ring = np.sqrt(1 - z**2)
    directions = torch.from_numpy(np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1))
    return directions, torch.from_numpy(np.repeat(weight, 8) * 2 * np.pi / 8)


def test_gram_matrix_is_the_identity():
    directions, weights = sphere_quadrature()
    basis = sh_basis(directions)
    gram = basis.T @ (weights[:, None] * basis)
    assert (gram - torch.eye(9, dtype=F64)).abs().max() < 1e-14


def test_order_and_signs_by_hand():
    x, y, z = (row for row in torch.eye(3, dtype=F64))
    pi = math.pi
    assert sh_basis(x)[3].item() == pytest.approx(math.sqrt(3 / (4 * pi)))
    assert sh_basis(y)[1].item() == pytest.approx(math.sqrt(3 / (4 * pi)))
    assert sh_basis(z)[2].item() == pytest.approx(math.sqrt(3 / (4 * pi)))
    assert sh_basis(z)[6].item() == pytest.approx(math.sqrt(5 / (4 * pi)))
    assert sh_basis(x)[8].item() == pytest.approx(math.sqrt(15 / (16 * pi)))
    assert sh_basis(y)[8].item() == pytest.approx(-math.sqrt(15 / (16 * pi)))
    diagonal = torch.tensor([1.0, 1, 1], dtype=F64) / math.sqrt(3)
    assert sh_basis(diagonal)[[4, 5, 7]].tolist() == pytest.approx([math.sqrt(15 / (4 * pi)) / 3] * 3)
    assert sh_basis(diagonal)[0].item() == pytest.approx(0.5 / math.sqrt(pi))


def test_equation_one_seven_is_a_plain_sum():
    generator = torch.Generator().manual_seed(0)
    albedo, light = torch.rand(5, 3, generator=generator, dtype=F64), torch.randn(9, 3, generator=generator, dtype=F64)
    normals = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator, dtype=F64), dim=-1)
    expected = torch.zeros(5, 3, dtype=F64)
    for i in range(5):
        for b in range(9):
            expected[i] += albedo[i] * light[b] * sh_basis(normals[i])[b]
    assert torch.allclose(shade(albedo, normals, light), expected)


def test_ambient_light_shows_the_albedo():
    albedo = torch.rand(7, 3)
    normals = torch.nn.functional.normalize(torch.randn(7, 3), dim=-1)
    assert torch.allclose(shade(albedo, normals, ambient_light(0.5)), 0.5 * albedo)


def test_light_broadcasts_over_images_of_a_batch():
    normals = torch.nn.functional.normalize(torch.randn(2, 4, 5, 3, dtype=F64), dim=-1)
    light = torch.randn(2, 9, 3, dtype=F64)
    albedo = torch.rand(2, 4, 5, 3, dtype=F64)
    both = shade(albedo, normals, light)
    for b in range(2):
        assert torch.allclose(both[b], shade(albedo[b], normals[b], light[b]))
    assert torch.allclose(shade(albedo, normals, light[:1])[1], shade(albedo[1], normals[1], light[0]))
    for wrong in (torch.zeros(3, 9, 3), torch.zeros(9, 4), torch.zeros(2, 4, 5, 6, 9, 3)):
        with pytest.raises(ArgumentError, match="light"):
            shade(albedo, normals, wrong)


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(2, 4, 3, generator=generator, dtype=F64), torch.randn(2, 4, 3, generator=generator, dtype=F64),
              torch.randn(2, 9, 3, generator=generator, dtype=F64)]
    assert torch.autograd.gradcheck(shade, [leaf.requires_grad_() for leaf in inputs])


@pytest.mark.parametrize("shading", ["vertex", "pixel"])
@pytest.mark.parametrize(("row", "bright", "dark"), [(3, (32, 50), (32, 14)), (1, (14, 32), (50, 32))], ids=["right", "above"])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (20.0, -50.0, 140.0)], ids=["frontal", "turned"])
def test_light_from_a_side_brightens_that_side_of_the_picture(small_sphere, shading, row, bright, dark, angles):
    """The light belongs to the picture: it does not turn with the head."""
    vertices, faces = small_sphere
    light = ambient_light(0.5, dtype=F64)
    light[row] = 0.5
    rotation = euler_deg_to_matrix_aflw(*(torch.tensor(angle, dtype=F64) for angle in angles))
    pose = ScaledOrthographicPose(rotation, torch.tensor([32.0, 32.0], dtype=F64), torch.tensor(30.0, dtype=F64))
    image = render_colour(vertices, faces, torch.ones_like(vertices), light, pose, (65, 65), shading=shading).image[0, ..., 0]
    assert image[bright] > image[32, 32] > image[dark] > 0
