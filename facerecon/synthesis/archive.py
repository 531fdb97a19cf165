"""Archives of synthetic faces: blocks of pictures with their full parameters, written whole and read back as arrays.

A block's parameter file is written last: a block without it, or whose files have other sizes than it says, is not there.
`faces.jsonl` lists all pictures as `facerecon.training.load_crops` wants them.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerecon.data.blocks import KIND, SCHEMA, block_paths, block_stem, map_name, read_block, read_pictures
from facerecon.data.shards import INDEX_NAME, write_shard_tar
from facerecon.errors import ArgumentError, DatasetError, ModelError
from facerecon.export.images import encode_image
from facerecon.files import write_atomic
from facerecon.geometry.rotations import matrix_to_euler_deg_aflw
from facerecon.synthesis.sample import DEPTH_RANGE, SyntheticFace
from facerecon.tensorfile import write_tensors

if TYPE_CHECKING:
    from facerecon.morphable.model import MorphableModel

PARAMETERS = ("identity", "expression", "albedo", "illumination", "rotation", "translation", "scale", "euler_deg")
POINTS = ("points68", "visible68", "points478", "visible478")


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticFaces:
    """An archive in memory.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        names, subjects: as in `SyntheticFace`.
        truth: identity (N, K), expression (N, E), albedo (N, A), illumination (N, 9, 3), rotation (N, 3, 3), translation (N, 2)
            px, scale (N,) px/mm, euler_deg (N, 3) pitch, yaw, roll of AFLW2000-3D, points68 (N, 68, 2) and points478
            (N, 478, 2) px, all float32, albedo and illumination NaN where they are not known; visible68 (N, 68) and visible478
            (N, 478) uint8.
        pncc: (N, 128, 128, 3) uint8, or None where the archive has none.
        header: of the first block: `about` (source, options, seed, model with its topology hash), `depth` (its code), and more.
    """

    images: np.ndarray
    names: tuple[str, ...]
    subjects: tuple[str | None, ...]
    truth: dict[str, np.ndarray]
    pncc: np.ndarray | None
    header: dict[str, Any]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Side of the pictures in px."""
        return self.images.shape[1]


