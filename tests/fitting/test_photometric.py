"""Analysis by synthesis on pictures that the model itself drew: energy falls, colours and shape come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.fitting import fit_landmarks, refine_photometric
from facerecon.fitting.occlusion import covered_pixels
from facerecon.fitting.region import crop_photo
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.render import ambient_light, render_colour

SIDE = 260


@pytest.fixture(scope="module")
def drawn(open_model):
    """A picture of a known face, its landmarks, and what it was made of."""
    from facerecon.geometry.cameras import ScaledOrthographicPose
    from facerecon.geometry.rotations import euler_deg_to_matrix_aflw

    generator = torch.Generator().manual_seed(5)
    identity = 0.6 * torch.randn(open_model.sizes[0], generator=generator)
    expression = open_model.expression_vector({"mouthSmileLeft": 0.3, "mouthSmileRight": 0.3})
    albedo = 0.5 * torch.randn(open_model.sizes[2], generator=generator)
    light = ambient_light(0.9)
    light[3] += 0.35
    light[1] += 0.2
    rotation = torch.as_tensor(euler_deg_to_matrix_aflw(5.0, 15.0, -8.0), dtype=torch.float32)
    pose = ScaledOrthographicPose(rotation, torch.tensor([130.0, 135.0]), torch.tensor(1.1))
    with torch.no_grad():
        render = render_colour(open_model.vertices(identity, expression), open_model.faces, open_model.albedo(albedo), light,
                               pose, (SIDE, SIDE))
        points = pose.project(open_model.landmarks("mediapipe478", identity, expression))[:, :2].double().numpy()
    image = torch.where(render.mask[0][..., None], render.image[0], torch.tensor([0.3, 0.5, 0.4])).clamp(0, 1)
    return (image * 255).round().to(torch.uint8).numpy(), points, (identity, expression, albedo, light, pose)


@pytest.fixture(scope="module")
def fitted(open_model, drawn):
    pixels, points, _ = drawn
    noisy = points + np.random.default_rng(1).normal(0, 1.0, points.shape)
    start = fit_landmarks(open_model, noisy, image_size=(SIDE, SIDE))
    # Two rounds more than by default: which steps are taken near the end depends on rounding, and so on the number of threads.
    return start, refine_photometric(open_model, pixels, start, rounds=6)


def test_energy_never_rises(fitted):
    _, result = fitted
    assert len(result.energies) > 8
    assert (np.diff(result.energies) <= 1e-9).all()
    assert result.terms["total"] == pytest.approx(result.energies[-1], rel=1e-4)
    assert result.terms["total"] == pytest.approx(sum(value for name, value in result.terms.items() if name != "total"))


def test_own_picture_is_explained(open_model, drawn, fitted):
    _, _, (_, _, albedo, light, _) = drawn
    start, result = fitted
    assert result.photometric_rmse < 0.02
    assert result.landmark_nme_percent < 1.2
    assert result.iterations > start.iterations
    skin = open_model.masks["skin"]
    true, found = (open_model.albedo(values)[skin].mean() for values in (albedo, result.parameters.albedo))
    assert abs(float(found - true)) < 0.09
    # The stronger side of the light is found: x and y of the first band.
    assert float(result.parameters.illumination[3].mean()) > 0.2 * float(light[3].mean())
    assert float(result.parameters.illumination[1].mean()) > 0


def test_photo_improves_the_shape(open_model, drawn, fitted):
    _, _, (identity, expression, _, _, pose) = drawn
    mask = open_model.masks["skin"]

    def error(parameters):
        with torch.no_grad():
            true = pose.project(open_model.vertices(identity, expression))[mask, :2]
            return float((parameters.pose.project(open_model.vertices(parameters.identity, parameters.expression))[mask, :2]
                          - true).norm(dim=1).mean())

    start, result = fitted
    assert error(result.parameters) < error(start.parameters)


def test_result_is_finite_and_bounded(fitted):
    _, result = fitted
    parameters = result.parameters
    for part in (parameters.identity, parameters.expression, parameters.albedo, parameters.illumination):
        assert torch.isfinite(part).all()
    assert parameters.expression.min() >= 0 and parameters.expression.max() <= 1
    assert parameters.identity.abs().max() < 3


def test_pose_returns_to_photo_pixels(open_model, drawn, fitted):
    """A photo twice as large gives the same face at twice the scale."""
    import cv2

    pixels, _, _ = drawn
    _, result = fitted
    # Pixel areas: each becomes 2 x 2 equal ones, so the edges of the photo stay in place.
    large = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    start = fit_landmarks(open_model, (result.points + 0.5) * 2 - 0.5)
    twice = refine_photometric(open_model, large, start).parameters.pose
    once = result.parameters.pose.scaled_image(2.0)
    assert float(twice.scale) == pytest.approx(float(once.scale), rel=5e-3)
    np.testing.assert_allclose(twice.translation, once.translation, atol=1.0)


def test_hidden_face_is_left_as_it_was(open_model, drawn):
    pixels, points, _ = drawn
    start = fit_landmarks(open_model, points + 4 * SIDE)
    result = refine_photometric(open_model, pixels, start)
    assert "photometric_skipped" in result.flags and result.photometric_rmse is None
    assert result.parameters is start.parameters


def test_covering_patch_is_found_and_specks_are_not():
    photo = torch.full((60, 60, 3), 0.6)
    drawn_colours, skin = photo.clone(), torch.zeros(60, 60, dtype=torch.bool)
    skin[5:55, 5:55] = True
    photo[5:15, 10:40] = 0.05
    photo[40, 40] = 0.0
    covered = covered_pixels(drawn_colours, photo, skin)
    assert covered[6:14, 11:39].all() and not covered[35:55].any()
    assert not covered_pixels(drawn_colours, drawn_colours, skin).any()


def test_occluder_does_not_darken_the_skin(open_model, drawn, fitted):
    pixels, points, _ = drawn
    start, clean = fitted
    covered = pixels.copy()
    forehead = int(points[10, 1])
    covered[forehead - 10:forehead + 22] = 12
    result = refine_photometric(open_model, covered, start)
    skin = open_model.masks["skin"]
    levels = [float(open_model.albedo(fit.parameters.albedo)[skin].mean()) for fit in (clean, result)]
    assert abs(levels[1] - levels[0]) < 0.04
    assert result.covered_share > 0.05 and clean.covered_share < 0.02


@pytest.mark.parametrize("bad", [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3), np.float32), None])
def test_wrong_pixels_are_refused(open_model, fitted, bad):
    with pytest.raises(ArgumentError):
        refine_photometric(open_model, bad, fitted[0])


def test_crop_keeps_places(drawn):
    """A blob keeps its place through the crop's map, enlarging, shrinking and reaching outside."""
    place = np.array([83.0, 61.0])
    rows, columns = np.mgrid[:160, :200]
    blob = np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * 4.0**2))
    pixels = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, axis=2)
    for box, size in (((40, 20, 130, 110), 60), ((40, 20, 130, 110), 150), ((-50, -30, 150, 120), 100)):
        crop = crop_photo(pixels, np.array(box, float), size=size)
        weight = crop.image[..., 0].numpy().astype(float)
        grid = np.mgrid[:weight.shape[0], :weight.shape[1]]
        centre = [(weight * grid[axis]).sum() / weight.sum() for axis in (1, 0)]
        np.testing.assert_allclose(centre, crop.points(place[None])[0], atol=0.06)
        assert max(weight.shape) == pytest.approx(size, abs=1)
        if box[0] < 0:
            assert not crop.inside[:5].any() and crop.inside[-5:, -5:].all()


def test_pixels_that_turn_away_or_are_covered_are_not_compared(open_model, drawn):
    pixels, points, _ = drawn
    problem = SynthesisProblem(open_model, pixels, fit_landmarks(open_model, points), size=120)
    _, _, before = problem.value(problem.start)
    problem.covered[:40] = True
    _, _, after = problem.value(problem.start)
    assert after[:40].sum() == 0 and (after[40:] == before[40:]).all()
