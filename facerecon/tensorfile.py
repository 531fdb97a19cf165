"""Tensor files: safetensors with one JSON header in the metadata. Face models and network weights are kept so.

Reading never runs code: a container that could (a pickle, an archive) is refused by its first bytes, and the declared sizes are
checked against the file before anything is allocated. Arrays are NumPy's; bfloat16 is not used on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerecon.errors import ModelError
from facerecon.files import write_atomic

if TYPE_CHECKING:
    import numpy as np

HEADER_KEY = "facerecon"
LARGEST_BYTES = 2 << 30
LARGEST_HEADER = 4 << 20
Check = Callable[[dict, dict[str, tuple[str, tuple[int, ...]]]], None]
_UNSAFE = {b"\x80\x02": "a pickle", b"\x80\x03": "a pickle", b"\x80\x04": "a pickle", b"\x80\x05": "a pickle",
           b"PK": "a zip archive (torch.save or .npz)", b"\x89H": "an HDF5 file", b"\x93N": "a .npy file",
           b"MA": "a MATLAB file", b"\x1f\x8b": "a gzip stream"}


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> Path:
    """Write arrays and a header whole or not at all; `read_tensors` gives them back. Equal content gives equal bytes.

    Raises:
        PathError: `path_write` when the folder cannot be written.
    """
    import numpy as np
    import safetensors.numpy

    # `ascontiguousarray` alone would turn a number into a vector.
    ordered = {name: value if value.flags.c_contiguous else np.ascontiguousarray(value)
               for name, value in sorted(tensors.items())}
    return write_atomic(path, safetensors.numpy.save(ordered, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)}))


def read_tensors(path: str | os.PathLike[str], *, wanted: str, mend: str = "", check: Check | None = None,
                 ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and header.

    Args:
        wanted: what the file should be, for messages: "a .facemodel".
        mend: how to get one from the containers that are refused, for messages.
        check: called with the header and name -> (safetensors dtype, shape) before any array is read; may raise.

    Raises:
        ModelError: `model_missing` (no such file), `unsafe_format` (a pickle, archive or other container that is never
            opened), `model_corrupt` (damaged: sizes, offsets or header do not hold), `model_invalid` (no header).
    """
    import safetensors

    path = Path(path)
    check_container(path, wanted=wanted, mend=mend)
    try:
        with safetensors.safe_open(str(path), framework="np") as stream:
            header = _header(stream.metadata() or {}, path, wanted)
            names = list(stream.keys())
            if check is not None:
                slices = {name: stream.get_slice(name) for name in names}
                check(header, {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()})
            return {name: stream.get_tensor(name) for name in names}, header
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, OSError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: the tensors cannot be read ({error}); copy the file again", code="model_corrupt") from error


def check_container(path: Path, *, wanted: str, mend: str = "") -> None:
    """Require the outer form of a tensor file, by its first bytes and its size; see `read_tensors` for the errors."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file", code="model_missing")
    size = path.stat().st_size
    with open(path, "rb") as stream:
        start = stream.read(10)
    kind = next((text for magic, text in _UNSAFE.items() if start.startswith(magic) and start[8:9] != b"{"), None)
    if kind is not None:
        raise ModelError(f"{path} is {kind}; wanted {wanted}{f' ({mend})' if mend else ''}", code="unsafe_format")
    header = int.from_bytes(start[:8], "little")
    if len(start) < 10 or header > min(size - 8, LARGEST_HEADER) or size > LARGEST_BYTES or start[8:9] != b"{":
        raise ModelError(f"{path}: wanted a safetensors file, got {size} bytes with a header of {header}; copy it again",
                         code="model_corrupt")


def content_sha256(tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of names, types, shapes and bytes of all arrays, and of the header: one bit changes it."""
    import numpy as np

    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    return digest.hexdigest()


def _header(metadata: Mapping[str, str], path: Path, wanted: str) -> dict[str, Any]:
    if HEADER_KEY not in metadata:
        raise ModelError(f"{path}: no facerecon header in the metadata; wanted {wanted}")
    try:
        return json.loads(metadata[HEADER_KEY])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: the header is not JSON ({error}); copy the file again", code="model_corrupt") from error
