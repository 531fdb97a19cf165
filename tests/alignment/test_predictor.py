"""The predictor: points come back to the pixels of the photo, whatever the box, the size and the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from facerecon.alignment import LandmarkPredictor, LandmarkScheme, LandmarkTask
from facerecon.detection import CropRule
from facerecon.errors import ArgumentError, BackendError, FaceError, ModelError

POINTS = np.array([[150.3, 120.8], [210.6, 130.2], [180.0, 190.9]])
BOX = np.array([130.0, 100.0, 230.0, 210.0])


@pytest.mark.parametrize("image_size", [128, 256])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_points_come_back_to_the_photo(spot_network, spot_task, spots, image_size, scale):
    points, box = scale * (POINTS + 0.5) - 0.5, scale * (BOX + 0.5) - 0.5
    photo = spots((round(300 * scale), round(400 * scale)), points, 6 * scale)
    found, confidence = LandmarkPredictor(spot_network(image_size), spot_task).predict(photo, box, box_of="points")
    # A tenth of a pixel of the network's input, or of the photo where that is coarser.
    assert found.shape == (3, 2) and found.dtype == np.float64
    assert np.abs(found - points).max() < 0.1 * max(1.0, scale)
    assert (confidence > 0.85).all() and (confidence <= 1).all()


def test_a_box_beyond_the_photo_is_padded_with_black(spot_network, spot_task, spots):
    points = np.array([[3.2, 30.0], [60.0, 8.7], [40.4, 55.5]])
    photo = spots((100, 90), points, 4)
    found, _ = LandmarkPredictor(spot_network(128), spot_task).predict(photo, [-30, -20, 70, 80], box_of="points")
    assert np.abs(found - points).max() < 0.1
    seen = []
    network = spot_network(128)
    network.register_forward_hook(lambda module, given, maps: seen.append(maps))
    LandmarkPredictor(network, spot_task).predict(np.ones((100, 90, 3), np.float32), [-30, -20, 70, 80], box_of="points")
    assert seen[0][..., :20, :].max() < 1e-6 and seen[0][..., 64, 64].min() > 0.99


@pytest.mark.parametrize(("box_of", "columns", "rows"), [("points", (100, 300), (100, 300)),
                                                         ("detector", (125, 275), (135, 285))])
def test_boxes_of_detector_and_points_follow_the_rule(spot_network, spot_task, box_of, columns, rows):
    # Twice the 100 px of the box around its centre, or 1.5 times and 10 px further down.
    network, maps = spot_network(128), []
    predictor = LandmarkPredictor(network, LandmarkTask(spot_task.scheme, crop=CropRule(2.0, 1.5, 0.1)))
    network.register_forward_hook(lambda module, given, given_maps: maps.append(given_maps[0, 0].numpy()))
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[slice(*rows), slice(*columns)] = 255
    predictor.predict(photo, [149.5, 149.5, 249.5, 249.5], box_of=box_of)
    assert maps.pop().min() > 0.99, "it sees nothing beyond"
    photo[rows[0] + 2:rows[1] - 2, columns[0] + 2:columns[1] - 2] = 0
    predictor.predict(photo, [149.5, 149.5, 249.5, 249.5], box_of=box_of)
    framed = maps.pop()
    assert min(framed[0].min(), framed[-1].min(), framed[:, 0].min(), framed[:, -1].min()) > 0.99, "it sees all within"
    assert framed[5:-5, 5:-5].max() < 0.01


def test_many_faces_in_one_batch_are_as_one_by_one(spot_network, spot_task, spots):
    photo = spots((300, 400), POINTS, 6)
    boxes = [BOX, BOX + 7, BOX + [-20, -10, 25, 5]]
    predictor = LandmarkPredictor(spot_network(128), spot_task, batch_size=2)
    points, confidence = predictor.predict_boxes(photo, boxes, box_of="points")
    assert points.shape == (3, 3, 2) and confidence.shape == (3, 3)
    for face, box in zip(points, boxes):
        np.testing.assert_allclose(face, predictor.predict(photo, box, box_of="points").points, atol=1e-5)
    assert predictor.predict_boxes(photo, []).points.shape == (0, 3, 2)


def test_crops_of_any_size(spot_network, spot_task, spots):
    points = np.array([[60.3, 70.0], [130.0, 66.6], [96.1, 141.0]])
    crop = spots((192, 192), points, 7)
    small = spots((64, 64), (points + 0.5) / 3 - 0.5, 7 / 3)
    predictor = LandmarkPredictor(spot_network(128), spot_task)
    found, _ = predictor.predict_crops([crop, small])
    np.testing.assert_allclose(found[0], points, atol=0.1)
    np.testing.assert_allclose(found[1], (points + 0.5) / 3 - 0.5, atol=0.1)
    as_bytes, _ = predictor.predict_crops(np.round(crop[None] * 255).astype(np.uint8))
    np.testing.assert_allclose(as_bytes[0], points, atol=0.2)
    whole, _ = predictor.predict(crop)
    np.testing.assert_allclose(whole, points, atol=0.2)
    assert predictor.heatmaps([crop, small]).shape == (2, 3, 128, 128)


def test_mirroring_cancels_a_one_sided_error(spots):
    class Leaning(torch.nn.Module):
        """Spots left and right of the middle, all two px too far right."""

        image_size, outputs = 128, 2

        def forward(self, images):
            grey = images[:, :1] - images[:, :1].amin((2, 3), keepdim=True)
            left = torch.arange(128) < 64
            return torch.cat([grey * left, grey * ~left], 1).roll(2, dims=3)

    points = np.array([[40.0, 50.0], [90.0, 60.0]])
    crop = np.sum([spots((128, 128), [point] * 3, 5) for point in points], axis=0)
    task = LandmarkTask(LandmarkScheme("pair", ("right", "left"), (1, 0)))
    plain = LandmarkPredictor(Leaning(), task).predict_crops([crop]).points[0]
    np.testing.assert_allclose(plain - points, [[2, 0], [2, 0]], atol=0.01)
    mirrored = LandmarkPredictor(Leaning(), task, mirror=True, method="barycentre").predict_crops([crop]).points[0]
    np.testing.assert_allclose(mirrored, points, atol=0.01)


def test_threads_do_not_disturb_one_another(spot_network, spot_task, spots):
    predictor = LandmarkPredictor(spot_network(128), spot_task)
    photos = [spots((300, 400), POINTS + shift, 6) for shift in range(0, 32, 4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda photo: predictor.predict(photo, BOX, box_of="points").points, photos))
    for photo, points in zip(photos, found):
        np.testing.assert_array_equal(points, predictor.predict(photo, BOX, box_of="points").points)


def test_the_photo_and_the_network_stay_as_they_are(spot_network, spot_task, spots):
    photo = spots((300, 400), POINTS, 6)
    before = photo.copy()
    network = spot_network(128).train()
    result = LandmarkPredictor(network, spot_task).predict(photo, BOX)
    assert (photo == before).all() and isinstance(result.points, np.ndarray) and torch.is_grad_enabled()
    assert not network.training, "batch normalisation must not depend on the other faces"


def test_refusals(spot_network, spot_task):
    predictor = LandmarkPredictor(spot_network(128), spot_task)
    photo = np.zeros((100, 100, 3), np.uint8)
    for box in ([0, 0, 1, 1], [10, 10, 5, 20], [np.nan] * 4, [200, 200, 300, 300], [1, 2, 3]):
        with pytest.raises(FaceError):
            predictor.predict(photo, box)
    with pytest.raises(ArgumentError, match="box_of"):
        predictor.predict(photo, [10, 10, 50, 50], box_of="head")
    wrong = [np.full((64, 64, 3), 2.0)], [np.full((64, 64, 3), np.nan)], [photo[:50]], [photo.astype(np.int64)], [], photo
    for crops in wrong:
        with pytest.raises(ArgumentError):
            predictor.predict_crops(crops)
    with pytest.raises(ModelError, match="3"):
        LandmarkPredictor(spot_network(128), LandmarkTask(LandmarkScheme("one", ("a",), (0,))))
    with pytest.raises(ArgumentError):
        LandmarkPredictor(spot_network(128), spot_task, method="peak")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError):
            LandmarkPredictor(spot_network(128), spot_task, device="cuda")


def test_maps_that_are_not_finite_are_refused(spot_network, spot_task):
    network = spot_network(128)
    network.register_forward_hook(lambda module, given, maps: maps * torch.nan)
    with pytest.raises(ModelError, match="finite") as error:
        LandmarkPredictor(network, spot_task).predict_crops([np.zeros((128, 128, 3), np.uint8)])
    assert error.value.code == "model_corrupt"
