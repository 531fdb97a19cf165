"""Weights files of encoders: safetensors whose header says what the numbers mean, for which face model, and on which crops.

    {"schema": 1, "kind": "mofa-encoder", "config": {"depth", "channels", "image_size"}, "layout": {...}, "pncc": false,
     "model": {"name", "topology_sha256", "sizes", "basis_sha256"}, "crop": {...}, "metrics": {...}, "sha256": ...}

A file is loaded strictly: the header must have these keys and no others, the tensors those of its network. Nothing is allocated
before that is known, and no code in the file can run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from facerecon.detection import CropRule
from facerecon.errors import ArgumentError, ModelError
from facerecon.mofa.encoder import FaceEncoder
from facerecon.mofa.layout import CodeLayout
from facerecon.networkfile import read_network, write_network

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

SCHEMA, KIND = 1, "mofa-encoder"
_KEYS = {"schema": int, "kind": str, "config": dict, "layout": dict, "pncc": bool, "model": dict, "crop": dict, "metrics": dict,
         "sha256": str}
_MODEL_KEYS = {"name": str, "topology_sha256": str, "sizes": list, "basis_sha256": str}
_CONFIG_KEYS = {"depth", "channels", "image_size", "width"}
# Rows of the bases that stand for all of them in the fingerprint.
_EVERY = 97


@dataclasses.dataclass(frozen=True)
class EncoderFacts:
    """Whose coefficients an encoder gives, and what it was trained on.

    Attributes:
        model: name of the face model.
        topology_sha256: of its faces. basis_sha256: of every 97th vertex of mean and bases.
        sizes: its numbers of identity, expression and albedo coefficients.
        crop: what the crops look like.
        metrics: training data, seed, step, scores; plain JSON values.
    """

    model: str
    topology_sha256: str
    basis_sha256: str
    sizes: tuple[int, int, int]
    crop: CropRule = CropRule()
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, model: MorphableModel, *, crop: CropRule = CropRule(),
           metrics: Mapping[str, Any] | None = None) -> EncoderFacts:
        """The facts of an encoder for `model`."""
        return cls(model.name, model.header["topology_sha256"], _fingerprint(model), model.sizes, crop, dict(metrics or {}))

    def check(self, model: MorphableModel) -> None:
        """Require the face model that the encoder was trained for.

        Raises:
            ModelError: `model_invalid`, saying what differs.
        """
        wrong = [f"{name}: wanted {wanted}, got {got}" for name, wanted, got in (
            ("topology", self.topology_sha256[:12], model.header["topology_sha256"][:12]),
            ("coefficients", self.sizes, model.sizes), ("bases", self.basis_sha256[:12], _fingerprint(model)[:12]),
        ) if wanted != got]
        if wrong:
            raise ModelError(f"the encoder was trained for the face model {self.model!r}, got {model.name!r}; "
                             f"{'; '.join(wrong)}")


@dataclasses.dataclass(frozen=True)
class EncoderFile:
    """What a weights file holds: the encoder, float32 on the CPU in evaluation mode, and the facts."""

    encoder: FaceEncoder
    facts: EncoderFacts

    @property
    def layout(self) -> CodeLayout:
        """Of the encoder's numbers."""
        return self.encoder.layout


def save_encoder(path: str | os.PathLike[str], encoder: FaceEncoder, facts: EncoderFacts, *,
                 tensor_type: str = "float32") -> Path:
    """Write an encoder whole or not at all; `load_encoder` gives it back, bit by bit as float32.

    Args:
        tensor_type: of weight matrices on disk, "float32" or "float16"; biases and statistics are always float32.

    Raises:
        ModelError: `model_invalid` for weights that are not finite, or not within float16: the file there stays as it was.
        ArgumentError: for metrics that are not plain JSON. PathError when the folder cannot be written.
    """
    header = {"schema": SCHEMA, "kind": KIND, "layout": encoder.layout.to_dict(), "pncc": encoder.uses_pncc,
              "config": {"depth": encoder.depth, "channels": encoder.channels, "image_size": encoder.image_size,
                         "width": encoder.width},
              "model": {"name": facts.model, "topology_sha256": facts.topology_sha256, "sizes": list(facts.sizes),
                        "basis_sha256": facts.basis_sha256},
              "crop": facts.crop.to_dict(), "metrics": dict(facts.metrics)}
    return write_network(path, encoder.state_dict(), header, tensor_type=tensor_type, free="metrics")


