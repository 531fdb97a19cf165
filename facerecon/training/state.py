"""Checkpoints of a training run: the whole state in one safetensors file that no code is run to read.

Tensors are stored as such; what holds them together (dictionaries, lists, numbers, texts) is JSON in the file's header. A file is
written beside its goal and renamed, so that a reader finds the old checkpoint or the new one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facerecon.errors import ArgumentError, ModelError
from facerecon.tensorfile import read_tensors, write_tensors

KIND, SCHEMA = "training-checkpoint", 1
# A dictionary with one of these as its only key is not data of its own but describes a value that JSON has no word for.
_TENSOR, _TUPLE, _PAIRS = "$tensor", "$tuple", "$pairs"


def save_state(path: str | os.PathLike[str], state: dict[str, Any]) -> Path:
    """Write nested dictionaries, lists and tuples of tensors, numbers, texts, truth values and None.

    Raises:
        ArgumentError: a value of another type, named by its place. PathError: `path_write`.
    """
    tensors: dict[str, Tensor] = {}
    structure = _packed(state, "", tensors)
    arrays = {name: tensor.detach().to("cpu").contiguous().numpy() for name, tensor in tensors.items()}
    return write_tensors(path, arrays, {"kind": KIND, "schema": SCHEMA, "state": structure})


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_state` wrote: equal values, types, tensor types and memory layouts; tensors are on the CPU.

    Raises:
        ModelError: `model_missing`, `unsafe_format`, `model_corrupt`, or `model_invalid` for a file of another kind.
    """
    arrays, header = read_tensors(path, wanted="a checkpoint of a training run", check=lambda header, _: _check(path, header))
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    try:
        return _unpacked(header["state"], tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: its parts do not belong together ({error}); use another checkpoint") from error


def _check(path: str | os.PathLike[str], header: Any) -> None:
    kind, schema = (header.get("kind"), header.get("schema")) if isinstance(header, dict) else (None, None)
    if (kind, schema) != (KIND, SCHEMA):
        raise ModelError(f"{path}: wanted a {KIND} of schema {SCHEMA}, got {kind!r} of {schema!r}")


def _packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = place or "value"
        tensors[name] = value
        record: dict[str, Any] = {_TENSOR: name}
        if value.dtype == torch.bfloat16:
            # NumPy has no such type; as bits the values survive unchanged.
            tensors[name], record["as"] = value.detach().contiguous().view(torch.int16), "bfloat16"
        elif _is_channels_last(value):
            # Sums over another layout could differ in the last digit, and a resumed run shall not differ at all.
            record["as"] = "channels_last"
        return record
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and not set(value) & {_TENSOR, _TUPLE, _PAIRS}:
            return {key: _packed(entry, f"{place}/{key}", tensors) for key, entry in value.items()}
        return {_PAIRS: [[_packed(key, place, tensors), _packed(entry, f"{place}/{key}", tensors)] for key, entry in value.items()]}
    if isinstance(value, (list, tuple)):
        entries = [_packed(entry, f"{place}/{index}", tensors) for index, entry in enumerate(value)]
        return {_TUPLE: entries} if isinstance(value, tuple) else entries
    raise ArgumentError(f"checkpoint{place}: wanted tensors, numbers, texts and containers of them, got {type(value).__name__}")


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        tensor = tensors[value[_TENSOR]]
        kept = value.get("as")
        if kept == "bfloat16":
            return tensor.view(torch.bfloat16)
        return tensor.to(memory_format=torch.channels_last) if kept == "channels_last" else tensor
    if _TUPLE in value:
        return tuple(_unpacked(entry, tensors) for entry in value[_TUPLE])
    if _PAIRS in value:
        return {_unpacked(key, tensors): _unpacked(entry, tensors) for key, entry in value[_PAIRS]}
    return {key: _unpacked(entry, tensors) for key, entry in value.items()}


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
