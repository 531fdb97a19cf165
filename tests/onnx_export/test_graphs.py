"""The graphs do what facerecon's predictors do, and what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.alignment import LandmarkPredictor, LandmarkScheme, LandmarkTask, decode_heatmaps, encode_heatmaps
from facerecon.errors import ModelError
from facerecon.gmda import build_adapted, build_autoencoder, normalise
from facerecon.onnx_export import load_graph, write_onnx
from facerecon.onnx_export.graphs import landmark_graph, pncc_graph
from facerecon.pncc import PnccPredictor, PnccTask
from facerecon.tensorfile import write_tensors

from .conftest import HEADERS, SCHEME, Echo


def spots(points) -> np.ndarray:
    """Pictures (B, 3, 128, 128) with a spot of light for each (B, 3, 2) point, one in each colour."""
    return encode_heatmaps(torch.tensor(points, dtype=torch.float32), image_size=128).numpy()


def test_known_points_come_out_of_a_landmark_graph(written, session):
    places = [[[30.25, 40.5], [64.0, 99.75], [90.4, 20.1]], [[10.0, 11.5], [120.3, 64.6], [50.5, 50.5]]]
    images = spots(places)
    heatmaps, points, confidence = session(written("landmarks")[0].path).run(None, {"image": images})
    np.testing.assert_allclose(heatmaps, images, atol=1e-6)
    np.testing.assert_allclose(points, places, atol=0.02)
    brightest = images.max((2, 3)) - images.mean((2, 3))
    np.testing.assert_allclose(confidence, brightest, atol=1e-6)


def test_a_landmark_graph_agrees_with_the_predictor(written, session):
    crops = (255 * spots([[[30.25, 40.5], [64.0, 99.75], [90.4, 20.1]]])).astype(np.uint8).transpose(0, 2, 3, 1)
    wanted = LandmarkPredictor(Echo(), LandmarkTask(SCHEME)).predict_crops(crops)
    image = crops.transpose(0, 3, 1, 2).astype(np.float32) / 255
    points, confidence = session(written("landmarks")[0].path).run(["landmarks", "confidence"], {"image": image})
    np.testing.assert_allclose(points, wanted.points, atol=1e-3)
    np.testing.assert_allclose(confidence, wanted.confidence, atol=1e-6)


def test_writing_leaves_the_decoding_of_this_process_alone(written):
    written("landmarks")
    points, _ = decode_heatmaps(torch.from_numpy(spots([[[30.25, 40.5], [64.0, 99.75], [90.4, 20.1]]])), image_size=128)
    np.testing.assert_allclose(points[0], [[30.25, 40.5], [64.0, 99.75], [90.4, 20.1]], atol=0.02)


def test_a_pncc_graph_has_an_empty_background_and_agrees_with_the_predictor(written, session):
    crops = np.random.default_rng(1).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    crops[0, 0, 0], crops[0, 0, 1] = (25, 35, 30), (128, 12, 0)
    image = crops.transpose(0, 3, 1, 2).astype(np.float32) / 255
    maps, code = session(written("pncc")[0].path).run(["maps", "pncc"], {"image": image})
    np.testing.assert_allclose(maps, image, atol=1e-6)
    # 35 / 255 is below 0.15, 128 / 255 is not; a face's dark channels stay as they are.
    assert (code[0, :, 0, 0] == 0).all()
    np.testing.assert_allclose(code[0, :, 0, 1], [128 / 255, 12 / 255, 0], atol=1e-6)
    wanted = PnccPredictor(Echo(), PnccTask.from_dict(HEADERS["pncc"]["task"])).predict_crops(crops)
    np.testing.assert_allclose(code.transpose(0, 2, 3, 1), wanted, atol=1e-6)


def test_an_adapted_network_with_skip_connections_is_written(tmp_path, session):
    autoencoder = build_autoencoder(image_size=128)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        # Half the encoder's depth, for the sake of time; its stages stay.
        setattr(autoencoder.encoder, name, getattr(autoencoder.encoder, name)[:1])
    network = build_adapted(autoencoder, outputs=3, kind="hybrid", skips=True).eval()
    with torch.no_grad():
        network.head.weight.normal_(std=0.1)
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-0.1, 0.1)
                part.running_var.uniform_(0.5, 1.5)
    report = write_onnx(pncc_graph(network, HEADERS["pncc"]), tmp_path / "n.onnx")
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        wanted = network(normalise(images)).numpy()
    got = session(report.path).run(["maps"], {"image": images.numpy()})[0]
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.ptp(wanted))
    assert report.differences["maps"].share < 1e-5


@pytest.mark.parametrize("kind", ["landmarks", "pncc"])
def test_the_header_says_which_graph_it_is(tmp_path, monkeypatch, kind):
    path = write_tensors(tmp_path / "w.safetensors", {"a": np.zeros(1, np.float32)}, {"kind": "plain", **HEADERS[kind]})
    loaded = type("Loaded", (), {"network": Echo(), "header": {"kind": "plain", **HEADERS[kind]}})
    monkeypatch.setattr("facerecon.onnx_export.graphs.load_network", lambda _: loaded)
    graph = load_graph(path)
    assert graph.record["kind"] == kind and graph.record["weights"]["file"] == "w.safetensors"
    assert graph.record["header"]["task"] == HEADERS[kind]["task"]
    assert graph.record["licence"] == {"landmarks": "CC-BY-4.0", "pncc": "not stated"}[kind]


@pytest.mark.parametrize("header", [
    {"kind": "autoencoder", "task": {"name": "autoencoder"}}, {"kind": "plain", "task": {}}, {"kind": "plain", "task": 3}, {},
    [], None])
def test_other_files_are_refused(tmp_path, header):
    path = write_tensors(tmp_path / "w.safetensors", {"a": np.zeros(1, np.float32)}, header)
    with pytest.raises(ModelError, match="mofa, landmarks or pncc") as caught:
        load_graph(path)
    assert caught.value.code == "model_invalid"


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(b"\x80\x04\x95" + bytes(100))
    for name, code in (("p.safetensors", "unsafe_format"), ("gone.safetensors", "model_missing"), (".", "model_missing")):
        with pytest.raises(ModelError) as caught:
            load_graph(tmp_path / name)
        assert caught.value.code == code


def test_a_network_that_does_not_fit_its_task_is_refused():
    two = LandmarkScheme("two", ("a", "b"), (0, 1))
    with pytest.raises(ModelError, match="as many maps"):
        landmark_graph(Echo(), {"task": LandmarkTask(two).to_dict()})
    network = Echo()
    network.outputs = 4
    with pytest.raises(ModelError, match="three maps"):
        pncc_graph(network, HEADERS["pncc"])
    with pytest.raises(ModelError, match="task"):
        landmark_graph(Echo(), HEADERS["pncc"])
