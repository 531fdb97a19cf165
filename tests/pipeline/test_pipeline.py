"""From photo to reconstructions: which faces, which refusals, and what must not change the result."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

import facerecon
from facerecon.data.orientation import apply_orientation, to_stored_frame
from facerecon.errors import ArgumentError, BackendError, FaceError, FaceReconError, ImageError
from facerecon.pipeline import FaceReconstructor
from facerecon.reconstruction import Reconstruction

INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def coefficients(face: Reconstruction) -> np.ndarray:
    return np.concatenate([face.identity, list(face.expression.values())])


def canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 96, np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_does_not_matter(reconstructor, portrait, face, tmp_path, orientation):
    upright = portrait(0)
    stored = np.ascontiguousarray(apply_orientation(upright, INVERSE[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    loaded = facerecon.load_image(tmp_path / "x.png")
    assert loaded.orientation == orientation
    turned = reconstructor(tmp_path / "x.png")[0]
    size = stored.shape[1], stored.shape[0]
    np.testing.assert_allclose(to_stored_frame(turned.landmarks68, orientation, size),
                               to_stored_frame(face.landmarks68, orientation, size), atol=0.5)
    np.testing.assert_allclose(coefficients(turned), coefficients(face), atol=1e-3)


@pytest.mark.parametrize("pixels", [
    canvas(240, 320), np.zeros((200, 200, 3), np.uint8), np.full((200, 300, 3), 255, np.uint8),
    np.random.default_rng(3).integers(0, 256, (240, 240, 3), np.uint8),
    np.repeat(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], 240, 0).repeat(3, 2),
], ids=["grey", "black", "white", "noise", "ramp"])
def test_no_face_is_said(reconstructor, pixels):
    with pytest.raises(FaceError) as caught:
        reconstructor(pixels)
    assert caught.value.code == "no_face"


@pytest.fixture(scope="module")
def group(portrait):
    """Two people: a large face on the right, a smaller one on the left."""
    photo = canvas(320, 560)
    photo[100:300, 20:220] = portrait(1, 200)
    photo[10:310, 240:540] = portrait(2, 300)
    return photo


def test_all_faces_largest_first_and_the_same_choice_in_the_mirror(reconstructor, group):
    faces = reconstructor(group)
    assert [face.face for face in faces] == [0, 1]
    centres = [(face.box[0] + face.box[2]) / 2 for face in faces]
    assert centres[0] > 240 > centres[1]
    mirrored = reconstructor(np.ascontiguousarray(group[:, ::-1]))
    np.testing.assert_allclose([group.shape[1] - 1 - (face.box[0] + face.box[2]) / 2 for face in mirrored], centres, atol=6)


@pytest.mark.parametrize(("faces", "count"), [("largest", 1), (1, 1), (5, 2)])
def test_how_many_faces(reconstructor, group, faces, count):
    with FaceReconstructor(reconstructor.model, stages="landmarks", texture="none", faces=faces) as limited:
        assert len(limited(group)) == count


def test_small_faces_are_refused_or_marked(reconstructor, portrait):
    # A face fills 0.4 of the portrait: sides of about 10, 17, 40 and 90 px.
    seen = {}
    for side in (26, 44, 100, 230):
        photo = canvas(240, 320)
        photo[5:5 + side, 10:10 + side] = portrait(0, side)
        try:
            seen[side] = reconstructor(photo)[0]
        except FaceError as error:
            seen[side] = error.code
    assert seen[26] in ("no_face", "face_too_small") and seen[44] in ("no_face", "face_too_small")
    assert "low_quality" in seen[100].flags and "low_quality" not in seen[230].flags


@pytest.mark.parametrize("box", [(10, 10, 10, 50), (50, 10, 10, 60), (1000, 1000, 1100, 1100), (-200, -200, -100, -100),
                                 (0, 0, float("nan"), 50), (0, 0, float("inf"), 50), (1, 2, 3), "box", (-1e9, -1e9, 1e9, 1e9)])
def test_boxes_that_hold_no_face_are_refused(reconstructor, portrait, box):
    with pytest.raises(FaceError) as caught:
        reconstructor(portrait(0), boxes=[box])
    assert caught.value.code == "box_invalid" and "box" in caught.value.message


@pytest.mark.parametrize(("box", "code"), [((2, 2, 70, 70), "no_face"), ((90, 60, 100, 70), "face_too_small")])
def test_boxes_without_a_face_or_with_a_tiny_one_make_no_mesh(reconstructor, portrait, box, code):
    with pytest.raises(FaceError) as caught:
        reconstructor(portrait(0), boxes=[box])
    assert caught.value.code == code


def test_no_boxes_at_all_are_refused(reconstructor, portrait):
    with pytest.raises(FaceError) as caught:
        reconstructor(portrait(0), boxes=[])
    assert caught.value.code == "box_invalid"


def test_a_box_replaces_detection_and_may_leave_the_photo(reconstructor, portrait, face):
    again = reconstructor(portrait(0), boxes=[face.box])[0]
    scale = np.sqrt(np.prod(face.box[2:] - face.box[:2]))
    assert np.abs(again.landmarks68[:, :2] - face.landmarks68[:, :2]).mean() < 0.03 * scale
    cut = portrait(0)[:, : int(face.box[2] - 0.15 * scale)]
    partial = reconstructor(cut, boxes=[face.box])[0]
    assert "partial" in partial.flags and np.isfinite(partial.vertices).all()


def test_one_bad_box_does_not_lose_the_others(reconstructor, portrait, face):
    outcomes = reconstructor.attempt(portrait(0), boxes=[face.box, (0, 0, 0, 0), face.box])
    assert [isinstance(outcome, Reconstruction) for outcome in outcomes] == [True, False, True]
    assert outcomes[1].code == "box_invalid" and [outcomes[0].face, outcomes[2].face] == [0, 2]


def test_odd_pictures_never_end_in_an_untyped_error(reconstructor, portrait):
    whole = portrait(0)
    half = whole.copy()
    half[150:] = 128
    for photo in (whole[::-1], whole.transpose(1, 0, 2), half, whole[:, :, [2, 1, 0]], 255 - whole, whole[120:180, 100:200]):
        try:
            faces = reconstructor(np.ascontiguousarray(photo))
        except FaceReconError as error:
            assert error.code in ("no_face", "face_too_small", "landmarks_invalid", "landmarks_degenerate", "landmarks_outside")
            continue
        for found in faces:
            assert np.isfinite(found.vertices).all() and np.isfinite(found.landmarks68).all() and 0 <= found.confidence <= 1


def test_sources_agree_and_stay_unchanged(reconstructor, portrait, face, tmp_path):
    pixels = portrait(0)
    before = pixels.copy()
    Image.fromarray(pixels).save(tmp_path / "x.png")
    for source in (pixels, Image.fromarray(pixels), tmp_path / "x.png", str(tmp_path / "x.png")):
        np.testing.assert_array_equal(reconstructor(source)[0].vertices, face.vertices)
    np.testing.assert_array_equal(pixels, before)


def test_results_depend_on_nothing_but_the_photo(reconstructor, portrait, face):
    reconstructor(portrait(3))
    np.testing.assert_array_equal(reconstructor(portrait(0))[0].landmarks68, face.landmarks68)
    results = {}

    def work(index: int) -> None:
        results[index] = reconstructor(portrait(index))[0].vertices

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results[0], face.vertices)


def test_bad_photos_keep_their_own_codes(reconstructor, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        reconstructor(tmp_path / "x.jpg")
    assert caught.value.code == "image_empty"


@pytest.mark.parametrize(("options", "error", "code"), [
    ({"device": "cuda"}, BackendError, "device_missing"),
    ({"method": "magic"}, ArgumentError, "argument_invalid"), ({"faces": 0}, ArgumentError, "argument_invalid"),
    ({"faces": "some"}, ArgumentError, "argument_invalid"), ({"faces": True}, ArgumentError, "argument_invalid"),
    ({"ipd_mm": float("nan")}, ArgumentError, "argument_invalid"), ({"texture_size": 3}, ArgumentError, "argument_invalid"),
])
def test_options_are_checked_before_anything_is_loaded(options, error, code):
    with pytest.raises(error) as caught:
        FaceReconstructor("no such model", **options)
    assert caught.value.code == code


def test_a_closed_reconstructor_says_so(reconstructor, portrait):
    with FaceReconstructor(reconstructor.model, stages="landmarks", texture="none") as closed:
        pass
    with pytest.raises(FaceReconError, match="closed"):
        closed(portrait(0))
