"""Weights files of this package's networks: tensors with the network's configuration, its task and its history in the header.

    {"schema": 1, "kind": "autoencoder" | "encoder" | "decoder" | "adapted" | "plain", "config": {...}, "task": {...}, "metadata": {...}, "sha256": ...}

A file is loaded strictly: its network is made from its configuration, every tensor that this network wants must be there with
its shape, and no other. Nothing is allocated before that is known, and no code in the file can run.

An autoencoder may also be a folder with its two halves, for places that limit the size of a file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda.autoencoder import Autoencoder, Decoder, Encoder
from facerecon.gmda.baselines import PlainNetwork
from facerecon.gmda.builder import build_from_config
from facerecon.gmda.network import AdaptedNetwork
from facerecon.tensorfile import content_sha256, read_tensors, write_tensors

SCHEMA = 1
KINDS = ("autoencoder", "encoder", "decoder", "adapted", "plain")
HALVES = ("encoder", "decoder")
Network = Autoencoder | Encoder | Decoder | AdaptedNetwork | PlainNetwork
_LISTED = 8


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """What a weights file holds: the network, float32 on the CPU, in evaluation mode and with the default trainable parts; and
    the header (`kind`, `config`, `task`, `metadata`)."""

    network: Network
    header: dict[str, Any]


def save_network(path: str | os.PathLike[str], network: Network, *, task: Mapping[str, Any] | None = None,
                 metadata: Mapping[str, Any] | None = None, tensor_type: str = "float32") -> Path:
    """Write a network whole or not at all; `load_network` gives it back.

    Args:
        task: what the maps mean, so that a predictor needs nothing else: "name", the landmark scheme and the like; JSON values.
        metadata: data and their hashes, metrics, licence, seed, step, recipe; plain JSON values.
        tensor_type: of weight matrices on disk, "float32" or "float16"; biases and statistics are always float32.

    Raises:
        ModelError: `model_invalid` for weights that are not finite, or not within float16: the file there stays as it was.
        ArgumentError: for a header that is not plain JSON. PathError when the folder cannot be written.
    """
    check_choice("tensor_type", tensor_type, ("float32", "float16"))
    tensors = {}
    for name, value in network.state_dict().items():
        array = value.detach().cpu()
        if array.is_floating_point():
            half = tensor_type == "float16" and array.ndim > 1
            array = array.to(torch.float16 if half else torch.float32)
            if not bool(array.isfinite().all()):
                raise ModelError(f"{path}: {name} has NaN or infinite weights{' as float16' if half else ''}; it is not saved")
        tensors[name] = array.contiguous().numpy()
    header = {"schema": SCHEMA, "kind": network.config["network"], "config": dict(network.config), "task": dict(task or {}),
              "metadata": dict(metadata or {})}
    try:
        header["sha256"] = content_sha256(tensors, header)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"task, metadata: wanted plain JSON values ({error})") from error
    return write_tensors(path, tensors, header)


def save_halves(folder: str | os.PathLike[str], autoencoder: Autoencoder, **options: Any) -> tuple[Path, ...]:
    """Write an autoencoder as `encoder.safetensors` and `decoder.safetensors`; options and errors are those of `save_network`."""
    return tuple(save_network(Path(folder) / f"{name}.safetensors", getattr(autoencoder, name), **options) for name in HALVES)


def load_network(path: str | os.PathLike[str]) -> LoadedNetwork:
    """Read and check a weights file, or the folder of an autoencoder's halves, whose header is then the encoder's.

    Raises:
        ModelError: `model_missing` (no such file), `unsafe_format` (a pickle, `torch.save` or other container that is never
            opened), `model_corrupt` (damaged, by its sizes or its checksum), `model_invalid` (readable, but the configuration is
            unknown, or the tensors are not those that it asks for).
    """
    path = Path(path)
    if path.is_dir():
        return _join(path)
    skeletons: list[Network] = []

    def check(header: dict, found: dict[str, tuple[str, tuple[int, ...]]]) -> None:
        network = _skeleton(header, path)
        _check_tensors(network, found, path)
        skeletons.append(network)

    tensors, header = read_tensors(path, wanted="a facerecon weights file", check=check,
                                   mend="import 3FabRec snapshots with `facerecon models import-3fabrec`")
    expected = header.pop("sha256")
    if content_sha256(tensors, header) != expected:
        raise ModelError(f"{path}: the content does not agree with its checksum; copy the file again", code="model_corrupt")
    state = {}
    for name, array in tensors.items():
        tensor = torch.from_numpy(array)
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
        if not bool(state[name].isfinite().all()):
            raise ModelError(f"{path}: {name} has NaN or infinite weights", code="model_corrupt")
    network = skeletons[0]
    network.load_state_dict(state, assign=True)
    return LoadedNetwork(network.eval(), header)


def _join(folder: Path) -> LoadedNetwork:
    encoder, decoder = (load_network(folder / f"{name}.safetensors") for name in HALVES)
    for name, half in zip(HALVES, (encoder, decoder)):
        if half.header["kind"] != name:
            raise ModelError(f"{folder / name}.safetensors: wanted an autoencoder's {name}, got {half.header['kind']!r}")
    # Halves of two runs fit each other in shape and in nothing else.
    if any(encoder.header[key] != decoder.header[key] for key in ("task", "metadata")):
        raise ModelError(f"{folder}: encoder and decoder are of different runs; copy both files of one")
    try:
        network = Autoencoder(encoder.network, decoder.network)
    except ArgumentError as error:
        raise ModelError(f"{folder}: encoder and decoder do not belong together: {error.message}") from error
    return LoadedNetwork(network.eval(), {**encoder.header, "kind": "autoencoder", "config": dict(network.config)})


def _skeleton(header: Any, path: Path) -> Network:
    """The network of a header, without memory for its weights."""
    if not isinstance(header, dict) or header.get("schema") != SCHEMA or header.get("kind") not in KINDS:
        wanted = f"wanted schema {SCHEMA} and kind {', '.join(KINDS)}"
        got = type(header).__name__
        if isinstance(header, dict):
            got = f"schema {header.get('schema')!r}, kind {header.get('kind')!r}"
        raise ModelError(f"{path} is not a facerecon weights file that this version reads: {wanted}; got {got}")
    for name, kind in (("config", dict), ("task", dict), ("metadata", dict), ("sha256", str)):
        if not isinstance(header.get(name), kind):
            raise ModelError(f"{path}: header: wanted {name} as a {kind.__name__}, got {type(header.get(name)).__name__}")
    named = header["config"].get("network")
    if named != header["kind"]:
        raise ModelError(f"{path}: header: the kind is {header['kind']}, the configuration's is {named!r}")
    try:
        with torch.device("meta"):
            return build_from_config(header["config"])
    # A configuration comes from outside: an entry of a wrong type is as wrong as one of a wrong value.
    except (ArgumentError, TypeError) as error:
        raise ModelError(f"{path}: the configuration cannot be built: {error}") from error


def _check_tensors(network: Network, found: dict[str, tuple[str, tuple[int, ...]]], path: Path) -> None:
    wanted = network.state_dict()
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
        raise ModelError(f"{path}: the tensors are not those of its {network.config['network']} network: "
                         f"{'; '.join(wrong[:_LISTED])}{more}")
