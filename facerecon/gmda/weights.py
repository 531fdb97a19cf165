"""Weights files of this package's networks: tensors with the network's configuration, its task and its history in the header.

    {"schema": 1, "kind": "autoencoder" | "encoder" | "decoder" | "adapted" | "plain", "config": {...}, "task": {...}, "metadata": {...}, "sha256": ...}

A file is loaded strictly: its network is made from its configuration, every tensor that this network wants must be there with
its shape, and no other. Nothing is allocated before that is known, and no code in the file can run.

An autoencoder may also be a folder with its two halves, for places that limit the size of a file.

Networks that adapt one autoencoder have its frozen decoder in common. The file of such a network may leave it out, and says instead
where it is and what it must be: "decoder": {"file": a path from the file's own folder, "sha256": of the decoder's tensors}.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda.autoencoder import Autoencoder, Decoder, Encoder
from facerecon.gmda.baselines import PlainNetwork
from facerecon.gmda.builder import build_from_config
from facerecon.gmda.network import AdaptedNetwork
from facerecon.networkfile import read_network, write_network
from facerecon.tensorfile import content_sha256

SCHEMA = 1
KINDS = ("autoencoder", "encoder", "decoder", "adapted", "plain")
HALVES = ("encoder", "decoder")
REFERENCE = "decoder"
_DECODER = "decoder."
Network = Autoencoder | Encoder | Decoder | AdaptedNetwork | PlainNetwork


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """What a weights file holds: the network, float32 on the CPU, in evaluation mode and with the default trainable parts; and
    the header (`kind`, `config`, `task`, `metadata`)."""

    network: Network
    header: dict[str, Any]


def save_network(path: str | os.PathLike[str], network: Network, *, task: Mapping[str, Any] | None = None,
                 metadata: Mapping[str, Any] | None = None, tensor_type: str = "float32",
                 decoder: str | os.PathLike[str] | None = None) -> Path:
    """Write a network whole or not at all; `load_network` gives it back.

    Args:
        task: what the maps mean, so that a predictor needs nothing else: "name", the landmark scheme and the like; JSON values.
        metadata: data and their hashes, metrics, licence, seed, step, recipe; plain JSON values.
        tensor_type: of weight matrices on disk, "float32" or "float16"; biases and statistics are always float32.
        decoder: the file of the frozen decoder of an adapted network, in the folder of `path` or below it: it is left out, and
            must be there when the network is loaded.

    Raises:
        ModelError: `model_invalid` for weights that are not finite, or not within float16: the file there stays as it was.
        ArgumentError: for a header that is not plain JSON, or a decoder that is not the network's own, bit by bit. PathError when
            the folder cannot be written.
    """
    header = {"schema": SCHEMA, "kind": network.config["network"], "config": dict(network.config), "task": dict(task or {}),
              "metadata": dict(metadata or {})}
    state = network.state_dict()
    if decoder is not None:
        header[REFERENCE] = _refer(network, Path(decoder), Path(path).parent)
        state = _without_decoder(state)
    return write_network(path, state, header, tensor_type=tensor_type, free="task, metadata")


def save_halves(folder: str | os.PathLike[str], autoencoder: Autoencoder, **options: Any) -> tuple[Path, ...]:
    """Write an autoencoder as `encoder.safetensors` and `decoder.safetensors`; options and errors are those of `save_network`."""
    return tuple(save_network(Path(folder) / f"{name}.safetensors", getattr(autoencoder, name), **options) for name in HALVES)


def load_network(path: str | os.PathLike[str]) -> LoadedNetwork:
    """Read and check a weights file, or the folder of an autoencoder's halves, whose header is then the encoder's.

    Raises:
        ModelError: `model_missing` (no such file), `unsafe_format` (a pickle, `torch.save` or other container that is never
            opened), `model_corrupt` (damaged, by its sizes or its checksum), `model_invalid` (readable, but the configuration is
            unknown, or the tensors are not those that it asks for); the same of the decoder's file, where it has one.
    """
    path = Path(path)
    return _join(path) if path.is_dir() else _load(path, KINDS)


def _load(path: Path, kinds: tuple[str, ...]) -> LoadedNetwork:
    skeletons: list[Network] = []

    def build(header: dict) -> tuple[dict[str, Tensor], str]:
        skeletons.append(_skeleton(header, path, kinds))
        state = skeletons[0].state_dict()
        return _without_decoder(state) if REFERENCE in header else state, f"its {header['kind']} network"

    state, header = read_network(path, build, wanted="a facerecon weights file",
                                 mend="import 3FabRec snapshots with `facerecon models import-3fabrec`")
    network = skeletons[0]
    if REFERENCE in header:
        state.update(_shared_decoder(header.pop(REFERENCE), path))
    network.load_state_dict(state, assign=True)
    return LoadedNetwork(network.eval(), header)


def _without_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(_DECODER)}


def _tensors_sha256(decoder: Decoder) -> str:
    return content_sha256({name: value.numpy() for name, value in decoder.state_dict().items()}, {})


def _refer(network: Network, file: Path, folder: Path) -> dict[str, str]:
    """What a weights file in a folder says of the decoder that it leaves out."""
    if not isinstance(network, AdaptedNetwork):
        raise ArgumentError(f"decoder: wanted an adapted network, whose decoder is frozen, got {type(network).__name__}")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ArgumentError(f"decoder: wanted a file in {folder} or below it, got {file}")
    theirs, ours = (part.state_dict() for part in (_load(file, ("decoder",)).network, network.decoder))
    if theirs.keys() != ours.keys() or not all(torch.equal(theirs[name], ours[name].cpu()) for name in ours):
        raise ArgumentError(f"decoder: {file} is not the decoder of this network; give the one that it was trained on, or save the "
                            "network whole")
    return {"file": file.resolve().relative_to(folder.resolve()).as_posix(), "sha256": _tensors_sha256(network.decoder)}


def _shared_decoder(reference: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of the decoder that a weights file refers to."""
    name, checksum = (reference.get(key) if isinstance(reference, dict) else None for key in ("file", "sha256"))
    folder = os.path.abspath(path.parent)
    file = Path(os.path.normpath(os.path.join(folder, str(name))))
    # A file from elsewhere must not make this one look outside of its folder.
    if not isinstance(name, str) or not isinstance(checksum, str) or not file.is_relative_to(folder):
        raise ModelError(f"{path}: header: wanted {REFERENCE} as a file in its folder with a checksum, got {reference!r}")
    if not file.is_file():
        raise ModelError(f"{path}: its decoder {file} is missing; keep both files together as they came", code="model_missing")
    # A decoder refers to no other file: a network that named itself would be read for ever.
    decoder = _load(file, ("decoder",)).network
    if _tensors_sha256(decoder) != checksum:
        raise ModelError(f"{path}: {file} is not the decoder that it was trained on; keep both files together as they came")
    return {_DECODER + name: value for name, value in decoder.state_dict().items()}


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


