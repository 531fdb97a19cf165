"""Networks in tensor files: what the weights files of all networks share. Torch is imported where it is used.

A file is loaded strictly: its network is made from its header, every tensor that this network wants must be there with its shape
and type, and no other. Nothing is allocated before that is known, and no code in the file can run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError, ModelError
from facerecon.tensorfile import content_sha256, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

Build = Callable[[dict], "tuple[Mapping[str, Tensor], str]"]
_LISTED = 8


def write_network(path: str | os.PathLike[str], state: Mapping[str, Tensor], header: Mapping[str, Any], *, tensor_type: str,
                  free: str) -> Path:
    """Write a network's state, or the part of it that its file keeps, and a header, whole or not at all.

    The header gets the checksum `sha256`.

    Args:
        tensor_type: of weight matrices on disk, "float32" or "float16"; biases and statistics are always float32.
        free: names of what callers may put into the header, for messages.

    Raises:
        ModelError: `model_invalid` for weights that are not finite, or not within float16: the file there stays as it was.
        ArgumentError: for a header that is not plain JSON. PathError when the folder cannot be written.
    """
    import torch

    check_choice("tensor_type", tensor_type, ("float32", "float16"))
    tensors = {}
    for name, value in state.items():
        array = value.detach().cpu()
        if array.is_floating_point():
            half = tensor_type == "float16" and array.ndim > 1
            array = array.to(torch.float16 if half else torch.float32)
            if not bool(array.isfinite().all()):
                raise ModelError(f"{path}: {name} has NaN or infinite weights{' as float16' if half else ''}; it is not saved")
        tensors[name] = array.contiguous().numpy()
    try:
        header = {**header, "sha256": content_sha256(tensors, header)}
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{free}: wanted plain JSON values ({error})") from error
    return write_tensors(path, tensors, header)


def read_network(path: str | os.PathLike[str], build: Build, *, wanted: str,
                 mend: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and check a network's state, float32, and its header without the checksum.

    Args:
        build: called with the header before any array is read; checks it, and gives the tensors that the file should hold (on
            the meta device, without memory) and what to call their network in messages.
        wanted, mend: see `read_tensors`.

    Raises:
        ModelError: see `read_tensors`; `model_corrupt` for another checksum or weights that are not finite, `model_invalid` for
            tensors that are not the network's; what `build` raises.
    """
    import torch

    def check(header: dict, found: dict[str, tuple[str, tuple[int, ...]]]) -> None:
        expected, title = build(header)
        _check_tensors(expected, found, f"{path}: the tensors are not those of {title}")

    tensors, header = read_tensors(path, wanted=wanted, mend=mend, check=check)
    checksum = header.pop("sha256")
    if content_sha256(tensors, header) != checksum:
        raise ModelError(f"{path}: the content does not agree with its checksum; copy the file again", code="model_corrupt")
    state = {}
    for name, array in tensors.items():
        tensor = torch.from_numpy(array)
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
        if not bool(state[name].isfinite().all()):
            raise ModelError(f"{path}: {name} has NaN or infinite weights", code="model_corrupt")
    return state, header


def _check_tensors(wanted: Mapping[str, Tensor], found: dict[str, tuple[str, tuple[int, ...]]], message: str) -> None:
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not wanted" for name in found if name not in wanted]
    for name, value in wanted.items():
        kind, shape = found.get(name, ("", tuple(value.shape)))
        types = ("F32", "F16") if value.is_floating_point() else ("I64",)
        if shape != tuple(value.shape):
            wrong.append(f"{name}: wanted {tuple(value.shape)}, got {shape}")
        elif name in found and kind not in types:
            wrong.append(f"{name}: wanted {' or '.join(types)}, got {kind}")
    if wrong:
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise ModelError(f"{message}: {'; '.join(wrong[:_LISTED])}{more}")
