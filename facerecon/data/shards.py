"""Tar shards: many small files as one, the same bytes for the same content."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from facerecon.errors import DatasetError
from facerecon.files import write_atomic

# Lists the crops of an archive and their shards, one JSON object a line.
INDEX_NAME = "faces.jsonl"


def write_shard_tar(path: str | os.PathLike[str], members: Iterable[tuple[str, bytes]]) -> Path:
    """Write named contents as one tar, whole or not at all, without times, owners or anything else of this machine.

    Raises:
        PathError: `path_write` when the folder cannot be written or the disk is full.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return write_atomic(path, stream.getvalue())


def read_shard_tar(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted members, in the order of the tar; nothing is unpacked to the disk.

    Raises:
        DatasetError: `dataset_invalid` when the file is no tar, is damaged, or lacks one of the names.
    """
    wanted = set(names)
    try:
        with tarfile.open(path, mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.name in wanted:
                    wanted.remove(member.name)
                    yield member.name, archive.extractfile(member).read()
    except (OSError, tarfile.TarError) as error:
        raise DatasetError(f"{path}: wanted a tar shard, it cannot be read ({error}); make or copy it again") from error
    if wanted:
        raise DatasetError(f"{path}: {len(wanted)} members are missing, {min(wanted)} for one; make or copy it again")
