"""Dense alignment and reconstruction errors: laws and values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.metrics import align_depth, align_points, dense_nme, interocular_distance, reconstruction_error


def cloud(count=400, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)) * [60, 80, 40]


def rotation(seed=1):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


def test_dense_by_hand():
    truth = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 3], [10, 10, 3]])
    prediction = truth + [[3, 4, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert dense_nme(prediction, truth, size=10.0) == pytest.approx(5 / 4 / 10)
    prediction = truth + [[0, 0, 4.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert dense_nme(prediction, truth, size=10.0) == 0
    # Mean shift 1: errors 3, 1, 1, 1. Min of the prediction stays 0: errors 4, 0, 0, 0. No shift: the same.
    assert dense_nme(prediction, truth, size=10.0, dimensions=3) == pytest.approx(6 / 4 / 10)
    assert dense_nme(prediction, truth, size=10.0, dimensions=3, depth="min") == pytest.approx(4 / 4 / 10)
    assert dense_nme(prediction, truth, size=10.0, dimensions=3, depth="none") == pytest.approx(4 / 4 / 10)
    # The shift taken from points 1 to 3 alone is zero.
    assert dense_nme(prediction, truth, size=10.0, dimensions=3, prediction_reference=prediction[1:],
                     truth_reference=truth[1:]) == pytest.approx(4 / 4 / 10)


def test_a_depth_shift_costs_nothing_unless_asked():
    truth = cloud()
    moved = truth + [0, 0, 123.0]
    for mode, wanted in (("mean", 0.0), ("min", 0.0), ("none", 123 / 50)):
        assert dense_nme(moved, truth, size=50.0, dimensions=3, depth=mode) == pytest.approx(wanted, abs=1e-12)
    assert dense_nme(moved, truth, size=50.0) == 0
    assert dense_nme(truth + [1, 0, 0], truth, size=50.0, dimensions=3) == pytest.approx(1 / 50)


def test_align_depth_by_hand():
    points = np.array([[1.0, 2, 3], [1, 2, 5]])
    np.testing.assert_array_equal(align_depth(points, mode="mean")[:, 2], [-1, 1])
    np.testing.assert_array_equal(align_depth(points, mode="min")[:, 2], [0, 2])
    np.testing.assert_array_equal(align_depth(points, mode="mean", reference=points[:1])[:, 2], [0, 2])
    assert points[0, 2] == 3


@pytest.mark.parametrize("align", ["similarity", "sadrnet_closed_form", "icp_similarity"])
def test_a_similarity_of_the_truth_scores_zero(align):
    truth = cloud()
    # ICP finds the true pairs only from a near start, so its turn is small.
    turn = rotation() if not align.startswith("icp") else axis_turn(0.02)
    scale = 1.7 if not align.startswith("icp") else 1.01
    moved = scale * truth @ turn.T + [5, -9, 30]
    assert reconstruction_error(moved, truth, normaliser=90.0, align=align) == pytest.approx(0, abs=1e-9)


def axis_turn(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@pytest.mark.parametrize("align", ["rigid", "icp_rigid"])
def test_rigid_alignment_sees_the_scale(align):
    truth = cloud()
    moved = truth @ axis_turn(0.02).T + [5, -9, 30]
    assert reconstruction_error(moved, truth, normaliser=90.0, align=align) == pytest.approx(0, abs=1e-9)
    radius = np.linalg.norm(truth - truth.mean(axis=0), axis=1).mean()
    error = reconstruction_error(1.1 * truth, truth, normaliser=90.0, align="rigid")
    assert error == pytest.approx(0.1 * radius / 90, rel=1e-9)


def test_the_similarity_is_the_least_squares_one():
    generator = np.random.default_rng(3)
    truth = cloud()
    source = 0.8 * (truth + generator.normal(size=truth.shape) * 5) @ rotation(2)
    best = align_points(source, truth)
    energy = ((best(source) - truth) ** 2).sum()
    assert np.linalg.det(best.rotation) == pytest.approx(1)
    for _ in range(20):
        bent = type(best)(best.scale * (1 + generator.normal() * 1e-3), best.rotation @ axis_turn(generator.normal() * 1e-3),
                          best.translation + generator.normal(size=3) * 1e-2)
        assert ((bent(source) - truth) ** 2).sum() > energy


def test_a_mirror_image_is_never_fitted_except_by_the_published_form():
    truth = cloud()
    mirrored = truth * [-1, 1, 1]
    assert np.linalg.det(align_points(mirrored, truth).rotation) == pytest.approx(1)
    assert np.linalg.det(align_points(mirrored, truth, mode="rigid").rotation) == pytest.approx(1)
    assert reconstruction_error(mirrored, truth, normaliser=90.0) > 0.1
    assert np.linalg.det(align_points(mirrored, truth, mode="sadrnet_closed_form").rotation) == pytest.approx(-1)


def test_the_closed_form_scale_comes_from_the_first_point():
    source = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    target = source * [2, 3, 4]
    assert align_points(source, target, mode="sadrnet_closed_form").scale == pytest.approx((2 + 3 + 4) / 3)


def test_nearest_is_never_larger_than_index_and_none_does_not_align():
    truth = cloud()
    prediction = truth + np.random.default_rng(4).normal(size=truth.shape) * 4
    by_index = reconstruction_error(prediction, truth, normaliser=90.0)
    assert 0 < reconstruction_error(prediction, truth, normaliser=90.0, distance="nearest") < by_index
    assert reconstruction_error(truth + [3, 4, 0], truth, normaliser=10.0, align="none") == pytest.approx(0.5)


def test_the_normaliser_is_the_3d_eye_distance():
    landmarks = np.zeros((2, 68, 3))
    landmarks[0, 45] = [3, 4, 12]
    landmarks[1, 36] = [0, 0, -2]
    np.testing.assert_allclose(interocular_distance(landmarks), [13, 2])


def test_refusals():
    truth = cloud()
    for call in (lambda: reconstruction_error(truth, truth, normaliser=0.0),
                 lambda: reconstruction_error(truth, truth, normaliser=1.0, align="affine"),
                 lambda: reconstruction_error(truth[1:], truth, normaliser=1.0),
                 lambda: reconstruction_error(truth * np.nan, truth, normaliser=1.0),
                 lambda: align_points(np.zeros((5, 3)), truth[:5])):
        with pytest.raises(ArgumentError, match="wanted"):
            call()
