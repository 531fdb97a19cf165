"""The binary chunk of a GLB: buffer views and accessors, aligned as glTF 2.0 section 3.6.2 asks."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}


class GlbBuffer:
    """Collects bytes, views and accessors; `finish` joins them with a document into the bytes of a GLB."""

    def __init__(self) -> None:
        import pygltflib

        self._gltf = pygltflib
        self._chunks: list[bytes] = []
        self._length = 0
        self._views: list[Any] = []
        self._accessors: list[Any] = []

    def raw(self, data: bytes, target: int | None = None) -> int:
        """Append bytes at a multiple of 4; returns the buffer view."""
        self._views.append(self._gltf.BufferView(buffer=0, byteOffset=self._length, byteLength=len(data), target=target))
        padded = data + b"\0" * (-len(data) % 4)
        self._chunks.append(padded)
        self._length += len(padded)
        return len(self._views) - 1

    def vectors(self, values: np.ndarray, *, bounds: bool = False) -> int:
        """A float vertex attribute (N, 2 or 3); returns the accessor. `bounds` adds min and max, which POSITION must have."""
        values = np.ascontiguousarray(values, "<f4")
        view = self.raw(values.tobytes(), self._gltf.ARRAY_BUFFER)
        return self._accessor(view, self._gltf.FLOAT, len(values), values.shape[1], values if bounds else None)

    def indices(self, faces: np.ndarray) -> int:
        """Triangle corners; 16 bits where they suffice (the largest code of a width is reserved)."""
        kind, component = _index_type(int(faces.max()), self._gltf)
        view = self.raw(faces.astype(kind).tobytes(), self._gltf.ELEMENT_ARRAY_BUFFER)
        return self._accessor(view, component, faces.size, 1, None)

    def sparse_vectors(self, values: np.ndarray, *, smallest: float, bounds: bool = True) -> int:
        """A (N, 3) attribute that is zero but for few rows: zeros, with the rows longer than `smallest` stored."""
        rows = np.flatnonzero(np.linalg.norm(values, axis=-1) > smallest)
        # A sparse accessor must replace at least one element.
        rows = rows if len(rows) else np.zeros(1, np.int64)
        stored = np.ascontiguousarray(values[rows], "<f4")
        kind, component = _index_type(len(values), self._gltf)
        sparse = self._gltf.Sparse(
            count=len(rows),
            indices=self._gltf.AccessorSparseIndices(bufferView=self.raw(rows.astype(kind).tobytes()), byteOffset=0, componentType=component),
            values=self._gltf.AccessorSparseValues(bufferView=self.raw(stored.tobytes()), byteOffset=0),
        )
        # Bounds are those of the whole attribute, zeros included.
        whole = np.concatenate([stored, np.zeros((1, 3), np.float32)]) if len(rows) < len(values) else stored
        index = self._accessor(None, self._gltf.FLOAT, len(values), 3, whole if bounds else None)
        self._accessors[index].sparse = sparse
        return index

    def finish(self, document: Any, *, node_weights: list[float]) -> bytes:
        """Bytes of the GLB file. `node_weights` go to the first node: pygltflib's nodes have no field for them."""
        document.buffers = [self._gltf.Buffer(byteLength=self._length)]
        document.bufferViews, document.accessors = self._views, self._accessors
        header = json.loads(document.gltf_to_json(separators=(",", ":"), indent=None))
        if node_weights:
            header["nodes"][0]["weights"] = node_weights
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("utf-8")
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._length
        return b"".join([struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text,
                         struct.pack("<I4s", self._length, b"BIN\0"), *self._chunks])

    def _accessor(self, view: int | None, component: int, count: int, width: int, bounded: np.ndarray | None) -> int:
        accessor = self._gltf.Accessor(bufferView=view, componentType=component, count=count, type=_KINDS[width])
        if bounded is not None:
            accessor.min, accessor.max = bounded.min(axis=0).tolist(), bounded.max(axis=0).tolist()
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _index_type(largest: int, gltf: Any) -> tuple[str, int]:
    return ("<u2", gltf.UNSIGNED_SHORT) if largest < 65535 else ("<u4", gltf.UNSIGNED_INT)
