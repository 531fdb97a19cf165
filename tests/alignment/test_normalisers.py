"""Landmark errors by hand: zero for a perfect prediction, the shift over the length for a shifted one."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.alignment import LandmarkScheme, landmark_nme, load_scheme, summarise_landmarks
from facerecon.errors import ArgumentError

# Two eye corners 40 px apart and a chin: the box is 40 x 30, its diagonal 50.
SCHEME = LandmarkScheme("three", ("right", "left", "chin"), (1, 0, 2), (0, 1))
FACE = np.array([[10.0, 10.0], [50.0, 10.0], [30.0, 40.0]])
LENGTHS = {"inter_ocular": 40.0, "box": 1200**0.5, "diagonal": 50.0}


@pytest.mark.parametrize(("normaliser", "length"), LENGTHS.items())
def test_known_errors(normaliser, length):
    truth = np.stack([FACE, FACE, FACE])
    prediction = np.stack([FACE, FACE + [3.0, 4.0], FACE + [[0, 0], [0, 0], [0, 6]]])
    found = landmark_nme(prediction, truth, normaliser=normaliser, scheme=SCHEME)
    np.testing.assert_allclose(found, [0.0, 5 / length, 2 / length], atol=1e-12)


@pytest.mark.parametrize("normaliser", LENGTHS)
def test_size_and_place_do_not_matter(normaliser):
    prediction = FACE + [[1.0, 2.0], [-3.0, 0.5], [0.0, 4.0]]
    once = landmark_nme(prediction, FACE, normaliser=normaliser, scheme=SCHEME)
    again = landmark_nme(7 * prediction + 100, 7 * FACE + 100, normaliser=normaliser, scheme=SCHEME)
    assert once == pytest.approx(again)


def test_real_scheme_uses_the_outer_corners():
    truth = np.random.default_rng(0).uniform(0, 200, (68, 2))
    truth[36], truth[45] = (40, 80), (100, 160)
    assert landmark_nme(truth + [0, 5], truth, normaliser="inter_ocular", scheme=load_scheme("ibug68")) == pytest.approx(0.05)


def test_points_that_are_not_valid_do_not_count():
    four = LandmarkScheme("four", ("right", "left", "chin", "ear"), (1, 0, 2, 3), (0, 1))
    truth = np.array([np.vstack([FACE, [np.nan, np.nan]]), np.vstack([FACE, [500.0, 500.0]])])
    prediction = np.array([np.vstack([FACE + [3.0, 4.0], [np.nan, np.nan]]), np.vstack([FACE + [3.0, 4.0], [0.0, 0.0]])])
    valid = np.array([[True, True, True, False]] * 2)
    for normaliser, length in LENGTHS.items():
        found = landmark_nme(prediction, truth, normaliser=normaliser, scheme=four, valid=valid)
        np.testing.assert_allclose(found, [5 / length] * 2)


@pytest.mark.parametrize(("match", "call"), [
    ("normaliser", lambda: landmark_nme(FACE, FACE, normaliser="pupils", scheme=SCHEME)),
    ("eye corners", lambda: landmark_nme(np.eye(5, 2), np.eye(5, 2), normaliser="inter_ocular", scheme=load_scheme("five"))),
    ("shape", lambda: landmark_nme(FACE[:2], FACE[:2], normaliser="box", scheme=SCHEME)),
    ("shape", lambda: landmark_nme(FACE[None], FACE, normaliser="box", scheme=SCHEME)),
    ("NaN", lambda: landmark_nme(FACE, FACE * np.nan, normaliser="box", scheme=SCHEME)),
    ("NaN", lambda: landmark_nme(FACE * np.nan, FACE, normaliser="box", scheme=SCHEME)),
    ("corners apart", lambda: landmark_nme(FACE, FACE, normaliser="inter_ocular", scheme=SCHEME, valid=[True, False, True])),
    ("corners apart", lambda: landmark_nme(FACE, FACE * 0, normaliser="inter_ocular", scheme=SCHEME)),
    ("at least one point", lambda: landmark_nme(FACE, FACE, normaliser="box", scheme=SCHEME, valid=[False] * 3)),
    ("no area", lambda: landmark_nme(FACE, FACE * [1, 0], normaliser="box", scheme=SCHEME)),
])
def test_refusals(match, call):
    with pytest.raises(ArgumentError, match=match):
        call()


def test_summary_by_hand():
    summary = summarise_landmarks(np.array([0.0, 0.02, 0.05, 0.25]))
    assert (summary.n, summary.failure_rate) == (4, 0.25)
    assert (summary.mean, summary.median) == (pytest.approx(0.08), pytest.approx(0.035))
    assert summary.auc == pytest.approx((1 + 0.8 + 0.5 + 0) / 4)
    assert summarise_landmarks([0.05, 0.06], failure_threshold=0.055, auc_threshold=0.08).failure_rate == 0.5
    with pytest.raises(ArgumentError):
        summarise_landmarks([])
    with pytest.raises(ArgumentError):
        summarise_landmarks([np.nan])
