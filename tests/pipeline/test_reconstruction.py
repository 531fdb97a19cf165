"""A reconstruction is consistent with itself, and what is written reads back as the same face."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.export import read_mesh, read_pts
from facerecon.geometry import ScaledOrthographicPose
from facerecon.morphable.schemes import IBUG68_FLIP
from facerecon.pipeline import FaceReconstructor

KEYS = {"schema", "image", "image_size", "face", "status", "box", "confidence", "model", "method", "pose", "landmarks68", "visibility",
        "identity", "expression", "albedo", "illumination", "fit", "timings_ms", "files"}


def test_landmarks_are_those_of_the_projected_mesh(face):
    projected = face.pose.project(torch.from_numpy(face.vertices)).numpy()
    np.testing.assert_allclose(face.model.embeddings["ibug68"].locate(projected, face.faces), face.landmarks68, atol=1e-2)


def test_the_face_is_where_the_detector_saw_it(face):
    x0, y0, x1, y1 = face.box
    centre = face.landmarks68[17:, :2].mean(axis=0)
    assert x0 < centre[0] < x1 and y0 < centre[1] < y1
    # Right eye of the person at the left of the photo, brows above the chin, nose nearer than the ears.
    assert face.landmarks68[36, 0] < face.landmarks68[45, 0] and face.landmarks68[19, 1] < face.landmarks68[8, 1]
    assert face.landmarks68[30, 2] < face.landmarks68[0, 2]


def test_shapes_and_ranges(face):
    count = len(face.vertices)
    assert face.vertices.shape == face.neutral.shape == face.vertex_albedo.shape == (count, 3)
    assert face.faces.min() == 0 and face.faces.max() == count - 1 and face.uv_faces.shape == face.faces.shape
    assert face.landmarks68.shape == (68, 3) and face.visibility.shape == (68,) and face.illumination.shape == (9, 3)
    assert ((face.visibility >= 0) & (face.visibility <= 1)).all() and 0.9 < face.confidence <= 1
    assert all(0 <= value <= 1 for value in face.expression.values()) and len(face.expression) == 52


def test_the_mirrored_photo_gives_the_mirrored_face(reconstructor, portrait, face):
    mirrored = reconstructor(np.ascontiguousarray(portrait(0)[:, ::-1]))[0]
    points = mirrored.landmarks68[list(IBUG68_FLIP)]
    points[:, 0] = portrait(0).shape[1] - 1 - points[:, 0]
    scale = np.sqrt(np.prod(face.box[2:] - face.box[:2]))
    assert np.linalg.norm(points[:, :2] - face.landmarks68[:, :2], axis=1).mean() < 0.02 * scale
    yaw, roll = (face.to_dict()["pose"]["euler_deg"][name] for name in ("yaw", "roll"))
    other = mirrored.to_dict()["pose"]["euler_deg"]
    assert abs(yaw + other["yaw"]) < 4 and abs(roll + other["roll"]) < 2


def test_the_record_has_the_documented_keys_and_survives_json(face):
    record = json.loads(json.dumps(face.to_dict(), allow_nan=False))
    assert KEYS <= set(record) and record["schema"] == 1 and record["image_size"] == [300, 300]
    assert np.shape(record["pose"]["rotation"]) == (3, 3) and len(record["pose"]["quaternion"]) == 4
    pose = ScaledOrthographicPose.from_dict(record["pose"])
    torch.testing.assert_close(pose.rotation, face.pose.rotation, atol=1e-5, rtol=0)
    assert len(record["landmarks68"]) == 68 and len(record["landmarks68"][0]) == 3 and len(record["visibility"]) == 68
    assert np.shape(record["illumination"]) == (9, 3) and set(record["fit"]) == {
        "landmark_nme_percent", "photometric_rmse", "photometric_rmse_all", "covered_share"}
    assert record["expression"].keys() == face.expression.keys()


@pytest.mark.parametrize(("suffix", "units", "factor"), [("obj", "mm", 1), ("obj", "m", 1e-3), ("ply", "cm", 0.1)])
def test_meshes_read_back(face, tmp_path, suffix, units, factor):
    path = face.save(tmp_path / f"x.{suffix}", units=units)[0]
    mesh = read_mesh(path)
    np.testing.assert_allclose(mesh.vertices, face.vertices * factor, atol=1e-5 * factor)
    np.testing.assert_array_equal(mesh.faces, face.faces)


def test_the_glb_is_the_neutral_face_with_its_expression_on_top(face, tmp_path):
    gltf = pytest.importorskip("pygltflib").GLTF2().load(face.save(tmp_path / "x.glb")[0])
    names = gltf.meshes[0].extras["targetNames"]
    assert names == list(face.expression) and "jawOpen" in names
    np.testing.assert_allclose(gltf.meshes[0].weights, list(face.expression.values()), atol=1e-6)
    basis = face.model.expression_basis.numpy()
    total = face.neutral + np.tensordot(np.array(list(face.expression.values()), np.float32), basis, 1)
    np.testing.assert_allclose(total, face.vertices, atol=1e-3)
    # Vertices that nobody could confuse with the neutral ones.
    far = dataclasses.replace(face, vertices=face.vertices + 500)
    gltf = pytest.importorskip("pygltflib").GLTF2().load(far.save(tmp_path / "far.glb")[0])
    accessor = gltf.accessors[gltf.meshes[0].primitives[0].attributes.POSITION]
    np.testing.assert_allclose([accessor.min, accessor.max], [face.neutral.min(axis=0) / 1000, face.neutral.max(axis=0) / 1000],
                               atol=1e-6)


def test_points_and_json_files(face, tmp_path):
    np.testing.assert_allclose(read_pts(face.save(tmp_path / "x.pts")[0]), face.landmarks68[:, :2], atol=1e-5)
    assert json.loads(face.save(tmp_path / "x.json")[0].read_text())["status"] == "ok"


def test_another_suffix_is_refused(face, tmp_path):
    with pytest.raises(ArgumentError, match="suffix"):
        face.save(tmp_path / "x.fbx")
    assert not list(tmp_path.iterdir())


def test_a_known_eye_distance_fixes_the_size_and_moves_nothing_in_the_photo(reconstructor, portrait, face):
    with FaceReconstructor(reconstructor.model, method="fit", stages="landmarks", texture="none", ipd_mm=70) as sized:
        large = sized(portrait(0))[0]
    neutral = large.model.embeddings["mediapipe478"].locate(large.neutral, large.faces)
    assert np.linalg.norm(neutral[468] - neutral[473]) == pytest.approx(70, abs=0.01)
    np.testing.assert_allclose(large.vertices, face.vertices * large.metric_scale, atol=1e-3)
    first, second = (item.pose.project(torch.from_numpy(item.vertices)).numpy() for item in (face, large))
    np.testing.assert_allclose(second, first, atol=1e-2)
    assert large.to_dict()["metric_scale"] == pytest.approx(large.metric_scale) and face.metric_scale == 1


def test_maps_have_the_size_of_the_photo_and_cover_the_face(face, portrait):
    view = face.photo_view()
    covered, nose = view.covered, tuple(face.landmarks68[30, 1::-1].round().astype(int))
    assert covered.shape == (300, 300) and covered[nose] and not covered[0, 0]
    assert abs(view.depth()[nose] - face.landmarks68[30, 2]) < 3
    projected = face.pose.project(torch.from_numpy(face.vertices)).numpy()[:, :2]
    seen = np.argwhere(covered)[:, ::-1]
    np.testing.assert_allclose(seen.min(axis=0), projected.min(axis=0).clip(0), atol=1.5)
    np.testing.assert_allclose(seen.max(axis=0), projected.max(axis=0).clip(None, 299), atol=1.5)
    normals = view.normals()
    np.testing.assert_allclose(np.linalg.norm(normals[covered], axis=-1), 1, atol=1e-4)
    assert (normals[~covered] == 0).all() and normals[nose][2] > 0.5
    assert 0 <= view.pncc().min() and view.pncc().max() <= 1 and not view.pncc()[~covered].any()
    overlay = view.overlay(portrait(0))
    assert overlay.dtype == np.uint8 and (overlay[~covered] == portrait(0)[~covered]).all() and (overlay != portrait(0)).any()


def test_maps_do_not_depend_on_what_surrounds_the_face(reconstructor, portrait, face):
    from facerecon.views import PhotoView

    x, y = 40, 25
    shifted = PhotoView(face.model, torch.from_numpy(face.vertices), torch.from_numpy(face.vertex_albedo),
                        torch.from_numpy(face.illumination), face.pose.shifted(x, y), (420, 410))
    alone = face.photo_view()
    np.testing.assert_array_equal(shifted.covered[y:y + 300, x:x + 300], alone.covered)
    np.testing.assert_allclose(shifted.pncc()[y:y + 300, x:x + 300], alone.pncc(), atol=1e-3)
    outside = PhotoView(face.model, torch.from_numpy(face.vertices), torch.from_numpy(face.vertex_albedo),
                        torch.from_numpy(face.illumination), face.pose.shifted(5000, 0), (300, 300))
    assert not outside.covered.any() and (outside.overlay(portrait(0)) == portrait(0)).all()


def test_views_turn_the_head(face):
    front, side = face.render(size=96, style="clay"), face.render(size=96, yaw=90, style="clay")
    assert front.shape == (96, 96, 4) and front.dtype == np.uint8
    assert front[48, 48, 3] == 255 and front[0, 0, 3] == 0 and (front[..., 3] > 0).sum() != (side[..., 3] > 0).sum()
    # Yaw > 0 turns the nose to the picture's left: the profile's leftmost point is the tip of the nose.
    alpha = side[..., 3] > 0
    leftmost = alpha[:, alpha.any(axis=0).argmax()].nonzero()[0].mean()
    low, high = face.vertices.min(axis=0), face.vertices.max(axis=0)
    tip = face.vertices[face.vertices[:, 2].argmax()]
    assert abs(leftmost - (47.5 - (tip - (low + high) / 2)[1] * 0.85 * 96 / (high - low).max())) < 3
