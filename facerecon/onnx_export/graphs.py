"""What an ONNX file of a weights file computes: photo crops in, and what facerecon's own predictors read from them out.

| weights      | input `image`, float32 in [0, 1]            | outputs                                                      |
|--------------|---------------------------------------------|--------------------------------------------------------------|
| mofa encoder | (B, 3, S, S) RGB; (B, 6, S, S) RGB and PNCC | `code` (B, N): raw numbers; the metadata says what they are  |
| landmarks    | (B, 3, S, S) RGB                            | `heatmaps` (B, L, 128, 128); `landmarks` (B, L, 2) px of the |
|              |                                             | crop; `confidence` (B, L)                                    |
| pncc         | (B, 3, S, S) RGB                            | `maps` (B, 3, 128, 128) raw; `pncc` the same, background 0   |

Means and deviations are taken off inside the graph. The first output is the network's own; the others are decoded from it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facerecon import __version__
from facerecon.alignment.heatmaps import decode_heatmaps
from facerecon.alignment.task import TASK as LANDMARKS
from facerecon.alignment.task import LandmarkTask
from facerecon.errors import ModelError
from facerecon.files import sha256_file
from facerecon.gmda import MAP_SIZE, load_network, normalise
from facerecon.mofa import CodeLayout, FaceEncoder, load_encoder
from facerecon.mofa.weights import KIND as ENCODER
from facerecon.pncc.code import cleaned
from facerecon.pncc.task import TASK as PNCC
from facerecon.pncc.task import PnccTask
from facerecon.tensorfile import read_tensors

SCHEMA = 1
INPUT = "image"
WANTED = "weights of a mofa, landmarks or pncc recipe, as `facerecon train` writes them"
Decoding = Callable[[Tensor], tuple[Tensor, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A network with everything around it that the file will hold.

    Attributes:
        title: what it is, for messages.
        module: (B, channels, image_size, image_size) float32 in [0, 1] to a tuple of tensors, one for each output.
        channels, image_size: of the input.
        outputs: name -> shape without the batch, of what `module` gives.
        network: the same input to the first output, by facerecon's own parts.
        decode: the first output to the others, by facerecon's own parts.
        ranges: of the other outputs: how far their values can lie apart.
        record: what the file says of itself, plain JSON values.
    """

    title: str
    module: nn.Module
    channels: int
    image_size: int
    outputs: Mapping[str, tuple[int, ...]]
    network: Callable[[Tensor], Tensor]
    decode: Decoding
    ranges: tuple[float, ...]
    record: Mapping[str, Any]


def load_graph(weights: str | os.PathLike[str]) -> OnnxGraph:
    """The graph of a weights file; its header says which of the three it is.

    Raises:
        ModelError: `model_missing`, `unsafe_format`, `model_corrupt`; `model_invalid` for any other network, such as an
            autoencoder.
    """
    path = Path(weights)
    _, header = read_tensors(path, wanted=WANTED)
    kind = header.get("kind") if isinstance(header, dict) else None
    if kind == ENCODER:
        graph = encoder_graph(load_encoder(path).encoder, header)
    else:
        task = header.get("task") if isinstance(header, dict) else None
        name = task.get("name") if isinstance(task, dict) else None
        if name not in (LANDMARKS, PNCC):
            raise ModelError(f"{path}: wanted {WANTED}; got kind {kind!r}, task {name!r}")
        loaded = load_network(path)
        try:
            graph = (landmark_graph if name == LANDMARKS else pncc_graph)(loaded.network, loaded.header)
        except ModelError as error:
            raise ModelError(f"{path}: {error.message}", code=error.code) from error
    source = {"file": path.name, "sha256": sha256_file(path)}
    return dataclasses.replace(graph, record={**graph.record, "weights": source, "header": header})


