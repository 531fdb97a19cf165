"""Reading a file that may be anything: regular, and bounded in size."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from facerecon.errors import FaceReconError, MeshError, PathError

_LONGEST_LINE = 1 << 20


def read_bounded(path: str | os.PathLike[str], *, max_bytes: int, too_large: FaceReconError) -> bytes:
    """The bytes of a regular file.

    Args:
        path: file; a pipe or a device is refused before it is opened, so that nothing waits.
        max_bytes: most that is read.
        too_large: raised when there is more.

    Raises:
        PathError: `path_missing`, `path_not_file`, `path_permission`, `path_loop`, `path_invalid`.
    """
    source = Path(path)
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):
            raise PathError(f"{source}: wanted a regular file, got a folder, pipe or device", code="path_not_file")
        with open(source, "rb") as stream:
            # Asking for the limit at once would take that much memory for a small file.
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(size) if size <= max_bytes else None
    except FileNotFoundError as error:
        raise PathError(f"{source}: there is no such file", code="path_missing") from error
    except PermissionError as error:
        raise PathError(f"{source}: this user may not read it", code="path_permission") from error
    except ValueError as error:
        raise PathError(f"path: {error}", code="path_invalid") from error
    except OSError as error:
        code = "path_loop" if error.errno == errno.ELOOP else "path_invalid"
        raise PathError(f"{source}: {error.strerror}", code=code) from error
    if data is None:
        raise too_large
    return data


def text_lines(data: bytes, start: int = 0) -> Iterator[bytes]:
    """The lines of a text file from byte `start`, one at a time, so that a file of newlines costs no memory.

    Raises:
        MeshError: `mesh_format` for a line above a mebibyte.
    """
    stream = io.BytesIO(data)
    stream.seek(start)
    while line := stream.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise MeshError(f"wanted lines of at most {_LONGEST_LINE} bytes", code="mesh_format")
        yield line
