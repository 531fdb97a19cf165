"""From a photo to parameters in its pixels, and what is refused on the way."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import torch

from facerecon.detection import Crop, CropRule
from facerecon.errors import ArgumentError, FaceError, FaceReconError, ImageError, LandmarkError, ModelError
from facerecon.mofa import (
    CodeLayout, EncoderFacts, EncoderFile, EncoderPredictor, FaceEncoder, encoder_input, read_code, save_encoder)

from facerecon.morphable.schemes import IBUG68_FLIP
from facerecon.render import shade

from .conftest import mask_model

HEIGHT, WIDTH = 180, 240
BOX = (60.0, 30.0, 150.0, 140.0)


def encoder_file(model, *, channels: int = 3, camera: str = "orthographic") -> EncoderFile:
    """An encoder whose codes differ from zero."""
    torch.manual_seed(3)
    encoder = FaceEncoder(layout=CodeLayout.of(model, camera=camera), channels=channels).eval()
    with torch.no_grad():
        encoder.trunk.fc.weight.normal_(std=0.05)
        encoder.trunk.conv1.weight[:, 3:].normal_(std=0.05)
    return EncoderFile(encoder, EncoderFacts.of(model))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))


class Maps:
    """A PNCC network that shows a grey of the crop."""

    def __init__(self, facts: EncoderFacts, image_size: int = 128, crop: CropRule = CropRule()) -> None:
        self.task = types.SimpleNamespace(model="mask", topology_sha256=facts.topology_sha256, crop=crop)
        self.image_size, self.seen = image_size, []

    def predict_crops(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8 and images.shape[1:] == (self.image_size, self.image_size, 3)
        self.seen.append(images)
        grey = images.mean(axis=(1, 2, 3), keepdims=True) / 255
        return np.broadcast_to(grey, (len(images), 128, 128, 3)).astype(np.float32)


def test_poses_and_landmarks_are_the_crops_mapped_to_the_photo(model, photo, camera):
    predictor = EncoderPredictor(model, encoder_file(model, camera=camera))
    result = predictor.predict(photo, BOX)
    assert result.crop == CropRule().crop(np.array(BOX), size=128)
    vertices = model.vertices(result.parameters.identity, result.parameters.expression)
    in_crop = result.code.pose(0).project(vertices).numpy()
    in_photo = result.parameters.pose.project(vertices).numpy()
    # Three columns: a depth in crop px becomes one in photo px.
    np.testing.assert_allclose(in_photo, result.crop.to_image(in_crop), atol=2e-3)
    points = model.landmarks("ibug68", result.parameters.identity, result.parameters.expression)
    points = result.code.camera.project(points[None])[0, :, :2].numpy()
    np.testing.assert_allclose(result.landmarks68, result.crop.to_image(points), atol=1e-3)
    assert result.landmarks68.shape == (68, 2) and result.pncc is None


def test_a_crop_alone_and_cut_out_of_a_photo_mean_the_same_face(model):
    predictor = EncoderPredictor(model, encoder_file(model))
    crop = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    placed = np.zeros((200, 220, 3), np.uint8)
    placed[40:168, 50:178] = crop
    alone = predictor.predict(crop)
    margin = CropRule().margin
    half = 128 / margin / 2
    # A box of landmarks whose square is exactly the crop: its centre is 63.5 px from the crop's first pixel.
    box = (50 + 63.5 - half, 40 + 63.5 - half, 50 + 63.5 + half, 40 + 63.5 + half)
    found = predictor.predict(placed, box, box_of="points")
    torch.testing.assert_close(found.code.identity, alone.code.identity, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(found.landmarks68, alone.landmarks68 + [50, 40], atol=1e-2)
    points = np.random.default_rng(2).uniform(box[:2], box[2:], (68, 2))
    points[:2] = np.reshape(box, (2, 2))
    np.testing.assert_allclose(predictor.predict(placed, points=points).landmarks68, found.landmarks68, atol=1e-6)


def test_batches_and_order_do_not_matter(model):
    file = encoder_file(model)
    crops = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
    whole = EncoderPredictor(model, file, batch_size=5).predict_crops(crops)
    parts = EncoderPredictor(model, file, batch_size=2).predict_crops(crops[::-1])
    torch.testing.assert_close(parts.identity.flip(0), whole.identity, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        raw = file.encoder(encoder_input(torch.from_numpy(crops)))
    torch.testing.assert_close(read_code(raw, file.layout, image_size=128).rotation, whole.rotation, atol=1e-5, rtol=1e-5)
    assert len(EncoderPredictor(model, file).predict_crops(crops[:0])) == 0


def test_the_photo_is_not_changed_and_copies_do_not_matter(model, photo):
    predictor = EncoderPredictor(model, encoder_file(model))
    before = photo.copy()
    first = predictor.predict(photo, BOX)
    assert np.array_equal(photo, before)
    padded = np.zeros((HEIGHT, WIDTH, 6), np.uint8)
    padded[..., ::2] = photo
    locked = padded[..., ::2]
    locked.setflags(write=False)
    for same in (locked, np.asfortranarray(photo), photo.astype(np.float32) / 255):
        np.testing.assert_allclose(predictor.predict(same, BOX).landmarks68, first.landmarks68, atol=1e-3)


@pytest.mark.parametrize("size", [128, 256])
def test_codes_come_from_the_network_on_the_same_crop(model, photo, size):
    file = encoder_file(model, channels=6)
    maps = Maps(file.facts, size)
    predictor = EncoderPredictor(model, file, pncc=maps)
    result = predictor.predict(photo, BOX)
    assert len(maps.seen) == 1 and result.pncc.shape == (128, 128, 3)
    given = predictor.predict(photo, BOX, pncc=result.pncc)
    torch.testing.assert_close(given.code.identity, result.code.identity)
    assert len(maps.seen) == 1
    other = predictor.predict(photo, BOX, pncc=np.zeros((128, 128, 3), np.float32))
    assert not torch.allclose(other.code.identity, result.code.identity)
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    assert len(predictor.predict_crops(crops)) == 2 and maps.seen[-1].shape[1] == size


def test_an_encoder_with_codes_wants_a_fitting_network(model, photo):
    file = encoder_file(model, channels=6)
    with pytest.raises(ArgumentError, match="PNCC"):
        EncoderPredictor(model, file).predict(photo, BOX)
    with pytest.raises(ModelError, match="crops"):
        EncoderPredictor(model, file, pncc=Maps(file.facts, crop=CropRule(margin=2.0)))
    with pytest.raises(ModelError, match="face model"):
        EncoderPredictor(model, file, pncc=Maps(dataclasses.replace(file.facts, topology_sha256="0" * 64)))


def test_another_face_model_is_refused(model, tmp_path):
    file = encoder_file(model)
    path = save_encoder(tmp_path / "encoder.safetensors", file.encoder, file.facts)
    assert EncoderPredictor(model, path).layout == file.layout
    with pytest.raises(ModelError) as caught:
        EncoderPredictor(mask_model(seed=1), file)
    assert caught.value.code == "model_invalid"


@pytest.mark.parametrize("box", [
    (-100.0, -100.0, 80.0, 90.0), (200.0, 150.0, 300.0, 260.0), (-50.0, -50.0, WIDTH + 50.0, HEIGHT + 50.0),
    (10.0, 10.0, 13.0, 14.0)])
def test_boxes_that_leave_the_photo_are_padded(model, photo, box):
    result = EncoderPredictor(model, encoder_file(model)).predict(photo, box)
    assert np.isfinite(result.landmarks68).all()


@pytest.mark.parametrize("box", [
    (10, 10, 10, 50), (50, 10, 20, 50), (np.nan, 0, 10, 10), (0, 0, np.inf, 10), (WIDTH + 5, 5, WIDTH + 50, 50),
    (-60, 5, -5, 50), (1, 2, 3), "left", (0, 0, 1e5, 1e5)])
def test_boxes_that_are_no_box_are_refused(model, photo, box):
    with pytest.raises(FaceError) as caught:
        EncoderPredictor(model, encoder_file(model)).predict(photo, box)
    assert caught.value.code == "box_invalid"


@pytest.mark.parametrize("code, points", [
    ("landmarks_count", np.zeros((67, 2))), ("landmarks_count", np.zeros(68)), ("landmarks_count", np.zeros((68, 1))),
    ("landmarks_nonfinite", np.full((68, 2), np.nan)), ("landmarks_degenerate", np.full((68, 2), 30.0)),
    ("landmarks_degenerate", np.stack([np.linspace(0, 100, 68), np.full(68, 7.0)], 1)),
    ("landmarks_outside", np.linspace(500, 600, 136).reshape(68, 2)),
    ("landmarks_outside", np.linspace(-1e6, 1e6, 136).reshape(68, 2))])
def test_landmarks_that_no_face_gave_are_refused(model, photo, code, points):
    with pytest.raises(LandmarkError) as caught:
        EncoderPredictor(model, encoder_file(model)).predict(photo, points=points)
    assert caught.value.code == code


def test_bad_images_are_refused(model, photo):
    predictor = EncoderPredictor(model, encoder_file(model))
    hurt = photo / 255
    hurt[3, 4, 1] = np.nan
    for code, image in (("array_nonfinite", hurt), ("image_too_small", photo[:8, :8]), ("array_invalid", photo[None, None])):
        with pytest.raises(ImageError) as caught:
            predictor.predict(image, BOX)
        assert caught.value.code == code
    with pytest.raises(ArgumentError):
        predictor.predict_crops(np.zeros((1, 128, 128, 3), np.float32))
    with pytest.raises(FaceReconError):
        predictor.predict_crops(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_network_that_gives_nan_yields_no_face(model, photo):
    file = encoder_file(model)
    with torch.no_grad():
        file.encoder.trunk.fc.bias[0] = float("nan")
    with pytest.raises(ModelError) as caught:
        EncoderPredictor(model, file).predict(photo, BOX)
    assert caught.value.code == "model_corrupt"


def test_the_crop_of_the_weights_file_is_used(model, photo):
    file = encoder_file(model)
    wide = EncoderFile(file.encoder, dataclasses.replace(file.facts, crop=CropRule(detector_margin=3.0)))
    assert isinstance(EncoderPredictor(model, wide).predict(photo, BOX).crop, Crop)
    assert EncoderPredictor(model, wide).predict(photo, BOX).crop.side == pytest.approx(3.0 * 110)


def test_a_face_that_lies_is_seen_upright(model, photo):
    """A photo turned by a quarter, with its roll, gives the same face, turned: pixels, box, pose and light."""
    predictor = EncoderPredictor(model, encoder_file(model))
    upright = predictor.predict(photo, BOX)
    # Clockwise: the pixel (x, y) comes to (HEIGHT - 1 - y, x).
    lying = np.ascontiguousarray(np.rot90(photo, -1))
    x0, y0, x1, y1 = BOX
    box = (HEIGHT - 1 - y1, x0, HEIGHT - 1 - y0, x1)
    result = predictor.predict(lying, box, roll=np.pi / 2)

    def turned(points: np.ndarray) -> np.ndarray:
        return np.stack([HEIGHT - 1 - points[:, 1], points[:, 0]], axis=1)

    np.testing.assert_allclose(result.landmarks68, turned(upright.landmarks68), atol=0.2)
    again = predictor.predict(lying, points=turned(upright.landmarks68), roll=np.pi / 2)
    np.testing.assert_allclose(again.landmarks68, turned(predictor.predict(photo, points=upright.landmarks68).landmarks68),
                               atol=0.2)
    one, other = upright.parameters, result.parameters
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(other.pose.rotation, quarter @ one.pose.rotation, atol=0.01, rtol=0)
    torch.testing.assert_close(other.identity, one.identity, atol=0.02, rtol=0)
    # The mean face's normals are lit alike in both.
    normals = torch.nn.functional.normalize(model.mean, dim=1)
    lights = [shade(torch.ones(1, 3), face.pose.light_frame(normals), face.illumination) for face in (one, other)]
    torch.testing.assert_close(*lights, atol=0.02, rtol=0)


def test_the_mirrored_look_of_a_mirrored_photo_is_the_first_look(model, photo):
    predictor = EncoderPredictor(model, encoder_file(model))
    result = predictor.predict(photo, BOX)
    mirror = np.ascontiguousarray(photo[:, ::-1])
    box = (WIDTH - 1 - BOX[2], BOX[1], WIDTH - 1 - BOX[0], BOX[3])
    other = predictor.predict(mirror, box)
    back = other.landmarks68[list(IBUG68_FLIP)] * (-1.0, 1.0) + (WIDTH - 1, 0.0)
    np.testing.assert_allclose(predictor.mirrored_landmarks(photo, result), back, atol=0.2)
    assert np.abs(back - result.landmarks68).max() > 1
