"""Parsing of PLY, text and binary; see `meshfile.read_mesh` for the rules."""

from __future__ import annotations

import dataclasses
from array import array
from typing import Any

import numpy as np

from facerecon.errors import MeshError
from facerecon.export.source import text_lines

_MOST_HEADER_BYTES = 1 << 16
_KINDS = {"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
          "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8"}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDEX_NAMES = ("vertex_indices", "vertex_index")


@dataclasses.dataclass
class _Property:
    name: str
    kind: str
    count_kind: str | None


@dataclasses.dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property]


def parse(data: bytes, *, max_elements: int) -> dict[str, Any]:
    """The arrays of `MeshData`.

    Raises:
        MeshError: without a path in the message.
    """
    order, elements, comments, start = _header(data)
    words = _words(data, start, 16 * max_elements) if order == "" else None
    cursor = 0 if words is not None else start
    parts: dict[str, Any] = {"vertices": np.zeros((0, 3)), "faces": np.zeros((0, 3), np.int64), "comments": tuple(comments)}
    for element in elements:
        if element.count > max_elements and element.name in ("vertex", "face"):
            raise MeshError(f"wanted at most {max_elements} of {element.name}, the header declares {element.count}", code="mesh_too_large")
        _check_room(element, len(words) - cursor if words is not None else len(data) - cursor, binary=words is None)
        if words is not None:
            columns, cursor = _read_words(element, words, cursor)
        else:
            columns, cursor = _read_binary(element, data, cursor, order)
        if element.name == "vertex":
            parts.update(_vertices(columns, element))
        elif element.name == "face":
            parts["faces"] = _fans(columns, element, max_elements)
    return parts


def _header(data: bytes) -> tuple[str, list[_Element], list[str], int]:
    end = data.find(b"end_header", 0, _MOST_HEADER_BYTES)
    stop = data.find(b"\n", end) + 1 if end >= 0 else 0
    if not stop:
        raise MeshError("the PLY header does not end", code="mesh_truncated" if len(data) < _MOST_HEADER_BYTES else "mesh_format")
    order: str | None = None
    elements: list[_Element] = []
    comments: list[str] = []
    for line in data[:end].decode("latin-1").splitlines()[1:]:
        words = line.split()
        try:
            if not words or words[0] == "obj_info":
                continue
            if words[0] == "comment":
                comments.append(line.strip()[len("comment"):].strip())
            elif words[0] == "format":
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], _count(words[2]), []))
            elif words[0] == "property" and words[1] == "list":
                if _KINDS[words[2]][0] == "f":
                    raise ValueError("the length of a list must be an integer")
                elements[-1].properties.append(_Property(words[4], _KINDS[words[3]], _KINDS[words[2]]))
            elif words[0] == "property":
                elements[-1].properties.append(_Property(words[2], _KINDS[words[1]], None))
            else:
                raise ValueError(f"unknown keyword {words[0]!r}")
        except (KeyError, IndexError, ValueError) as error:
            raise MeshError(f"wanted a PLY header, got the line {line[:60]!r} ({error})", code="mesh_format") from error
    if order is None:
        raise MeshError("the PLY header names no format", code="mesh_format")
    return order, elements, comments, stop


