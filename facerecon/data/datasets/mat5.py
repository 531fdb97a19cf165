"""Read MATLAB 5 files of numbers and texts, with every size checked before anything is allocated.

The annotation files of face datasets hold numeric arrays and, at most, cell arrays of texts. This reader knows these and
nothing else: no structures, objects, functions or sparse matrices, and no code runs. That makes it safe and quick enough for
the hundred thousand small files of 300W-LP, where a process with limits for each would take hours.

Format: "MAT-File Format", MathWorks, chapter 1 (level 5).
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from pathlib import Path

import numpy as np

from facerecon.data.sources import read_file
from facerecon.errors import DatasetError, ImageError

MAX_BYTES = 64 << 20
_HEADER = 128
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2", 18: "u4"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _CHAR = 1, 4
_LOGICAL, _COMPLEX = 0x02, 0x08


class _Malformed(Exception):
    """What is wrong with the file; becomes a DatasetError that names it."""


def read_mat(path: str | os.PathLike[str], *, names: tuple[str, ...] | None = None, max_bytes: int = MAX_BYTES) -> dict:
    """The variables of a MATLAB 5 file.

    Args:
        names: variables that must be there; others are skipped. None reads all.
        max_bytes: limit of the file and of its content after decompression.

    Returns:
        {name: value}: numeric arrays (at least two axes, MATLAB's shape) as NumPy arrays, texts as str, cell arrays as nested
        tuples in column-major order.

    Raises:
        DatasetError: `annotation_corrupt` for a damaged file, one that holds anything else, or a missing variable; the message
            names the file. PathError when it cannot be opened.
    """
    try:
        content = read_file(path, max_bytes=max_bytes)
    except ImageError as error:
        raise DatasetError(f"{Path(path)}: {error.message}", code="annotation_corrupt") from error
    try:
        values = _Reader(content, max_bytes).variables(names)
    except _Malformed as error:
        raise DatasetError(f"{Path(path)}: not a readable MATLAB 5 file: {error}; copy it again", code="annotation_corrupt") from error
    missing = [name for name in names or () if name not in values]
    if missing:
        raise DatasetError(f"{Path(path)}: wanted the variable {', '.join(missing)}, got {', '.join(values) or 'none'}",
                           code="annotation_corrupt")
    return values


@dataclasses.dataclass
class _Element:
    kind: int
    data: memoryview


class _Reader:
    def __init__(self, content: bytes, budget: int) -> None:
        if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:20].startswith(b"MATLAB 7.3"):
            raise _Malformed("it is version 7.3 (HDF5); save it with -v7")
        if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
            raise _Malformed("the header is missing")
        self.order = "<" if content[126:128] == b"IM" else ">"
        self.content = memoryview(content)
        self.budget = budget

    def variables(self, names: tuple[str, ...] | None) -> dict:
        found = {}
        place = _HEADER
        while place < len(self.content):
            element, place = self._next(self.content, place, padded=False)
            if element.kind == _COMPRESSED:
                element, _ = self._next(self._inflate(element.data), 0, padded=False)
            if element.kind != _MATRIX:
                raise _Malformed(f"a variable of data type {element.kind}")
            name, value = self._matrix(element.data, names, depth=0)
            if names is None or name in names:
                found[name] = value
        return found

    def _next(self, data: memoryview, place: int, *, padded: bool = True) -> tuple[_Element, int]:
        if place + 8 > len(data):
            raise _Malformed(f"it ends inside a tag at byte {place}")
        kind, size = np.frombuffer(data[place:place + 8], self.order + "u4").tolist()
        if kind >> 16:
            # Small elements keep type and size in one word and the data in the other.
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise _Malformed(f"a small element of {size} bytes")
            return _Element(kind, data[place + 4:place + 4 + size]), place + 8
        end = place + 8 + size
        if end > len(data):
            raise _Malformed(f"an element of {size} bytes at byte {place}, where {len(data) - place - 8} are left")
        if padded or kind == _MATRIX:
            return _Element(kind, data[place + 8:end]), min(end + -size % 8, len(data)) if padded else end
        return _Element(kind, data[place + 8:end]), end

    def _inflate(self, data: memoryview) -> memoryview:
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(data, self.budget + 1)
        except zlib.error as error:
            raise _Malformed(f"compressed data: {error}") from error
        if len(plain) > self.budget:
            raise _Malformed("more data than the limit allows")
        if not stream.eof:
            raise _Malformed("compressed data end early")
        self.budget -= len(plain)
        return memoryview(plain)

    def _matrix(self, data: memoryview, names: tuple[str, ...] | None, *, depth: int) -> tuple[str, object]:
        if depth > 4:
            raise _Malformed("cells within cells within cells")
        flags, place = self._next(data, 0)
        if flags.kind != 6 or len(flags.data) != 8:
            raise _Malformed("array flags are missing")
        word = int(np.frombuffer(flags.data[:4], self.order + "u4")[0])
        kind, bits = word & 0xFF, word >> 8 & 0xFF
        element, place = self._next(data, place)
        shape = self._numbers(element, ("i4",)).tolist()
        count = 1
        for axis in shape:
            count *= axis
        if not 2 <= len(shape) <= 8 or min(shape) < 0 or count > MAX_BYTES:
            raise _Malformed(f"an array of shape {shape}")
        element, place = self._next(data, place)
        name = bytes(element.data).decode("ascii", "replace")
        if depth == 0 and names is not None and name not in names:
            return name, None
        if kind == _CELL:
            cells = []
            for _ in range(count):
                element, place = self._next(data, place)
                if element.kind != _MATRIX:
                    raise _Malformed(f"a cell of data type {element.kind}")
                cells.append(self._matrix(element.data, None, depth=depth + 1)[1] if len(element.data) else np.zeros((0, 0)))
            return name, tuple(cells)
        if kind == _CHAR:
            element, _ = self._next(data, place)
            return name, self._text(element, count)
        if kind not in _CLASSES or bits & _COMPLEX:
            raise _Malformed(f"{name!r} is an array of class {kind}{' with complex numbers' if bits & _COMPLEX else ''}")
        element, _ = self._next(data, place)
        values = self._numbers(element, tuple(_TYPES.values()))
        if len(values) != count:
            raise _Malformed(f"{name!r}: {len(values)} numbers for shape {shape}")
        values = values.astype(bool if bits & _LOGICAL else _CLASSES[kind])
        return name, values.reshape(shape, order="F")

    def _numbers(self, element: _Element, allowed: tuple[str, ...]) -> np.ndarray:
        kind = _TYPES.get(element.kind)
        if kind not in allowed:
            raise _Malformed(f"numbers of data type {element.kind}")
        if len(element.data) % int(kind[1]):
            raise _Malformed(f"{len(element.data)} bytes of numbers with {kind[1]} bytes each")
        return np.frombuffer(element.data, self.order + kind)

    def _text(self, element: _Element, count: int) -> str:
        coding = {16: "utf-8", 1: "latin-1", 2: "latin-1"}.get(element.kind)
        if coding is None and element.kind in (4, 17):
            coding = "utf-16-le" if self.order == "<" else "utf-16-be"
        if coding is None:
            raise _Malformed(f"a text of data type {element.kind}")
        text = bytes(element.data).decode(coding, "replace")
        return text[:count]
