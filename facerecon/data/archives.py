"""Unpack the archives that datasets come in, without letting them write anywhere else, or without end.

All members are looked at before the first byte is written; the content goes into a hidden folder beside the goal, which takes
its name at the end. So the goal appears whole or not at all.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from facerecon.errors import ArchiveError, PathError

MAX_MEMBERS = 300_000
MAX_BYTES = 64 << 30
# Real images and lists compress by less than this; bombs by thousands.
MAX_RATIO = 200
_SLACK = 64 << 20
_BLOCK = 1 << 20
_LONGEST_READ = 64 << 20
_END_OF_ZIP = b"PK\x05\x06"
_END_OF_ZIP64 = b"PK\x06\x06"


@dataclasses.dataclass(frozen=True)
class _Member:
    path: PurePosixPath
    folder: bool
    size: int
    source: object


def extract_archive(archive: str | os.PathLike[str], destination: str | os.PathLike[str], *, max_members: int = MAX_MEMBERS,
                    max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO) -> list[Path]:
    """Unpack a .zip, .tar, .tar.gz or .tar.bz2.

    Args:
        destination: folder that does not exist yet.
        max_members, max_bytes: limits of what comes out; max_ratio: of the content over the archive's size (64 MiB are free).

    Returns:
        The files, in the archive's order.

    Raises:
        ArchiveError: `archive_unsafe` for a member with an absolute path, a `..`, a drive or a control character, a link, a
            device, a name twice (also by case or Unicode form), or anything beyond the limits; `archive_corrupt` for damage.
            PathError: `path_missing`, `path_exists`, `path_write`.
    """
    archive, destination = Path(archive), Path(destination)
    if not archive.is_file():
        raise PathError(f"{archive}: no such archive", code="path_missing")
    if destination.exists() or destination.is_symlink():
        raise PathError(f"{destination} exists already; choose a new folder", code="path_exists")
    most = min(max_bytes, int(archive.stat().st_size * max_ratio) + _SLACK)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".unpack-", dir=destination.parent))
    except OSError as error:
        raise PathError(f"cannot write {destination}: {error.strerror}", code="path_write") from error
    try:
        names = _unpack(archive, folder, max_members, most)
        os.chmod(folder, 0o755)
        os.rename(folder, destination)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeError, ValueError, NotImplementedError,
            RuntimeError, ImportError) as error:
        raise ArchiveError(f"{archive} cannot be read ({type(error).__name__}: {error}); download it again",
                           code="archive_corrupt") from error
    except OSError as error:
        # Decompressors report damage as OSError without a number; the file system always gives one.
        if error.errno is None:
            raise ArchiveError(f"{archive} cannot be read ({error}); download it again", code="archive_corrupt") from error
        raise PathError(f"cannot write {destination}: {error.strerror}", code="path_write") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [destination.joinpath(*name.parts) for name in names]


def _unpack(archive: Path, folder: Path, max_members: int, most: int) -> list[PurePosixPath]:
    with open(archive, "rb") as stream:
        start = stream.read(4)
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        _check_zip_size(archive, max_members)
        with zipfile.ZipFile(archive) as content:
            members = _checked(_zip_members(content), max_members, most, archive)
            return _write(members, folder, most, archive, lambda member: content.open(member.source))
    opener = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}.get(start[:2], open)
    # Headers and padding come on top of the members.
    longest = most + 2048 * max_members
    with opener(archive, "rb") as plain, tarfile.open(fileobj=_Bounded(plain, longest), mode="r:", errorlevel=2) as content:
        members = _checked(_tar_members(content), max_members, most, archive)
        plain.seek(content.offset)
        # Without the closing block the archive may have been cut between two members.
        if plain.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ArchiveError(f"{archive}: the end of the archive is missing; download it again", code="archive_corrupt")
    if not members:
        raise ArchiveError(f"{archive} is empty or no archive", code="archive_corrupt")
    # A second pass over the stream: the first one wrote nothing.
    with opener(archive, "rb") as plain, tarfile.open(fileobj=_Bounded(plain, longest), mode="r:", errorlevel=2) as content:
        return _write(_paired(members, content), folder, most, archive, lambda member: content.extractfile(member.source))


def _zip_members(content: zipfile.ZipFile) -> Iterator[_Member]:
    for info in content.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{info.filename!r} is a link or a device")
        if info.flag_bits & 1:
            raise ArchiveError(f"{info.filename!r} is encrypted", code="archive_corrupt")
        yield _Member(_safe_name(info.filename), info.is_dir(), info.file_size, info)


def _tar_members(content: tarfile.TarFile) -> Iterator[_Member]:
    for info in content:
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise ArchiveError(f"{info.name!r} is a link, a device or a sparse file")
        yield _Member(_safe_name(info.name), info.isdir(), info.size, info)


def _paired(members: list[_Member], content: tarfile.TarFile) -> Iterator[_Member]:
    for member, again in zip(members, _tar_members(content)):
        if (member.path, member.size, member.folder) != (again.path, again.size, again.folder):
            raise ArchiveError("the archive changed while it was read")
        yield again


def _checked(members: Iterator[_Member], max_members: int, most: int, archive: Path) -> list[_Member]:
    kept, seen, folders, total = [], set(), set(), 0
    for member in members:
        if len(kept) >= max_members:
            raise ArchiveError(f"{archive} has more than {max_members} members")
        total += max(member.size, 0)
        if member.size < 0 or total > most:
            raise ArchiveError(f"{archive} unpacks to more than {most} bytes")
        # File systems that ignore case or Unicode form would let the second of two names overwrite the first.
        key = unicodedata.normalize("NFC", str(member.path)).casefold()
        above = {unicodedata.normalize("NFC", str(parent)).casefold() for parent in member.path.parents}
        if (key in seen and not (member.folder and key in folders)) or (key in folders and not member.folder):
            raise ArchiveError(f"{archive} has {str(member.path)!r} twice")
        if above & (seen - folders):
            raise ArchiveError(f"{archive}: {str(member.path)!r} lies below a file")
        folders |= above | ({key} if member.folder else set())
        seen.add(key)
        kept.append(member)
    return kept


def _write(members, folder: Path, most: int, archive: Path, opened) -> list[PurePosixPath]:
    written, total = [], 0
    for member in members:
        goal = folder.joinpath(*member.path.parts)
        if member.folder:
            goal.mkdir(parents=True, exist_ok=True)
            continue
        goal.parent.mkdir(parents=True, exist_ok=True)
        with opened(member) as source, open(goal, "xb") as target:
            size = 0
            while block := source.read(_BLOCK):
                size += len(block)
                total += len(block)
                if size > member.size or total > most:
                    raise ArchiveError(f"{archive}: {str(member.path)!r} is larger than it declares")
                target.write(block)
        if size != member.size:
            raise ArchiveError(f"{archive}: {str(member.path)!r} ends early", code="archive_corrupt")
        written.append(member.path)
    return written


def _safe_name(name: str) -> PurePosixPath:
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    parts = path.parts
    # "./" is the folder itself, and common in tars; a file needs a name.
    if (not plain or plain.startswith("/") or ".." in parts or any(":" in part for part in parts) or len(plain) > 1024
            or any(ord(letter) < 32 or ord(letter) == 127 for letter in plain)):
        raise ArchiveError(f"member {name!r} would be written outside the folder, or has a name that is not portable")
    return path


def _check_zip_size(archive: Path, max_members: int) -> None:
    """Look at the number of members before the directory of the archive is read into memory."""
    size = archive.stat().st_size
    with open(archive, "rb") as stream:
        stream.seek(max(0, size - 66_000))
        tail = stream.read()
    place = tail.rfind(_END_OF_ZIP)
    if place < 0 or place + 22 > len(tail):
        raise ArchiveError(f"{archive}: the end of the archive is missing; download it again", code="archive_corrupt")
    count = int.from_bytes(tail[place + 10:place + 12], "little")
    directory = int.from_bytes(tail[place + 12:place + 16], "little")
    large = tail.rfind(_END_OF_ZIP64)
    if large >= 0 and large + 56 <= len(tail):
        count = max(count if count != 0xFFFF else 0, int.from_bytes(tail[large + 32:large + 40], "little"))
        directory = max(directory if directory != 0xFFFFFFFF else 0, int.from_bytes(tail[large + 40:large + 48], "little"))
    # An entry has 46 bytes and a name; the count may lie, the directory's size bounds it.
    if count > max_members or directory > max_members * 512:
        raise ArchiveError(f"{archive} has more than {max_members} members")


class _Bounded(io.RawIOBase):
    """The plain bytes of a tar, refusing single reads and total lengths that only a forged header asks for."""

    def __init__(self, stream, longest: int) -> None:
        self._stream = stream
        self._longest = longest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or offset > self._longest:
            raise ArchiveError(f"a header points to byte {offset}")
        return self._stream.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _LONGEST_READ or self._stream.tell() + size > self._longest + _LONGEST_READ:
            raise ArchiveError(f"a header asks for {size} bytes at once")
        return self._stream.read(size)
