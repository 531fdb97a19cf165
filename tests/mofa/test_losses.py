"""The terms, by values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.mofa import (
    CodeLayout, FaceDecoder, MofaTargets, MofaTerms, albedo_symmetry_loss, landmark_loss, parameter_loss, perceptual_loss,
    photometric_loss, prior_loss, read_code, total_loss, vertex_loss)
from facerecon.mofa.objective import facing_weight

from .conftest import random_raw

NAN = float("nan")


def test_photometric_is_the_mean_distance_over_the_mask():
    image, target = torch.zeros(2, 2, 2, 3, dtype=torch.float64), torch.zeros(2, 2, 2, 3, dtype=torch.float64)
    target[0, 0, 0] = torch.tensor([0.3, 0.4, 0.0])
    target[0, 1, 1] = NAN
    mask = torch.tensor([[[True, True], [False, False]], [[False, False], [False, False]]])
    # Distances 0.5 and 0 over two pixels; the second image has none: (0.25 + 0) / 2. The rounded tip takes a thousandth.
    assert float(photometric_loss(image, target, mask)) == pytest.approx(0.125, abs=1e-3)
    weight = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64).repeat(2, 1, 1)
    weight[0, 0, 1] = 0.0
    assert float(photometric_loss(image, target, mask, weight=weight)) == pytest.approx(0.25, abs=1e-3)


def test_photometric_at_zero_residual_and_with_nan_outside_has_finite_gradients():
    image = torch.full((1, 4, 4, 3), 0.5, requires_grad=True)
    target = image.detach().clone()
    target[0, 0] = NAN
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[0, 0] = False
    loss = photometric_loss(image, target, mask)
    loss.backward()
    assert float(loss.detach()) == 0.0 and not image.grad.any()


def test_landmarks_are_measured_in_ninths_of_the_side():
    points = torch.zeros(3, 2, 2, dtype=torch.float64)
    targets = torch.tensor([[[9.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [NAN, 1.0]], [[NAN, NAN], [NAN, NAN]]], dtype=torch.float64)
    # With a side of 9 px a unit is a px: (81 + 0) / 2 and 25; the third image has no point and does not count.
    assert float(landmark_loss(points, targets, image_size=9)) == pytest.approx((40.5 + 25) / 2)
    assert float(landmark_loss(points, targets, image_size=18)) == pytest.approx((40.5 + 25) / 8)
    visibility = torch.tensor([[1.0, 3.0], [1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    assert float(landmark_loss(points, targets, visibility, image_size=9)) == pytest.approx((81 / 4 + 25) / 2)


def test_landmarks_unknown_or_far_away_leave_finite_gradients():
    points = torch.tensor([[[1e30, 0.0], [5.0, 5.0]]], requires_grad=True)
    loss = landmark_loss(points, torch.tensor([[[0.0, 0.0], [NAN, NAN]]]), image_size=10)
    loss.backward()
    assert loss.isfinite() and points.grad.isfinite().all()
    nothing = landmark_loss(points, torch.full((1, 2, 2), NAN), image_size=10)
    assert float(nothing.detach()) == 0.0


def test_the_prior_counts_standard_deviations(layout):
    code = read_code(torch.zeros(2, layout.size, dtype=torch.float64), layout, image_size=32)
    code.identity[0, 0], code.albedo[0, 1] = 2.0, 3.0
    code.expression[:] = 0.0
    code.expression[0, 2] = 0.5
    # Half the range of [0, 1] is two standard deviations: 4 + 0.8 * 4 + 0.0017 * 9, and 0 for the second face.
    assert float(prior_loss(code, layout)) == pytest.approx((4 + 3.2 + 0.0153) / 2)
    assert float(prior_loss(code, layout, expression=0.0, albedo=1.0)) == pytest.approx((4 + 9) / 2)


def test_symmetry_of_albedo():
    albedo = torch.tensor([[[0.1, 0.2, 0.3], [0.1, 0.2, 0.5], [0.7, 0.7, 0.7]]])
    mirror = torch.tensor([1, 0, 2])
    assert float(albedo_symmetry_loss(albedo, mirror)) == pytest.approx(2 * 0.04 / 3)
    albedo[0, 1, 2] = 0.3
    assert float(albedo_symmetry_loss(albedo, mirror)) == 0.0


def test_known_parameters(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    raw = random_raw(layout, 3)
    code = read_code(raw, layout, image_size=32)
    assert float(parameter_loss(code, code, layout, image_size=32)) == 0.0
    raw[:, 0] += 1.0
    other = read_code(raw, layout, image_size=32)
    # One of four identity numbers differs by one standard deviation.
    assert float(parameter_loss(code, other, layout, image_size=32)) == pytest.approx(0.25)
    assert float(parameter_loss(code, other, layout, image_size=32, weights={"identity": 2.0})) == pytest.approx(0.5)
    some, none = torch.tensor([True, False, True]), torch.zeros(3, dtype=torch.bool)
    assert float(parameter_loss(code, other, layout, image_size=32, known=some)) == pytest.approx(0.25)
    assert float(parameter_loss(code, other, layout, image_size=32, known=none)) == 0.0


def test_a_misspelt_part_is_refused(layout):
    code = read_code(torch.zeros(1, layout.size), layout, image_size=32)
    with pytest.raises(ArgumentError, match="ligth"):
        parameter_loss(code, code, layout, image_size=32, weights={"ligth": 1.0})


def test_turning_the_head_does_not_move_it(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    raw = torch.zeros(1, layout.size, dtype=torch.float64)
    code = read_code(raw, layout, image_size=32)
    raw[0, layout.slices["rotation"]] = torch.tensor([0.3, -0.2, 0.5, 0.1, 0.4, -0.6], dtype=torch.float64)
    turned = read_code(raw, layout, image_size=32)
    place = {name: float(name == "translation" or name == "scale") for name in layout.slices}
    assert float(parameter_loss(code, turned, layout, image_size=32, weights=place)) == pytest.approx(0.0, abs=1e-20)
    assert float(parameter_loss(code, turned, layout, image_size=32)) == pytest.approx(
        float((code.rotation - turned.rotation).square().sum()), rel=1e-12)


def test_units_of_the_pose_in_known_parameters(layout):
    raw = torch.zeros(1, layout.size, dtype=torch.float64)
    code = read_code(raw, layout, image_size=32)
    for name, expected in (("scale", 1.0), ("illumination", 1.0)):
        moved = raw.clone()
        moved[:, layout.slices[name]] = 1.0
        truth = read_code(moved, layout, image_size=32)
        only = {part: float(part == name) for part in layout.slices}
        assert float(parameter_loss(code, truth, layout, image_size=32, weights=only)) == pytest.approx(expected), name


def test_a_face_without_truth_may_hold_anything(layout):
    raw = random_raw(layout, 2).requires_grad_()
    code = read_code(raw, layout, image_size=32)
    truth = read_code(torch.tensor([[0.0], [NAN]], dtype=torch.float64).expand(2, layout.size), layout, image_size=32)
    known = torch.tensor([True, False])
    points = torch.stack([code.translation, code.translation], 1)
    solid = torch.nn.functional.pad(points, (0, 1))
    loss = parameter_loss(code, truth, layout, image_size=32, known=known) + vertex_loss(
        solid, torch.stack([torch.zeros(2, 3), torch.full((2, 3), NAN)]).double(), image_size=32, known=known)
    loss.backward()
    assert loss.isfinite() and raw.grad.isfinite().all() and not raw.grad[1].any()


def test_vertices_forget_the_mean_depth():
    projected = torch.randn(2, 5, 3, dtype=torch.float64)
    away = projected + torch.tensor([0.0, 0.0, 7.0], dtype=torch.float64)
    assert float(vertex_loss(projected, away, image_size=9)) == pytest.approx(0.0, abs=1e-12)
    beside = projected + torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    assert float(vertex_loss(projected, beside, image_size=9)) == pytest.approx(25.0)
    deeper = projected.clone()
    deeper[:, 0, 2] += 5.0
    # Depths differ by 5, 0, 0, 0, 0, mean 1: (16 + 4) / 5; twice as much per unit is four times as much squared.
    assert float(vertex_loss(projected, deeper, image_size=9)) == pytest.approx(4.0)
    assert float(vertex_loss(projected, deeper, image_size=9, depth_scale=2.0)) == pytest.approx(16.0)


def test_perception_sees_the_photo_around_the_render():
    target = torch.rand(2, 4, 4, 3)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, 1:3] = True

    def features(images):
        return images.flatten(1)

    anything = torch.where(mask[..., None], target, torch.full_like(target, 9.0))
    assert float(perceptual_loss(features, anything, target, mask)) == pytest.approx(0.0, abs=1e-6)
    assert float(perceptual_loss(features, -target, target, torch.ones_like(mask))) == pytest.approx(2.0, abs=1e-6)


def test_the_total_is_the_weighted_sum_of_what_is_on(model, layout):
    decoder = FaceDecoder(model, layout, image_size=32)
    code = read_code(random_raw(layout, 2, dtype=torch.float32), layout, image_size=32)
    drawn = decoder(code)
    targets = MofaTargets(torch.rand(2, 32, 32, 3), torch.rand(2, 68, 2) * 32)
    total, terms = total_loss(code, drawn, targets, decoder)
    assert set(terms) == {"photometric", "landmarks", "prior"}
    expected = 1.92 * terms["photometric"] + terms["landmarks"] + 2.9e-5 * terms["prior"]
    torch.testing.assert_close(total, expected)
    assert set(total_loss(code, drawn, MofaTargets(targets.images), decoder)[1]) == {"photometric", "prior"}
    off = MofaTerms(photometric=0.0, landmarks=0.0, prior=0.0)
    nothing, none = total_loss(code, drawn, targets, decoder, terms=off)
    assert float(nothing) == 0.0 and none == {}
    with pytest.raises(ArgumentError, match="features"):
        total_loss(code, drawn, targets, decoder, terms=MofaTerms(perceptual=1.0))
    for wrong in ({"prior": -1.0}, {"photometric": math.nan}):
        with pytest.raises(ArgumentError):
            MofaTerms(**wrong)


def test_points_that_the_model_does_not_carry_or_turn_to_the_camera_do_not_count(model, layout):
    decoder = FaceDecoder(model, layout, image_size=32)
    code = read_code(torch.zeros(1, layout.size), layout, image_size=32)
    drawn = decoder(code)
    points = drawn.landmarks.clone()
    points[0, 5] += 10.0
    only = MofaTerms(photometric=0.0, prior=0.0)
    assert float(total_loss(code, drawn, MofaTargets(torch.zeros(1, 32, 32, 3), points), decoder, terms=only)[0]) == 0.0
    points[0, 30] += 10.0
    assert float(total_loss(code, drawn, MofaTargets(torch.zeros(1, 32, 32, 3), points), decoder, terms=only)[0]) > 0.0
    away = drawn._replace(facing=torch.where(torch.arange(68) == 30, -0.2, drawn.facing))
    assert float(total_loss(code, away, MofaTargets(torch.zeros(1, 32, 32, 3), points), decoder, terms=only)[0]) == 0.0
    weights = facing_weight(torch.tensor([-1.0, -0.1, 0.025, 0.15, 1.0]))
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
