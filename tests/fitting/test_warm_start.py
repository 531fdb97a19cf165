"""A fit that begins at given parameters: half the steps to the same energy, never worse for a bad start, nonsense refused."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, LandmarkError
from facerecon.fitting import fit_landmarks, judge_parameters, refine_photometric
from facerecon.fitting.initial_pose import OrthographicView, rotation_from_vector
from facerecon.fitting.start import aligned_view, check_start, photometric_starts
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.rotations import rotvec_to_matrix
from facerecon.morphable import FaceParameters
from facerecon.render import ambient_light, render_colour

SIDE = 220


@pytest.fixture(scope="module")
def head(open_model):
    """A drawn head in yellow light, its landmarks with a pixel of noise, its truth, and the cold fit."""
    from facerecon.geometry.rotations import euler_deg_to_matrix_aflw

    generator = torch.Generator().manual_seed(3)
    light = ambient_light(0.8)
    light[3] += 0.5
    light[:, 2] *= 0.7
    rotation = torch.as_tensor(euler_deg_to_matrix_aflw(5.0, 18.0, -8.0), dtype=torch.float32)
    truth = FaceParameters(0.6 * torch.randn(open_model.sizes[0], generator=generator),
                           open_model.expression_vector({"mouthSmileLeft": 0.3, "mouthSmileRight": 0.3}),
                           torch.randn(open_model.sizes[2], generator=generator), light,
                           ScaledOrthographicPose(rotation, torch.tensor([110.0, 112.0]), torch.tensor(0.95)))
    with torch.no_grad():
        render = render_colour(open_model.vertices(truth.identity, truth.expression), open_model.faces,
                               open_model.albedo(truth.albedo), light, truth.pose, (SIDE, SIDE))
        points = truth.pose.project(open_model.landmarks("mediapipe478", truth.identity, truth.expression))
    points = points[:, :2].double().numpy()
    image = torch.where(render.mask[0][..., None], render.image[0], torch.tensor([0.3, 0.5, 0.4])).clamp(0, 1)
    pixels = (image * 255).round().to(torch.uint8).numpy()
    points = points + np.random.default_rng(1).normal(0, 1.0, points.shape)
    cold = fit_landmarks(open_model, points)
    return types.SimpleNamespace(pixels=pixels, points=points, truth=truth, landmarks=cold,
                                 cold=refine_photometric(open_model, pixels, cold))


def near(truth: FaceParameters, size: float = 1.0) -> FaceParameters:
    """The truth with an encoder's errors: some pixels beside the face, 2 degrees turned, coefficients a quarter off."""
    generator = torch.Generator().manual_seed(8)

    def noise(like: torch.Tensor) -> torch.Tensor:
        return size * torch.randn(like.shape, generator=generator)

    pose = ScaledOrthographicPose(rotvec_to_matrix(0.03 * noise(torch.zeros(3))) @ truth.pose.rotation,
                                  truth.pose.translation + 3 * noise(truth.pose.translation), truth.pose.scale * 1.03)
    return truth.replace(identity=truth.identity + 0.25 * noise(truth.identity), pose=pose,
                         expression=(truth.expression + 0.05 * noise(truth.expression)).clamp(0, 1),
                         albedo=truth.albedo + 0.25 * noise(truth.albedo),
                         illumination=truth.illumination + 0.05 * noise(truth.illumination))


def test_a_good_start_takes_half_the_steps_to_the_same_energy(open_model, head):
    start = near(head.truth)
    landmarks = fit_landmarks(open_model, head.points, start=start)
    warm = refine_photometric(open_model, head.pixels, landmarks, guess=start)
    assert warm.warm[-1] == "photometric" and head.cold.warm == ()
    assert warm.iterations <= head.cold.iterations / 2
    assert warm.terms["total"] <= 1.005 * head.cold.terms["total"]
    assert (np.diff(warm.energies) <= 1e-9).all() and warm.flags == ()


def test_a_start_spares_landmark_steps(open_model, head):
    warm = fit_landmarks(open_model, head.points, start=near(head.truth, 0.3))
    assert warm.warm == ("landmarks",) and warm.iterations < head.landmarks.iterations
    assert warm.energies[-1] == pytest.approx(head.landmarks.energies[-1], rel=2e-3)


@pytest.fixture(scope="module")
def short(open_model, head):
    """A cold search of one round."""
    return refine_photometric(open_model, head.pixels, head.landmarks, rounds=1, steps=1)


@pytest.mark.parametrize("spoil", [
    lambda p: p.replace(pose=ScaledOrthographicPose(rotvec_to_matrix(torch.tensor([0.0, 2.6, 0.0])) @ p.pose.rotation,
                                                    p.pose.translation, p.pose.scale),
                        illumination=4 * p.illumination),
    lambda p: p.replace(identity=p.identity + 9.0, albedo=p.albedo - 9.0),
    lambda p: p.replace(expression=torch.ones_like(p.expression), illumination=-p.illumination),
], ids=["turned away", "another head", "all actions, dark"])
def test_a_bad_start_changes_nothing(open_model, head, short, spoil):
    start = spoil(head.truth)
    landmarks = fit_landmarks(open_model, head.points, start=start)
    assert landmarks.warm == () and landmarks.energies == head.landmarks.energies
    result = refine_photometric(open_model, head.pixels, landmarks, guess=start, rounds=1, steps=1)
    assert result.warm == () and result.energies == short.energies
    assert torch.equal(result.parameters.albedo, short.parameters.albedo)


@pytest.mark.parametrize("size", [2.0, 4.0])
def test_no_start_ends_above_the_cold_fit(open_model, head, size):
    start = near(head.truth, size)
    landmarks = fit_landmarks(open_model, head.points, start=start)
    result = refine_photometric(open_model, head.pixels, landmarks, guess=start)
    assert result.terms["total"] <= 1.005 * head.cold.terms["total"]
    assert result.iterations <= head.cold.iterations


