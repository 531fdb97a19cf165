"""What surrounds a head: finite, within bounds, where it belongs, and nothing where nobody asked for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.morphable import load_model
from facerecon.synthesis.background import noise_background, room_background
from facerecon.synthesis.body import Neck, glasses, open_rim, upper_teeth
from facerecon.synthesis.camera import photograph
from facerecon.synthesis.hair import Cranium
from facerecon.synthesis.heads import random_head
from facerecon.synthesis.layers import lay_over
from facerecon.synthesis.occluders import SHARE, occlude
from facerecon.synthesis.pieces import grid_faces, grid_piece, joined
from facerecon.synthesis.render import Painter
from facerecon.synthesis.surface import ambient_occlusion, texture_detail


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def points(model):
    return model.landmarks("ibug68", torch.zeros(model.sizes[0]), torch.zeros(model.sizes[1])).numpy()


def test_a_grid_has_all_its_cells():
    assert grid_faces(2, 2, closed=False).tolist() == [[0, 2, 1], [1, 2, 3]]
    closed = grid_faces(3, 4, closed=True)
    assert len(closed) == 2 * 2 * 4 and set(closed.ravel()) == set(range(12))
    # Every inner edge has two triangles that run along it in opposite directions: one side is outside everywhere.
    edges = np.concatenate([closed[:, [0, 1]], closed[:, [1, 2]], closed[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_joined_pieces_keep_their_triangles():
    one = grid_piece(np.zeros((2, 2, 3)), np.array([0.1, 0.2, 0.3]), closed=False, gloss=0.5)
    two = grid_piece(np.ones((2, 3, 3)), np.full((2, 3, 3), 0.9), closed=False, opacity=0.25)
    whole, gloss = joined([one, two])
    assert len(whole.vertices) == 10 and whole.faces[:2].max() == 3 and whole.faces[2:].min() == 4
    np.testing.assert_array_equal(gloss, [0.5] * 4 + [0.0] * 6)
    np.testing.assert_array_equal(whole.opacity, [1.0] * 4 + [0.25] * 6)
    np.testing.assert_array_equal(whole.vertices[whole.faces[2:]], 1)


def test_hollows_are_dark_and_the_forehead_is_not(model):
    seen = ambient_occlusion(model)
    masks = {name: mask.numpy() for name, mask in model.masks.items()}
    forehead = masks["skin"] & (model.mean[:, 1].numpy() > 50)
    assert seen.min() >= 0 and seen.max() <= 1.001 and np.median(seen[forehead]) > 0.9
    assert np.median(seen[masks["mouth"]]) < 0.2 and np.median(seen[masks["neck"]]) < np.median(seen[forehead])


def test_texture_adds_no_colour_of_its_own(model):
    detail = texture_detail(model)
    assert detail.shape == model.albedo_texture.shape[:2] and detail.min() >= 0.6 and detail.max() <= 1.4
    changed = detail != 1
    assert 0.2 < changed.mean() < 0.95 and abs(np.median(detail[changed]) - 1) < 0.1 and detail[changed].std() > 0.01


def test_hair_grows_outside_the_head_and_leaves_the_face_free(model, points):
    cranium, vertices = Cranium(model), model.mean.numpy()
    kinds = [cranium.style(np.random.default_rng(index), vertices, np.array([0.2, 0.1, 0.05])) for index in range(40)]
    grown = [piece for piece in kinds if piece is not None]
    assert 25 < len(grown) < 40
    middle = points[[30, 33, 48, 54, 57, 36, 45]]
    for piece in grown:
        assert np.isfinite(piece.vertices).all() and 0 <= piece.opacity.min() and piece.opacity.max() <= 1
        assert piece.albedo.min() > 0 and piece.albedo.max() <= 1
        # Nothing hangs before nose, mouth or eyes.
        for x, y, z in middle:
            near = np.hypot(piece.vertices[:, 0] - x, piece.vertices[:, 1] - y) < 12
            assert not (near & (piece.vertices[:, 2] > z)).any()
    long = min(piece.vertices[:, 1].min() for piece in grown)
    assert long < -150, "some of it falls to the shoulders"


def test_the_body_continues_the_neck(model):
    rim = open_rim(model)
    assert len(rim) > 20 and model.masks["neck"].numpy()[rim].all()
    neck, vertices, albedo = Neck(model), model.mean.numpy(), model.albedo_mean.numpy()
    for index, yaw in enumerate((-80.0, 0.0, 60.0)):
        rotation = euler_deg_to_matrix_aflw(*torch.tensor([10.0, yaw, -5.0]))
        pose = ScaledOrthographicPose(rotation, torch.zeros(2), torch.tensor(1.0))
        body = neck.shoulders(np.random.default_rng(index), vertices, albedo, pose)
        rings = body.vertices.reshape(-1, 48, 3)
        assert np.isfinite(rings).all() and np.abs(rings[1] - vertices[rim].mean(0)).max() < 120
        # It reaches below any crop, and no gap opens at the rim.
        assert pose.project(torch.from_numpy(body.vertices).float())[:, 1].max() > 300
        assert np.linalg.norm(rings[1][:, None] - vertices[rim][None], axis=-1).min(1).max() < 12


def test_teeth_stand_behind_the_lips_and_glasses_before_the_eyes(points):
    for index in range(10):
        teeth = upper_teeth(np.random.default_rng(index), points[48:68])
        assert teeth.vertices[:, 2].max() < points[61:64, 2].min() and np.abs(teeth.vertices[:, 0]).max() < 27
        worn = glasses(np.random.default_rng(index), points)
        low, high = worn.vertices.min(0), worn.vertices.max(0)
        assert (low[:2] < points[36:48, :2].min(0)).all() and (high[:2] > points[36:48, :2].max(0)).all()
        assert high[2] > points[36:48, 2].max() and low[2] < points[[0, 16], 2].max()
        assert set(np.round(np.unique(worn.opacity), 6)) - {1.0}, "one sees through the lenses, if little"


def test_occluders_cover_some_of_some_pictures():
    picture = np.full((64, 64, 3), 0.5, np.float32)
    touched = []
    for index in range(400):
        covered = occlude(picture, np.random.default_rng(index), np.array([0.6, 0.4, 0.3]))
        assert np.isfinite(covered).all() and covered.min() > -0.01 and covered.max() < 1.8
        touched.append((np.abs(covered - picture).max(-1) > 0.02).mean())
    touched = np.array(touched)
    assert abs((touched > 0).mean() - SHARE) < 0.07 and 0.02 < touched[touched > 0].mean() < 0.4 and touched.max() < 0.8
    assert (picture == 0.5).all(), "the picture that was given is not changed"


def test_a_camera_keeps_the_picture():
    y, x = np.mgrid[:96, :96] / 95
    scene = np.stack([x, y, 1 - x], -1)
    for index in range(30):
        photo, quality = photograph(scene, np.random.default_rng(index))
        assert photo.dtype == np.uint8 and photo.shape == scene.shape and 40 <= quality <= 98
        grey = scene.mean(-1).ravel()
        assert np.corrcoef(photo.mean(-1).ravel(), grey)[0, 1] > 0.5


@pytest.mark.parametrize("make", [noise_background, room_background])
def test_backgrounds_are_pictures(make):
    for index in range(10):
        picture = make(np.random.default_rng(index), 48)
        assert picture.shape == (48, 48, 3) and picture.min() >= 0 and picture.max() <= 1
    np.testing.assert_array_equal(make(np.random.default_rng(1), 48), make(np.random.default_rng(1), 48))


def test_a_model_of_the_face_alone_is_drawn_too():
    """As a converted Basel model is: no hairline, no eyes of its own, no neck."""
    face = load_model()
    face._mask_names = ("face", "pncc", "skin")
    painter = Painter(face)
    for index in range(3):
        generator = np.random.default_rng(index)
        head = random_head(generator, face, 64)
        vertices = face.vertices(head.parameters.identity, head.parameters.expression)
        behind = np.full((64, 64, 3), 0.25, np.float32)
        picture = painter.draw(generator, head, vertices, behind)
        assert picture.shape == (64, 64, 3) and np.isfinite(picture).all()
        # A face fills a good part of its crop, and not its corners.
        assert 0.2 < (np.abs(picture - behind).max(-1) > 0.02).mean() <= 1


def test_the_nearest_layer_wins_and_glass_lets_through():
    def layer(value, opacity, depth):
        drawn = np.zeros((1, 2, 4), np.float32)
        drawn[..., :3], drawn[..., 3] = value, opacity
        return drawn, np.array([[depth, np.inf]], np.float32)

    colour, cover, nearest = np.zeros((1, 2, 3), np.float32), np.zeros((1, 2), np.float32), np.full((1, 2), np.inf, np.float32)
    lay_over(colour, cover, nearest, *layer(0.8, 1.0, 5.0))
    lay_over(colour, cover, nearest, *layer(0.2, 1.0, 9.0))
    assert colour[0, 0, 0] == np.float32(0.8) and cover.tolist() == [[1, 0]]
    lay_over(colour, cover, nearest, *layer(0.4, 0.25, 3.0))
    np.testing.assert_allclose(colour[0, 0], 0.7, rtol=1e-6)
    assert nearest[0, 0] == 3 and not colour[0, 1].any() and cover[0, 1] == 0
    # Half a veil before nothing covers half.
    veil = np.zeros((1, 2, 3), np.float32), np.zeros((1, 2), np.float32), np.full((1, 2), np.inf, np.float32)
    lay_over(*veil, *layer(0.6, 0.5, 1.0))
    np.testing.assert_allclose([veil[0][0, 0, 0], veil[1][0, 0]], [0.3, 0.5], rtol=1e-6)
