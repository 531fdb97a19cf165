"""The index of a crop archive: `faces.jsonl`, a line for each crop in the tar shards beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerecon.data.shards import INDEX_NAME
from facerecon.data.sources import read_file
from facerecon.errors import DatasetError


class IndexRow(NamedTuple):
    """One crop: its name, the shard that holds it, who it shows (None where nobody said), its 68 points (68, 2) px or None."""

    name: str
    shard: str
    subject: str | None
    points: np.ndarray | None


def read_crop_index(folder: Path) -> list[IndexRow]:
    """All rows of `faces.jsonl` in a folder, in their order; no shard is opened.

    Raises:
        DatasetError: `dataset_invalid` for a line that is not a crop of this folder. PathError: see `read_file`.
    """
    path, rows = folder / INDEX_NAME, []
    for number, line in enumerate(read_file(path).decode("utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            name, shard, subject, points = str(row["name"]), str(row["shard"]), row.get("subject"), row.get("points68")
            points = None if points is None else np.asarray(points, np.float64).reshape(68, 2)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path}: line {number}: wanted name, shard and 68 points or none: {error}") from error
        if Path(shard).name != shard:
            raise DatasetError(f"{path}: line {number}: wanted the plain name of a shard in the folder, got {shard!r}")
        rows.append(IndexRow(name, shard, None if subject is None else str(subject), points))
    return rows
