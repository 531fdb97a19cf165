"""Checks of a model file's tensors, before anything uses them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from facerecon.errors import ModelError

SCHEMA = 1
_FLOAT = ("float16", "float32", "float64")
_INTEGER = ("int32", "int64")
# Axes: a letter is one size everywhere in the file, a number is exact, None is free.
_TENSORS = {
    "mean": (("V", 3), ("float32", "float64")),
    "faces": (("F", 3), _INTEGER),
    "identity_basis": (("K", "V", 3), _FLOAT),
    "expression_basis": (("E", "V", 3), _FLOAT),
    "albedo_mean": (("V", 3), _FLOAT),
    "albedo_basis": (("A", "V", 3), _FLOAT),
    "uv": (("T", 2), ("float32", "float64")),
    "uv_faces": (("F", 3), _INTEGER),
    "albedo_texture": ((None, None, 3), ("uint8",)),
    "symmetry": (("V",), _INTEGER),
}
_INDICES = {"faces": "V", "uv_faces": "T", "symmetry": "V"}
_HEADER = {"schema": int, "name": str, "units": str, "licence": str, "source": str, "expression_names": list,
           "topology_sha256": str}
# Larger than any head in micrometres, smaller than what overflows when squared in float32.
_LARGEST = 1e7


def topology_sha256(faces: np.ndarray) -> str:
    """Hash of a topology: SHA-256 of the faces as little-endian int32, row by row."""
    return hashlib.sha256(np.ascontiguousarray(faces, dtype="<i4").tobytes()).hexdigest()


def check_model(tensors: dict[str, np.ndarray], header: dict, path: Path) -> None:
    """Check presence, types, shapes, finite values, index ranges and the topology hash.

    Raises:
        ModelError: `model_invalid`, naming the tensor, what was wanted and what was got; `model_corrupt` for numbers that
            are not finite.
    """
    if not isinstance(header, dict):
        raise ModelError(f"{path}: header: wanted an object, got {type(header).__name__}")
    for key, kind in _HEADER.items():
        if not isinstance(header.get(key), kind):
            raise ModelError(f"{path}: header {key}: wanted {kind.__name__}, got {header.get(key)!r}")
    if header["schema"] != SCHEMA:
        raise ModelError(f"{path}: schema {header['schema']}, this version reads {SCHEMA}; update facerecon")

    specification = dict(_TENSORS)
    for name in tensors:
        specification.update(_extra(name, tensors, path))
    sizes: dict[str, int] = {}
    for name, (shape, types) in specification.items():
        if name not in tensors:
            raise ModelError(f"{path}: tensor {name} is missing")
        _check_tensor(name, tensors[name], shape, types, sizes, path)
    for name, value in tensors.items():
        bound = _INDICES.get(name) or ("F" if name.endswith(".triangle") else None)
        if bound is not None and value.size and (value.min() < 0 or value.max() >= sizes[bound]):
            raise ModelError(f"{path}: {name}: wanted indices below {sizes[bound]}, got {value.min()} to {value.max()}")
        if name.endswith(".barycentric") and np.abs(value.sum(axis=1) - 1).max(initial=0) > 1e-3:
            raise ModelError(f"{path}: {name}: wanted rows that sum to 1")
    names = header["expression_names"]
    if len(names) != sizes["E"] or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path}: wanted {sizes['E']} different expression names, got {len(names)}")
    got = topology_sha256(tensors["faces"])
    if got != header["topology_sha256"]:
        raise ModelError(f"{path}: topology hash: wanted {header['topology_sha256']}, got {got}", code="hash_mismatch")


def _extra(name: str, tensors: dict[str, np.ndarray], path: Path) -> dict[str, tuple]:
    if name in _TENSORS:
        return {}
    parts = name.split(".")
    if name == "ncc":
        return {name: (("V", 3), _FLOAT)}
    if len(parts) == 2 and parts[0] == "mask":
        return {name: (("V",), ("uint8", "bool"))}
    if len(parts) == 3 and parts[0] == "embedding" and parts[2] in ("triangle", "barycentric", "valid"):
        # One letter for each scheme's number of points ties its three tensors together.
        count = f"points of {parts[1]}"
        return {f"embedding.{parts[1]}.triangle": ((count,), _INTEGER),
                f"embedding.{parts[1]}.barycentric": ((count, 3), ("float32", "float64")),
                f"embedding.{parts[1]}.valid": ((count,), ("uint8", "bool"))}
    raise ModelError(f"{path}: tensor {name!r} is not part of schema 1")


def _check_tensor(name: str, value: np.ndarray, shape: tuple, types: tuple[str, ...], sizes: dict[str, int],
                  path: Path) -> None:
    if value.dtype.name not in types:
        raise ModelError(f"{path}: {name}: wanted {' or '.join(types)}, got {value.dtype.name}")
    fits = value.ndim == len(shape)
    for want, have in zip(shape, value.shape):
        if isinstance(want, str):
            want = sizes.setdefault(want, have)
        fits = fits and want in (None, have)
    if not fits:
        wanted = ", ".join("*" if axis is None else str(sizes.get(axis, axis)) for axis in shape)
        raise ModelError(f"{path}: {name}: wanted shape ({wanted}), got {value.shape}")
    if value.dtype.kind == "f":
        # In float16 the limit itself would overflow.
        value = value.astype(np.float32)
        if not np.isfinite(value).all():
            raise ModelError(f"{path}: {name}: {int((~np.isfinite(value)).sum())} numbers are NaN or infinite; copy the file "
                             f"again", code="model_corrupt")
        if value.size and np.abs(value).max() > _LARGEST:
            raise ModelError(f"{path}: {name}: wanted numbers within {_LARGEST:g}, got {np.abs(value).max():g}")
    if name in ("mean", "faces") and value.shape[0] == 0:
        raise ModelError(f"{path}: {name} is empty")
