"""Landmark error by hand: four points in a 40 x 10 box, so sqrt(w h) = 20 px."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.metrics import box_size, sparse_nme

TRUTH = np.array([[0.0, 0.0, 0.0], [40.0, 0.0, 2.0], [40.0, 10.0, 4.0], [0.0, 10.0, 6.0]])


def test_one_point_moved_by_3_4_pixels():
    prediction = TRUTH.copy()
    prediction[1, :2] += [3.0, 4.0]
    # 5 px on one of four points, over 20 px.
    assert sparse_nme(prediction, TRUTH) == pytest.approx(5 / 4 / 20, abs=1e-15)
    assert sparse_nme(prediction, TRUTH, box="diag") == pytest.approx(5 / 4 / np.hypot(40, 10), abs=1e-15)
    assert sparse_nme(prediction, TRUTH, size=np.array(50.0)) == pytest.approx(5 / 4 / 50, abs=1e-15)


def test_perfect_is_zero_and_one_pixel_is_one_over_the_box():
    assert sparse_nme(TRUTH, TRUTH) == 0 and sparse_nme(TRUTH, TRUTH, dimensions=3) == 0
    assert sparse_nme(TRUTH + [1, 0, 0], TRUTH) == pytest.approx(1 / 20, abs=1e-15)


def test_the_box_is_that_of_the_truth():
    # Twice as large a prediction about the centre: mean distance is half the diagonal.
    prediction = (TRUTH - [20, 5, 0]) * [2, 2, 1] + [20, 5, 0]
    assert sparse_nme(prediction, TRUTH) == pytest.approx(np.hypot(40, 10) / 2 / 20)


def test_depth_counts_only_in_3d_and_after_its_shift():
    prediction = TRUTH + [0, 0, 7.0]
    assert sparse_nme(prediction, TRUTH) == 0
    assert sparse_nme(prediction, TRUTH, dimensions=3) == pytest.approx(0, abs=1e-15)
    assert sparse_nme(prediction, TRUTH, dimensions=3, depth="min") == pytest.approx(0, abs=1e-15)
    assert sparse_nme(prediction, TRUTH, dimensions=3, depth="none") == pytest.approx(7 / 20)


def test_mean_and_min_shift_differ_by_hand():
    prediction = TRUTH.copy()
    prediction[3, 2] += 8.0
    # mean shift: the others are off by 2, the moved one by 6; min shift: only the moved one is off, by 8.
    assert sparse_nme(prediction, TRUTH, dimensions=3) == pytest.approx((2 + 2 + 2 + 6) / 4 / 20)
    assert sparse_nme(prediction, TRUTH, dimensions=3, depth="min") == pytest.approx(8 / 4 / 20)


def test_batches_equal_single_images():
    generator = np.random.default_rng(0)
    truth, prediction = generator.normal(size=(2, 5, 68, 3)) * 50
    together = sparse_nme(prediction, truth, dimensions=3)
    assert together.shape == (5,)
    np.testing.assert_allclose(together, [sparse_nme(p, t, dimensions=3) for p, t in zip(prediction, truth)], rtol=1e-14)


def test_inputs_stay_as_they_are():
    truth, prediction = TRUTH.copy(), TRUTH + 1
    sparse_nme(prediction, truth, dimensions=3)
    assert (truth == TRUTH).all() and (prediction == TRUTH + 1).all()


@pytest.mark.parametrize(("prediction", "truth", "code"), [
    (TRUTH[:3], TRUTH, "shape_invalid"), (TRUTH, TRUTH * [1, 0, 1], "argument_invalid"), (TRUTH * np.nan, TRUTH, "nonfinite"),
    (TRUTH, np.zeros((0, 3)), "shape_invalid"),
])
def test_refusals(prediction, truth, code):
    with pytest.raises(ArgumentError) as caught:
        sparse_nme(prediction, truth)
    assert caught.value.code == code


def test_3d_needs_a_depth():
    with pytest.raises(ArgumentError, match="prediction: wanted shape"):
        sparse_nme(TRUTH[:, :2], TRUTH, dimensions=3)


def test_box_size_by_hand():
    assert box_size(TRUTH) == 20 and box_size(TRUTH, measure="diag") == pytest.approx(np.hypot(40, 10))
    with pytest.raises(ArgumentError, match="measure"):
        box_size(TRUTH, measure="area")
