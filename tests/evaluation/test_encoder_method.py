"""Encoders as a method of the evaluator, the truth's PNCC, and synthetic archives as a benchmark."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from facerecon.cli.evaluate import app
from facerecon.data.datasets import camera_from_zhu
from facerecon.detection import CropRule, cut_square
from facerecon.errors import ArgumentError, ModelError
from facerecon.evaluation.benchmark import Benchmark
from facerecon.evaluation.encoder_method import EncoderMethod
from facerecon.evaluation.methods import MethodSpec, landmark_box
from facerecon.evaluation.predict import DatasetSpec, predict
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.protocol import preset
from facerecon.evaluation.synthetic import MODEL_KEY
from facerecon.evaluation.truth import truth_from_sample
from facerecon.evaluation.truth_code import TruthCodes
from facerecon.geometry import ScaledOrthographicPose
from facerecon.mofa import CodeLayout, EncoderFacts, FaceEncoder, save_encoder
from facerecon.morphable import load_model
from facerecon.pncc import CodeSurface, recover_pose
from facerecon.synthesis import read_archive
from facerecon.synthesis.archive import write_index
from facerecon.synthesis.production import make_block
from facerecon.synthesis.source import HeadOptions

HEADS = 4


@pytest.fixture(scope="module")
def model():
    return load_model("open")


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """An archive of four heads."""
    folder = tmp_path_factory.mktemp("heads")
    make_block(folder, HeadOptions(HEADS, seed=5, size=96).open(), 0)
    write_index(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, model):
    """Files of encoders of three and of six channels with random weights, whose codes depend on all that they see."""
    folder, files = tmp_path_factory.mktemp("encoders"), {}
    for channels in (3, 6):
        torch.manual_seed(channels)
        encoder = FaceEncoder(layout=CodeLayout.of(model), channels=channels).eval()
        with torch.no_grad():
            encoder.trunk.fc.weight.normal_(std=0.02)
            encoder.trunk.conv1.weight[:, 3:].normal_(std=0.05)
        files[channels] = save_encoder(folder / f"{channels}.safetensors", encoder, EncoderFacts.of(model))
    return files


@pytest.fixture(scope="module")
def bench(heads):
    return Benchmark(DatasetSpec(str(heads), kind="synthetic"))


def test_an_archive_is_a_benchmark_with_its_own_parameters(heads, bench, model):
    archive = read_archive(heads)
    assert bench.names == tuple(name.removesuffix(".jpg") for name in archive.names)
    for index, sample in enumerate(bench.samples):
        truth = bench.truths[index]
        np.testing.assert_array_equal(sample.image, archive.images[index])
        np.testing.assert_allclose(truth.landmarks68[:, :2], archive.truth["points68"][index], atol=1e-3)
        np.testing.assert_allclose(truth.euler_deg, archive.truth["euler_deg"][index], atol=1e-3)
        np.testing.assert_allclose(truth.rotation, archive.truth["rotation"][index], atol=1e-5)
        assert truth.scale * 1000 == pytest.approx(archive.truth["scale"][index])
        # The true mesh and the true landmarks lie at one depth, growing away; the topologies' landmarks differ by millimetres.
        mesh = bench.dense.vertices([truth])[0][bench.dense.keypoints]
        assert np.abs(np.ptp((mesh - truth.landmarks68)[:, 2])) < 0.15 * np.ptp(mesh[:, 2])


def perfect(bench, model) -> list[Prediction]:
    """The truth in the open topology: what a perfect encoder would say."""
    made = []
    for sample, truth in zip(bench.samples, bench.truths):
        camera = camera_from_zhu(sample.pose_para, sample.image_height)
        pose = ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32) for part in camera))
        parts = (torch.tensor(values, dtype=torch.float32) for values in (sample.shape_para, sample.exp_para))
        made.append(Prediction(name=sample.name, landmarks68=truth.landmarks68, rotation=truth.rotation,
                               vertices=pose.project(model.vertices(*parts)).detach().numpy()))
    return made


def stored(folder, bench, items):
    config = {"method": "made", "topology": "open-head", "crop_from": None, "model": None}
    store = PredictionStore.create(folder, config, bench.names)
    for index, item in enumerate(items):
        store.put(index, item)
    return store


def test_the_true_mesh_scores_zero_and_known_errors_what_arithmetic_says(tmp_path, bench, model):
    config, items = preset("sadrnet", region="open_face", rec_align="similarity"), perfect(bench, model)
    table = bench.score(stored(tmp_path / "true", bench, items), config)
    assert not table.missing and table.context["dense_truth"] == "open-head, all 102 + 52"
    for name, values in table.metrics.items():
        assert np.abs(values).max() < (1e-4 if name in ("nme2d", "nme3d", "dense2d", "dense3d", "rec") else 0.05), name
    # A shift in the image is an error of its length over the box; neither shape nor yaw know of it.
    move = np.array([3.0, 4.0, 50.0])
    moved = [dataclasses.replace(item, landmarks68=item.landmarks68 + move, vertices=item.vertices + move.astype(np.float32))
             for item in items]
    table = bench.score(stored(tmp_path / "moved", bench, moved), config)
    from facerecon.evaluation.topology import open_face_vertices
    from facerecon.metrics import box_size

    meshes = bench.dense.vertices(bench.truths)[:, open_face_vertices()]
    np.testing.assert_allclose(table.metrics["dense2d"], 5 / box_size(meshes), rtol=1e-3)
    np.testing.assert_allclose(table.metrics["dense3d"], 5 / box_size(meshes), rtol=1e-3)
    assert table.metrics["rec"].max() < 1e-4 and table.metrics["yaw"].max() < 1e-6
    # A mesh turned by hand with its rotation: the yaw says so, the shape alone does not.
    turn = np.array([[np.cos(0.2), 0, np.sin(0.2)], [0, 1, 0], [-np.sin(0.2), 0, np.cos(0.2)]])
    turned = [dataclasses.replace(item, rotation=turn @ item.rotation, vertices=(item.vertices @ turn.T).astype(np.float32))
              for item in items]
    table = bench.score(stored(tmp_path / "turned", bench, turned), config)
    assert table.metrics["rec"].max() < 1e-4 and table.metrics["geodesic"].min() == pytest.approx(np.degrees(0.2), abs=1e-3)
    assert table.metrics["dense3d"].min() > 0.02


def test_a_prediction_is_the_code_of_the_crop_in_photo_pixels(bench, model, encoders):
    method, sample = EncoderMethod(MethodSpec("encoder", weights=str(encoders[3]), crop_from="gt68")), bench.samples[1]
    try:
        assert torch.get_num_threads() == 1
        made = method.run(sample)
        crop = CropRule().crop(landmark_box(truth_from_sample(sample).landmarks68), size=128, box_of="points")
        code = method._predictor.predict_crops(cut_square(sample.image, crop)[None])
    finally:
        method.close()
    vertices = model.vertices(code.identity[0], code.expression[0])
    expected = crop.to_image(code.pose(0).project(vertices).detach().numpy())
    np.testing.assert_allclose(made["vertices"], expected, atol=5e-3)
    np.testing.assert_allclose(made["rotation"], code.rotation[0], atol=1e-6)
    # The landmarks are places of that very mesh.
    points = model.landmarks("ibug68", code.identity[0], code.expression[0])
    np.testing.assert_allclose(made["landmarks68"], crop.to_image(code.pose(0).project(points).detach().numpy()), atol=5e-3)
    assert method.about["topology"] == "open-head" and method.about["crop_from"] == "gt68"


def test_the_true_code_tells_the_true_pose(bench, model):
    codes, surface = TruthCodes(model), CodeSurface(model)
    for index in (0, 2):
        sample, truth = bench.samples[index], bench.truths[index]
        crop = CropRule().crop(landmark_box(truth.landmarks68), size=128, box_of="points")
        code = codes(sample, crop)
        assert code.shape == (128, 128, 3) and code.dtype == np.float32 and 0.1 < (code > 0).any(-1).mean() < 0.7
        found = recover_pose(surface.match(code), surface.mean)
        # The mean face explains this head to some millimetres; the places of the nose's tip agree to a few pixels.
        tip = found.pose.project(model.landmarks("ibug68", *(torch.tensor(part, dtype=torch.float32) for part in (
            sample.shape_para, sample.exp_para))))[30, :2].detach().numpy()
        assert np.linalg.norm(crop.to_image(tip) - truth.landmarks68[30, :2]) * crop.scale < 6
        turn = found.pose.rotation.double().numpy() @ truth.rotation.T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 10


def test_a_basel_truth_takes_the_colours_where_it_lies_on_the_open_head(model, basel_file, benchmark_folder, truths, dense):
    from facerecon.evaluation.topology import open_to_basel

    codes, samples = TruthCodes(model, str(basel_file)), DatasetSpec(str(benchmark_folder)).open()
    sample, truth = samples[0], truths[0]
    crop = CropRule().crop(landmark_box(truth.landmarks68), size=64, box_of="points")
    code = codes(sample, crop)
    assert code.shape == (128, 128, 3) and 0 <= code.min() and code.max() <= 1 and 0.02 < (code > 0).any(-1).mean() < 0.9
    # At the pixel of a vertex that is seen stands the colour of its place: vertices of the nose's ridge, which nothing hides.
    colours = open_to_basel().carry(model.ncc.clamp(0, 1).numpy())[dense.keypoints[27:31]]
    mesh = dataclasses.replace(crop, size=128).to_crop(dense.vertices([truth])[0][dense.keypoints[27:31]])
    near = [np.abs(code[int(round(y)) - 1:int(round(y)) + 2, int(round(x)) - 1:int(round(x)) + 2] - colour).max(-1).min()
            for (x, y, _), colour in zip(mesh, colours)]
    assert max(near) < 0.06
    with pytest.raises(ModelError, match="convert-basel") as refused:
        TruthCodes(model)(sample, crop)
    assert refused.value.code == "model_missing"
    strange = dataclasses.replace(sample, attributes={MODEL_KEY: "0" * 64})
    with pytest.raises(ModelError, match="another face model"):
        codes(strange, crop)


def test_the_code_is_an_input_that_counts(tmp_path, heads, bench, encoders):
    data = DatasetSpec(str(heads), kind="synthetic", limit=2)
    spec = MethodSpec("encoder", weights=str(encoders[6]), pncc="truth", crop_from="gt68")
    store = predict(data, spec, tmp_path / "true")
    assert [item.status for item in store] == ["ok", "ok"] and "PNCC of the truth" in store.config["method"]
    assert not {"weights", "pncc", "basel", "model"} & set(store.config["spec"])
    method = EncoderMethod(spec)
    try:
        sample = bench.samples[0]
        with_code = method.run(sample)
        method._codes = lambda *_: np.zeros((128, 128, 3), np.float32)
        without = method.run(sample)
    finally:
        method.close()
    np.testing.assert_array_equal(with_code["vertices"], store[0].vertices)
    assert np.abs(with_code["vertices"] - without["vertices"]).max() > 0.05


@pytest.mark.parametrize(("channels", "pncc", "text"), [(3, "truth", "without PNCC input"), (6, None, "with PNCC input")])
def test_an_encoder_gets_the_input_it_was_trained_with(encoders, channels, pncc, text):
    with pytest.raises(ArgumentError, match=text):
        EncoderMethod(MethodSpec("encoder", weights=str(encoders[channels]), pncc=pncc))


def test_wrong_requests_are_refused_before_any_work(encoders):
    with pytest.raises(ArgumentError, match="--weights"):
        EncoderMethod(MethodSpec("encoder"))
    with pytest.raises(ArgumentError, match="for method encoder alone"):
        MethodSpec("fit", weights="w")
    with pytest.raises(ArgumentError, match="kind"):
        DatasetSpec(".", kind="other").open()


def test_the_verb(tmp_path, benchmark_folder, basel_file, encoders):
    out = tmp_path / "out"
    arguments = ["aflw2000", benchmark_folder, "--method", "encoder", "--weights", encoders[6], "--pncc", "truth",
                 "--basel", basel_file, "--region", "open_face", "--crop-from", "gt68", "--limit", 2, "-o", out, "--no-plots", "--json", "--quiet"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["found"] == 2 and "PNCC of the truth (Basel" in report["context"]["method"]
    metrics = {row["metric"]: row["mean_all"] for row in report["views"]["found"]["metrics"]}
    assert {"dense2d", "dense3d", "rec", "yaw"} <= set(metrics) and all(np.isfinite(value) for value in metrics.values())
