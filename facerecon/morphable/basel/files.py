"""Opening the licensed files, inside the child process: MATLAB, HDF5, NumPy arrays, and pickles of arrays.

None of these may run code or allocate more than the file can hold; whatever a parser does wrong beyond that is caught by the
process around it.
"""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np

from facerecon.errors import BackendError, ModelError
from facerecon.morphable.basel.common import corrupt

_HDF5 = b"\x89HDF\r\n\x1a\n"
LARGEST_BYTES = 2 << 30
# All that a pickle of NumPy arrays in lists and dictionaries needs; both module names of NumPy 1 and 2.
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"), ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode")}


def check_file(path: Path) -> bytes:
    """First bytes of a regular file of sensible size.

    Raises:
        ModelError: `model_missing`, or `model_corrupt` for an empty or too large one.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", code="model_missing")
    size = path.stat().st_size
    if not 0 < size <= LARGEST_BYTES:
        raise corrupt(f"{path} has {size} bytes")
    with open(path, "rb") as stream:
        return stream.read(128)


def is_hdf5(path: Path) -> bool:
    """Whether the file is HDF5, plain or as MATLAB 7.3 (whose data begin after a block of text)."""
    if check_file(path).startswith(_HDF5):
        return True
    with open(path, "rb") as stream:
        stream.seek(512)
        return stream.read(8) == _HDF5


def load_mat(path: str | os.PathLike[str]) -> dict:
    """The numeric variables of a MATLAB file, version 5 or 7.3, in MATLAB's shapes."""
    path = Path(path)
    if is_hdf5(path):
        return _load_mat73(path)
    if not check_file(path).startswith((b"MATLAB", b"\0")) and check_file(path)[126:128] not in (b"IM", b"MI"):
        raise corrupt(f"{path} is not a MATLAB file")
    import scipy.io

    try:
        values = scipy.io.loadmat(path, appendmat=False)
    # The parser reports damage with whatever its internals meet: all of it means the same.
    except Exception as error:
        raise corrupt(f"{path} cannot be read as a MATLAB file ({type(error).__name__}: {error})") from error
    return {name: value for name, value in values.items() if not name.startswith("__")}


def _load_mat73(path: Path) -> dict:
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as stream:
            # HDF5 keeps MATLAB's axes in reverse order.
            return {name: item[()].T for name, item in stream.items()
                    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub" and _fits(item, path)}
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise corrupt(f"{path} cannot be read as HDF5 ({error})") from error


def load_h5(path: str | os.PathLike[str], names: tuple[str, ...], texts: tuple[str, ...] = ()) -> dict:
    """Datasets of an HDF5 file by their path, as arrays; `texts` as str. What is not there is left out."""
    path = Path(path)
    if not is_hdf5(path):
        raise corrupt(f"{path} is not an HDF5 file")
    h5py = _h5py()
    values = {}
    try:
        with h5py.File(path, "r") as stream:
            for name in (*names, *texts):
                item = stream.get(name)
                if not isinstance(item, h5py.Dataset):
                    continue
                _fits(item, path)
                value = item[()]
                if name in texts:
                    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size else value
                    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                values[name] = value
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise corrupt(f"{path} cannot be read as HDF5 ({error})") from error
    return values


def _fits(item, path: Path) -> bool:
    # A few bytes can declare any shape; chunks may compress, so a generous factor.
    if item.size * max(item.dtype.itemsize, 1) > LARGEST_BYTES:
        raise corrupt(f"{path}: {item.name} declares {item.shape}")
    return True


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise BackendError("reading HDF5 files needs h5py: pip install 'facerecon[basel]'", code="backend_missing") from error
    return h5py


def load_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """A plain numeric .npy whose size agrees with its header; an array of Python objects is refused.

    Raises:
        ModelError: `unsafe_format` for objects or another container, `model_corrupt` for damage.
    """
    path = Path(path)
    start = check_file(path)
    if not start.startswith(b"\x93NUMPY"):
        if start.startswith((b"\x80", b"PK")):
            raise ModelError(f"{path} is a pickle or an archive, wanted a .npy file", code="unsafe_format")
        raise corrupt(f"{path} is not a .npy file")
    with open(path, "rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = header(stream)
        except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
            raise corrupt(f"{path}: the header cannot be read ({error})") from error
        if dtype.hasobject:
            raise ModelError(f"{path} holds Python objects, which run code when they are loaded; it is never opened",
                             code="unsafe_format")
        count = 1
        for axis in shape:
            count *= axis
        left = path.stat().st_size - stream.tell()
        if dtype.kind not in "fiub" or min(shape, default=1) < 0 or count * dtype.itemsize != left:
            raise corrupt(f"{path}: the header declares {shape} of {dtype}, the file holds {left} bytes")
        return np.frombuffer(stream.read(left), dtype).reshape(shape, order="F" if fortran else "C")


def load_pickle(path: str | os.PathLike[str]):
    """A pickle of NumPy arrays in dictionaries, lists and tuples; anything else in it is refused and not executed.

    Raises:
        ModelError: `unsafe_format` when the pickle names anything but array parts; `model_corrupt` for damage.
    """
    path = Path(path)
    check_file(path)
    try:
        with open(path, "rb") as stream:
            return _ArrayUnpickler(io.BytesIO(stream.read()), encoding="latin1").load()
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", code=error.code) from error
    # A damaged pickle fails in any operation of the little machine that it is.
    except Exception as error:
        raise corrupt(f"{path} cannot be read as a pickle of arrays ({type(error).__name__}: {error})") from error


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise ModelError(f"the pickle wants to call {module}.{name}; only arrays are read, nothing was executed",
                             code="unsafe_format")
        if module == "_codecs":
            return _encode
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)

    def persistent_load(self, identifier: object):
        raise ModelError("the pickle refers to data outside it; nothing was executed", code="unsafe_format")


def _encode(text: str, coding: str) -> bytes:
    # Protocol 2 keeps bytes as latin-1 text; codecs with side effects are not reachable from here.
    if coding not in ("latin1", "latin-1"):
        raise ValueError(f"coding {coding!r}")
    return text.encode("latin-1")