def encoder_graph(encoder: FaceEncoder, header: Mapping[str, Any]) -> OnnxGraph:
    """The graph of a face encoder; `read_code` and docs/mofa.md say what the numbers mean."""
    layout: CodeLayout = encoder.layout
    places = {name: [part.start, part.stop] for name, part in layout.slices.items()}
    record = {**_record(ENCODER, header.get("metrics")), "code": {"parts": places, "layout": layout.to_dict()}}
    return OnnxGraph(f"a face encoder (ResNet-{encoder.depth}{', with PNCC' if encoder.uses_pncc else ''})",
                     _Maps(encoder.eval(), _nothing), encoder.channels, encoder.image_size, {"code": (layout.size,)},
                     encoder, _nothing, (), record)


def landmark_graph(network: nn.Module, header: Mapping[str, Any]) -> OnnxGraph:
    """The graph of a heatmap network; the points are decoded as its task says.

    Raises:
        ModelError: `model_invalid` for another task, or another number of maps than its scheme has points.
    """
    task = LandmarkTask.from_dict(header.get("task"))
    count, size = len(task.scheme), network.image_size
    if network.outputs != count:
        raise ModelError(f"wanted as many maps as scheme {task.scheme.name!r} has points ({count}), got {network.outputs}")
    decode = functools.partial(decode_heatmaps, image_size=size, method=task.decoding)
    # Torch remembers the constants of the decoding; remembered while a graph is recorded, they would belong to that graph.
    decode(torch.zeros(1, 1, MAP_SIZE, MAP_SIZE))
    record = {**_record(LANDMARKS, header.get("metadata")), "decoding": task.decoding}
    return OnnxGraph(f"a landmark network ({task.scheme.name})", _Maps(_Centred(network.eval()), decode), 3, size,
                     {"heatmaps": (count, MAP_SIZE, MAP_SIZE), "landmarks": (count, 2), "confidence": (count,)},
                     _Centred(network), decode, (float(size), 1.0), record)


def pncc_graph(network: nn.Module, header: Mapping[str, Any]) -> OnnxGraph:
    """The graph of a PNCC network.

    Raises:
        ModelError: `model_invalid` for another task, or a network of other than three maps.
    """
    task = PnccTask.from_dict(header.get("task"))
    if network.outputs != 3:
        raise ModelError(f"wanted a network of three maps, x, y and z; got {network.outputs}")
    sides = (3, MAP_SIZE, MAP_SIZE)
    record = {**_record(PNCC, header.get("metadata")), "least": task.least}
    return OnnxGraph(f"a PNCC network (codes of {task.model!r})", _Maps(_Centred(network.eval()), _Cleaned(task.least)), 3,
                     network.image_size, {"maps": sides, "pncc": sides}, _Centred(network),
                     functools.partial(_cleaned, least=task.least), (1.0,), record)


def _record(kind: str, facts: Any) -> dict[str, Any]:
    licence = facts.get("licence") if isinstance(facts, Mapping) else None
    return {"schema": SCHEMA, "kind": kind, "facerecon": __version__, "licence": str(licence or "not stated")}


class _Maps(nn.Module):
    """A network and what is decoded from its output, as one module."""

    def __init__(self, network: nn.Module, decode: Decoding) -> None:
        super().__init__()
        self.network, self.decode = network, decode

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.network(image)
        return maps, *self.decode(maps)


class _Centred(nn.Module):
    """A network of the autoencoder's images, which lack the mean, on images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(normalise(image))


class _Cleaned(nn.Module):
    """`facerecon.pncc.code.cleaned` for a graph, channels first."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least

    def forward(self, maps: Tensor) -> tuple[Tensor]:
        code = maps.clamp(0.0, 1.0)
        return (torch.where(code.amax(dim=1, keepdim=True) >= self.least, code, torch.zeros_like(code)),)


def _cleaned(maps: Tensor, *, least: float) -> tuple[Tensor]:
    return (torch.from_numpy(cleaned(maps.permute(0, 2, 3, 1).numpy(), least=least)).permute(0, 3, 1, 2),)


def _nothing(maps: Tensor) -> tuple[Tensor, ...]:
    return ()
