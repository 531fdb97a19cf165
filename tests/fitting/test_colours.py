"""Albedo and light in closed form: what they give back, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.fitting import fit_colours, fit_landmarks
from facerecon.render import ambient_light, render_colour

SIDE = 200


@pytest.fixture(scope="module")
def drawn(open_model):
    """A picture of a known face and its exact landmark fit."""
    from facerecon.geometry.cameras import ScaledOrthographicPose
    from facerecon.geometry.rotations import euler_deg_to_matrix_aflw

    generator = torch.Generator().manual_seed(8)
    albedo, light = 0.8 * torch.randn(open_model.sizes[2], generator=generator), ambient_light(0.95)
    light[3] += 0.3
    pose = ScaledOrthographicPose(torch.as_tensor(euler_deg_to_matrix_aflw(4.0, -12.0, 3.0), dtype=torch.float32),
                                  torch.tensor([100.0, 104.0]), torch.tensor(0.85))
    with torch.no_grad():
        identity, expression = torch.zeros(open_model.sizes[0]), torch.zeros(open_model.sizes[1])
        render = render_colour(open_model.vertices(identity, expression), open_model.faces, open_model.albedo(albedo), light,
                               pose, (SIDE, SIDE))
        points = pose.project(open_model.landmarks("mediapipe478", identity, expression))[:, :2].double().numpy()
    image = torch.where(render.mask[0][..., None], render.image[0], torch.tensor([0.2, 0.4, 0.5])).clamp(0, 1)
    return (image * 255).round().to(torch.uint8).numpy(), fit_landmarks(open_model, points), (albedo, light)


def test_a_drawn_face_is_explained_and_its_geometry_stays(open_model, drawn):
    pixels, start, (albedo, light) = drawn
    result = fit_colours(open_model, pixels, start)
    for name in ("identity", "expression"):
        assert torch.equal(getattr(result.parameters, name), getattr(start.parameters, name))
    before, after = start.parameters.pose, result.parameters.pose
    assert torch.allclose(before.rotation, after.rotation, atol=1e-5)
    assert torch.allclose(before.translation, after.translation, atol=1e-2)
    # A picture of the model itself leaves rounding, the crop's resampling and the priors' pull.
    assert result.photometric_rmse < 0.02
    skin = open_model.masks["skin"]
    said, true = open_model.albedo(result.parameters.albedo)[skin], open_model.albedo(albedo)[skin]
    mean = open_model.albedo_mean[skin]
    assert float((said - true).norm()) < 0.5 * float((mean - true).norm())
    # The light came from the side that it came from.
    assert float(result.parameters.illumination[3].mean()) == pytest.approx(0.3, abs=0.12)


def test_covered_skin_has_no_say(open_model, drawn):
    pixels, start, _ = drawn
    hidden = pixels.copy()
    hidden[105:130, 60:140] = (30, 200, 40)
    clean, result = fit_colours(open_model, pixels, start), fit_colours(open_model, hidden, start)
    assert result.covered_share > 0.05 > clean.covered_share
    assert result.photometric_rmse < 0.03 < result.photometric_rmse_all


def test_a_face_outside_the_photo_is_left_as_it_was(open_model, drawn):
    pixels, start, _ = drawn
    away = start.parameters.replace(pose=start.parameters.pose.shifted(900.0, 0.0))
    small = fit_colours(open_model, pixels, start.replace(parameters=away))
    assert "photometric_skipped" in small.flags and small.photometric_rmse is None


@pytest.mark.parametrize("pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_pixels_are_checked(open_model, drawn, pixels):
    with pytest.raises(ArgumentError) as error:
        fit_colours(open_model, pixels, drawn[1])
    assert error.value.code == "shape_invalid"
