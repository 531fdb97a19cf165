"""The methods of pass one, and model files as dense truth: everything lands in the same pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facerecon.errors import ArgumentError, FaceError, ModelError
from facerecon.evaluation.basel import load_dense_truth, load_mean_face, load_model_data, topology_of
from facerecon.evaluation.methods import MethodSpec, build_method, landmark_box
from facerecon.evaluation.placement import FRONTAL, MeanFace, place_in_box
from facerecon.evaluation.predict import DatasetSpec, predict
from facerecon.metrics import box_size, geodesic_deg


def test_a_converted_model_gives_the_same_truth(basel_file, dense, truths):
    loaded = load_dense_truth(basel_file)
    assert loaded.sizes == (3, 2) and loaded.title == "Basel, 3 of 199 + 2 of 29"
    np.testing.assert_array_equal(loaded.keypoints, dense.keypoints)
    # Half-precision bases may cost a hundredth of a pixel.
    assert np.abs(loaded.vertices(truths[:3]) - dense.vertices(truths[:3])).max() < 0.02


def test_other_models_are_no_truth():
    with pytest.raises(ModelError, match="53,215"):
        load_dense_truth("open")


def test_the_open_model_is_known_by_its_topology():
    data = load_model_data("open")
    assert topology_of(data) == "open-head"
    face, name = load_mean_face("open")
    assert face.topology == "open-head" and face.vertices.shape == data.mean.shape and name.startswith("open-head (")
    assert load_mean_face("open", dense=False)[0].vertices is None


def run(benchmark_folder, spec, index=4):
    method, sample = build_method(spec), DatasetSpec(str(benchmark_folder)).open()[index]
    try:
        return method.run(sample), method.about
    finally:
        method.close()


def test_the_truth_is_the_truth(benchmark_folder, basel_file, truths, dense):
    made, about = run(benchmark_folder, MethodSpec("ground-truth", model=str(basel_file)))
    np.testing.assert_array_equal(made["landmarks68"], truths[4].landmarks68)
    assert about["topology"] == "bfm53215" and np.abs(made["vertices"][dense.keypoints] - truths[4].landmarks68).max() < 0.02
    bare, about = run(benchmark_folder, MethodSpec("ground-truth"))
    assert bare["vertices"] is None and about["topology"] is None


def test_the_mean_face_fills_the_box_of_the_true_landmarks(benchmark_folder, truths):
    made, about = run(benchmark_folder, MethodSpec("mean-face", crop_from="gt68"))
    box, wanted = landmark_box(made["landmarks68"]), landmark_box(truths[4].landmarks68)
    np.testing.assert_allclose(box[:2] + box[2:], wanted[:2] + wanted[2:])
    assert box_size(made["landmarks68"]) == pytest.approx(box_size(truths[4].landmarks68))
    np.testing.assert_array_equal(made["rotation"], FRONTAL)
    assert about["crop_from"] == "gt68" and "frontal" in about["method"]
    # Frontal: the nose is nearer to the camera than the ears' ends of the jaw.
    assert made["landmarks68"][30, 2] < made["landmarks68"][[0, 16], 2].min()


def test_the_mean_face_in_the_true_pose(benchmark_folder, basel_file, truths, dense):
    made, _ = run(benchmark_folder, MethodSpec("mean-face", model=str(basel_file), pose="truth"))
    # Exactly the truth without its coefficients.
    import dataclasses

    plain = dataclasses.replace(truths[4], shape=np.zeros(199), expression=np.zeros(29))
    expected = dense.vertices([plain])[0]
    np.testing.assert_allclose(made["vertices"][:, :2], expected[:, :2], atol=0.01)
    np.testing.assert_allclose(np.diff(made["vertices"][:, 2]), np.diff(expected[:, 2]), atol=0.02)
    other, _ = run(benchmark_folder, MethodSpec("mean-face", pose="truth"))
    assert geodesic_deg(other["rotation"], truths[4].rotation) < 1e-6
    assert box_size(other["landmarks68"]) == pytest.approx(box_size(truths[4].landmarks68))


def test_a_box_without_area_is_refused(sparse_miss):
    for box in ([0, 0, 0, 5], [5, 0, 2, 4], [0, 0, np.nan, 4]):
        with pytest.raises((FaceError, ArgumentError)):
            place_in_box(sparse_miss, np.array(box, dtype=float))
    assert isinstance(sparse_miss, MeanFace)


def test_specs_refuse_unknown_words():
    for wrong in ({"kind": "x"}, {"kind": "fit", "crop_from": "x"}, {"kind": "mean-face", "pose": "x"}, {"kind": "fit", "stages": "x"}):
        with pytest.raises(ArgumentError):
            MethodSpec(**wrong)


@pytest.fixture
def portraits(tmp_path, truths):
    """A portrait, scaled to the data set's 450 px, and noise, each with an annotation of some face."""
    from pathlib import Path

    import cv2

    folder = tmp_path / "portraits"
    folder.mkdir()
    source = Path(__file__).resolve().parents[2] / "assets" / "portraits" / "portrait_07.jpg"
    picture = cv2.resize(cv2.imread(str(source)), (450, 450), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).integers(0, 255, (450, 450, 3), dtype=np.uint8)
    for name, pixels in (("image00001", picture), ("image00002", noise)):
        cv2.imwrite(str(folder / f"{name}.jpg"), pixels)
        save_annotation(folder / f"{name}.mat", truths[0])
    return folder


def save_annotation(path, truth):
    import scipy.io

    pose = np.concatenate([np.radians(truth.euler_deg), truth.translation, [truth.scale]])
    scipy.io.savemat(path, {
        "Shape_Para": np.zeros((199, 1)), "Exp_Para": np.zeros((29, 1)), "Tex_Para": np.zeros((199, 1)), "Pose_Para": pose[None],
        "Illum_Para": np.zeros((1, 10)), "Color_Para": np.ones((1, 7)), "pt2d": np.full((2, 21), -1.0),
        "pt3d_68": (truth.landmarks68.T + [[1], [1], [0]]), "roi": np.array([[1, 1, 450, 450]])})


def test_the_fit_lands_in_the_photo(tmp_path, portraits):
    store = predict(DatasetSpec(str(portraits)), MethodSpec("fit", stages="landmarks"), tmp_path / "p")
    face, nothing = store[0], store[1]
    assert face.found and (nothing.status, nothing.code) == ("refused", "no_face")
    assert store.config["topology"] == "open-head" and store.config["crop_from"] == "detector"
    data = load_model_data("open")
    # Mesh and landmarks are in one frame: the landmarks are points of the mesh, depth included.
    located = data.embeddings["ibug68"].locate(face.vertices.astype(np.float64), data.faces)
    np.testing.assert_allclose(located, face.landmarks68, atol=0.02)
    box = landmark_box(face.landmarks68)
    assert box.min() > 0 and box.max() < 450 and 50 < box[2] - box[0] < 400
    assert face.landmarks68[30, 2] < face.landmarks68[[0, 16], 2].min() and np.linalg.det(face.rotation) == pytest.approx(1, abs=1e-4)
    assert len((tmp_path / "p" / "records.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "p" / "config.json").read_text())["config"]["spec"]["stages"] == "landmarks"
