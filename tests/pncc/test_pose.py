"""Pose from a code: exact for the mean, robust against wrong pixels, honest about its error, refused without a face."""

from __future__ import annotations

import dataclasses

import math

import numpy as np
import pytest
import torch

from facerecon.detection import Crop
from facerecon.errors import FaceError, FitError
from facerecon.pncc import pose_to_crop, pose_to_photo, recover_pose


@pytest.mark.parametrize("yaw", [0, 30, -60, 80, -90])
def test_the_mean_shape_gives_its_pose(surface, draw, pose, apart_deg, yaw):
    view = pose(yaw)
    found = recover_pose(surface.match(draw(view)), surface.mean)
    assert apart_deg(found.pose.rotation, view.rotation) < 0.1
    assert float(found.pose.scale) == pytest.approx(float(view.scale), rel=2e-3)
    assert torch.allclose(found.pose.translation, view.translation, atol=0.1)
    assert found.inlier_share == 1 and found.residual_px < 0.3
    assert found.residual_mm == pytest.approx(found.residual_px / 0.62, rel=2e-3)


@pytest.mark.parametrize("yaw", [15, -75])
def test_wrong_pixels_do_not_move_it(surface, draw, pose, apart_deg, yaw):
    view, generator = pose(yaw), np.random.default_rng(1)
    code = draw(view)
    rows, columns = np.nonzero(code.any(-1))
    wrong = generator.permutation(len(rows))[:int(0.3 * len(rows))]
    code[rows[wrong], columns[wrong]] = generator.integers(40, 256, (len(wrong), 3))
    found = recover_pose(surface.match(code), surface.mean)
    assert apart_deg(found.pose.rotation, view.rotation) < 0.5
    assert found.inlier_share == pytest.approx(0.7, abs=0.02)


def test_a_displaced_part_does_not_move_it(surface, draw, pose, apart_deg):
    view = pose(20)
    code = draw(view)
    rows = np.nonzero(code.any(-1))[0]
    below = int(np.quantile(rows, 0.7))
    code[below:] = np.roll(code[below:], 25, axis=1)
    found = recover_pose(surface.match(code), surface.mean)
    assert apart_deg(found.pose.rotation, view.rotation) < 0.5 and 0.6 < found.inlier_share < 0.85


def test_the_right_head_is_better_than_the_mean(model, surface, draw, pose, apart_deg):
    identity = torch.from_numpy(0.6 * np.random.default_rng(3).normal(size=len(model.identity_basis)).astype(np.float32))
    head = model.vertices(identity, model.expression_vector({"jawOpen": 0.3}))
    view = pose(-35)
    matches = surface.match(draw(view, head))
    mean, own = recover_pose(matches, surface.mean), recover_pose(matches, head.numpy())
    assert apart_deg(own.pose.rotation, view.rotation) < 0.1 < apart_deg(mean.pose.rotation, view.rotation) < 6
    assert own.residual_mm < 0.5 < mean.residual_mm and mean.inlier_share < own.inlier_share > 0.99


def test_one_seed_gives_one_pose(surface, draw, pose):
    matches = surface.match(draw(pose(40)))
    first, second = (recover_pose(matches, surface.mean, seed=5) for _ in range(2))
    assert torch.equal(first.pose.rotation, second.pose.rotation) and first.residual_px == second.residual_px
    values = first.to_dict()
    assert {"rotation", "translation", "scale", "quaternion", "euler_deg", "residual_px"} <= set(values)
    assert values["inlier_share"] == 1


def test_too_few_pixels_and_no_head_are_refused(surface, draw, pose):
    code = draw(pose(0))
    few = np.zeros_like(code)
    few[60:66, 60:66] = code[60:66, 60:66]
    with pytest.raises(FaceError) as caught:
        recover_pose(surface.match(few), surface.mean)
    assert caught.value.code == "no_face"
    noise = np.random.default_rng(0).integers(40, 256, code.shape, dtype=np.uint8)
    with pytest.raises(FitError) as caught:
        recover_pose(surface.match(noise), surface.mean)
    assert caught.value.code == "fit_failed"


@pytest.mark.parametrize("least", [(60, 60, 68, 68), (40, 20, 41, 110), (0, 64, 128, 65)])
def test_little_is_finite_or_refused(surface, draw, pose, least):
    """A patch, a column, a row of a face: any answer is finite."""
    code = draw(pose(0))
    part = np.zeros_like(code)
    x0, y0, x1, y1 = least
    part[y0:y1, x0:x1] = code[y0:y1, x0:x1]
    try:
        found = recover_pose(surface.match(part), surface.mean)
    except (FaceError, FitError):
        return
    assert all(torch.isfinite(value).all() for value in (found.pose.rotation, found.pose.translation, found.pose.scale))
    assert torch.allclose(found.pose.rotation @ found.pose.rotation.mT, torch.eye(3), atol=1e-5)


def test_one_pixel_repeated_is_refused(surface, draw, pose):
    matches = surface.match(draw(pose(0)))
    same = dataclasses.replace(matches, **{name: np.repeat(getattr(matches, name)[:1], 100, axis=0)
                                           for name in ("pixels", "corners", "barycentric", "distance")})
    with pytest.raises(FitError):
        recover_pose(same, surface.mean)


@pytest.mark.parametrize("roll", [0.0, 0.7, -math.pi / 2])
def test_photo_and_crop_are_inverse(pose, roll):
    crop = Crop((210.0, 95.5), 300.0, 128, roll)
    view = pose(10)
    photo = pose_to_photo(view, crop)
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 50
    expected = crop.to_image(view.project(points).double().numpy())
    np.testing.assert_allclose(photo.project(points).numpy(), expected, atol=1e-3)
    back = pose_to_crop(photo, crop)
    assert torch.allclose(back.translation, view.translation, atol=1e-4) and torch.allclose(back.scale, view.scale)
