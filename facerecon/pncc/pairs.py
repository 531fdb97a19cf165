"""Training pairs for the PNCC predictor: face crops and their true projected normalised coordinate codes.

On disk a set of pairs is a folder of safetensors shards, `pairs-0000.safetensors` and so on. A shard is whole by itself: the
tensors `images` (n, S, S, 3) and `maps` (n, M, M, 3), both uint8, and in its header what the set is made of (`about`, the same
in every shard of a folder), one row per pair (`name`, `subject`, and what else its maker knows) and the candidates that were
left out, with the reason. `scripts/make_pncc_pairs.py` makes them.

An archive of `facerecon synthesise` with PNCC maps is a set of pairs too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.checks import check_shape
from facerecon.data.blocks import block_paths, read_block, read_pictures
from facerecon.errors import ArgumentError, DatasetError, ModelError
from facerecon.gmda import MAP_SIZE
from facerecon.pncc.code import foreground
from facerecon.tensorfile import read_tensors, write_tensors

KIND, SCHEMA = "pncc-pairs", 1
PATTERN = "pairs-*.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class PnccPairs:
    """Crops with their true codes.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        maps: (N, 128, 128, 3) uint8, the code times 255 in the crop's frame (S px resized to 128), background 0.
        names: of the crops, unique.
        subjects: who each crop shows, None where nobody said; splits go by it.
        about: what the set is made of: source, model, code region, thresholds; plain JSON.
        rows: further facts of each pair (pose in map px, residual of the fit); plain JSON.
        dropped: candidates that gave no pair, as {"name", "code"}.
    """

    images: np.ndarray
    maps: np.ndarray
    names: tuple[str, ...]
    subjects: tuple[str | None, ...]
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: tuple[dict[str, Any], ...] = ()
    dropped: tuple[dict[str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.names)
        for name in ("images", "maps"):
            array = getattr(self, name)
            check_shape(name, array, (count, array.shape[2] if array.ndim == 4 else None, None, 3))
            if array.dtype != np.uint8:
                raise ArgumentError(f"{name}: wanted uint8, got {array.dtype}", code="dtype_invalid")
        check_shape("maps", self.maps, (count, MAP_SIZE, MAP_SIZE, 3))
        if len(self.subjects) != count or len(set(self.names)) != count or len(self.rows) not in (0, count):
            raise ArgumentError(f"pairs: wanted {count} different names with as many subjects and rows, got "
                                f"{len(set(self.names))}, {len(self.subjects)}, {len(self.rows)}", code="shape_invalid")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Side of the crops in px."""
        return self.images.shape[1]

    @property
    def mask(self) -> np.ndarray:
        """(N, 128, 128) bool: where the face's region is seen."""
        return foreground(self.maps)

    @property
    def sha256(self) -> str:
        """Hash of names, subjects, pixels and codes: what a training run records as its data."""
        digest = hashlib.sha256(json.dumps([self.names, self.subjects]).encode())
        for array in (self.images, self.maps):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def take(self, chosen: np.ndarray) -> PnccPairs:
        """The pairs at these indices (or of this (N,) mask), in their order."""
        chosen = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen, dtype=np.int64)
        return dataclasses.replace(
            self, images=self.images[chosen], maps=self.maps[chosen], names=tuple(self.names[i] for i in chosen),
            subjects=tuple(self.subjects[i] for i in chosen), rows=tuple(self.rows[i] for i in chosen) if self.rows else ())


def join_pairs(parts: Iterable[PnccPairs]) -> PnccPairs:
    """Sets of one crop size, one after the other; `about` is kept where all agree, else each goes into a list "parts".

    Raises:
        ArgumentError: no set, different crop sizes, or a name that occurs twice.
    """
    parts = list(parts)
    if not parts or len({part.size for part in parts}) != 1:
        raise ArgumentError(f"pairs: wanted sets of one crop size, got {sorted({part.size for part in parts})}")
    about = parts[0].about
    if any(part.about != about for part in parts):
        about = {"parts": [each for part in parts for each in part.about.get("parts", [part.about])]}
    rows = tuple(row for part in parts for row in (part.rows or ({},) * len(part)))
    return PnccPairs(np.concatenate([part.images for part in parts]), np.concatenate([part.maps for part in parts]),
                     tuple(name for part in parts for name in part.names),
                     tuple(subject for part in parts for subject in part.subjects), about, rows,
                     tuple(gone for part in parts for gone in part.dropped))


