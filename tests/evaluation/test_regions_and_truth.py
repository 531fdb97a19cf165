"""Regions from files of the published layouts, topologies, units, the truth's projection."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.io

from facerecon.errors import ArgumentError, DatasetError, ModelError
from facerecon.evaluation.regions import Region, load_region, topology_indices, uv_pixel_region, uv_vertex_region
from facerecon.evaluation.topology import ToBasel, open_to_basel
from facerecon.evaluation.truth import DenseTruth, shift_origin

COUNT = 53215


def made_up_uv():
    # Distinct points that fill the map, the corners among them so that every pixel lies inside.
    uv = np.random.default_rng(0).uniform(0, 1, size=(COUNT, 2))
    uv[:4] = [[0, 0], [0, 1], [1, 0], [1, 1]]
    return uv


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import cv2

    folder = tmp_path_factory.mktemp("regions")
    scipy.io.savemat(folder / "BFM_UV.mat", {"UV": made_up_uv()})
    mask = np.zeros((256, 256), np.uint8)
    mask[40:200, 60:180] = 255
    cv2.imwrite(str(folder / "uv_face_mask.png"), mask)
    generator = np.random.default_rng(1)
    np.save(folder / "indices.npy", np.sort(generator.choice(COUNT, 38365, replace=False)).astype(np.int32))
    scipy.io.savemat(folder / "BFM_front_idx.mat", {"idx": np.sort(generator.choice(COUNT, 35709, replace=False))[:, None] + 1})
    return folder


def test_all_vertices_need_no_file():
    region = load_region("full53215")
    points = np.arange(COUNT * 3.0).reshape(COUNT, 3)
    assert len(region) == COUNT and region(points) is points


def test_the_open_face_is_a_face(dense):
    region = load_region("open_face")
    kept = np.zeros(COUNT, dtype=bool)
    kept[region.corners[:, 0]] = True
    # Basel's keypoints of brows, nose and mouth belong to it (eye corners border on the eyeballs); the lowest rim does not.
    from facerecon.morphable.basel.common import KEYPOINTS
    from facerecon.morphable.basel.patches import patch_plane

    assert kept[KEYPOINTS[17:36]].all() and kept[KEYPOINTS[48:]].all() and 20000 < len(region) < 45000
    outside = np.abs(patch_plane(COUNT)).max(axis=1) > 160
    assert outside.sum() > 500 and not kept[outside].any()


def test_uv_pixels_are_mixtures_that_give_their_own_place(files):
    region = load_region("uv43867", files)
    assert len(region) == 160 * 120
    uv = made_up_uv()
    pixels = np.stack([255 * uv[:, 0], 255 - 255 * uv[:, 1], np.zeros(COUNT)], axis=1)
    rows, columns = np.mgrid[40:200, 60:180].reshape(2, -1)
    np.testing.assert_allclose(region(pixels), np.stack([columns, rows, 0 * rows], axis=1), atol=1e-9)
    assert region.weights.min() > -1e-9


def test_uv_vertices_are_those_whose_pixel_is_in_the_mask(files):
    region = load_region("bfm_uvmask", files)
    uv = made_up_uv()
    column, row = np.rint(255 * uv[:, 0]), np.rint(255 - 255 * uv[:, 1])
    inside = (row >= 40) & (row < 200) & (column >= 60) & (column < 180)
    np.testing.assert_array_equal(region.corners[:, 0], np.flatnonzero(inside))


def test_face_ind_txt_stands_for_the_mask(tmp_path, files):
    rows, columns = np.mgrid[40:200, 60:180].reshape(2, -1)
    np.savetxt(tmp_path / "face_ind.txt", 256 * rows + columns, fmt="%d")
    (tmp_path / "BFM_UV.mat").write_bytes((files / "BFM_UV.mat").read_bytes())
    np.testing.assert_array_equal(load_region("uv43867", tmp_path).corners, load_region("uv43867", files).corners)


def test_index_files_of_the_smaller_topologies(files):
    assert len(load_region("noneck38365", files)) == 38365 and len(load_region("front35709", files)) == 35709
    np.testing.assert_array_equal(topology_indices("bfm38365", files), np.load(files / "indices.npy"))


@pytest.mark.parametrize(("region", "file"), [("uv43867", "BFM_UV.mat"), ("bfm_uvmask", "BFM_UV.mat"), ("noneck38365", "indices.npy"),
                                              ("front35709", "BFM_front_idx.mat")])
def test_missing_files_are_named_with_a_way_out(tmp_path, region, file):
    for folder in (None, tmp_path):
        with pytest.raises(ModelError, match=file) as caught:
            load_region(region, folder)
        assert caught.value.code == "model_missing" and "full53215" in caught.value.message


def test_wrong_files_are_refused(tmp_path):
    np.save(tmp_path / "indices.npy", np.arange(38365)[::-1] // 2)
    with pytest.raises(ModelError, match="different indices"):
        load_region("noneck38365", tmp_path)
    np.save(tmp_path / "indices.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelError) as caught:
        load_region("noneck38365", tmp_path)
    assert caught.value.code == "model_corrupt"
    (tmp_path / "BFM_front_idx.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    with pytest.raises((ModelError, DatasetError)):
        load_region("front35709", tmp_path)
    with pytest.raises(ArgumentError, match="region"):
        load_region("nose")


def test_the_intersection_says_so_and_mixtures_need_all_three():
    available = np.ones(COUNT, dtype=bool)
    available[5] = False
    whole = load_region("full53215")
    cut = whole.restricted(available, "bfm38365")
    assert len(cut) == COUNT - 1 and cut.name == "full53215 ∩ bfm38365 (53214 of 53215)"
    assert whole.restricted(np.ones(COUNT, dtype=bool), "x") is whole
    mixed = Region("m", np.array([[1, 2, 3], [3, 4, 5], [6, 7, 8]]), np.full((3, 3), 1 / 3)).restricted(available, "t")
    np.testing.assert_array_equal(mixed.corners, [[1, 2, 3], [6, 7, 8]])


def test_topologies_are_mapped_by_their_indices(files):
    index = np.load(files / "indices.npy")
    to_basel = ToBasel("bfm38365", str(files))
    values = np.random.default_rng(0).normal(size=(38365, 3))
    mapped = to_basel(values)
    np.testing.assert_array_equal(mapped[index], values)
    assert to_basel.available.sum() == 38365 and (mapped[~to_basel.available] == 0).all()
    with pytest.raises(ModelError, match="indices.npy"):
        ToBasel("bfm38365")
    with pytest.raises(ArgumentError, match="topology"):
        ToBasel("flame")
    with pytest.raises(ArgumentError):
        ToBasel("bfm53215")(np.zeros((53490, 3)))


def test_the_open_head_lies_on_the_basel_face_linearly():
    from facerecon.evaluation.basel import load_model_data

    places, mean = open_to_basel(), load_model_data("open").mean.astype(np.float64)
    assert places.weights.min() > -1e-3
    np.testing.assert_allclose(places.weights.sum(axis=1), 1, atol=1e-9)
    to_basel = ToBasel("open-head")
    np.testing.assert_allclose(to_basel(2 * mean + [1, 2, 3]), 2 * to_basel(mean) + [1, 2, 3], atol=1e-9)
    # Basel's nose tip lies within a few millimetres of the open head's foremost place.
    assert np.abs(to_basel(mean)[8192] - mean[mean[:, 2].argmax()]).max() < 12
    with pytest.raises(ArgumentError):
        to_basel(mean[:1000])


def test_pixel_origins():
    points = np.array([[1.0, 1.0, 5.0]])
    np.testing.assert_array_equal(shift_origin(points, source="matlab1", target="zero"), [[0, 0, 5]])
    np.testing.assert_array_equal(shift_origin(points, source="zero", target="matlab1"), [[2, 2, 5]])
    assert shift_origin(points, source="zero", target="zero") is points
    with pytest.raises(ArgumentError):
        shift_origin(points, source="corner", target="zero")


def test_the_projection_by_hand():
    # One vertex, f = 0.002 px/um, no rotation: Q = 2 px/mm * (x, y, z) + t; u0 = Qx - 1, v0 = 450 - Qy, depth = -Qz.
    from facerecon.evaluation.truth import FaceTruth

    dense = DenseTruth(mean=np.array([[10.0, 20, 30]]), identity=np.zeros((1, 1, 3)), expression=np.zeros((1, 1, 3)),
                       keypoints=np.zeros(68, int), title="t")
    truth = FaceTruth("a", (450, 450), np.zeros((68, 3)), np.zeros(3), np.diag([1.0, -1, -1]), np.zeros(199), np.zeros(29),
                      np.array([100.0, 200, 7]), 0.002)
    np.testing.assert_allclose(dense.vertices([truth])[0, 0], [2 * 10 + 100 - 1, 450 - (2 * 20 + 200), -(2 * 30 + 7)])
    # A negative scale is followed, as image04157 needs.
    mirrored = dense.vertices([dataclasses.replace(truth, scale=-0.002)])[0, 0]
    np.testing.assert_allclose(mirrored, [-20 + 99, 450 - (-40 + 200), -(-60 + 7)])


def test_coefficients_beyond_the_model_are_left_out_and_too_few_refused(truths, dense):
    same = dataclasses.replace(truths[0], shape=np.concatenate([truths[0].shape[:3], np.full(196, 1e6)]))
    np.testing.assert_array_equal(dense.vertices([same]), dense.vertices(truths[:1]))
    with pytest.raises(ArgumentError, match="at least 3"):
        dense.vertices([dataclasses.replace(truths[0], shape=np.zeros(2))])
