"""A drawn head is where its parameters say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import FaceReconError
from facerecon.geometry.rotations import matrix_to_euler_deg_aflw
from facerecon.morphable import load_model
from facerecon.synthesis.background import Backgrounds
from facerecon.synthesis.heads import random_head
from facerecon.synthesis.lighting import harmonics, lamp, studio_light
from facerecon.synthesis.sample import DEPTH_RANGE, LANDMARKS
from facerecon.synthesis.source import HeadOptions
from facerecon.synthesis.truth import encode_depth


@pytest.fixture(scope="module")
def model():
    return load_model()


def fields(face):
    parameters = face.parameters
    return [face.image, face.points68, face.visible68, face.points478, face.visible478,
            *(face.maps[name] for name in sorted(face.maps)),
            *(getattr(parameters, name).numpy() for name in ("identity", "expression", "albedo", "illumination")),
            *(getattr(parameters.pose, name).numpy() for name in ("rotation", "translation", "scale")), face.quality]


def test_points_are_the_projected_model(heads, model):
    for face in heads:
        parameters = face.parameters
        vertices = model.vertices(parameters.identity.double().float(), parameters.expression).double()
        pose = parameters.pose.to(torch.float64)
        projected = pose.project(vertices).numpy()
        for scheme, count in LANDMARKS.items():
            expected = model.embeddings[scheme].locate(projected, model.faces.numpy())[:, :2]
            np.testing.assert_allclose(getattr(face, f"points{count}"), expected, atol=1e-3)


def test_the_code_is_that_of_the_seen_landmarks(heads, model):
    """At the pixel of a landmark that is seen, the PNCC is the landmark's NCC, up to a pixel's worth of surface."""
    embedding = model.embeddings["ibug68"]
    codes = embedding.locate(model.ncc.numpy(), model.faces.numpy())
    inner = [index for index in range(17, 68) if index not in (60, 61, 62, 63, 64, 65, 66, 67)]
    away = []
    for face in heads:
        place = (face.points68 + 0.5) * 128 / face.size - 0.5
        for index in inner:
            x, y = np.rint(place[index]).astype(int)
            if face.visible68[index] and face.maps["pncc"][y, x].any():
                away.append(np.abs(face.maps["pncc"][y, x] / 255 - codes[index]).max())
    assert len(away) > 150 and np.median(away) < 0.015 and np.quantile(away, 0.95) < 0.08
    # The other side of a turned face is hidden, and what is there has another code.
    assert any(not face.visible68.all() for face in heads)


def test_depth_and_normals_are_of_one_surface(heads):
    """A normal is the gradient of the depth: n ~ (z_x, -z_y, 1) in x right, y up, z toward the viewer, where z grows away."""
    for face in heads:
        scale = float(face.parameters.pose.scale)
        depth = DEPTH_RANGE.decode(face.maps["depth"]) * scale
        normals = face.maps["normals"].astype(float) / 127.5 - 1
        covered = np.isfinite(depth)
        np.testing.assert_array_equal(covered, face.maps["normals"].any(-1))
        z_y, z_x = np.gradient(depth)
        expected = np.stack([z_x, -z_y, np.ones_like(z_x)], -1)
        expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
        inside = np.isfinite(expected).all(-1) & covered
        cosine = (expected * normals).sum(-1)[inside]
        assert inside.sum() > 1000 and np.median(cosine) > 0.99 and np.quantile(cosine, 0.2) > 0.9
        np.testing.assert_allclose(np.linalg.norm(normals[covered], axis=1), 1, atol=0.02)


def test_depth_is_read_back_in_mm():
    depth = np.array([[-200.0, 0.0], [55.25, 100.0]])
    covered = np.array([[True, True], [True, False]])
    read = DEPTH_RANGE.decode(encode_depth(depth, covered))
    np.testing.assert_allclose(read[covered], depth[covered], atol=0.004)
    assert np.isnan(read[1, 1])


def test_a_head_depends_on_its_seed_and_number_alone(source, heads):
    other = HeadOptions(6, seed=5, size=96, maps=("pncc", "depth", "normals")).open()
    for index in (5, 0):
        for mine, theirs in zip(fields(other.make(index)[0]), fields(heads[index]), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert (HeadOptions(6, seed=6, size=96).open().make(0)[0].image != heads[0].image).any()


def test_people_and_poses_vary(model):
    drawn = [random_head(np.random.default_rng([1, index]), model, 128) for index in range(160)]
    angles = np.array([[float(angle) for angle in matrix_to_euler_deg_aflw(head.parameters.pose.rotation)] for head in drawn])
    assert (np.abs(angles) <= [40.01, 90.01, 30.01]).all() and np.ptp(angles[:, 1]) > 170 and np.ptp(angles[:, 0]) > 50
    tones = np.stack([model.albedo(head.parameters.albedo)[model.masks["skin"]][::53].mean(0).numpy() for head in drawn])
    assert np.quantile(tones.mean(1), 0.05) < 0.3 and np.quantile(tones.mean(1), 0.95) > 0.6
    # Skin is redder than green, and greener than blue, on everybody.
    assert ((tones[:, 0] > tones[:, 1]) & (tones[:, 1] > tones[:, 2])).mean() > 0.97
    for head in drawn[:40]:
        points = head.parameters.pose.project(model.landmarks("ibug68", head.parameters.identity, head.parameters.expression))
        assert (points[:, :2] > -0.5).all() and (points[:, :2] < 127.5).all()


def test_a_lamp_lights_what_looks_at_it():
    towards = np.array([0.6, 0.0, 0.8])
    light = lamp(towards, np.ones(3))
    # The clamped cosine in three bands is 1/4 + c/2 + 5 (3 c^2 - 1) / 32.
    shown = harmonics(np.stack([towards, [0, 1, 0], -towards])) @ light
    np.testing.assert_allclose(shown, np.array([17 / 16, 3 / 32, 1 / 16])[:, None] * np.ones(3), atol=1e-9)


def test_light_shows_the_face():
    for index in range(50):
        light, key = studio_light(np.random.default_rng(index))
        assert np.isclose(np.linalg.norm(key), 1) and light.shape == (9, 3)
        front = harmonics(np.array([[0, 0, 1.0]])) @ light
        assert (front > 0.3).all() and (front < 2).all()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"seed": -1}, {"size": 20}, {"maps": ("albedo",)}, {"count": 2.5}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(FaceReconError) as caught:
        HeadOptions(**{"count": 2, **wrong})
    assert caught.value.code == "argument_invalid"


def test_backgrounds_are_shown_behind(tmp_path, source):
    import cv2

    with pytest.raises(FaceReconError) as caught:
        HeadOptions(2, size=64, backgrounds=tmp_path).open()
    assert caught.value.code == "dataset_missing"
    cv2.imwrite(str(tmp_path / "green.png"), np.full((80, 120, 3), (20, 230, 20), np.uint8))
    green = HeadOptions(30, seed=2, size=64, backgrounds=tmp_path).open()
    assert green.about["backgrounds"]["count"] == 1
    shown = np.stack([green.make(index)[0].image for index in range(4)]).astype(int)
    edges = np.concatenate([shown[:, :, :2], shown[:, :, -2:]], axis=2)
    assert np.quantile(edges[..., 1] - edges[..., 0], 0.9) > 100, "green beside the heads"
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    drawn = Backgrounds(tmp_path)
    seen = [drawn.draw(np.random.default_rng(index), 32) for index in range(12)]
    assert all(each.shape == (32, 32, 3) and each.dtype == np.float32 for each in seen)
    # A picture that cannot be read is replaced, the other is shown as it is.
    assert 2 < sum(np.abs(each - np.array([20, 230, 20]) / 255).max() < 0.01 for each in seen) < 12
