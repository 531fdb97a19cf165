"""Files that appear whole or not at all.

A file is written beside its goal under a hidden temporary name, flushed to the disk, and renamed over the goal; a reader
sees the old content or the new, never a part. Temporary files of a killed run carry `TEMPORARY_SUFFIX`, so the next run
can sweep them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from facerecon.errors import PathError

TEMPORARY_SUFFIX = ".facerecon-part"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on a clean exit it becomes `path`, on an error it is removed.

    The temporary name keeps the goal's extension at its end, since many writers choose their format by it.

    Raises:
        PathError: `path_write` when the folder cannot be written.
    """
    goal = Path(path)
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=TEMPORARY_SUFFIX + goal.suffix, dir=goal.parent)
    except OSError as error:
        raise PathError(f"cannot write {goal}: {error.strerror}; choose a folder that you may write to",
                        code="path_write") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _publish(temporary, goal)
    except OSError as error:
        raise PathError(f"cannot write {goal}: {error.strerror or error}", code="path_write") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write bytes, or text as UTF-8 with plain newlines, whole or not at all; returns the path."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def _publish(temporary: Path, goal: Path) -> None:
    # mkstemp makes files private; a result should have the permissions that any new file of this user gets.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, goal)
    if os.name == "posix":
        folder = os.open(goal.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep_temporaries(folder: str | os.PathLike[str]) -> int:
    """Remove what killed runs left in `folder` (not below it); returns how many files went."""
    swept = 0
    for entry in Path(folder).glob(f".*{TEMPORARY_SUFFIX}*"):
        if entry.is_file() and not entry.is_symlink():
            entry.unlink(missing_ok=True)
            swept += 1
    return swept


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def safe_stem(name: str, *, longest: int = 120) -> str:
    """A file stem that every common file system accepts, from any string.

    Letters (of any script), digits, `.`, `-` and `_` stay; every other run becomes one `_`. The result has at most
    `longest` UTF-8 bytes and is never empty, `.` or `..`.
    """
    stem = re.sub(r"[^\w.\-]+", "_", name, flags=re.UNICODE).strip("._") or "image"
    while len(stem.encode("utf-8")) > longest:
        stem = stem[:-1]
    return stem
