"""Files appear when ONNX Runtime agrees with torch, and not at all otherwise."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, BackendError, ModelError
from facerecon.files import sha256_file
from facerecon.mofa import CodeLayout, EncoderFacts, FaceEncoder, save_encoder
from facerecon.onnx_export import compare_session, export_onnx, write_onnx
from facerecon.onnx_export.comparison import sample_inputs

from .conftest import TorchSession, echo_graph


def test_an_encoder_by_the_command(tmp_path, session):
    import onnx
    from typer.testing import CliRunner

    from facerecon.cli.main import app

    encoder = FaceEncoder(layout=CodeLayout(4, 3, 2))
    with torch.no_grad():
        encoder.trunk.fc.weight.normal_(std=0.1)
    encoder(torch.rand(2, 3, 128, 128))
    facts = EncoderFacts("a model", "0" * 64, "1" * 64, (4, 3, 2), metrics={"licence": "CC-BY-4.0", "step": 7})
    weights = save_encoder(tmp_path / "weights.safetensors", encoder, facts)
    output = tmp_path / "encoder.onnx"
    result = CliRunner().invoke(app, ["models", "export", str(weights), "-o", str(output)], prog_name="facerecon")
    assert result.exit_code == 0, result.output
    assert "image (B, 3, 128, 128)" in result.output and "code (B, 45)" in result.output

    running = session(output)
    assert [(part.name, part.shape[1:]) for part in running.get_inputs()] == [("image", [3, 128, 128])]
    assert not isinstance(running.get_inputs()[0].shape[0], int)
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        wanted = encoder.eval()(images).numpy()
    np.testing.assert_allclose(running.run(["code"], {"image": images.numpy()})[0], wanted, atol=1e-5 * np.ptp(wanted))

    content = output.read_bytes()
    about = json.loads({entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}["facerecon"])
    assert about["weights"] == {"file": "weights.safetensors", "sha256": sha256_file(weights)}
    assert about["kind"] == "mofa-encoder" and about["licence"] == "CC-BY-4.0" and about["header"]["metrics"]["step"] == 7
    assert about["code"]["parts"]["rotation"] == [9, 15] and about["code"]["layout"] == encoder.layout.to_dict()
    # The exporter's notes of which line of which file a node comes from stay here.
    assert b"encoder.py" not in content and b"stack_trace" not in content
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "encoder.onnx"}


def test_noise_and_photos_go_through_one_at_a_time_and_three_at_once():
    graph = echo_graph("landmarks")
    running = TorchSession(graph)
    found = compare_session(running, graph)
    assert running.batches == [1, 3, 1, 3]
    assert found["heatmaps"].largest == 0 and found["landmarks"].largest == 0 and found["landmarks"].span == 128
    inputs = list(sample_inputs(6, 64))
    assert [part.shape for part in inputs] == [(1, 6, 64, 64), (3, 6, 64, 64)] * 2
    assert all(part.dtype == np.float32 and part.min() >= 0 and part.max() <= 1 for part in inputs)
    photos = inputs[3]
    # Three faces that differ, and a head's code: present in the middle, absent in the corners.
    assert all(np.abs(photos[one, :3] - photos[two, :3]).mean() > 0.05 for one, two in ((0, 1), (0, 2), (1, 2)))
    assert (photos[:, 3:, 32, 32].max(-1) > 0.15).all() and (photos[:, 3:, 0, 0] == 0).all()


def off(name, change):
    def spoil(outputs):
        return {**outputs, name: change(outputs[name])}

    return spoil


@pytest.mark.parametrize(("name", "change"), [
    ("heatmaps", lambda maps: maps + np.float32(2e-3)), ("landmarks", lambda points: points + np.float32(0.2)),
    ("confidence", lambda values: values * 0), ("heatmaps", lambda maps: maps * np.float32(np.nan)),
    ("landmarks", lambda points: points[..., ::-1]), ("landmarks", lambda points: points[:, :2]),
], ids=["offset", "pixels", "zeros", "nan", "swapped", "shape"])
def test_differences_are_found(name, change):
    graph = echo_graph("landmarks")
    with pytest.raises(ModelError, match=name) as caught:
        compare_session(TorchSession(graph, off(name, change)), graph)
    assert caught.value.code == "onnx_differs"


def test_rounding_is_no_difference():
    graph = echo_graph("landmarks")
    found = compare_session(TorchSession(graph, off("heatmaps", lambda maps: maps + np.float32(1e-5) * maps.max())), graph)
    assert 0 < found["heatmaps"].share < 1e-4
    with pytest.raises(ModelError):
        compare_session(TorchSession(graph, off("confidence", lambda values: values + np.float32(1e-5))), graph, tolerance=1e-6)


@pytest.fixture
def goal(tmp_path):
    """A file that is there already."""
    path = tmp_path / "out" / "network.onnx"
    path.parent.mkdir()
    path.write_bytes(b"earlier")
    return path


def untouched(goal) -> bool:
    return goal.read_bytes() == b"earlier" and list(goal.parent.iterdir()) == [goal]


def test_a_file_that_differs_is_not_kept(goal, written, monkeypatch):
    import onnx

    report, graph = written("landmarks")
    monkeypatch.setattr("facerecon.onnx_export.writer._recorded", lambda _: onnx.load(report.path))
    darker = dataclasses.replace(graph, network=lambda image: 0.9 * graph.network(image))
    with pytest.raises(ModelError) as caught:
        write_onnx(darker, goal)
    assert caught.value.code == "onnx_differs" and untouched(goal)
    assert write_onnx(darker, goal, tolerance=0.2).differences["heatmaps"].share > 0.05
    assert goal.stat().st_size == report.size


def test_an_interrupted_comparison_leaves_no_file(goal, written, monkeypatch):
    import onnx

    report, graph = written("landmarks")
    seen = []

    def interrupt(session, *_, **__):
        seen.extend(goal.parent.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("facerecon.onnx_export.writer._recorded", lambda _: onnx.load(report.path))
    monkeypatch.setattr("facerecon.onnx_export.writer.compare_session", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_onnx(graph, goal)
    assert len(seen) == 2 and untouched(goal)


def test_a_runtime_that_cannot_read_the_file(goal, written, monkeypatch):
    import onnx

    report, graph = written("landmarks")
    model = onnx.load(report.path)
    model.ir_version = 10_000
    monkeypatch.setattr("facerecon.onnx_export.writer._recorded", lambda _: model)
    with pytest.raises(BackendError, match="constraints.txt") as caught:
        write_onnx(graph, goal)
    assert caught.value.code == "backend_missing" and untouched(goal)


def test_a_network_that_cannot_be_recorded(goal, monkeypatch):
    def refuse(*_, **__):
        raise torch.onnx.OnnxExporterError("no operator for this\nand a long trace")

    monkeypatch.setattr("torch.onnx.export", refuse)
    with pytest.raises(BackendError, match=r"cannot be written .*no operator for this\)") as caught:
        write_onnx(echo_graph("landmarks"), goal)
    assert caught.value.code == "backend_missing" and untouched(goal)


def test_a_graph_that_does_not_run(goal, written, monkeypatch):
    import onnx

    report, graph = written("landmarks")
    monkeypatch.setattr("facerecon.onnx_export.writer._recorded", lambda _: onnx.load(report.path))
    with pytest.raises(ModelError, match="does not run .*sureness") as caught:
        write_onnx(dataclasses.replace(graph, outputs={**graph.outputs, "sureness": (3,)}), goal)
    assert caught.value.code == "onnx_differs" and untouched(goal)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_packages(goal, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=r"pip install facerecon\[onnx\]") as caught:
        write_onnx(echo_graph("landmarks"), goal)
    assert caught.value.code == "backend_missing" and isinstance(caught.value.__cause__, ImportError) and untouched(goal)


def test_weights_are_not_written_over(tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"earlier")
    with pytest.raises(ArgumentError, match=".onnx"):
        write_onnx(echo_graph("pncc"), weights)
    with pytest.raises(ModelError):
        export_onnx(weights, weights)
    assert weights.read_bytes() == b"earlier"
