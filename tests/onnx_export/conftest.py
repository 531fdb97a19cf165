"""Networks small enough to be written in a second, whose outputs are known by hand."""

from __future__ import annotations

import pytest
import torch

from facerecon.alignment import LandmarkScheme, LandmarkTask
from facerecon.gmda import denormalise
from facerecon.onnx_export import OnnxGraph, write_onnx
from facerecon.onnx_export.graphs import landmark_graph, pncc_graph
from facerecon.pncc import PnccTask

SCHEME = LandmarkScheme("colours", ("red", "green", "blue"), (0, 1, 2))
HEADERS = {
    "landmarks": {"task": LandmarkTask(SCHEME).to_dict(), "metadata": {"licence": "CC-BY-4.0"}},
    "pncc": {"task": PnccTask("a model", "0" * 64, (-1.0, -2.0, -3.0), (1.0, 2.0, 3.0)).to_dict(), "metadata": {}},
}


class Echo(torch.nn.Module):
    """The colour channels of the picture as maps."""

    image_size, outputs = 128, 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images):
        return self.conv(denormalise(images))


@pytest.fixture(autouse=True)
def _one_thread_one_seed(single_thread):
    torch.manual_seed(0)


def echo_graph(kind: str) -> OnnxGraph:
    return {"landmarks": landmark_graph, "pncc": pncc_graph}[kind](Echo(), HEADERS[kind])


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """written(kind) -> (report, graph) of an Echo, written once."""
    made = {}

    def write(kind):
        if kind not in made:
            graph = echo_graph(kind)
            made[kind] = write_onnx(graph, tmp_path_factory.mktemp(kind) / "echo.onnx"), graph
        return made[kind]

    return write


@pytest.fixture
def session():
    """session(path) -> an ONNX Runtime session."""
    import onnxruntime

    return lambda path: onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


class TorchSession:
    """What a right ONNX session of a graph gives, by torch, changed by `spoil(outputs)`."""

    def __init__(self, graph: OnnxGraph, spoil=lambda outputs: outputs) -> None:
        self.graph, self.spoil, self.batches = graph, spoil, []

    def run(self, names, feed):
        (images,) = feed.values()
        self.batches.append(len(images))
        with torch.inference_mode():
            values = self.graph.module(torch.from_numpy(images))
        return list(self.spoil({name: value.numpy().copy() for name, value in zip(names, values)}).values())
