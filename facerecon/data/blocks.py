"""Blocks of synthetic faces on the disk: which files belong together, and how they are read.

A block is `synthetic-00000.tar` (JPEG), `synthetic-00000.maps.tar` (PNG) where maps were asked for, and
`synthetic-00000.safetensors`, whose header says what it is made of. `facerecon.synthesis.archive` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.data.shards import read_shard_tar
from facerecon.errors import DatasetError, FaceReconError, ModelError
from facerecon.tensorfile import read_tensors

KIND, SCHEMA = "synthetic-faces", 1
PATTERN = "synthetic-*.safetensors"
WANTED = "a block of synthetic faces"
MEND = "make it with facerecon synthesise"


def block_stem(number: int) -> str:
    """Name of block `number` without its endings."""
    return f"synthetic-{number:05d}"


def block_paths(folder: str | os.PathLike[str], *, below: bool = False) -> list[Path]:
    """The blocks' parameter files in a folder, and `below` it, in their order."""
    found = Path(folder).rglob(PATTERN) if below else Path(folder).glob(PATTERN)
    return sorted(path for path in found if path.is_file())


def map_name(name: str, kind: str) -> str:
    """Member of the tar of maps that belongs to the picture `name`."""
    return f"{Path(name).stem}.{kind}.png"


def check_block(header: Any, _: Mapping[str, Any] = {}) -> None:  # noqa: B006 - never changed
    """Require the header of a block.

    Raises:
        ModelError: `model_invalid`.
    """
    if not isinstance(header, dict) or header.get("kind") != KIND or header.get("schema") != SCHEMA:
        got = {name: header.get(name) for name in ("kind", "schema")} if isinstance(header, dict) else type(header).__name__
        raise ModelError(f"wanted a file of kind {KIND!r} and schema {SCHEMA}, got {got}")
    shapes = {"about": dict, "maps": list, "names": list, "subjects": list, "dropped": list, "files": dict, "items": list}
    wrong = [name for name, kind in shapes.items() if not isinstance(header.get(name), kind)]
    if wrong or len(header["names"]) != len(header["subjects"]) or not all(isinstance(name, str) for name in header["names"]):
        raise ModelError(f"{WANTED}: wanted names with as many subjects, and {', '.join(shapes)}, got another {wrong}")


def read_block(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Parameters (arrays of as many rows as names) and header of one block.

    Raises:
        ModelError: see `read_tensors`; `model_invalid` for another file.
    """
    tensors, header = read_tensors(path, wanted=WANTED, mend=MEND, check=check_block)
    rows = {name: len(array) for name, array in tensors.items() if array.ndim}
    if set(rows.values()) - {len(header["names"])}:
        raise ModelError(f"{path}: wanted {len(header['names'])} rows in every array, got {rows}; {MEND}")
    return tensors, header


def read_pictures(path: Path, header: Mapping[str, Any], chosen: Collection[str], *,
                  kind: str | None = None) -> list[np.ndarray]:
    """Pictures of a block (S, S, 3) uint8, or its maps of one kind, in the order of the header's names.

    Args:
        path: of the block's parameter file; the tar lies beside it.
        chosen: names of the pictures that are wanted.
        kind: "pncc", "normals" (H, W, 3) uint8, or "depth" (H, W) uint16; None: the pictures.

    Raises:
        DatasetError: a file that is missing, damaged, or lacks a picture.
    """
    wanted = set(chosen)
    names = [name for name in header["names"] if name in wanted]
    members = {name: name if kind is None else map_name(name, kind) for name in names}
    tar = path.with_suffix(".tar" if kind is None else ".maps.tar")
    found = {name: _decode(tar, name, content) for name, content in read_shard_tar(tar, list(members.values()))}
    return [found[members[name]] for name in names]


def _decode(tar: Path, name: str, content: bytes) -> np.ndarray:
    import cv2

    from facerecon.data.images import load_image

    if not name.endswith(".depth.png"):
        try:
            return load_image(content).pixels
        except FaceReconError as error:
            raise DatasetError(f"{tar}: {name}: {error}") from error
    codes = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16 or codes.ndim != 2:
        raise DatasetError(f"{tar}: {name}: wanted 16-bit depth; {MEND}")
    return codes
