"""YuNet: its decoding by hand, its symmetry, its agreement with the other detectors, and when the finder asks it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facerecon.detection.boxes import iou
from facerecon.detection.finder import PROFILE_SCORE, FaceFinder
from facerecon.detection.yunet import STRIDES, YuNet, YuNetFaces, decode, mirrored, raw_outputs


@pytest.fixture(scope="module")
def yunet():
    return YuNet()


def heads(size: int, value: float = 0.0) -> dict[str, torch.Tensor]:
    return {name: torch.full((1, count, size, size), value)
            for name, count in (("face", 1), ("object", 1), ("box", 4), ("points", 10))}


def test_decoding_by_hand():
    levels = [heads(4), heads(2), heads(1)]
    cell = {"face": math.log(3), "object": math.log(1 / 3)}
    levels[1]["face"][0, 0, 1, 0], levels[1]["object"][0, 0, 1, 0] = cell["face"], cell["object"]
    levels[1]["box"][0, :, 1, 0] = torch.tensor([0.5, -0.25, math.log(2), math.log(3)])
    levels[1]["points"][0, :, 1, 0] = torch.arange(10.0)
    boxes, scores, points = decode(levels)
    assert boxes.shape == (21, 4) and points.shape == (21, 5, 2)
    # An untouched cell of the coarsest level: one stride wide around its corner, chances of a half.
    torch.testing.assert_close(boxes[20], torch.tensor([-16.0, -16.0, 16.0, 16.0]))
    assert scores[20] == 0.5
    # Row 1, column 0 of stride 16: place (0, 16), centre (8, 12), 32 wide and 48 high; sqrt(3/4 1/4).
    row = 16 + 2
    torch.testing.assert_close(boxes[row], torch.tensor([8.0 - 16, 12 - 24, 8 + 16, 12 + 24]))
    assert float(scores[row]) == pytest.approx(math.sqrt(3) / 4)
    torch.testing.assert_close(points[row][1], torch.tensor([32.0, 16 + 48.0]))


def test_mirroring_twice_is_nothing_and_swaps_sides():
    boxes, points = torch.tensor([[10.0, 5, 40, 50]]), torch.arange(10.0).reshape(1, 5, 2)
    once = mirrored(boxes, torch.ones(1), points, width=100)
    torch.testing.assert_close(once[0], torch.tensor([[59.0, 5, 89, 50]]))
    # The right eye of the mirrored face was the left one.
    torch.testing.assert_close(once[2][0, 0], torch.tensor([99.0 - 2, 3]))
    twice = mirrored(*once, width=100)
    torch.testing.assert_close(twice[0], boxes)
    torch.testing.assert_close(twice[2], points)


def test_levels_are_those_of_the_strides(yunet):
    with torch.inference_mode():
        levels = raw_outputs(yunet.weights, torch.zeros(1, 3, 64, 96))
    assert [tuple(level["face"].shape[2:]) for level in levels] == [(64 // s, 96 // s) for s in STRIDES]


def test_portraits_are_found_where_the_others_find_them(yunet, portraits, found):
    for pixels, (face, *_) in zip(portraits, found):
        seen = yunet.detect(pixels)
        assert len(seen.scores) == 1 and seen.scores[0] > 0.8
        assert iou(face.box, seen.boxes)[0] > 0.5
        away = np.linalg.norm(seen.points[0] - face.points5, axis=1).mean()
        assert away < 0.06 * face.size


def test_a_mirrored_photo_gives_the_mirrored_answer(yunet, portraits):
    plain, turned = yunet.detect(portraits[1]), yunet.detect(np.ascontiguousarray(portraits[1][:, ::-1]))
    np.testing.assert_allclose(turned.scores, plain.scores, atol=1e-5)
    last = portraits[1].shape[1] - 1
    np.testing.assert_allclose(turned.boxes[:, [0, 2]], last - plain.boxes[:, [2, 0]], atol=1e-2)
    np.testing.assert_allclose(turned.points[:, 0, 0], last - plain.points[:, 1, 0], atol=1e-2)


def test_places_do_not_depend_on_the_photos_size(yunet, portraits):
    import cv2

    small = yunet.detect(portraits[2])
    large = yunet.detect(cv2.resize(portraits[2], (800, 800), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_allclose((large.boxes + 0.5) / 2 - 0.5, small.boxes, atol=2.0)


@pytest.mark.parametrize("kind", ["black", "noise", "stripes"])
def test_nothing_in_pictures_of_nothing(yunet, kind):
    noise = np.random.default_rng(4).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    stripes = np.ascontiguousarray(np.broadcast_to((np.arange(240) // 10 % 2 * 255).astype(np.uint8)[:, None, None], (240, 320, 3)))
    pixels = {"black": np.zeros_like(noise), "noise": noise, "stripes": stripes}[kind]
    assert len(yunet.detect(pixels, least=PROFILE_SCORE).scores) == 0


def blind(finder: FaceFinder, monkeypatch, seen: YuNetFaces) -> FaceFinder:
    """The finder whose other detectors see nothing."""
    monkeypatch.setattr(FaceFinder, "_search", lambda self, pixels, smallest: [])
    monkeypatch.setattr(YuNet, "detect", lambda self, pixels, *, least: YuNetFaces(*(part[seen.scores >= least] for part in seen)))
    return finder


def test_the_finder_asks_it_where_the_others_see_nobody(finder, portraits, found, yunet, monkeypatch):
    seen = yunet.detect(portraits[0])
    (face,) = blind(finder, monkeypatch, seen).find(portraits[0])
    assert face.source == "yunet" and face.confidence >= seen.scores[0]
    # MediaPipe is asked for dense landmarks at that place.
    np.testing.assert_allclose(face.points478[:, :2], found[0][0].points478[:, :2], atol=0.03 * face.size)


def test_a_low_score_is_nobody(finder, portraits, yunet, monkeypatch):
    seen = yunet.detect(portraits[0])
    low = YuNetFaces(seen.boxes, np.full(1, PROFILE_SCORE - 0.01), seen.points)
    assert blind(finder, monkeypatch, low).find(portraits[0]) == []
