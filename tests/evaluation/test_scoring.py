"""Scores against arithmetic: perfect predictions, known perturbations, misses, switches, resumed runs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from facerecon.errors import ArgumentError, DatasetError, FaceError
from facerecon.evaluation.placement import image_box, place_in_box
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.protocol import preset
from facerecon.evaluation.score import score
from facerecon.evaluation.scores import read_scores_csv
from facerecon.evaluation.scoring import dense_variants
from facerecon.metrics import box_size, rotation_from_euler_deg, sparse_nme

FULL = preset("sadrnet", region="full53215")
METRICS = ("nme2d", "nme3d", "dense2d", "dense3d", "rec", "pitch", "yaw", "roll", "mae", "geodesic")


class InMemory:
    """Predictions as a list."""

    def __init__(self, predictions, topology="bfm53215"):
        self.items, self.names = list(predictions), tuple(item.name for item in predictions)
        self.config = {"topology": topology}

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]

    def state(self):
        return "state"


@pytest.fixture(scope="module")
def meshes(truths, dense):
    return dense.vertices(truths)


def predictions(truths, meshes, change=lambda points: points, turn=None):
    return InMemory([Prediction(name=truth.name, landmarks68=change(truth.landmarks68), vertices=change(mesh),
                                rotation=truth.rotation if turn is None else turn @ truth.rotation)
                     for truth, mesh in zip(truths, meshes)])


def table(source, truths, dense, sparse_miss, config=FULL, **more):
    return score(source, truths, config, sparse_miss=sparse_miss, dense=dense, **more)


def test_the_landmarks_are_the_vertices(truths, dense, meshes):
    stored = np.stack([truth.landmarks68 for truth in truths])
    assert np.abs(meshes[:, dense.keypoints] - stored).max() < 0.01


def test_a_perfect_prediction_scores_zero_everywhere(truths, meshes, dense, sparse_miss):
    result = table(predictions(truths, meshes), truths, dense, sparse_miss)
    assert set(result.metrics) == set(METRICS) and not result.missing
    for name in METRICS:
        assert np.abs(result.metrics[name]).max() < 1e-6, name
    assert result.found.all() and np.bincount(result.bins).tolist() == [4, 4, 4]


def test_one_pixel_to_the_right_costs_one_over_the_box(truths, meshes, dense, sparse_miss):
    result = table(predictions(truths, meshes, lambda points: points + [1, 0, 0]), truths, dense, sparse_miss)
    landmarks = np.stack([truth.landmarks68 for truth in truths])
    np.testing.assert_allclose(result.metrics["nme2d"], 1 / box_size(landmarks), rtol=1e-6)
    np.testing.assert_allclose(result.metrics["nme3d"], 1 / box_size(landmarks), rtol=1e-6)
    np.testing.assert_allclose(result.metrics["dense2d"], 1 / box_size(meshes), rtol=1e-6)
    assert result.metrics["rec"].max() < 1e-6
    by_landmarks = table(predictions(truths, meshes, lambda points: points + [1, 0, 0]), truths, dense, sparse_miss,
                         preset("sadrnet", region="full53215", bbox_from="kpt68"))
    np.testing.assert_allclose(by_landmarks.metrics["dense2d"], 1 / box_size(landmarks), rtol=1e-6)


def test_a_shift_in_depth_costs_nothing_unless_it_is_not_taken_out(truths, meshes, dense, sparse_miss):
    source = predictions(truths, meshes, lambda points: points + [0, 0, 40.0])
    result = table(source, truths, dense, sparse_miss)
    assert max(result.metrics[name].max() for name in ("nme2d", "nme3d", "dense2d", "dense3d", "rec")) < 1e-6
    raw = table(source, truths, dense, sparse_miss, preset("sadrnet", region="full53215", z_align="none"))
    np.testing.assert_allclose(raw.metrics["dense3d"], 40 / box_size(meshes), rtol=1e-6)


def test_whose_mean_depth_is_aligned(truths, meshes, dense, sparse_miss):
    # Only the 68 vertices come 10 px nearer: aligned by them everything else is 10 px off, aligned by all hardly anything.
    moved = meshes.copy()
    moved[:, dense.keypoints, 2] -= 10
    source = InMemory([Prediction(name=truth.name, landmarks68=truth.landmarks68, vertices=mesh)
                       for truth, mesh in zip(truths, moved)])
    share = 68 / meshes.shape[1]
    for z_align, mean in (("mean_region", 10 * (2 * share * (1 - share))), ("mean_68", 10 * (1 - share)),
                          ("none", 10 * share)):
        result = table(source, truths, dense, sparse_miss, preset("sadrnet", region="full53215", z_align=z_align))
        np.testing.assert_allclose(result.metrics["dense3d"], mean / box_size(meshes), rtol=1e-4)


def test_a_similarity_of_the_truth_reconstructs_it(truths, meshes, dense, sparse_miss):
    turn = rotation_from_euler_deg([10.0, 25.0, -5.0])
    result = table(predictions(truths, meshes, lambda points: 0.8 * points @ turn.T + [9, -4, 2]), truths, dense, sparse_miss)
    assert result.metrics["rec"].max() < 1e-6 and result.metrics["dense3d"].min() > 0.05


def test_a_turned_head_costs_its_angle(truths, meshes, dense, sparse_miss):
    # A turn about the camera's axis by 7 degrees: geodesic 7 everywhere.
    c, s = np.cos(np.radians(7.0)), np.sin(np.radians(7.0))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    result = table(predictions(truths, meshes, turn=turn), truths, dense, sparse_miss)
    np.testing.assert_allclose(result.metrics["geodesic"], 7.0, rtol=1e-9)
    assert result.metrics["nme2d"].max() < 1e-6


def test_without_a_rotation_it_comes_from_the_mesh(truths, dense, sparse_miss):
    # The mean shape itself: Procrustes finds the rotation exactly.
    plain = [dataclasses.replace(truth, shape=truth.shape * 0, expression=truth.expression * 0) for truth in truths]
    source = InMemory([Prediction(name=truth.name, landmarks68=truth.landmarks68, vertices=mesh)
                       for truth, mesh in zip(truths, dense.vertices(plain))])
    assert table(source, truths, dense, sparse_miss).metrics["geodesic"].max() < 1e-4


def miss_some(truths, meshes):
    source = predictions(truths, meshes)
    for index in (1, 5):
        source.items[index] = Prediction.miss(truths[index].name, FaceError("nothing"))
    return source


def test_misses_are_counted_and_scored_by_the_mean_face_in_the_whole_image(truths, meshes, dense, sparse_miss):
    result = table(miss_some(truths, meshes), truths, dense, sparse_miss)
    assert result.found.sum() == len(truths) - 2 and result.codes[1] == "no_face"
    stand_in = place_in_box(sparse_miss, image_box((450, 450)))
    box = stand_in["landmarks68"]
    centre = (box[:, :2].min(axis=0) + box[:, :2].max(axis=0)) / 2
    np.testing.assert_allclose(centre, 224.5)
    assert box_size(box) == pytest.approx(450)
    assert result.metrics["nme2d"][1] == pytest.approx(float(sparse_nme(box, truths[1].landmarks68)))
    assert result.metrics["yaw"][1] == pytest.approx(abs(truths[1].euler_deg[1]))
    assert result.metrics["dense2d"][1] > 0.1 and result.metrics["rec"][1] > 0
    found = result.values("nme2d", over="found")
    assert np.isnan(found[[1, 5]]).all() and np.nanmax(found) < 1e-6
    assert np.isfinite(result.values("nme2d", over="all")).all()


def test_an_image_without_truth_is_a_row_and_counts_nowhere(truths, meshes, dense, sparse_miss):
    damaged = [*truths[:3], DatasetError("image: cut", code="annotation_corrupt"), *truths[4:]]
    result = table(predictions(truths, meshes), damaged, dense, sparse_miss)
    assert len(result) == len(truths) and result.statuses[3] == "no_truth" and result.codes[3] == "annotation_corrupt"
    assert result.bins[3] == -1 and np.isnan(result.values("dense2d", over="all")[3])
    assert np.isfinite(np.delete(result.metrics["dense2d"], 3)).all()


def test_exclusions_by_angle_and_by_name(truths, meshes, dense, sparse_miss):
    absurd = dataclasses.replace(truths[2], euler_deg=np.array([0.0, 120.0, 0.0]))
    changed = [*truths[:2], absurd, *truths[3:]]
    config = preset("sadrnet", region="full53215", exclude_ids=(truths[0].name,))
    result = table(predictions(truths, meshes), changed, dense, sparse_miss, config)
    assert result.pose_kept.tolist() == [False, True, False] + [True] * (len(truths) - 3)
    assert result.nme_kept.tolist() == [False] + [True] * (len(truths) - 1)
    assert np.isnan(result.values("yaw", over="all")[2]) and np.isfinite(result.values("yaw", over="all", exclude=False)[2])
    assert result.bins[2] == 2
    both = preset("sadrnet", region="full53215", exclude_nme="angle99", exclude_pose="none")
    swapped = table(predictions(truths, meshes), changed, dense, sparse_miss, both)
    assert not swapped.nme_kept[2] and swapped.pose_kept[2]


def test_labels_of_others(truths, meshes, dense, sparse_miss):
    source = predictions(truths, meshes)
    again = {truth.name: truth.landmarks68[:, :2] + [0, 2] for truth in truths}
    config = preset("sadrnet", region="full53215", annotation="reannotated", yaw_labels="aflw")
    result = table(source, truths, dense, sparse_miss, config, landmarks2d=again, yaw_labels=np.full(len(truths), 45.0))
    np.testing.assert_allclose(result.metrics["nme2d"], 2 / box_size(np.stack(list(again.values()))), rtol=1e-6)
    assert (result.bins == 1).all() and "nme3d" in result.missing and "nme3d" not in result.metrics
    for switch in ({"annotation": "reannotated"}, {"yaw_labels": "aflw"}):
        with pytest.raises(ArgumentError, match="--labels"):
            table(source, truths, dense, sparse_miss, preset("sadrnet", region="full53215", **switch))


def test_what_cannot_be_computed_says_why(truths, meshes, dense, sparse_miss):
    source = predictions(truths, meshes)
    without_model = score(source, truths, FULL, sparse_miss=sparse_miss)
    assert "convert-basel" in without_model.missing["dense2d"] and "dense2d" not in without_model.metrics
    licensed = table(source, truths, dense, sparse_miss, preset("sadrnet"))
    assert "BFM_UV.mat" in licensed.missing["rec"] and licensed.metrics["nme2d"].max() < 1e-6
    landmarks_only = InMemory([dataclasses.replace(item, vertices=None) for item in source.items], topology=None)
    assert "no mesh" in table(landmarks_only, truths, dense, sparse_miss).missing["dense3d"]


def test_every_switch_is_scored_and_the_presets_are_among_them(truths, meshes, dense, sparse_miss):
    generator = np.random.default_rng(0)
    few = truths[:1]
    noisy = predictions(few, meshes, lambda points: points + generator.normal(size=points.shape))
    result = table(noisy, few, dense, sparse_miss, switches=True)
    variants = dense_variants(FULL)
    assert len(variants) == 2 + 8 + 24 and set(variants) <= set(result.metrics)
    assert all(np.isfinite(result.metrics[name]).all() for name in variants)
    assert result.metrics["dense3d bbox=region z=mean_region"] == result.metrics["dense3d"]
    assert result.metrics["rec align=sadrnet_closed_form dist=index norm=interocular3d_outer"] == result.metrics["rec"]
    assert result.metrics["dense2d bbox=kpt68"] != result.metrics["dense2d"]
    assert (result.metrics["rec align=similarity dist=nearest norm=interocular3d_outer"]
            < result.metrics["rec align=similarity dist=index norm=interocular3d_outer"])


def test_names_must_match(truths, meshes, dense, sparse_miss):
    with pytest.raises(ArgumentError, match="one for each of"):
        table(predictions(truths[1:], meshes[1:]), truths, dense, sparse_miss)
    with pytest.raises(ArgumentError, match="order of the data set"):
        table(predictions(truths[::-1], meshes[::-1]), truths, dense, sparse_miss)


def test_threads_and_a_resumed_run_change_nothing(tmp_path, truths, meshes, dense, sparse_miss):
    generator = np.random.default_rng(2)
    source = predictions(truths, meshes, lambda points: points + generator.normal(size=points.shape))
    source.items[4] = Prediction.miss(truths[4].name, FaceError("nothing"))
    whole = table(source, truths, dense, sparse_miss, log=tmp_path / "log").to_csv()
    assert table(source, truths, dense, sparse_miss, threads=1).to_csv() == whole
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    assert len(lines) == 1 + len(truths)
    for kept, torn in ((0, ""), (3, '{"status": "o'), (8, ""), (len(truths), "")):
        (tmp_path / "log").write_text("".join(lines[:1 + kept]) + torn)
        resumed = table(source, truths, dense, sparse_miss, log=tmp_path / "log")
        assert resumed.to_csv() == whole and list(resumed.metrics) == list(METRICS)
        assert (tmp_path / "log").read_text() == "".join(lines)


def test_rows_of_another_configuration_are_not_reused(tmp_path, truths, meshes, dense, sparse_miss):
    source = predictions(truths, meshes, lambda points: points + [1, 0, 0])
    table(source, truths, dense, sparse_miss, log=tmp_path / "log")
    other = preset("sadrnet", region="full53215", bbox_size="diag")
    again = table(source, truths, dense, sparse_miss, other, log=tmp_path / "log")
    fresh = table(source, truths, dense, sparse_miss, other)
    assert again.to_csv() == fresh.to_csv()
    assert json.loads((tmp_path / "log").read_text().splitlines()[0])["config"] == other.fingerprint()


def test_the_csv_gives_the_numbers_back(tmp_path, truths, meshes, dense, sparse_miss):
    result = table(miss_some(truths, meshes), truths, dense, sparse_miss)
    again = read_scores_csv(result.write_csv(tmp_path / "scores.csv"), config=result.config, context=result.context)
    assert again.names == result.names and again.codes == result.codes and (again.bins == result.bins).all()
    for name, values in result.metrics.items():
        np.testing.assert_array_equal(again.metrics[name], values)


def test_a_store_scores_as_the_list_does(tmp_path, truths, meshes, dense, sparse_miss):
    source = predictions(truths, meshes, lambda points: points + [1, 2, 3])
    store = PredictionStore.create(tmp_path / "p", source.config, source.names)
    for index, item in enumerate(source.items):
        store.put(index, item)
    a, b = table(store, truths, dense, sparse_miss), table(source, truths, dense, sparse_miss)
    for name in METRICS:
        # The store holds single precision.
        np.testing.assert_allclose(a.metrics[name], b.metrics[name], atol=1e-5)
