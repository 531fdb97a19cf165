"""The one on-disk format of face models, `.facemodel`: safetensors tensors plus a JSON header in its metadata.

Reading checks everything before use and never runs code: a file that is not a plain tensor file is refused. Bases may be
float16 on disk; shapes in memory are float32. Tensor names are stable:

    mean (V,3) · faces (F,3) · identity_basis (K,V,3) · expression_basis (E,V,3) · albedo_mean (V,3) · albedo_basis (A,V,3)
    uv (T,2) · uv_faces (F,3) · albedo_texture (H,W,3) uint8 · symmetry (V,) · mask.<name> (V,) uint8
    embedding.<scheme>.triangle (N,) · embedding.<scheme>.barycentric (N,3) · embedding.<scheme>.valid (N,) uint8
    ncc (V,3), only where the code is not that of `mean` over the mask `pncc`
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelcheck import SCHEMA, check_model, topology_sha256
from facerecon.tensorfile import read_tensors, write_tensors


@dataclasses.dataclass(frozen=True)
class ModelData:
    """The content of a model file: NumPy arrays (shapes in the module's text) and the header.

    `header` keys: `schema`, `name`, `units`, `licence`, `source`, `expression_names`, `expression_range` ([low, high], or
    None for N(0,1)), `topology_sha256`; anything more is kept as it is.
    """

    mean: np.ndarray
    faces: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    albedo_mean: np.ndarray
    albedo_basis: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    albedo_texture: np.ndarray
    symmetry: np.ndarray
    masks: dict[str, np.ndarray]
    embeddings: dict[str, LandmarkEmbedding]
    header: dict
    ncc: np.ndarray | None = None


def write_model(path: str | os.PathLike[str], data: ModelData, *, basis_type: str = "float16") -> Path:
    """Write a model whole or not at all; `read_model` gives it back.

    Args:
        basis_type: of the bases on disk, "float16" or "float32". Half precision moves a vertex by some hundredths of a
            millimetre, which is too much only where vertices are ground truth.

    Raises:
        ModelError: `model_invalid` when the data contradict themselves. PathError when the folder cannot be written.
    """
    data = dataclasses.replace(data, header={**data.header, "schema": SCHEMA,
                                             "topology_sha256": topology_sha256(data.faces)})
    check_choice("basis_type", basis_type, ("float16", "float32"))
    tensors = {name: getattr(data, name).astype(basis_type)
               for name in ("identity_basis", "expression_basis", "albedo_mean", "albedo_basis")}
    tensors["mean"] = data.mean.astype(np.float32)
    tensors["uv"] = data.uv.astype(np.float32)
    for name in ("faces", "uv_faces", "symmetry"):
        tensors[name] = getattr(data, name).astype(np.int32)
    tensors["albedo_texture"] = data.albedo_texture
    if data.ncc is not None:
        tensors["ncc"] = data.ncc.astype(np.float32)
    for name, mask in data.masks.items():
        tensors[f"mask.{name}"] = mask.astype(np.uint8)
    for scheme, embedding in data.embeddings.items():
        tensors[f"embedding.{scheme}.triangle"] = embedding.triangle.astype(np.int32)
        tensors[f"embedding.{scheme}.barycentric"] = embedding.barycentric.astype(np.float32)
        tensors[f"embedding.{scheme}.valid"] = embedding.valid.astype(np.uint8)
    _assemble(tensors, data.header, Path(path))
    return write_tensors(path, tensors, data.header)


def read_model(path: str | os.PathLike[str]) -> ModelData:
    """Read and check a model file.

    Raises:
        ModelError: `model_missing` (no such file), `unsafe_format` (a pickle, archive or other container that is never
            opened), `model_corrupt` (damaged: sizes, offsets or header do not hold), `model_invalid` (readable, but shapes,
            types, ranges or the topology hash contradict each other).
    """
    path = Path(path)
    tensors, header = read_tensors(path, wanted="a .facemodel", mend="convert it with `facerecon convert-basel`")
    return _assemble(tensors, header, path)


def with_embeddings(path: str | os.PathLike[str], new: dict[str, LandmarkEmbedding]) -> Path:
    """Replace or add landmark embeddings in a model file; everything else stays, and the file changes in one step."""
    data = read_model(path)
    return write_model(path, dataclasses.replace(data, embeddings={**data.embeddings, **new}))


def _assemble(tensors: dict[str, np.ndarray], header: dict, path: Path) -> ModelData:
    """Check tensors against each other and the header; returns them in their in-memory types."""
    check_model(tensors, header, path)
    masks = {name[5:]: value.astype(bool) for name, value in tensors.items() if name.startswith("mask.")}
    schemes = sorted({name.split(".")[1] for name in tensors if name.startswith("embedding.")})
    embeddings = {}
    for scheme in schemes:
        barycentric = tensors[f"embedding.{scheme}.barycentric"].astype(np.float64)
        embeddings[scheme] = LandmarkEmbedding(tensors[f"embedding.{scheme}.triangle"].astype(np.int64),
                                               barycentric / barycentric.sum(axis=1, keepdims=True),
                                               tensors[f"embedding.{scheme}.valid"].astype(bool))
    floats = {name: tensors[name].astype(np.float32) for name in
              ("mean", "identity_basis", "expression_basis", "albedo_mean", "albedo_basis", "uv")}
    integers = {name: tensors[name].astype(np.int64) for name in ("faces", "uv_faces", "symmetry")}
    return ModelData(**floats, **integers, albedo_texture=tensors["albedo_texture"], masks=masks, embeddings=embeddings,
                     header=header, ncc=tensors["ncc"].astype(np.float32) if "ncc" in tensors else None)
