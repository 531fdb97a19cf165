"""The reader of MATLAB 5 files against SciPy's, and on damaged files."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io

from facerecon.data.datasets import read_mat
from facerecon.errors import DatasetError, PathError

VALUES = {
    "doubles": np.arange(6.0).reshape(2, 3), "singles": np.array([[1.5, -2]], np.float32), "bytes": np.array([[1, 2, 255]], np.uint8),
    "shorts": np.array([[-5, 10, 200, 300]], np.int16), "longs": np.array([[2**40]], np.int64), "flags": np.array([[True, False]]),
    "cube": np.arange(24.0).reshape(2, 3, 4), "empty": np.zeros((0, 3)), "text": "straße.jpg", "small_as_double": np.ones((29, 1)),
}


def saved(compressed: bool, **values) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, values, do_compression=compressed)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_texts_and_cells_equal_scipy(tmp_path, compressed):
    names = np.empty((3, 1), dtype=object)
    names[:, 0] = ["0/image00002.jpg", "2/a.jpg", ""]
    (tmp_path / "a.mat").write_bytes(saved(compressed, names=names, **VALUES))
    got, wanted = read_mat(tmp_path / "a.mat"), scipy.io.loadmat(tmp_path / "a.mat")
    for key, value in VALUES.items():
        if key == "text":
            assert got[key] == wanted[key][0]
            continue
        assert got[key].shape == wanted[key].shape and np.array_equal(got[key], wanted[key]), key
        assert got[key].dtype == np.asarray(value).dtype, key
    assert [item for item in got["names"] if isinstance(item, str)][:2] == ["0/image00002.jpg", "2/a.jpg"]


def test_only_named_variables_are_read_and_must_be_there(tmp_path):
    (tmp_path / "a.mat").write_bytes(saved(True, **VALUES))
    assert set(read_mat(tmp_path / "a.mat", names=("cube", "text"))) == {"cube", "text"}
    with pytest.raises(DatasetError, match="pt3d_68"):
        read_mat(tmp_path / "a.mat", names=("pt3d_68",))
    with pytest.raises(PathError):
        read_mat(tmp_path / "b.mat")


def test_a_file_of_the_other_byte_order_is_read(tmp_path):
    numbers = struct.pack(">3d", 1.5, -2.0, 3.0)
    body = (struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 3) + struct.pack(">HH4s", 1, 1, b"a\0\0\0")[:0]
            + struct.pack(">I4s", 1 << 16 | 1, b"a\0\0\0") + struct.pack(">II", 9, 24) + numbers)
    header = b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(header + struct.pack(">II", 14, len(body)) + body)
    assert np.array_equal(read_mat(tmp_path / "a.mat")["a"], [[1.5, -2, 3]])


def corrupt(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_mat(path, names=("doubles",))
    assert caught.value.code == "annotation_corrupt" and str(path) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_corrupt(tmp_path, compressed):
    content = saved(compressed, doubles=np.random.default_rng(0).normal(size=(40, 20)))
    for end in [*range(0, len(content), 64), len(content) - 1]:
        corrupt(tmp_path / "a.mat", content[:end])


def test_forged_sizes_types_and_kinds_are_refused(tmp_path):
    content = saved(False, doubles=np.ones((3, 3)))
    path = tmp_path / "a.mat"
    for kind in (8, 10, 255, 0):
        corrupt(path, content[:128] + struct.pack("<I", kind) + content[132:])
    # Dimensions that multiply to more than there is.
    place = content.index(struct.pack("<IIii", 5, 8, 3, 3)) + 8
    for dims in ((2**31 - 1, 2**31 - 1), (-3, -3), (9, 9)):
        corrupt(path, content[:place] + struct.pack("<ii", *dims) + content[place + 8:])
    corrupt(path, bytes(15_000_000))
    corrupt(path, b"\x89HDF\r\n\x1a\n" + bytes(2000))
    assert "structure" not in corrupt(path, saved(False, doubles={"a": 1}))
    corrupt(path, saved(False, doubles=np.array([[1 + 2j]])))


def test_a_bomb_stops_at_the_limit(tmp_path):
    inner = struct.pack("<II", 14, 400 << 20)
    stream = zlib.compressobj(9)
    packed = stream.compress(inner) + b"".join(stream.compress(bytes(1 << 20)) for _ in range(200)) + stream.flush()
    content = saved(False, a=1)[:128] + struct.pack("<II", 15, len(packed)) + packed
    assert "limit" in corrupt(tmp_path / "a.mat", content)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError):
            read_mat(tmp_path / "a.mat", max_bytes=1 << 20)
        # 200 MiB are in the file; no more than the limit, and what it is copied to, is ever there.
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()