def load_encoder(path: str | os.PathLike[str]) -> EncoderFile:
    """Read and check a weights file.

    Raises:
        ModelError: `model_missing`, `unsafe_format` (a pickle, `torch.save` or other container that is never opened),
            `model_corrupt` (damaged, by its sizes or its checksum), `model_invalid` (another kind of file, or a header or
            tensors that are not those of an encoder).
    """
    path = Path(path)
    made: list[EncoderFile] = []

    def build(header: dict) -> tuple[dict[str, Tensor], str]:
        made.append(_read_header(header, path))
        return made[0].encoder.state_dict(), "its network"

    state, _ = read_network(path, build, wanted="a facerecon encoder file")
    # A network of its own rather than the skeleton: the constants that are not saved must be real too.
    skeleton = made[0].encoder
    encoder = FaceEncoder(layout=skeleton.layout, depth=skeleton.depth, channels=skeleton.channels,
                          image_size=skeleton.image_size, width=skeleton.width)
    encoder.load_state_dict(state)
    return EncoderFile(encoder.eval(), made[0].facts)


def _read_header(header: Any, path: Path) -> EncoderFile:
    """The facts, and an encoder without memory for its weights."""
    if not isinstance(header, dict) or header.get("kind") != KIND or header.get("schema") != SCHEMA:
        got = type(header).__name__
        if isinstance(header, dict):
            got = f"schema {header.get('schema')!r}, kind {header.get('kind')!r}"
        raise ModelError(f"{path}: wanted an encoder (schema {SCHEMA}, kind {KIND!r}), got {got}")
    _check_keys(header, _KEYS, "header", path)
    model, config = header["model"], header["config"]
    _check_keys(model, _MODEL_KEYS, "model", path)
    sizes = model["sizes"]
    if len(sizes) != 3 or not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in sizes):
        raise ModelError(f"{path}: model: wanted three sizes, got {sizes!r}")
    # Files of before there was a choice have no width.
    config = {"width": 1.0, **config}
    if set(config) != _CONFIG_KEYS:
        raise ModelError(f"{path}: config: wanted {sorted(_CONFIG_KEYS)}, got {sorted(config)}")
    try:
        layout = CodeLayout.from_dict(header["layout"])
        crop = CropRule.from_dict(header["crop"])
        with torch.device("meta"):
            encoder = FaceEncoder(layout=layout, **config)
    # A header comes from outside: an entry of a wrong type is as wrong as one of a wrong value.
    except (ModelError, ArgumentError, TypeError) as error:
        raise ModelError(f"{path}: {error}") from error
    if header["pncc"] != encoder.uses_pncc:
        raise ModelError(f"{path}: header: pncc is {header['pncc']}, the network has {encoder.channels} channels")
    if any(count > most for count, most in zip((layout.identity, layout.expression, layout.albedo), sizes)):
        raise ModelError(f"{path}: layout: more coefficients than the model's {sizes}")
    if layout.margin != crop.margin:
        raise ModelError(f"{path}: the layout's margin is {layout.margin}, the crop's {crop.margin}")
    facts = EncoderFacts(model["name"], model["topology_sha256"], model["basis_sha256"], tuple(sizes), crop, header["metrics"])
    return EncoderFile(encoder, facts)


def _check_keys(record: dict, wanted: Mapping[str, type], what: str, path: Path) -> None:
    if set(record) != set(wanted):
        raise ModelError(f"{path}: {what}: wanted the keys {sorted(wanted)}, got {sorted(record)}")
    for name, kind in wanted.items():
        if type(record[name]) is not kind:
            raise ModelError(f"{path}: {what}: wanted {name} as {kind.__name__}, got {record[name]!r}")


def _fingerprint(model: MorphableModel) -> str:
    digest = hashlib.sha256()
    for basis in (model.mean[None], model.identity_basis, model.expression_basis, model.albedo_mean[None], model.albedo_basis):
        digest.update(np.ascontiguousarray(basis[:, ::_EVERY].detach().cpu().float().numpy(), dtype="<f4").tobytes())
    return digest.hexdigest()
