"""ONNX files of trained networks: recorded by torch.export, run once by ONNX Runtime, kept if both agree."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from facerecon import __version__
from facerecon.errors import ArgumentError, BackendError
from facerecon.files import atomic_path
from facerecon.onnx_export.comparison import TOLERANCE, Difference, compare_session, first_line
from facerecon.onnx_export.graphs import INPUT, OnnxGraph, load_graph
from facerecon.tensorfile import HEADER_KEY

OPSET = 18
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class OnnxReport:
    """What was written.

    Attributes:
        path: the file. size: its bytes. title: what it holds.
        image: shape of the input without the batch.
        outputs: name -> shape without the batch.
        differences: name -> how far ONNX Runtime was from torch.
    """

    path: Path
    size: int
    title: str
    image: tuple[int, int, int]
    outputs: dict[str, tuple[int, ...]]
    differences: dict[str, Difference]


def export_onnx(weights: str | os.PathLike[str], output: str | os.PathLike[str], *, tolerance: float = TOLERANCE) -> OnnxReport:
    """Write the network of a weights file as ONNX, whole or not at all.

    Args:
        weights: a safetensors file of a mofa, landmarks or pncc recipe; see `facerecon.onnx_export.graphs` for the inputs and
            outputs of each. The batch is free. Everything is float32.
        output: the file. Its metadata has one entry `facerecon`, JSON: kind, licence, name and SHA-256 of the weights file,
            their whole header, and for an encoder where each part of the code lies.
        tolerance: largest difference from torch that is accepted, as a share of an output's span.

    Raises:
        ModelError: see `load_graph`; `onnx_differs` when ONNX Runtime does not compute what torch computes: nothing is kept.
        BackendError: `backend_missing` without the packages of the extra `onnx`, or with versions that cannot write the network
            or read it back.
        ArgumentError: for an output whose name does not end in `.onnx`. PathError: `path_write`.
    """
    return write_onnx(load_graph(weights), output, tolerance=tolerance)


def write_onnx(graph: OnnxGraph, output: str | os.PathLike[str], *, tolerance: float = TOLERANCE) -> OnnxReport:
    """As `export_onnx`, for a graph that is loaded already."""
    path = Path(output)
    if path.suffix != ".onnx":
        raise ArgumentError(f"output: wanted a file name that ends in .onnx, got {path.name}")
    _check_packages()
    with atomic_path(path) as temporary:
        content = _recorded(graph).SerializeToString()
        temporary.write_bytes(content)
        differences = compare_session(_session(temporary), graph, tolerance=tolerance)
    image = (graph.channels, graph.image_size, graph.image_size)
    return OnnxReport(path, len(content), graph.title, image, dict(graph.outputs), differences)


def _recorded(graph: OnnxGraph) -> Any:
    """The graph as an `onnx.ModelProto`."""
    # Two images, since a batch of one would be taken for a constant.
    example = torch.zeros(2, graph.channels, graph.image_size, graph.image_size)
    try:
        # Torch warns of its own inner workings here, which nobody can act on.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.module.eval(), (example,), dynamo=True, opset_version=OPSET, input_names=[INPUT],
                output_names=list(graph.outputs), dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)
    except torch.onnx.OnnxExporterError as error:
        raise BackendError(f"{graph.title} cannot be written as ONNX with torch {torch.__version__} ({first_line(error)}); "
                           "install the versions of constraints.txt", code="backend_missing") from error
    model = program.model_proto
    _strip(model.graph)
    for function in model.functions:
        _strip(function)
    model.producer_name, model.producer_version = "facerecon", __version__
    model.graph.name = graph.record["kind"]
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = HEADER_KEY, json.dumps(graph.record, sort_keys=True)
    return model


def _strip(part: Any) -> None:
    """Take off where in the source each node comes from: paths of the machine that it was written on."""
    kept = [part, *part.node]
    for name in ("input", "output", "value_info", "initializer"):
        kept += [value for value in getattr(part, name, ()) if not isinstance(value, str)]
    for value in kept:
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
        value.doc_string = ""


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    # Its errors have no class in common.
    except Exception as error:
        raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot read what was written ({first_line(error)}); "
                           "install the versions of constraints.txt", code="backend_missing") from error


def _check_packages() -> None:
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise BackendError(f"writing ONNX needs the package {name}, which is not installed: pip install facerecon[onnx]",
                               code="backend_missing") from error
