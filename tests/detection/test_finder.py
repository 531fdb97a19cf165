"""F07 and F14 to F19: every face, once, with landmarks that lie on it; no face where there is none."""

from __future__ import annotations

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facerecon.data import load_image
from facerecon.data.orientation import apply_orientation, to_stored_frame
from facerecon.detection import FaceFinder
from facerecon.detection.boxes import iou
from facerecon.detection.candidates import Candidate
from facerecon.detection.description import SURE_LOGIT, describe
from facerecon.errors import ArgumentError, FaceError


def distance(points: np.ndarray, others: np.ndarray) -> float:
    """Mean distance of points, px."""
    return float(np.linalg.norm(points[:, :2] - others[:, :2], axis=1).mean())


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth coloured noise."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    return np.clip(128 + 900 * cv2.GaussianBlur(noise, (0, 0), 8), 0, 255).astype(np.uint8)


def test_a_portrait_has_one_certain_face(portraits, found):
    for pixels, faces in zip(portraits, found):
        (face,) = faces
        assert face.confidence > 0.95 and face.source == "both" and face.flags == ()
        assert face.box.dtype == face.points478.dtype == face.points5.dtype == np.float32
        assert face.points478.shape == (478, 3) and face.points5.shape == (5, 2)
        np.testing.assert_allclose(face.box[:2], face.points478[:, :2].min(axis=0))
        np.testing.assert_allclose(face.box[2:], face.points478[:, :2].max(axis=0))
        assert 110 < face.size < 220 and abs(face.yaw_deg) < 12
        assert len(face.blendshapes) == 52 and all(0 <= score <= 1 for score in face.blendshapes.values())


