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

import torch

from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda.autoencoder import Autoencoder, Decoder, Encoder
from facerecon.gmda.baselines import PlainNetwork
from facerecon.gmda.builder import build_from_config
from facerecon.gmda.network import AdaptedNetwork
from facerecon.networkfile import read_network, write_network

SCHEMA = 1
KINDS = ("autoencoder", "encoder", "decoder", "adapted", "plain")
HALVES = ("encoder", "decoder")
Network = Autoencoder | Encoder | Decoder | AdaptedNetwork | PlainNetwork


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
    header = {"schema": SCHEMA, "kind": network.config["network"], "config": dict(network.config), "task": dict(task or {}),
              "metadata": dict(metadata or {})}
    return write_network(path, network, header, tensor_type=tensor_type, free="task, metadata")


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

    def build(header: dict) -> tuple[Network, str]:
        skeletons.append(_skeleton(header, path))
        return skeletons[0], f"its {header['kind']} network"

    state, header = read_network(path, build, wanted="a facerecon weights file",
                                 mend="import 3FabRec snapshots with `facerecon models import-3fabrec`")
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
