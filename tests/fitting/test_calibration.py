"""The scripts that calibrate the model on photos: their arithmetic on made-up data with a known answer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from facerecon.fitting.initial_pose import rotation_from_vector

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(SCRIPTS))


def test_shift_in_the_tangent_plane_is_found_from_views(script, rng):
    evidence = script("calibrate_landmarks").Evidence(20)
    normals = rng.normal(size=(20, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shift = rng.normal(0, 2, (20, 3))
    shift -= (shift * normals).sum(axis=1, keepdims=True) * normals
    for _ in range(400):
        rotation = rotation_from_vector(rng.normal(0, 1.0, 3))
        residual = shift @ rotation[:2].T + rng.normal(0, 1.0, (20, 2))
        evidence.add(rotation, np.ones(20), residual)
    found = evidence.tangent_shift(normals)
    assert np.abs((found * normals).sum(axis=1)).max() < 1e-9
    # The inertia pulls each shift back by a few percent.
    np.testing.assert_allclose(found, shift, atol=0.12 * np.abs(shift).max() + 0.2)


def test_moved_landmarks_stay_symmetric_and_on_the_surface(script, open_model, rng):
    calibrate = script("calibrate_landmarks")
    from facerecon.morphable.schemes import MEDIAPIPE478_FLIP

    embedding = open_model.embeddings["mediapipe478"]
    mean, faces = open_model.mean.numpy(), open_model.faces.numpy()
    first, flip = embedding.locate(mean, faces), np.array(MEDIAPIPE478_FLIP)
    moved = calibrate.move(open_model, embedding, rng.normal(0, 1.0, first.shape), first, flip)
    points = moved.locate(mean, faces)
    assert (moved.barycentric >= -1e-9).all()
    np.testing.assert_allclose(points[flip] * [-1, 1, 1], points, atol=0.6)
    eyes = open_model.masks["eyes"].numpy()[faces].all(axis=1)
    np.testing.assert_array_equal(eyes[moved.triangle], eyes[embedding.triangle])


def test_components_are_found_despite_missing_values(script, rng):
    learn = script("learn_albedo")
    count, vertices, rank = 120, 60, 3
    modes = rng.normal(size=(rank, vertices, 3))
    scores = rng.normal(size=(count, rank)) * [3.0, 2.0, 1.0]
    difference = (0.5 + np.tensordot(scores, modes, 1)).astype(np.float32)
    weight = (rng.uniform(size=(count, vertices)) < 0.8).astype(np.float32)
    mean, found = learn.components(difference, weight, rank, rounds=60)
    # The same span: the true modes are combinations of those found.
    basis = np.linalg.qr(found.reshape(rank, -1).T)[0]
    flat = modes.reshape(rank, -1)
    assert np.linalg.norm(flat - flat @ basis @ basis.T) < 0.08 * np.linalg.norm(flat)
    assert np.abs(mean - 0.5 - np.tensordot(scores.mean(axis=0), modes, 1)).max() < 1.5


def test_difference_fades_out_beyond_the_face(script, open_model):
    learn = script("learn_albedo")
    from facerecon.assets import locate
    from facerecon.fitting.region import face_region
    from facerecon.morphable import read_model

    data = read_model(locate("models/open-head.facemodel"))
    inside = face_region(open_model).vertex_index.numpy()
    values = learn.extension(data, inside)(np.full((len(inside), 3), 0.1))
    np.testing.assert_allclose(values[inside], 0.1)
    assert values.min() >= 0 and values.max() <= 0.1 + 1e-9
    assert values[data.masks["ears"]].mean() > 0.005
    far = data.mean[:, 2] < data.mean[data.masks["ears"], 2].min() - 40
    assert values[far].max() < 0.02
    assert not values[data.masks["eyes"] | data.masks["mouth"]].any()
