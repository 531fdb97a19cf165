"""Read the bytes of a photo from a path without hanging, following devices or reading without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from facerecon.data.limits import MAX_BYTES, check_bytes
from facerecon.errors import PathError

_CODES = {
    errno.ENOENT: ("path_missing", "there is no such file"),
    errno.ENOTDIR: ("path_missing", "a part of the path is a file, not a folder"),
    errno.EACCES: ("path_permission", "you may not read it"),
    errno.EPERM: ("path_permission", "you may not read it"),
    errno.ELOOP: ("path_loop", "its symbolic links go in a circle"),
    errno.ENAMETOOLONG: ("path_invalid", "the name is too long for the file system"),
}


def read_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Content of a regular file of 1 to `max_bytes` bytes.

    Pipes, sockets, devices and folders are refused before they are opened, so that none of them can block.

    Raises:
        PathError: `path_missing`, `path_not_file`, `path_permission`, `path_loop`, `path_invalid`.
        ImageError: `image_empty`, `image_too_large`.
    """
    try:
        _require_regular(path, os.stat(path))
        # The path may be exchanged between the two looks; O_NONBLOCK keeps even a pipe from blocking the open.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as stream:
            state = os.fstat(stream.fileno())
            _require_regular(path, state)
            check_bytes(state.st_size, max_bytes)
            content = stream.read(max_bytes + 1)
    except OSError as error:
        code, reason = _CODES.get(error.errno, ("path_invalid", error.strerror or str(error)))
        raise PathError(f"cannot read {_shown(path)}: {reason}", code=code) from error
    except ValueError as error:
        # A zero byte, or a character that this file system cannot encode.
        raise PathError(f"cannot read {_shown(path)}: {error}", code="path_invalid") from error
    check_bytes(len(content), max_bytes)
    return content


def _require_regular(path: str | os.PathLike[str], state: os.stat_result) -> None:
    if stat.S_ISREG(state.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe, socket or device"
    raise PathError(f"cannot read {_shown(path)}: wanted a file, got {kind}", code="path_not_file")


def _shown(path: str | os.PathLike[str]) -> str:
    # repr keeps newlines and broken characters of a hostile name out of logs and terminals.
    return repr(str(Path(path)) if not isinstance(path, str) else path)