def test_the_five_points_are_what_they_say(found):
    for (face,) in found:
        right_eye, left_eye, nose, right_mouth, left_mouth = face.points5
        assert right_eye[0] < nose[0] < left_eye[0] and right_mouth[0] < nose[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_scale_moves_the_points_by_half_pixel_rules(finder, portraits, found):
    large = cv2.resize(portraits[0], (800, 800), interpolation=cv2.INTER_CUBIC)
    (face,) = finder.find(large)
    expected = (found[0][0].points478[:, :2] + 0.5) * 2 - 0.5
    assert distance(face.points478, expected) < 0.01 * face.size


def test_a_shifted_photo_gives_shifted_points(finder, portraits, found):
    shifted = np.zeros((450, 460, 3), np.uint8)
    shifted[30:430, 40:440] = portraits[1]
    (face,) = finder.find(shifted)
    assert distance(face.points478 - (40, 30, 0), found[1][0].points478) < 0.6


def test_a_mirrored_photo_gives_mirrored_faces(finder, portraits, found):
    (face,) = finder.find(np.ascontiguousarray(portraits[2][:, ::-1]))
    (original,) = found[2]
    assert face.yaw_deg == pytest.approx(-original.yaw_deg, abs=6)
    swapped = face.points5[[1, 0, 2, 4, 3]] * (-1, 1) + (399, 0)
    assert distance(swapped, original.points5) < 0.03 * original.size


@pytest.mark.parametrize("orientation, flag", [(3, "rotated_180"), (6, "rotated_90"), (8, "rotated_270")])
def test_sideways_and_upside_down_faces(finder, portraits, found, orientation, flag):
    for pixels, (original,) in zip(portraits[:2], found):
        turned = np.ascontiguousarray(apply_orientation(pixels, orientation))
        (face,) = finder.find(turned)
        assert face.flags == (flag,)
        back = to_stored_frame(face.points478, orientation, (400, 400))
        assert distance(back, original.points478) < 0.02 * original.size


@pytest.mark.parametrize("angle", [30, 70, 110, 150])
def test_faces_at_any_angle(finder, portraits, found, angle):
    matrix = cv2.getRotationMatrix2D((199.5, 199.5), angle, 1)
    (face,) = finder.find(cv2.warpAffine(portraits[3], matrix, (400, 400)))
    expected = found[3][0].points478[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    assert distance(face.points478, expected) < 0.02 * found[3][0].size


@pytest.mark.parametrize("orientation", [2, 5, 6, 7])
def test_exif_orientation_changes_nothing(finder, portraits, found, tmp_path, orientation):
    from PIL import Image

    stored = apply_orientation(portraits[0], {6: 8, 8: 6}.get(orientation, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    loaded = load_image(tmp_path / "a.png")
    (face,) = finder.find(loaded.pixels)
    np.testing.assert_array_equal(face.points478, found[0][0].points478)
    back = to_stored_frame(loaded.to_stored(face.points478), {6: 8, 8: 6}.get(orientation, orientation), (400, 400))
    np.testing.assert_allclose(back, found[0][0].points478, atol=1e-3)


@pytest.mark.parametrize("name", ["black", "white", "noise", "smooth noise", "stripes", "landscape"])
def test_no_face(finder, name):
    rng = np.random.default_rng(4)
    stripes = np.broadcast_to((np.arange(320) // 10 % 2 * 255).astype(np.uint8)[:, None], (240, 320, 3))
    landscape = texture(240, 320, 1)
    landscape[:120] = (140, 180, 235)
    pixels = {
        "black": np.zeros((240, 320, 3), np.uint8), "white": np.full((240, 320, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), "smooth noise": texture(240, 320, 0),
        "stripes": np.ascontiguousarray(stripes[:240]), "landscape": landscape,
    }[name]
    assert finder.find(pixels) == []


def test_two_faces_come_largest_first_and_so_in_the_mirror(finder, portraits, place):
    canvas = texture(400, 800, 2)
    small, large = place(canvas, portraits[0], 20, 60, 240), place(canvas, portraits[1], 380, 10, 380)
    faces = finder.find(canvas)
    assert [iou(face.box, np.array([large, small])).argmax() for face in faces] == [0, 1]
    mirrored = finder.find(np.ascontiguousarray(canvas[:, ::-1]))
    assert len(mirrored) == 2 and mirrored[0].size > mirrored[1].size
    assert abs((799 - mirrored[0].box[[0, 2]].mean()) - faces[0].box[[0, 2]].mean()) < 5


def test_of_equally_large_faces_the_central_one_is_first(finder, portraits, place):
    canvas = texture(260, 900, 3)
    place(canvas, portraits[2], 0, 10, 240), place(canvas, portraits[2], 300, 10, 240), place(canvas, portraits[2], 650, 10, 240)
    for picture in (canvas, np.ascontiguousarray(canvas[:, ::-1])):
        faces = finder.find(picture)
        assert len(faces) == 3
        centres = [abs(float(face.box[0] + face.box[2]) / 2 - 449.5) for face in faces]
        assert centres == sorted(centres)


def test_twenty_small_faces_in_a_large_photo(finder, portraits, place):
    rng = np.random.default_rng(6)
    canvas = texture(1500, 2000, 5)
    boxes = []
    for number in range(20):
        width = int(rng.integers(80, 180))
        x, y = 40 + number % 5 * 390 + int(rng.integers(0, 150)), 30 + number // 5 * 360 + int(rng.integers(0, 150))
        boxes.append(place(canvas, portraits[number % 4], x, y, width))
    faces = finder.find(canvas)
    assert len(faces) == 20 and all(face.points478 is not None for face in faces)
    overlap = np.array([iou(face.box, np.array(boxes)) for face in faces])
    assert sorted(overlap.argmax(axis=1)) == list(range(20)) and overlap.max(axis=1).min() > 0.5


def test_small_faces_are_flagged(finder, portraits, place):
    for side, flags in ((16, {"too_small"}), (34, {"low_quality"}), (70, set())):
        canvas = np.full((240, 320, 3), 110, np.uint8)
        place(canvas, portraits[1], 60, 40, int(side / 0.41))
        (face,) = finder.find(canvas)
        assert set(face.flags) - {"no_dense_landmarks"} == flags, side
        assert abs(face.size - side) < 0.25 * side


def test_a_face_that_fills_the_photo(finder, portraits, found):
    for pixels, (original,) in zip(portraits, found):
        centre, half = (original.box[:2] + original.box[2:]) / 2, 0.3 * (original.box[2:] - original.box[:2])
        (x0, y0), (x1, y1) = (centre - half).round().astype(int), (centre + half).round().astype(int)
        (face,) = finder.find(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
        assert "partial" in face.flags
        assert distance(face.points478 + (x0, y0, 0), original.points478) < 0.08 * original.size


def test_missing_landmarks_are_looked_for_in_the_mirror(finder, portraits, found):
    class OnlyMirrored:
        """A landmarker that sees a face in mirror images alone, as happens near a profile."""

        find = finder._landmarker.find

        @staticmethod
        def landmarks(pixels, *, mirrored=False):
            return finder._landmarker.landmarks(pixels, mirrored=True) if mirrored else []

    (original,) = found[1]
    candidate = Candidate(original.box.astype(float), SURE_LOGIT, original.points5.astype(float), "mtcnn")
    face = describe(portraits[1], [candidate], OnlyMirrored)
    assert distance(face.points478, original.points478) < 0.03 * original.size
    assert face.blendshapes["mouthSmileLeft"] == pytest.approx(original.blendshapes["mouthSmileLeft"], abs=0.25)
    assert describe(portraits[1], [replace(candidate, logit=SURE_LOGIT - 1)], OnlyMirrored).points478 is None


@pytest.mark.parametrize("what", ["half hidden", "mouth hidden", "cartoon", "statue", "mirror pair"])
def test_hard_faces_never_raise(finder, portraits, found, what):
    pixels, (face,) = portraits[0].copy(), found[0]
    x0, y0, x1, y1 = face.box.round().astype(int)
    if what == "half hidden":
        pixels[:, (x0 + x1) // 2:] = (90, 60, 40)
    elif what == "mouth hidden":
        pixels[(y0 + y1) // 2:y1, x0:x1] = (200, 210, 220)
    elif what == "cartoon":
        pixels = np.full((300, 300, 3), 250, np.uint8)
        cv2.circle(pixels, (150, 150), 100, (255, 220, 120), -1)
        cv2.circle(pixels, (115, 125), 12, (0, 0, 0), -1)
        cv2.circle(pixels, (185, 125), 12, (0, 0, 0), -1)
        cv2.ellipse(pixels, (150, 185), (50, 25), 0, 0, 180, (150, 0, 0), -1)
    elif what == "statue":
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        pixels = cv2.merge([cv2.equalizeHist(grey)] * 3)
    else:
        pixels = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    faces = finder.find(pixels)
    assert all(0.5 <= face.confidence <= 1 and np.isfinite(face.box).all() for face in faces)
    assert len(faces) == {"mirror pair": 2, "statue": 1, "mouth hidden": 1}.get(what, len(faces))
    assert len(faces) <= 2


def test_landmarks_in_a_given_box(finder, portraits, found):
    (face,) = found[0]
    given = finder.landmarks_in_box(portraits[0], face.box + np.array([-8, 5, 10, -6], np.float32))
    assert given.source == "box" and given.confidence > 0.9
    assert distance(given.points478, face.points478) < 0.02 * face.size


def test_a_box_that_reaches_outside_is_taken(finder, portraits, found):
    (face,) = found[0]
    x0, y0, x1, y1 = face.box
    cut = np.ascontiguousarray(portraits[0][:, int(x0 + 0.25 * (x1 - x0)):])
    given = finder.landmarks_in_box(cut, [-0.25 * (x1 - x0), y0, 0.75 * (x1 - x0), y1])
    assert "partial" in given.flags and np.isfinite(given.box).all()


def test_a_box_without_a_face_has_little_confidence(finder):
    given = finder.landmarks_in_box(texture(200, 200, 9), (40, 40, 160, 160))
    assert given.confidence < 0.3


@pytest.mark.parametrize("box", [
    (np.nan, 0, 10, 10), (0, 0, np.inf, 10), (50, 50, 40, 60), (50, 50, 60, 40), (50, 50, 50, 60), (10, 10, 11, 11),
    (-90, -90, -10, -10), (500, 10, 600, 60), (0, 0, 1e9, 1e9), (1, 2, 3), (1, 2, 3, 4, 5), None, "box", [[1, 2], [3]], {}])
def test_impossible_boxes_are_refused(finder, portraits, box):
    with pytest.raises(FaceError) as caught:
        finder.landmarks_in_box(portraits[0], box)
    assert caught.value.code == "box_invalid"


@pytest.mark.parametrize("pixels", [
    np.zeros((40, 40), np.uint8), np.zeros((40, 40, 4), np.uint8), np.zeros((40, 40, 3)), np.zeros((5, 40, 3), np.uint8), None,
    [[1, 2], [3, 4]]])
def test_what_are_no_pixels_is_refused(finder, pixels):
    with pytest.raises(ArgumentError):
        finder.find(pixels)


def test_the_photo_is_not_changed_and_may_be_a_view(finder, portraits, found):
    wide = np.zeros((400, 800, 3), np.uint8)
    wide[:, ::2] = portraits[0]
    view = wide[:, ::2]
    view.flags.writeable = False
    before = view.copy()
    (face,) = finder.find(view)
    np.testing.assert_array_equal(view, before)
    np.testing.assert_allclose(face.points478, found[0][0].points478, atol=1e-3)


def test_the_same_photo_gives_the_same_faces_from_any_thread(finder, portraits, found):
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        results[number] = finder.find(portraits[number])[0].points478

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(results[number], found[number][0].points478)


def test_without_mtcnn(portraits, found):
    with FaceFinder(use_mtcnn=False) as finder:
        (face,) = finder.find(portraits[0])
        assert distance(face.points478, found[0][0].points478) < 0.02 * face.size
    with pytest.raises(ArgumentError, match="closed"):
        finder.find(portraits[0])


def test_min_face_leaves_small_faces_out(portraits, place):
    canvas = texture(300, 500, 8)
    place(canvas, portraits[0], 10, 10, 260), place(canvas, portraits[1], 350, 50, 110)
    with FaceFinder(min_face=80) as finder:
        assert len(finder.find(canvas)) == 1
    with pytest.raises(ArgumentError, match="min_face"):
        FaceFinder(min_face=5)
