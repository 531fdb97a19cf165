"""Closed-form light and albedo: known ones come back, and the prior keeps tone in the skin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.fitting.illumination import albedo_rows, light_energy, light_rows, solve_albedo, solve_both, solve_light
from facerecon.geometry.normals import vertex_normals
from facerecon.render import ambient_light, render_colour, shade


@pytest.fixture(scope="module")
def scene(open_model):
    from facerecon.geometry.cameras import ScaledOrthographicPose

    pose = ScaledOrthographicPose(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([64.0, 70.0]), torch.tensor(0.6))
    vertices, faces = open_model.mean, open_model.faces
    normals = pose.light_frame(vertex_normals(vertices, faces))

    def draw(albedo, light):
        render = render_colour(vertices, faces, albedo, light, pose, (128, 128))
        pixels = torch.nonzero(render.mask.reshape(-1))[:, 0]
        return render.fragments, pixels, render.image.reshape(-1, 3)[pixels].double().numpy()

    return faces, normals, draw


def some_light(seed: int) -> torch.Tensor:
    offset = torch.randn(9, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([0.3] * 4 + [0.15] * 5)[:, None]
    return ambient_light(0.9) + offset


def test_known_light_comes_back(open_model, scene):
    faces, normals, draw = scene
    light = some_light(1)
    fragments, pixels, colours = draw(open_model.albedo_mean, light)
    rows = light_rows(fragments, faces, open_model.albedo_mean, normals, pixels)
    np.testing.assert_allclose(np.einsum("ncb,bc->nc", rows, light.double().numpy()), colours, atol=1e-5)
    found = solve_light(rows, colours, np.ones(len(pixels)), prior_weight=0.0)
    np.testing.assert_allclose(found, light, atol=1e-3)


def test_known_albedo_comes_back(open_model, scene):
    faces, normals, draw = scene
    light = some_light(2)
    true = torch.randn(open_model.sizes[2], generator=torch.Generator().manual_seed(3))
    fragments, pixels, colours = draw(open_model.albedo(true), light)
    shading = shade(torch.ones_like(open_model.albedo_mean), normals, light)
    constant, rows = albedo_rows(fragments, faces, open_model.albedo_mean, open_model.albedo_basis, shading, pixels)
    np.testing.assert_allclose(constant + rows @ true.double().numpy(), colours, atol=1e-5)
    found = solve_albedo(constant, rows, colours, np.ones(len(pixels)), prior_weight=1e-9)
    np.testing.assert_allclose(constant + rows @ found, colours, atol=1e-3)


def test_prior_prefers_white_light_of_level_one():
    assert light_energy(ambient_light(1.0).double().numpy()) == pytest.approx(0.0, abs=1e-9)
    darker, tinted = ambient_light(0.8).double().numpy(), ambient_light(1.0).double().numpy()
    tinted[0] *= [1.1, 1.0, 0.9]
    assert light_energy(darker) > 1.0 and light_energy(tinted) > 1.0
    side = ambient_light(1.0).double().numpy()
    side[3] += 0.3
    assert 0 < light_energy(side) < light_energy(darker)


def test_a_dark_face_stays_dark_skinned(open_model, scene):
    """A dark face in white light of level one: most of the darkness must land in the albedo, not in the light."""
    faces, normals, draw = scene
    skin = open_model.masks["skin"]
    tone = open_model.albedo_basis[:, skin].mean(dim=(1, 2))
    darkest = torch.zeros(open_model.sizes[2])
    strongest = int(tone.abs().argmax())
    darkest[strongest] = -1.3 * tone[strongest].sign()
    dark = open_model.albedo(darkest)
    fragments, pixels, colours = draw(dark, ambient_light(1.0))
    albedo, light = torch.zeros(open_model.sizes[2]), ambient_light(1.0)
    weight = np.full(len(pixels), 1e3 / len(pixels))
    for _ in range(6):
        by_light = light_rows(fragments, faces, open_model.albedo(albedo), normals, pixels)
        shading = shade(torch.ones_like(dark), normals, light)
        parts = albedo_rows(fragments, faces, open_model.albedo_mean, open_model.albedo_basis, shading, pixels)
        found = solve_both(by_light, *parts, light.double().numpy(), albedo.double().numpy(), colours, weight, prior_weight=0.03)
        light, albedo = (torch.tensor(part, dtype=torch.float32) for part in found)
    levels = [float(values[skin].mean()) for values in (dark, open_model.albedo(albedo), open_model.albedo_mean)]
    assert abs(levels[1] - levels[0]) < 0.35 * abs(levels[2] - levels[0])
