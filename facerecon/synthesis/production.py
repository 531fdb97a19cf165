"""Filling an archive: which blocks are missing, making one, and the index at the end. A run goes on where another stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from facerecon.data.shards import INDEX_NAME
from facerecon.errors import FaceReconError, PathError
from facerecon.files import sweep_temporaries
from facerecon.fitting.threads import one_thread
from facerecon.synthesis.archive import block_header, write_block
from facerecon.synthesis.sample import SyntheticFace
from facerecon.synthesis.source import FaceSource

BLOCK = 100
_OURS = re.compile(r"synthetic-(\d{5})\.(tar|maps\.tar|safetensors)")


class SourceOptions(Protocol):
    """Small and picklable: what a worker process opens its source from."""

    def open(self) -> FaceSource: ...


@dataclasses.dataclass(frozen=True)
class BlockReport:
    """What became of one block: faces written, and how many items gave none."""

    number: int
    faces: int
    dropped: int


def items_of(number: int, count: int, block: int = BLOCK) -> tuple[int, int]:
    """First and end index of the items of block `number` out of `count`."""
    return number * block, min((number + 1) * block, count)


def missing_blocks(folder: str | os.PathLike[str], source: FaceSource, *, block: int = BLOCK) -> list[int]:
    """Numbers of the blocks that are to be made; the folder may hold blocks of the same source, and nothing else.

    Parts that a killed run left are removed. Asking for more items than before keeps the whole blocks.

    Raises:
        PathError: `path_exists` when the folder holds other files, blocks of other settings, or more items than asked for.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise PathError(f"{folder}: wanted a folder, got a file", code="path_exists")
    present = set()
    if folder.is_dir():
        sweep_temporaries(folder)
        for entry in sorted(folder.iterdir()):
            ours = _OURS.fullmatch(entry.name)
            if ours is None and entry.name != INDEX_NAME:
                raise PathError(f"{folder} holds {entry.name}, which is no part of an archive of synthetic faces; choose an "
                                "empty folder", code="path_exists")
            present |= {int(ours[1])} if ours else set()
    wanted = range(-(-len(source) // block))
    found = {number: block_header(folder, number) for number in sorted(present)}
    for number, header in found.items():
        if header is not None and header["about"] != source.about:
            old, new = header["about"], source.about
            differ = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
            raise PathError(f"{folder} was made with another {', '.join(differ)}; choose an empty folder", code="path_exists")
        if header is not None and header["items"][1] > len(source) or number not in wanted:
            raise PathError(f"{folder} holds more than the {len(source)} items that are asked for; choose an empty folder",
                            code="path_exists")
    return [number for number in wanted
            if found.get(number) is None or found[number]["items"] != list(items_of(number, len(source), block))]


@contextlib.contextmanager
def one_process() -> Iterator[None]:
    """One thread of torch and OpenCV inside the block, as in a worker: the steps are small, and the order of sums is fixed."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with one_thread():
            yield
    finally:
        cv2.setNumThreads(before)


def make_block(folder: str | os.PathLike[str], source: FaceSource, number: int, *, block: int = BLOCK) -> BlockReport:
    """Make block `number` and write it whole; an item that is refused is noted in its header and the others go on."""
    first, end = items_of(number, len(source), block)
    faces: list[SyntheticFace] = []
    dropped = []
    for index in range(first, end):
        try:
            faces += source.make(index)
        except FaceReconError as error:
            dropped.append({"item": index, "code": error.code})
    write_block(folder, number, faces, about=source.about, items=(first, end), dropped=dropped)
    return BlockReport(number, len(faces), len(dropped))


def block_maker(folder: str, options: SourceOptions, block: int = BLOCK) -> Callable[[int], BlockReport]:
    """For a worker process: open the source once, on one thread, and give the function that makes a block by its number."""
    import cv2
    import torch

    # The process is ours alone.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    source = options.open()
    return lambda number: make_block(folder, source, number, block=block)
