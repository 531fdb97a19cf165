"""Does ONNX Runtime compute what facerecon computes? Run on noise and on photos, one at a time and three at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from facerecon.assets import locate
from facerecon.checks import check_range
from facerecon.data import load_image
from facerecon.detection import Crop, cut_square
from facerecon.errors import ModelError
from facerecon.onnx_export.graphs import INPUT, OnnxGraph

TOLERANCE = 1e-3
BATCHES = (1, 3)
PORTRAITS = ("portraits/portrait_00.jpg", "portraits/portrait_05.jpg", "portraits/portrait_11.jpg")
# Side of the portraits' middle that holds the face, as a share of their shorter side.
_MIDDLE = 0.7


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far an output is from facerecon's.

    Attributes:
        largest: absolute difference over all values of all inputs.
        span: highest minus lowest value, which `largest` is judged by; that of facerecon's output, or of the output's kind.
    """

    largest: float
    span: float

    @property
    def share(self) -> float:
        """largest / span."""
        return self.largest / self.span


def compare_session(session: Any, graph: OnnxGraph, *, tolerance: float = TOLERANCE) -> dict[str, Difference]:
    """Compare an `onnxruntime.InferenceSession` with the network it was made from.

    The first output is compared with the network's; the others with facerecon's decoding of the session's first output, so
    that two equally bright pixels of a map, of which rounding picks one, do not count as a difference.

    Returns:
        For each output its difference over noise and photos in batches of 1 and 3.

    Raises:
        ModelError: `onnx_differs` when an output's largest difference is above `tolerance` of its span, is not a number, or has
            another shape, or the graph does not run.
    """
    check_range("tolerance", tolerance, 0.0)
    found = dict.fromkeys(graph.outputs, 0.0)
    low, high = np.inf, -np.inf
    names = list(graph.outputs)
    for images in sample_inputs(graph.channels, graph.image_size):
        got = dict(zip(names, _answers(session, names, images)))
        with torch.inference_mode():
            wanted = [graph.network(torch.from_numpy(images)), *graph.decode(torch.from_numpy(got[names[0]]))]
        for name, value in zip(names, wanted):
            found[name] = max(found[name], _apart(name, got[name], value.numpy(), (len(images), *graph.outputs[name])))
        low, high = min(low, float(wanted[0].min())), max(high, float(wanted[0].max()))
    # A network that gives one number everywhere has no span of its own.
    spans = (max(high - low, float(np.finfo(np.float32).tiny)), *graph.ranges)
    result = {name: Difference(found[name], span) for name, span in zip(names, spans)}
    wrong = [f"{name} by {part.largest:.3g} of {part.span:.3g}" for name, part in result.items() if not part.share <= tolerance]
    if wrong:
        raise ModelError(f"the ONNX graph of {graph.title} differs from the network: {', '.join(wrong)}; wanted at most "
                         f"{tolerance:g} of it. Install the versions of constraints.txt", code="onnx_differs")
    return result


def sample_inputs(channels: int, size: int) -> Iterator[np.ndarray]:
    """Inputs (B, channels, size, size) float32 in [0, 1]: noise, then photos with the mean head's code, in `BATCHES`."""
    noise = np.random.default_rng(0)
    for count in BATCHES:
        yield noise.random((count, channels, size, size), dtype=np.float32)
    photos = np.stack([_portrait(name, size) for name in PORTRAITS])
    if channels > 3:
        code = np.broadcast_to(_mean_code(size), (len(photos), size, size, 3))
        photos = np.concatenate([photos, code], -1)
    planes = np.ascontiguousarray(photos.transpose(0, 3, 1, 2), dtype=np.float32)
    for count in BATCHES:
        yield planes[:count]


def first_line(error: Exception) -> str:
    """What another library's error says, without its dump of the graph."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _portrait(name: str, size: int) -> np.ndarray:
    pixels = load_image(os.fspath(locate(name))).pixels
    height, width = pixels.shape[:2]
    crop = Crop(((width - 1) / 2, (height - 1) / 2), _MIDDLE * min(height, width), size)
    return cut_square(pixels, crop).astype(np.float32) / 255


def _mean_code(size: int) -> np.ndarray:
    """(size, size, 3): the PNCC of the open model's mean head, from the front."""
    from facerecon.geometry import ScaledOrthographicPose
    from facerecon.morphable import load_model
    from facerecon.render import ambient_light
    from facerecon.views import PhotoView

    model = load_model()
    frontal = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    pose = ScaledOrthographicPose(frontal, torch.full((2,), size / 2), torch.tensor(size / 240))
    return PhotoView(model, model.mean, model.albedo_mean, ambient_light(), pose, (size, size)).pncc()


def _answers(session: Any, names: list[str], images: np.ndarray) -> list[np.ndarray]:
    try:
        return session.run(names, {INPUT: images})
    # ONNX Runtime's errors have no class in common.
    except Exception as error:
        raise ModelError(f"the ONNX graph does not run on a batch of {len(images)} ({first_line(error)}). Install the "
                         "versions of constraints.txt", code="onnx_differs") from error


def _apart(name: str, got: np.ndarray, wanted: np.ndarray, shape: tuple[int, ...]) -> float:
    if got.shape != shape or wanted.shape != shape:
        raise ModelError(f"the ONNX output {name}: wanted shape {shape}, got {got.shape}", code="onnx_differs")
    apart = np.abs(got.astype(np.float64) - wanted)
    # A difference that is not a number is one; a maximum of Python's would pass over it.
    return float(apart.max()) if np.isfinite(apart).all() else float("inf")