def _count(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise ValueError("a count must be a whole number")
    return int(word)


def _check_room(element: _Element, room: int, *, binary: bool) -> None:
    """Refuse a count that the rest of the file cannot hold, before anything is allocated for it."""
    least = sum(np.dtype(prop.count_kind or prop.kind).itemsize if binary else 1 for prop in element.properties)
    if element.count and not least:
        raise MeshError(f"the PLY header gives {element.name} no property", code="mesh_format")
    if element.count * least > room:
        raise MeshError(f"the header declares {element.count} of {element.name}, the file holds at most {room // least}",
                        code="mesh_truncated")


def _words(data: bytes, start: int, most: int) -> np.ndarray:
    """All numbers of a text body as float64, which holds every index that a mesh can have exactly."""
    numbers = array("d")
    for line in text_lines(data, start):
        try:
            numbers.extend(map(float, line.split()))
        except ValueError as error:
            raise MeshError(f"wanted numbers, got the line {line[:60]!r}") from error
        if len(numbers) > most:
            raise MeshError(f"wanted at most {most} numbers", code="mesh_too_large")
    return np.array(numbers)


def _read_words(element: _Element, words: np.ndarray, cursor: int) -> tuple[dict[str, Any], int]:
    if not element.count:
        return {prop.name: np.zeros(0) for prop in element.properties}, cursor
    # As in a binary file: one table when all rows have the list lengths of the first.
    lengths, place = [], cursor
    for prop in element.properties:
        length = _word_count(element, words, place) if prop.count_kind else 1
        lengths.append(length)
        place += length + (prop.count_kind is not None)
    width = place - cursor
    if element.count * width <= len(words) - cursor:
        table = words[cursor:cursor + element.count * width].reshape(element.count, width)
        columns: dict[str, Any] = {}
        equal, place = True, 0
        for prop, length in zip(element.properties, lengths):
            if prop.count_kind:
                equal = equal and bool((table[:, place] == length).all())
                place += 1
            columns[prop.name] = table[:, place:place + length] if prop.count_kind else table[:, place]
            place += length
        if equal:
            return columns, cursor + element.count * width
    columns = {prop.name: [] for prop in element.properties}
    for _ in range(element.count):
        for prop in element.properties:
            length = 1
            if prop.count_kind:
                length, cursor = _word_count(element, words, cursor), cursor + 1
            if cursor + length > len(words):
                raise MeshError(f"the file ends inside {element.name}", code="mesh_truncated")
            columns[prop.name].append(words[cursor:cursor + length].tolist())
            cursor += length
    return columns, cursor


def _word_count(element: _Element, words: np.ndarray, cursor: int) -> int:
    if cursor >= len(words):
        raise MeshError(f"the file ends inside {element.name}", code="mesh_truncated")
    value = float(words[cursor])
    if not (value >= 0 and value == int(value)):
        raise MeshError(f"wanted the length of a list in {element.name}, got {value}")
    if value > len(words) - cursor - 1:
        raise MeshError(f"a list of {element.name} declares {value:.0f} entries, more than the file holds", code="mesh_truncated")
    return int(value)


def _read_binary(element: _Element, data: bytes, cursor: int, order: str) -> tuple[dict[str, Any], int]:
    lists = [prop for prop in element.properties if prop.count_kind]
    if not element.count:
        return {prop.name: np.zeros(0) for prop in element.properties}, cursor
    # Most files have rows of one size: read them as one table with the first row's list lengths, and check the others.
    lengths = _row_lengths(element, data, cursor, order)
    fields: list[Any] = []
    for place, prop in enumerate(element.properties):
        if prop.count_kind:
            fields += [(f"n{place}", order + prop.count_kind), (f"p{place}", order + prop.kind, (lengths[place],))]
        else:
            fields.append((f"p{place}", order + prop.kind))
    row = np.dtype(fields)
    if row.itemsize * element.count <= len(data) - cursor:
        table = np.frombuffer(data, row, element.count, cursor)
        if all((table[f"n{place}"] == lengths[place]).all() for place in lengths):
            columns = {prop.name: table[f"p{place}"] for place, prop in enumerate(element.properties)}
            return columns, cursor + row.itemsize * element.count
    if not lists:
        raise MeshError(f"the file ends inside {element.name}", code="mesh_truncated")
    return _read_rows(element, data, cursor, order)


def _row_lengths(element: _Element, data: bytes, cursor: int, order: str) -> dict[int, int]:
    lengths: dict[int, int] = {}
    for place, prop in enumerate(element.properties):
        if prop.count_kind:
            lengths[place], cursor = _list_length(element, data, cursor, order, prop)
            cursor += lengths[place] * np.dtype(prop.kind).itemsize
        else:
            cursor += np.dtype(prop.kind).itemsize
    return lengths


def _read_rows(element: _Element, data: bytes, cursor: int, order: str) -> tuple[dict[str, Any], int]:
    columns: dict[str, Any] = {prop.name: [] for prop in element.properties}
    for _ in range(element.count):
        for prop in element.properties:
            length = 1
            if prop.count_kind:
                length, cursor = _list_length(element, data, cursor, order, prop)
            size = length * np.dtype(prop.kind).itemsize
            if cursor + size > len(data):
                raise MeshError(f"the file ends inside {element.name}", code="mesh_truncated")
            columns[prop.name].append(np.frombuffer(data, order + prop.kind, length, cursor).tolist())
            cursor += size
    return columns, cursor


def _list_length(element: _Element, data: bytes, cursor: int, order: str, prop: _Property) -> tuple[int, int]:
    size = np.dtype(prop.count_kind).itemsize
    if cursor + size > len(data):
        raise MeshError(f"the file ends inside {element.name}", code="mesh_truncated")
    length = int(np.frombuffer(data, order + str(prop.count_kind), 1, cursor)[0])
    if length < 0 or length * np.dtype(prop.kind).itemsize > len(data) - cursor - size:
        raise MeshError(f"a list of {element.name} declares {length} entries, more than the file holds", code="mesh_truncated")
    return length, cursor + size


def _vertices(columns: dict[str, Any], element: _Element) -> dict[str, Any]:
    scalars = {prop.name: prop.kind for prop in element.properties if prop.count_kind is None}
    if not all(axis in scalars for axis in "xyz"):
        raise MeshError("wanted vertices with x, y and z", code="mesh_format")

    def stack(*names: str) -> np.ndarray:
        return np.stack([np.asarray(columns[name], np.float64).reshape(element.count) for name in names], axis=-1)

    parts: dict[str, Any] = {"vertices": stack("x", "y", "z")}
    if all(name in scalars for name in ("nx", "ny", "nz")):
        parts["normals"] = stack("nx", "ny", "nz")
    if all(name in scalars for name in ("red", "green", "blue")):
        rgb = stack("red", "green", "blue")
        rgb = rgb * 255.0 if scalars["red"][0] == "f" else rgb
        parts["colours"] = np.clip(np.nan_to_num(rgb) + 0.5, 0.0, 255.0).astype(np.uint8)
    return parts


def _fans(columns: dict[str, Any], element: _Element, max_elements: int) -> np.ndarray:
    listed = [prop for prop in element.properties if prop.name in _INDEX_NAMES and prop.count_kind]
    if not listed or listed[0].kind[0] == "f":
        raise MeshError("wanted faces with a list of whole vertex_indices", code="mesh_format")
    polygons = columns[listed[0].name]
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2:
        return _cut(_indices(polygons), max_elements)
    groups: dict[int, list[int]] = {}
    for row, polygon in enumerate(polygons):
        groups.setdefault(len(polygon), []).append(row)
    cut = [(rows, _cut(_indices(np.array([polygons[row] for row in rows]).reshape(len(rows), sides)), max_elements))
           for sides, rows in groups.items()]
    if not cut:
        return np.zeros((0, 3), np.int64)
    # Back to the file's order: a polygon with n corners gave n - 2 triangles in a row.
    owners = np.concatenate([np.repeat(rows, len(fans) // len(rows)) for rows, fans in cut])
    triangles = np.concatenate([fans for _, fans in cut])
    if len(triangles) > max_elements:
        raise MeshError(f"wanted at most {max_elements} triangles, got {len(triangles)}", code="mesh_too_large")
    return triangles[np.argsort(owners, kind="stable")]


def _cut(polygons: np.ndarray, max_elements: int) -> np.ndarray:
    count, sides = polygons.shape
    if count and sides < 3:
        raise MeshError(f"a face needs three corners, got {sides}")
    if count * max(sides - 2, 0) > max_elements:
        raise MeshError(f"wanted at most {max_elements} triangles, got {count * (sides - 2)}", code="mesh_too_large")
    fans = [polygons[:, [0, second, second + 1]] for second in range(1, sides - 1)]
    return np.stack(fans, axis=1).reshape(-1, 3) if fans else np.zeros((0, 3), np.int64)


def _indices(values: np.ndarray) -> np.ndarray:
    # Text comes as floats: what is no whole number, or no number, becomes an index that the caller refuses.
    if values.dtype.kind == "f":
        return np.where((values == np.rint(values)) & (np.abs(values) < 2**53), values, -1).astype(np.int64)
    return values.astype(np.int64)