def load_pairs(folder: str | os.PathLike[str]) -> PnccPairs:
    """Read a folder of shards, or all such folders below a folder, joined in the order of their names.

    A folder may be an archive of synthetic faces; its blocks that have no PNCC maps are an error.

    Raises:
        DatasetError: `dataset_missing` when there is no shard, `dataset_invalid` when shards contradict each other.
        ModelError: `unsafe_format`, `model_corrupt`, `model_invalid` for a file that is no such shard.
    """
    paths = sorted(Path(folder).rglob(PATTERN))
    blocks = block_paths(folder, below=True)
    if not paths and not blocks:
        raise DatasetError(f"{folder}: wanted {PATTERN} or an archive of synthetic faces, found none; make pairs with "
                           "scripts/make_pncc_pairs.py or facerecon synthesise", code="dataset_missing")
    sets: dict[Path, list[PnccPairs]] = {}
    for path in sorted([*paths, *blocks]):
        pairs = _block_pairs(path) if path in blocks else read_shard(path)
        if len(pairs) or path not in blocks:
            sets.setdefault(path.parent, []).append(pairs)
    for place, shards in sets.items():
        if any(shard.about != shards[0].about for shard in shards):
            raise DatasetError(f"{place}: its shards were made with different settings; make them anew in an empty folder")
    try:
        return join_pairs([join_pairs(shards) for shards in sets.values()])
    except ArgumentError as error:
        raise DatasetError(f"{folder}: {error.message}") from error


def shard_path(folder: str | os.PathLike[str], index: int) -> Path:
    """Where shard `index` of a folder is."""
    return Path(folder) / f"pairs-{index:04d}.safetensors"


def write_shard(path: str | os.PathLike[str], pairs: PnccPairs) -> Path:
    """Write pairs as one shard, whole or not at all; the same pairs give the same bytes."""
    rows = [{**(pairs.rows[i] if pairs.rows else {}), "name": pairs.names[i], "subject": pairs.subjects[i]}
            for i in range(len(pairs))]
    header = {"schema": SCHEMA, "kind": KIND, "about": pairs.about, "rows": rows, "dropped": list(pairs.dropped)}
    return write_tensors(path, {"images": pairs.images, "maps": pairs.maps}, header)


def read_shard(path: str | os.PathLike[str]) -> PnccPairs:
    """Read one shard; errors as in `load_pairs`."""
    tensors, header = read_tensors(path, wanted="a shard of PNCC pairs", mend="make it with scripts/make_pncc_pairs.py",
                                   check=_check)
    try:
        rows = [dict(row) for row in header["rows"]]
        names, subjects = [str(row.pop("name")) for row in rows], [row.pop("subject") for row in rows]
        return PnccPairs(tensors["images"], tensors["maps"], tuple(names), tuple(subjects), dict(header["about"]), tuple(rows),
                         tuple(header["dropped"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: tensors and rows do not belong together ({error}); make the shard again") from error


def _block_pairs(path: Path) -> PnccPairs:
    """The pairs of one block of synthetic faces."""
    _, header = read_block(path)
    names = header["names"]
    if names and "pncc" not in header["maps"]:
        raise DatasetError(f"{path}: its archive has no PNCC maps; make it with facerecon synthesise --maps pncc")
    images, codes = (read_pictures(path, header, names, kind=kind) if names else [] for kind in (None, "pncc"))
    try:
        return make_pairs(images, [code / np.float32(255) for code in codes], names, size=0, subjects=header["subjects"],
                          about=header["about"])
    except (ArgumentError, ValueError) as error:
        raise DatasetError(f"{path}: its pictures and maps do not belong together ({error}); make the archive again") from error


def make_pairs(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], names: Sequence[str], *, size: int,
               subjects: Sequence[str | None] | None = None, about: dict[str, Any] | None = None,
               rows: Sequence[dict[str, Any]] = (), dropped: Sequence[dict[str, str]] = ()) -> PnccPairs:
    """Pairs from lists that may be empty: images (S, S, 3) uint8, maps (128, 128, 3) in [0, 1]."""
    codes = np.zeros((len(maps), MAP_SIZE, MAP_SIZE, 3), np.uint8)
    for index, code in enumerate(maps):
        codes[index] = np.rint(np.clip(code, 0, 1) * 255)
    pixels = np.stack(images) if len(images) else np.zeros((0, size, size, 3), np.uint8)
    return PnccPairs(pixels, codes, tuple(names), tuple(subjects or (None,) * len(names)), dict(about or {}), tuple(rows),
                     tuple(dropped))


def _check(header: Any, _: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    if not isinstance(header, dict) or header.get("kind") != KIND or header.get("schema") != SCHEMA:
        got = {name: header.get(name) for name in ("kind", "schema")} if isinstance(header, dict) else type(header).__name__
        raise ModelError(f"wanted a file of kind {KIND!r} and schema {SCHEMA}, got {got}")
