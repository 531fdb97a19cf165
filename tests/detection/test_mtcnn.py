"""MTCNN: the cascade finds what it should, its weights are what the card says, and its networks see translations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.assets import locate
from facerecon.detection import Mtcnn, mtcnn_networks
from facerecon.detection.boxes import iou
from facerecon.detection.mtcnn import normalised
from facerecon.errors import ArgumentError


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    return Mtcnn()


def test_weights_have_the_sizes_of_the_paper(mtcnn):
    counts = {name: sum(tensor.numel() for key, tensor in mtcnn.weights.items() if key.startswith(name))
              for name in ("pnet", "rnet", "onet")}
    assert counts == {"pnet": 6632, "rnet": 100178, "onet": 389040}
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in mtcnn.weights.values())
    assert locate("weights/mtcnn.safetensors").stat().st_size < 2_100_000


def pattern(size: int) -> np.ndarray:
    """(1, size, size, 3) uint8, row i, column j, channel c: 7 i + 13 j + 40 c + i j."""
    i, j, c = np.mgrid[0:size, 0:size, 0:3]
    return ((7 * i + 13 * j + 40 * c + i * j) % 256).astype(np.uint8)[None]


# What the networks of the source package, facenet-pytorch 2.6.0, give for that pattern: the logit and the box, with points.
SOURCE = {
    "proposal": (12, -2.48920, [0.0111, -0.09366, -0.20894, 0.00617], []),
    "refinement": (24, -2.14054, [0.09485, 0.08433, 0.00098, 0.21532], []),
    "output": (48, -9.15572, [-0.0351, -0.14987, 0.15953, 0.2067],
               [0.28482, 0.55205, 0.33484, 0.35608, 0.57448, 0.34549, 0.22736, 0.48097, 0.80655, 0.69749]),
}


@pytest.mark.parametrize("name", SOURCE)
def test_networks_answer_as_those_of_the_source(mtcnn, name):
    size, *expected = SOURCE[name]
    with torch.inference_mode():
        answer = getattr(mtcnn_networks, name)(mtcnn.weights, normalised(pattern(size)))
    for got, want in zip(answer, expected):
        np.testing.assert_allclose(got.numpy().ravel(), want, atol=2e-5)


def test_network_outputs_have_their_shapes(mtcnn):
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        logits, box = mtcnn_networks.proposal(mtcnn.weights, torch.randn(2, 3, 30, 40, generator=generator))
        assert logits.shape == (2, 10, 15) and box.shape == (2, 4, 10, 15)
        logits, box = mtcnn_networks.refinement(mtcnn.weights, torch.randn(3, 3, 24, 24, generator=generator))
        assert logits.shape == (3,) and box.shape == (3, 4)
        logits, box, points = mtcnn_networks.output(mtcnn.weights, torch.randn(3, 3, 48, 48, generator=generator))
        assert logits.shape == (3,) and box.shape == (3, 4) and points.shape == (3, 10)


def test_proposal_over_a_picture_equals_its_windows(mtcnn):
    # Output cell (i, j) must see nothing but the 12 x 12 window at (2 i, 2 j).
    picture = torch.randn(1, 3, 20, 26, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, shifts = mtcnn_networks.proposal(mtcnn.weights, picture)
        for i, j in ((0, 0), (2, 3), (4, 7)):
            alone = mtcnn_networks.proposal(mtcnn.weights, picture[:, :, 2 * i:2 * i + 12, 2 * j:2 * j + 12])
            torch.testing.assert_close(alone[0][0, 0, 0], logits[0, i, j], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(alone[1][0, :, 0, 0], shifts[0, :, i, j], atol=1e-4, rtol=1e-4)


def test_the_dense_layers_read_their_input_in_the_right_order(mtcnn, portraits, found):
    # A wrong order of channel, row and column leaves noise: a face and its transpose would score alike.
    box = found[0][0].box[None].astype(float)
    (upright,) = mtcnn.inspect(portraits[0], box)
    (transposed,) = mtcnn.inspect(np.ascontiguousarray(portraits[0].swapaxes(0, 1)), box[:, [1, 0, 3, 2]])
    assert upright.logits[0] > 3 and upright.logits[0] > transposed.logits[0] + 3


def test_faces_of_portraits(mtcnn, portraits, found):
    for pixels, (face,) in zip(portraits, found):
        result = mtcnn.detect(pixels)
        assert len(result.logits) == 1 and result.logits[0] > 3
        assert iou(face.box.astype(float), result.boxes)[0] > 0.6
        away = np.linalg.norm(result.points[0] - face.points5, axis=1).mean()
        assert away < 0.06 * face.size


def test_points_of_a_turned_window_come_in_the_photo(mtcnn, portraits, found):
    turned = np.ascontiguousarray(np.rot90(portraits[0], -1))
    x0, y0, x1, y1 = found[0][0].box
    answers = mtcnn.inspect(turned, np.array([[399 - y1, x0, 399 - y0, x1]]), turns=(0, 90, 180, 270))
    assert np.argmax([answer.logits[0] for answer in answers]) == 1
    expected = np.stack([399 - found[0][0].points5[:, 1], found[0][0].points5[:, 0]], axis=1)
    assert np.linalg.norm(answers[1].points[0] - expected, axis=1).mean() < 0.08 * found[0][0].size


def test_nothing_in_nothing(mtcnn):
    for pixels in (np.zeros((12, 12, 3), np.uint8), np.zeros((50, 13, 3), np.uint8), np.full((200, 300, 3), 127, np.uint8)):
        result = mtcnn.detect(pixels, min_face=12)
        assert result.boxes.shape == (0, 4) and result.logits.shape == (0,) and result.points.shape == (0, 5, 2)


def test_size_limits_hold(mtcnn, portraits):
    assert len(mtcnn.detect(portraits[0], min_face=24, max_face=50, thresholds=(0.9, 0.7, 0.8)).logits) == 0
    with pytest.raises(ArgumentError, match="min_face"):
        mtcnn.detect(portraits[0], min_face=11)