def _skeleton(header: Any, path: Path, kinds: tuple[str, ...]) -> Network:
    """The network of a header, without memory for its weights."""
    if not isinstance(header, dict) or header.get("schema") != SCHEMA or header.get("kind") not in kinds:
        wanted = f"wanted schema {SCHEMA} and kind {', '.join(kinds)}"
        got = type(header).__name__
        if isinstance(header, dict):
            got = f"schema {header.get('schema')!r}, kind {header.get('kind')!r}"
        raise ModelError(f"{path} is not a facerecon weights file that this version reads: {wanted}; got {got}")
    for name, kind in (("config", dict), ("task", dict), ("metadata", dict), ("sha256", str)):
        if not isinstance(header.get(name), kind):
            raise ModelError(f"{path}: header: wanted {name} as a {kind.__name__}, got {type(header.get(name)).__name__}")
    if REFERENCE in header and header["kind"] != "adapted":
        raise ModelError(f"{path}: header: wanted no other file's {REFERENCE} in a network {header['kind']!r}")
    named = header["config"].get("network")
    if named != header["kind"]:
        raise ModelError(f"{path}: header: the kind is {header['kind']}, the configuration's is {named!r}")
    try:
        with torch.device("meta"):
            return build_from_config(header["config"])
    # A configuration comes from outside: an entry of a wrong type is as wrong as one of a wrong value.
    except (ArgumentError, TypeError) as error:
        raise ModelError(f"{path}: the configuration cannot be built: {error}") from error
