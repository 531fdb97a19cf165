"""From a reader's result to the one model format."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facerecon.errors import ArgumentError, ModelError
from facerecon.morphable.basel.assemble import assemble, at_vertices, normalised_code
from facerecon.morphable.basel.open_head import closest_on_mesh, subdivided_place
from facerecon.morphable.basel.validate import aflw_truth, validate_model
from facerecon.morphable.basel.zhu import read_zhu
from facerecon.morphable.modelfile import read_model, write_model


@pytest.fixture(scope="module")
def zhu_raw(basel_face, layouts_in, tmp_path_factory):
    return read_zhu(*layouts_in(tmp_path_factory.mktemp("zhu")).zhu(basel_face))


@pytest.fixture(scope="module")
def zhu_model(zhu_raw, open_data):
    return assemble(zhu_raw, open_data, name="test")


def test_checks_of_a_good_model_hold_and_those_of_a_bad_one_do_not(zhu_model):
    assert all(check.ok for check in validate_model(zhu_model)), validate_model(zhu_model)
    wrong = {
        "triangles face outward": {"faces": zhu_model.faces[:, ::-1]},
        "+x is the image's right": {"mean": zhu_model.mean * np.float32([-1, 1, 1])},
        "+y is up": {"mean": zhu_model.mean * np.float32([1, -1, 1])},
        "+z is out of the face": {"mean": zhu_model.mean * np.float32([1, 1, -1])},
        "millimetres": {"mean": zhu_model.mean * np.float32(0.1)},
        "coefficients are N(0,1)": {"identity_basis": zhu_model.identity_basis * 1000},
        "mirror vertices": {"symmetry": np.arange(len(zhu_model.mean))},
        "code in [0, 1]": {"ncc": zhu_model.ncc * 2},
    }
    for name, change in wrong.items():
        broken = validate_model(dataclasses.replace(zhu_model, **change))
        assert not next(check for check in broken if check.name == name).ok, name


def test_keypoints_are_vertices_with_weight_one(zhu_model, basel_face):
    embedding = zhu_model.embeddings["ibug68"]
    assert np.array_equal(np.sort(embedding.barycentric, axis=1), np.tile([0, 0, 1], (68, 1)))
    np.testing.assert_allclose(embedding.locate(zhu_model.mean, zhu_model.faces), zhu_model.mean[basel_face.keypoints])
    with pytest.raises(ModelError, match="no triangle"):
        at_vertices(np.array([3]), np.array([[0, 1, 2]]), 4)


def test_points_carried_over_fall_on_the_open_head_where_they_were(zhu_model, basel_face, open_data):
    # Without mu_exp the synthetic face has the open head's own shape, so a point must stay where it is.
    for scheme in ("mediapipe478", "five"):
        there = open_data.embeddings[scheme].locate(open_data.mean, open_data.faces)
        carried = zhu_model.embeddings[scheme]
        here = carried.locate(basel_face.mean * 1e-3, zhu_model.faces)
        distance = np.linalg.norm(here - there, axis=1)[carried.valid]
        assert np.median(distance) < 0.1 and np.quantile(distance, 0.95) < 1.5
        assert carried.valid.mean() > 0.98


def test_masks_and_albedo_are_carried_over(zhu_model, open_data):
    assert {"skin", "face", "eyes", "ears", "neck"} <= set(zhu_model.masks)
    nose, ear = zhu_model.embeddings["ibug68"].triangle[[30]], np.argmax(np.abs(zhu_model.mean[:, 0]))
    assert zhu_model.masks["skin"][zhu_model.faces[nose]].all() and zhu_model.masks["ears"][ear]
    assert not (zhu_model.masks["neck"] & zhu_model.masks["face"]).any()
    # The texture mean is the file's; without deviations the components are the open model's.
    np.testing.assert_allclose(zhu_model.albedo_mean, 0.5, atol=1e-6)
    assert len(zhu_model.albedo_basis) == len(open_data.albedo_basis)


def test_code_by_the_recipe_of_3ddfa(zhu_model, basel_face):
    mean = basel_face.mean.astype(np.float64)
    wanted = (mean - mean.min(0)) / (mean.max(0) - mean.min(0))
    np.testing.assert_allclose(zhu_model.ncc, wanted, atol=1e-6)
    assert zhu_model.masks["pncc"].all()


def test_code_by_the_recipe_of_3ddfa_v2(zhu_raw, basel_face, open_data):
    region = np.flatnonzero(basel_face.mean[:, 1] > -6e4)
    mean = (basel_face.mean + basel_face.mean_expression).astype(np.float64)
    wanted = (mean - mean[region].min(0)) / (mean[region].max(0) - mean[region].min(0))
    model = assemble(zhu_raw, open_data, name="test", ncc="3ddfa_v2", noneck=region)
    np.testing.assert_allclose(model.ncc[region], wanted[region], atol=1e-6)
    assert model.ncc.min() >= 0 and model.ncc.max() <= 1
    assert np.array_equal(np.flatnonzero(model.masks["pncc"]), region)
    with pytest.raises(ArgumentError, match="indices.npy"):
        assemble(zhu_raw, open_data, name="test", ncc="3ddfa_v2")


def test_code_of_two_points_by_hand():
    mean = np.array([[0.0, 0, 0], [2, 4, 8], [1, 1, 1], [9, -9, 2]])
    code = normalised_code(mean, np.array([True, True, True, False]))
    np.testing.assert_allclose(code, [[0, 0, 0], [1, 1, 1], [0.5, 0.25, 0.125], [1, 0, 0.25]])


def test_texture_coordinates_do_not_overlap(zhu_model):
    corners = zhu_model.uv[zhu_model.uv_faces].astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    assert (area > 0).all() and zhu_model.uv.min() >= 0 and zhu_model.uv.max() <= 1


def test_a_topology_of_its_own_is_placed_by_its_landmarks(layouts, small_face, open_data):
    raw = read_zhu(*layouts.zhu(small_face))
    assert raw.trimmed is None
    model = assemble(raw, open_data, name="small")
    assert all(check.ok for check in validate_model(model))
    there = open_data.embeddings["mediapipe478"].locate(open_data.mean, open_data.faces)
    carried = model.embeddings["mediapipe478"]
    distance = np.linalg.norm(carried.locate(small_face.mean * 1e-3, model.faces) - there, axis=1)[carried.valid]
    assert np.median(distance) < 1 and "approximate" in model.header["basel"]["notes"][-1]


def test_a_2017_model_without_all_landmarks_takes_the_rest_from_the_open_head(layouts, small_face, open_data):
    pytest.importorskip("h5py")
    from facerecon.morphable.basel.bfm2017 import NAMED_POINTS, read_bfm2017

    raw = read_bfm2017(layouts.bfm2017(small_face))
    model = assemble(raw, open_data, name="2017")
    points = model.embeddings["ibug68"].locate(model.mean, model.faces)
    wanted = (small_face.mean + small_face.mean_expression)[small_face.keypoints] * 1e-3
    distance = np.linalg.norm(points - wanted, axis=1)
    assert distance[sorted(NAMED_POINTS.values())].max() < 1e-3 and np.median(distance) < 3
    with pytest.raises(ModelError, match="at least 8 landmarks"):
        assemble(read_bfm2017(layouts.bfm2017(small_face, landmarks=False, name="bare.h5")), open_data, name="bare")


def test_model_file_keeps_float32_and_its_code(zhu_model, tmp_path):
    again = read_model(write_model(tmp_path / "a.facemodel", zhu_model, basis_type="float32"))
    assert np.array_equal(again.identity_basis, zhu_model.identity_basis) and np.array_equal(again.ncc, zhu_model.ncc)
    half = read_model(write_model(tmp_path / "b.facemodel", zhu_model))
    assert 0 < np.abs(half.identity_basis - zhu_model.identity_basis).max() < 0.02
    assert (tmp_path / "b.facemodel").stat().st_size < (tmp_path / "a.facemodel").stat().st_size


def test_the_nn_module_takes_the_converted_model(zhu_model):
    torch = pytest.importorskip("torch")
    from facerecon.morphable import MorphableModel

    model = MorphableModel(zhu_model)
    identity, expression = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 3)
    expression[:, 1] = 2.0
    vertices = model.vertices(identity, expression)
    wanted = zhu_model.mean + np.tensordot(identity.numpy(), zhu_model.identity_basis, 1) + 2 * zhu_model.expression_basis[1]
    np.testing.assert_allclose(vertices.numpy(), wanted, atol=1e-3)
    np.testing.assert_allclose(model.ncc.numpy(), zhu_model.ncc)
    assert model.expression_names == ("exp_000", "exp_001", "exp_002") and model.expression_range is None


def test_truth_of_another_family_of_coefficients_is_refused(zhu_model):
    truth = aflw_truth(zhu_model)
    assert truth["title"] == "Basel, 5 of 199 + 3 of 29"
    header = {**zhu_model.header, "basel": {**zhu_model.header["basel"], "parameters": None}}
    with pytest.raises(ModelError, match="Shape_Para"):
        aflw_truth(dataclasses.replace(zhu_model, header=header))


def test_point_of_a_triangle_keeps_its_place_when_the_triangle_is_split():
    generator = np.random.default_rng(3)
    corners = generator.normal(size=(3, 3))
    barycentric = generator.dirichlet([1, 1, 1], 200)
    child, weights = subdivided_place(barycentric)
    a, b, c = corners
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    children = np.array([[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]])
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", weights, children[child]), barycentric @ corners, atol=1e-12)
    assert weights.min() > -1e-12 and set(child) == {0, 1, 2, 3}


def test_closest_point_of_a_mesh_equals_brute_force(open_data):
    from facerecon.morphable.embedding import embed_points

    generator = np.random.default_rng(4)
    points = open_data.mean[generator.choice(len(open_data.mean), 20)] + generator.normal(size=(20, 3)) * 2
    triangle, barycentric = closest_on_mesh(points, open_data.mean.astype(np.float64), open_data.faces)
    found = np.einsum("nk,nkc->nc", barycentric, open_data.mean[open_data.faces[triangle]])
    _, distance = embed_points(points, open_data.mean.astype(np.float64), open_data.faces)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), distance, atol=1e-4)


def test_index_files_place_the_smaller_topologies_exactly(layouts, basel_face, open_data, tmp_path):
    import scipy.io

    from facerecon.morphable.basel.deep3d_front import read_deep3d_front
    from facerecon.morphable.basel.noneck_v3 import read_noneck_v3

    kept = np.flatnonzero(basel_face.mean[:, 1] > basel_face.mean[basel_face.keypoints[8], 1] - 5e3)
    local = np.full(53215, -1)
    local[kept] = np.arange(len(kept))
    faces = local[basel_face.faces]
    part = dataclasses.replace(
        basel_face, mean=basel_face.mean[kept], mean_expression=basel_face.mean_expression[kept], keypoints=local[basel_face.keypoints],
        faces=faces[(faces >= 0).all(axis=1)], texture=basel_face.texture[kept],
        **{name: getattr(basel_face, name).reshape(53215, 3, -1)[kept].reshape(3 * len(kept), -1)
           for name in ("shape", "expression", "texture_basis")})
    scipy.io.savemat(tmp_path / "idx.mat", {"idx": kept[:, None] + 1})
    np.save(tmp_path / "indices.npy", kept.astype(np.int32))
    for raw in (read_deep3d_front(layouts.deep3d(part), index_path=tmp_path / "idx.mat"),
                read_noneck_v3(layouts.noneck(part), index_path=tmp_path / "indices.npy")):
        assert np.array_equal(raw.trimmed, kept)
        model = assemble(raw, open_data, name="part", ncc="face")
        there = open_data.embeddings["mediapipe478"].locate(open_data.mean, open_data.faces)
        carried = model.embeddings["mediapipe478"]
        here = carried.locate(part.mean * 1e-3, model.faces)
        assert np.median(np.linalg.norm(here - there, axis=1)) < 0.1 and "registration" in model.header["basel"]["notes"][-1]
    np.save(tmp_path / "indices.npy", kept[:-1])
    with pytest.raises(ModelError, match="entries"):
        read_noneck_v3(layouts.noneck(part), index_path=tmp_path / "indices.npy")


def test_a_point_that_the_mesh_does_not_reach_is_not_valid(zhu_model, open_data):
    from facerecon.morphable.basel.open_head import carry_embedding, places_by_registration
    from facerecon.morphable.embedding import embed_points

    nose = open_data.embeddings["ibug68"].locate(open_data.mean, open_data.faces)[30]
    back = open_data.mean[open_data.mean[:, 2].argmin()]
    points, _ = embed_points(np.stack([nose, back]).astype(np.float64), open_data.mean.astype(np.float64), open_data.faces)
    places = places_by_registration(open_data, np.arange(53215), zhu_model.mean)
    carried = carry_embedding(points, open_data, places, zhu_model.mean, zhu_model.faces)
    assert carried.valid.tolist() == [True, False]


def test_vertices_that_land_on_the_eyeball_by_mistake_are_taken_back(zhu_model, open_data):
    from facerecon.morphable.basel.open_head import Places, carry_mask, mend_places, places_by_registration

    eyes = open_data.masks["eyes"]
    good = mend_places(places_by_registration(open_data, np.arange(53215), zhu_model.mean), eyes, zhu_model.mean, zhu_model.faces)
    wanted = carry_mask(eyes, good)
    cheek = np.flatnonzero(zhu_model.masks["skin"])[[4000, 9000, 15000]]
    eyeball = np.flatnonzero(wanted)[wanted.sum() // 2]
    corners, weights = good.corners.copy(), good.weights.copy()
    corners[cheek], weights[cheek] = good.corners[eyeball], good.weights[eyeball]
    strayed = Places(corners, weights, exact=True)
    assert carry_mask(eyes, strayed)[cheek].all()
    mended = mend_places(strayed, eyes, zhu_model.mean, zhu_model.faces)
    assert not carry_mask(eyes, mended)[cheek].any()
    # A stray's new place is its neighbour's, a millimetre or two away.
    there = [places.carry(open_data.mean.astype(np.float64))[cheek] for places in (mended, good)]
    assert np.linalg.norm(there[0] - there[1], axis=1).max() < 4