def test_only_few_landmarks_leave_the_geometry_to_the_start(open_model, head):
    (dense,) = photometric_starts(SynthesisProblem(open_model, head.pixels, head.landmarks, size=120), head.truth)
    np.testing.assert_allclose(dense.albedo, head.truth.albedo)
    np.testing.assert_allclose(dense.coefficients[:open_model.sizes[0]], head.landmarks.parameters.identity)
    with torch.no_grad():
        five = head.truth.pose.project(open_model.landmarks("five", head.truth.identity, head.truth.expression))[:, :2].numpy()
    problem = SynthesisProblem(open_model, head.pixels, fit_landmarks(open_model, five, scheme="five"), size=120)
    colours, whole = photometric_starts(problem, head.truth)
    assert colours.coefficients is problem.start.coefficients
    # Back in the photo's pixels the whole start is the truth.
    pose = problem.crop.to_photo(problem.pose(whole))
    np.testing.assert_allclose(pose.translation, head.truth.pose.translation, atol=1e-3)
    np.testing.assert_allclose(whole.coefficients, torch.cat([head.truth.identity, head.truth.expression]))


def broken(head, name: str, value):
    """Parameters with a field that their own checks would not have let pass."""
    copy = dataclasses.replace(head.truth)
    object.__setattr__(copy, name, value)
    return copy


@pytest.mark.parametrize("make, code", [
    (lambda h: h.truth.replace(identity=h.truth.identity[:5]), "shape_invalid"),
    (lambda h: h.truth.replace(albedo=torch.zeros(0)), "shape_invalid"),
    (lambda h: broken(h, "expression", torch.full_like(h.truth.expression, float("nan"))), "nonfinite"),
    (lambda h: h.truth.replace(pose=ScaledOrthographicPose(h.truth.pose.rotation, torch.tensor([float("nan"), 0.0]),
                                                           h.truth.pose.scale)), "nonfinite"),
    (lambda h: h.truth.replace(pose=ScaledOrthographicPose(2 * h.truth.pose.rotation, h.truth.pose.translation,
                                                           h.truth.pose.scale)), "argument_invalid"),
    (lambda h: h.truth.replace(pose=ScaledOrthographicPose(-h.truth.pose.rotation, h.truth.pose.translation,
                                                           h.truth.pose.scale)), "argument_invalid"),
    (lambda h: h.truth.replace(pose=ScaledOrthographicPose(h.truth.pose.rotation, h.truth.pose.translation,
                                                           -h.truth.pose.scale)), "argument_invalid"),
    (lambda h: h.truth.replace(identity=1e6 * torch.ones_like(h.truth.identity)), "argument_invalid"),
    (lambda h: "start", "argument_invalid"),
])
def test_a_start_that_is_no_face_is_refused(open_model, head, make, code):
    for call in (lambda start: fit_landmarks(open_model, head.points, start=start),
                 lambda start: refine_photometric(open_model, head.pixels, head.landmarks, guess=start),
                 lambda start: judge_parameters(open_model, start, head.points)):
        with pytest.raises(ArgumentError) as caught:
            call(make(head))
        assert caught.value.code == code


def test_expressions_come_back_into_their_range(open_model, head):
    start = check_start(open_model, head.truth.replace(expression=head.truth.expression - 0.2))
    assert float(start.expression.min()) == 0.0
    assert torch.equal(check_start(open_model, head.truth).expression, head.truth.expression)


def test_the_plane_is_aligned_exactly():
    """A view turned, shifted and scaled in the picture's plane comes back to the bit of float64."""
    generator = np.random.default_rng(0)
    shape = generator.normal(0, 40, (12, 3))
    view = OrthographicView(rotation_from_vector(np.array([0.3, -0.5, 0.2])), np.array([40.0, 55.0]), 1.7)
    moved = OrthographicView(rotation_from_vector(np.array([0.0, 0.0, 0.4])) @ view.rotation, np.array([-8.0, 90.0]), 0.6)
    weights = generator.uniform(0.1, 1, 12)
    found = aligned_view(moved, moved.project(shape), view.project(shape), weights)
    np.testing.assert_allclose(found.rotation, view.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, view.translation, atol=1e-9)
    assert found.scale == pytest.approx(1.7)
    same = aligned_view(view, np.zeros((12, 2)), np.ones((12, 2)), weights)
    assert np.isfinite(same.translation).all() and same.scale == view.scale


def test_parameters_are_judged_by_the_landmarks(open_model, head, make):
    exact = make.landmarks(open_model, head.truth.identity, head.truth.expression, head.truth.pose)
    good = judge_parameters(open_model, head.truth, exact)
    assert good.landmark_nme_percent < 1e-3 and good.flags == () and good.iterations == 0
    assert torch.equal(good.parameters.identity, head.truth.identity) and good.visibility68.shape == (68,)
    far = judge_parameters(open_model, head.truth, exact + 40.0)
    assert "poor_fit" in far.flags
    away = head.truth.replace(pose=ScaledOrthographicPose(
        rotvec_to_matrix(torch.tensor([0.0, 2.6, 0.0])) @ head.truth.pose.rotation, head.truth.pose.translation,
        head.truth.pose.scale))
    assert set(judge_parameters(open_model, away, exact).flags) == {"pose_out_of_range", "poor_fit"}
    with pytest.raises(LandmarkError) as caught:
        judge_parameters(open_model, head.truth, exact * [-1.0, 1.0] + [SIDE, 0.0])
    assert caught.value.code == "landmarks_invalid"
