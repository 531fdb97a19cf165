"""The networks that ship: used by default, small enough, and right about drawn heads of every yaw and about portraits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon import FaceReconstructor
from facerecon.assets import manifest
from facerecon.detection.boxes import points_box
from facerecon.errors import FaceError
from facerecon.geometry import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.metrics.sparse import sparse_nme
from facerecon.pipeline import ENCODER_ASSET, find_encoder
from facerecon.pipeline.landmark_network import LandmarkNetwork
from facerecon.pncc import CodeSurface, PnccPredictor, recover_pose
from facerecon.render import ambient_light, render_colour

SIDE = 240


@pytest.fixture(scope="module")
def encoder(reconstructor):
    return find_encoder(reconstructor.model, method="auto")


def drawn(model, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey-backed picture of somebody, and the true 68 points."""
    generator = torch.Generator().manual_seed(int(yaw) + 200)
    identity, albedo = (0.7 * torch.randn(model.sizes[index], generator=generator) for index in (0, 2))
    pose = ScaledOrthographicPose(torch.as_tensor(euler_deg_to_matrix_aflw(0.0, yaw, 0.0), dtype=torch.float32),
                                  torch.tensor([SIDE / 2, SIDE / 2]), torch.tensor(0.85))
    expression = torch.zeros(model.sizes[1])
    with torch.no_grad():
        render = render_colour(model.vertices(identity, expression), model.faces, model.albedo(albedo), ambient_light(0.9), pose,
                               (SIDE, SIDE))
        points = pose.project(model.landmarks("ibug68", identity, expression))[:, :2].numpy()
    image = torch.where(render.mask[0][..., None], render.image[0], torch.tensor(0.5)).clamp(0, 1)
    return (255 * image).round().to(torch.uint8).numpy(), points


@pytest.mark.parametrize("yaw", [0.0, 30.0, -60.0, 85.0])
def test_heads_of_every_yaw(reconstructor, encoder, yaw):
    pixels, points = drawn(reconstructor.model, yaw)
    found = encoder.predict(pixels, points_box(points), box_of="points")
    assert 100 * sparse_nme(found.landmarks68.astype(float), points.astype(float)) < 7
    assert abs(found.parameters.pose.to_dict()["euler_deg"]["yaw"] - yaw) < 10


def test_portraits(reconstructor, portrait):
    with FaceReconstructor(reconstructor.model, method="encoder", texture="none", faces="largest") as encode:
        for index in range(4):
            (face,), (fitted,) = encode(portrait(index)), reconstructor(portrait(index))
            assert face.method == "encoder" and face.fit["landmark_nme_percent"] < 6 and "poor_fit" not in face.flags
            away = sparse_nme(face.landmarks68[:, :2].astype(float), fitted.landmarks68[:, :2].astype(float))
            assert 100 * away < 6


def test_they_are_the_default_for_the_open_model(reconstructor, portrait, face):
    assert manifest()[ENCODER_ASSET]["bytes"] < 40e6 and manifest()[ENCODER_ASSET]["licence"] == "Apache-2.0"
    with FaceReconstructor(reconstructor.model, stages="landmarks", texture="none") as default:
        (found,) = default(portrait(0))
    assert default.method == found.method == "auto" and "encode" in found.timings_ms and "encoder_unused" not in found.flags
    # A portrait looks at the camera: the landmarks have the word, and the encoder changes little.
    assert found.fit["landmark_nme_percent"] < face.fit["landmark_nme_percent"] + 0.3


@pytest.fixture(scope="module")
def network():
    return LandmarkNetwork()


@pytest.mark.parametrize("yaw", [0.0, 45.0, -60.0, 85.0])
def test_landmarks_of_every_yaw(reconstructor, network, yaw):
    pixels, points = drawn(reconstructor.model, yaw)
    # Where an encoder might think them: a fifteenth of the face aside, and larger.
    low, high = points.min(0), points.max(0)
    about = (points - (low + high) / 2) * 1.1 + (low + high) / 2 + 0.07 * (high - low)
    found = network(pixels, about)
    assert 100 * sparse_nme(found.points, points.astype(float)) < 6
    assert found.confidence.shape == (68,) and 0.3 < found.confidence.mean() <= 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_landmarks_of_a_lying_face_lie_with_it(reconstructor, network, turns):
    pixels, points = drawn(reconstructor.model, 40.0)
    upright = network(pixels, points)

    def turned(where: np.ndarray) -> np.ndarray:
        # A quarter turn of a square picture, anticlockwise as seen.
        for _ in range(turns):
            where = np.stack([where[:, 1], SIDE - 1 - where[:, 0]], axis=1)
        return where

    lying = network(np.ascontiguousarray(np.rot90(pixels, turns)), turned(points), roll=-turns * np.pi / 2)
    np.testing.assert_allclose(lying.points, turned(upright.points), atol=0.5)
    np.testing.assert_allclose(lying.confidence, upright.confidence, atol=0.02)


def test_nobody_is_there_outside_the_photo(network):
    with pytest.raises(FaceError) as caught:
        network(np.zeros((50, 50, 3), np.uint8), np.random.default_rng(0).uniform(200, 300, (68, 2)))
    assert caught.value.code == "box_invalid"


@pytest.mark.parametrize("yaw", [0.0, -50.0, 80.0])
def test_the_code_that_ships_tells_the_pose(reconstructor, yaw):
    pixels, points = drawn(reconstructor.model, yaw)
    predictor = PnccPredictor.load("pncc-128")
    found = predictor.predict(pixels, points_box(points), box_of="points")
    surface = CodeSurface(reconstructor.model)
    pose = recover_pose(surface.match(found.code), surface.mean).pose
    assert abs(pose.to_dict()["euler_deg"]["yaw"] - yaw) < 10
