"""Boxes, five points, the mirror table, confidence, ordering: by hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.detection import boxes
from facerecon.detection.confidence import ACCEPTED, CERTAIN, evidence, probability
from facerecon.detection.dense_mirror import PARTNERS, unmirror_blendshapes, unmirror_points
from facerecon.detection.description import in_order, one_of_each, with_flags
from facerecon.detection.face import DetectedFace
from facerecon.detection.five_points import approximate_yaw_deg, roll_of

FRONTAL = np.array([[-30, -20], [30, -20], [0, 10], [-24, 40], [24, 40]], dtype=float)


def face(x: float, y: float, side: float, confidence: float = 0.9, dense: bool = True) -> DetectedFace:
    box = np.array([x, y, x + side, y + side], np.float32)
    return DetectedFace(box=box, confidence=confidence, points478=np.zeros((478, 3), np.float32) if dense else None,
                        points5=FRONTAL.astype(np.float32))


def test_iou_by_hand():
    box = np.array([0.0, 0, 10, 10])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 20, 20], [2, 2, 4, 7], [5, 5, 5, 9]])
    np.testing.assert_allclose(boxes.iou(box, others), [1, 1 / 3, 0, 0.1, 0])


def test_suppression_keeps_the_best_of_each_place():
    found = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [2, 2, 5, 5]])
    scores = np.array([0.5, 0.9, 0.7, 0.6])
    assert boxes.suppress(found, scores, 0.5).tolist() == [1, 2, 3]
    assert boxes.suppress(found, scores, 0.5, by_smaller=True).tolist() == [1, 2]
    assert boxes.suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_squares_keep_the_centre():
    np.testing.assert_allclose(boxes.squares(np.array([[0.0, 0, 4, 10]])), [[-3, 0, 7, 10]])


@pytest.mark.parametrize("angle", range(-170, 181, 35))
def test_roll_of_a_turned_face(angle):
    turn = np.radians(angle)
    # Clockwise as seen, with y down, is the ordinary rotation matrix.
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert np.degrees(roll_of(FRONTAL @ matrix.T + 50)) == pytest.approx(angle)


@pytest.mark.parametrize("yaw", [-60, -25, 0, 40, 75])
@pytest.mark.parametrize("roll", [0, 50, 180])
def test_yaw_of_a_plain_head(yaw, roll):
    # Eyes and mouth on a plane, the nose 0.6 eye distances in front of it; a positive yaw moves it to the left.
    turn, lean = np.radians(yaw), np.radians(roll)
    flat = FRONTAL * (np.cos(turn), 1)
    flat[3:, 0] *= 30 / 24 / 1.25
    flat[2, 0] = -0.6 * 60 * np.sin(turn)
    matrix = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    assert approximate_yaw_deg(flat @ matrix.T) == pytest.approx(yaw, abs=4)


def test_points_all_in_one_place_have_no_yaw():
    assert approximate_yaw_deg(np.zeros((5, 2))) == 0


def test_mirror_partners_are_pairs():
    assert (PARTNERS[PARTNERS] == np.arange(478)).all()
    assert (PARTNERS == np.arange(478)).sum() == 28
    for one, other in ((33, 263), (61, 291), (4, 4), (468, 473), (471, 474), (234, 454)):
        assert PARTNERS[one] == other


def test_unmirror():
    points = np.random.default_rng(0).uniform(0, 100, (478, 3))
    twice = unmirror_points(unmirror_points(points, 100), 100)
    np.testing.assert_allclose(twice, points)
    assert unmirror_points(points, 100)[33, 0] == 99 - points[263, 0]
    scores = {"jawOpen": 0.1, "jawLeft": 0.2, "jawRight": 0.3, "eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.5}
    assert unmirror_blendshapes(scores) == {"jawOpen": 0.1, "jawLeft": 0.3, "jawRight": 0.2, "eyeBlinkLeft": 0.5,
                                            "eyeBlinkRight": 0.4}


def test_confidence_rises_with_every_observation():
    for low, high in (((0, 0.6, False), (1, 0.6, False)), ((0, 0.6, False), (0, 0.7, False)), ((0, 0.6, False), (0, 0.6, True))):
        assert evidence(*low) < evidence(*high)
    assert probability(0) == 0.5
    assert probability(evidence(8, 0.95, True)) > CERTAIN > ACCEPTED > probability(evidence(1, 0.5, False))
    assert 0 < probability(evidence(-1e6, 0, False)) < probability(evidence(1e6, 1, True)) < 1


def test_flags_by_size_place_and_turn():
    assert with_flags(face(10, 10, 23), (200, 100)).flags == ("too_small",)
    assert with_flags(face(10, 10, 24), (200, 100)).flags == ("low_quality",)
    assert with_flags(face(10, 10, 48), (200, 100)).flags == ()
    assert with_flags(face(-1, 10, 60, dense=False), (200, 100)).flags == ("partial", "no_dense_landmarks")
    assert with_flags(face(150, 10, 60), (200, 100)).flags == ("partial",)


def test_order_is_by_size_then_from_the_middle():
    faces = [face(0, 0, 50), face(60, 0, 52), face(160, 0, 51), face(100, 60, 20), face(0, 0, 90)]
    assert [f.box[2] - f.box[0] for f in in_order(faces, 200)] == [90, 52, 50, 51, 20]
    mirrored = [DetectedFace(box=np.array([199 - f.box[2], f.box[1], 199 - f.box[0], f.box[3]]), confidence=0.9) for f in faces]
    assert [f.box[2] - f.box[0] for f in in_order(mirrored, 200)] == [90, 52, 50, 51, 20]


def test_duplicates_go_and_dense_ones_stay():
    kept = one_of_each([face(0, 0, 50, 0.99, dense=False), face(3, 3, 50, 0.8), face(100, 0, 50, 0.7)])
    assert [f.confidence for f in kept] == [0.8, 0.7]