def write_block(folder: str | os.PathLike[str], number: int, faces: Sequence[SyntheticFace], *, about: Mapping[str, Any],
                items: tuple[int, int] | None = None, dropped: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Write one block; a stop at any moment leaves either all of it or nothing that a reader takes for a block.

    Args:
        number: of the block, from 0.
        faces: of one picture size, with the same maps and different names; may be empty.
        about: what every block of the archive is made of, plain JSON; "model" is `describe_model`'s.
        items: first and end index of what was asked of the source; default: the faces themselves.
        dropped: items that gave no face, each {"name", "code"}.

    Returns:
        The block's header. Equal faces give equal bytes.

    Raises:
        ArgumentError: faces that do not belong together. PathError: `path_write`, also when the disk is full.
    """
    if len({face.name for face in faces}) != len(faces) or len({(face.size, *sorted(face.maps)) for face in faces}) > 1:
        raise ArgumentError("faces: wanted different names, one picture size and the same maps")
    folder, stem = Path(folder), block_stem(number)
    maps = sorted(faces[0].maps) if faces else []
    goal = folder / f"{stem}.safetensors"
    # The old parameters must not vouch for new pictures.
    goal.unlink(missing_ok=True)
    files = {f"{stem}.tar": [(face.name, encode_image(face.image, "jpeg", quality=face.quality)) for face in faces]}
    if maps:
        files[f"{stem}.maps.tar"] = [(map_name(face.name, kind), encode_image(face.maps[kind], "png", compression=1))
                                     for face in faces for kind in maps]
    sizes = {name: write_shard_tar(folder / name, members).stat().st_size for name, members in files.items()}
    header = {"schema": SCHEMA, "kind": KIND, "about": dict(about), "maps": maps, "depth": DEPTH_RANGE.to_dict(),
              "items": list(items or (0, len(faces))), "names": [face.name for face in faces],
              "subjects": [face.subject for face in faces], "dropped": [dict(one) for one in dropped], "files": sizes}
    write_tensors(goal, _tensors(faces), header)
    return header


def block_header(folder: str | os.PathLike[str], number: int) -> dict[str, Any] | None:
    """Header of a block that is wholly there, else None."""
    path = Path(folder) / f"{block_stem(number)}.safetensors"
    try:
        _, header = read_block(path)
        whole = all((path.parent / name).stat().st_size == size for name, size in header["files"].items())
    except (ModelError, OSError):
        return None
    return header if whole else None


def write_index(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Write `faces.jsonl`, one row per picture of all blocks (name, shard, subject, points68).

    Returns:
        (pictures, items that gave none).
    """
    lines, dropped = [], 0
    for path in block_paths(folder):
        tensors, header = read_block(path)
        lines += [json.dumps({"name": name, "shard": f"{path.stem}.tar", "subject": subject,
                              "points68": np.round(points.astype(np.float64), 3).tolist()}) + "\n"
                  for name, subject, points in zip(header["names"], header["subjects"], tensors["points68"])]
        dropped += len(header["dropped"])
    write_atomic(Path(folder) / INDEX_NAME, "".join(lines))
    return len(lines), dropped


def read_archive(folder: str | os.PathLike[str], *, every: int = 1, images: bool = True) -> SyntheticFaces:
    """Read all blocks of an archive: every n-th picture; `images=False` leaves pictures and maps out (images (N, 0, 0, 3)).

    Raises:
        DatasetError: `dataset_missing` without a block, `dataset_invalid` where blocks contradict each other or their files.
        ModelError: `model_corrupt`, `model_invalid`, `unsafe_format` for a file that is no block.
    """
    blocks = [(path, *read_block(path)) for path in block_paths(folder)]
    blocks = [block for block in blocks if block[2]["names"]]
    if not blocks:
        raise DatasetError(f"{folder}: wanted an archive of synthetic faces, found none; make one with facerecon synthesise",
                           code="dataset_missing")
    first = blocks[0][2]
    if any(header["about"] != first["about"] or header["maps"] != first["maps"] for _, _, header in blocks):
        raise DatasetError(f"{folder}: its blocks were made with different settings; make them anew in an empty folder")
    missing = [name for name in (*PARAMETERS, *POINTS) for _, tensors, _ in blocks if name not in tensors]
    if missing:
        raise DatasetError(f"{folder}: wanted {missing[0]} in every block; make the archive again")
    names = [name for _, _, header in blocks for name in header["names"]]
    if len(set(names)) != len(names):
        raise DatasetError(f"{folder}: a picture is in two blocks; make the archive again")
    subjects = [subject for _, _, header in blocks for subject in header["subjects"]]
    truth = {name: np.concatenate([tensors[name] for _, tensors, _ in blocks])[::every] for name in (*PARAMETERS, *POINTS)}
    chosen = set(names[::every])

    def pictures(kind: str | None) -> np.ndarray:
        return np.stack([picture for path, _, header in blocks for picture in read_pictures(path, header, chosen, kind=kind)])

    seen = pictures(None) if images else np.zeros((len(chosen), 0, 0, 3), np.uint8)
    pncc = pictures("pncc") if images and "pncc" in first["maps"] else None
    return SyntheticFaces(seen, tuple(names[::every]), tuple(subjects[::every]), truth, pncc, first)


def describe_model(model: MorphableModel) -> dict[str, Any]:
    """What parameters and codes of an archive mean: name, topology hash, sizes, and the box (mm) that the code spans."""
    from facerecon.pncc.code import code_box

    return {"name": model.name, "topology_sha256": model.header["topology_sha256"], "code": code_box(model)}


def _tensors(faces: Sequence[SyntheticFace]) -> dict[str, np.ndarray]:
    def rows(values: list, dtype: type) -> np.ndarray:
        return np.stack([np.asarray(value, dtype) for value in values]) if values else np.zeros(0, dtype)

    drawn = [face.parameters for face in faces]
    arrays = {name: rows([getattr(one, name) for one in drawn], np.float32)
              for name in ("identity", "expression", "albedo", "illumination")}
    for name in ("albedo", "illumination"):
        for row, face in zip(arrays[name], faces):
            if not face.colours_known:
                row[...] = np.nan
    arrays |= {name: rows([getattr(one.pose, name) for one in drawn], np.float32)
               for name in ("rotation", "translation", "scale")}
    angles = [np.asarray([float(angle) for angle in matrix_to_euler_deg_aflw(one.pose.rotation)]) for one in drawn]
    arrays["euler_deg"] = rows(angles, np.float32)
    for name in POINTS:
        arrays[name] = rows([getattr(face, name) for face in faces], np.float32 if name.startswith("points") else np.uint8)
    return arrays
