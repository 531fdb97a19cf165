"""Archives: good ones come out whole, hostile ones write nothing anywhere."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from facerecon.data.archives import extract_archive
from facerecon.errors import ArchiveError, PathError

FILES = {"set/a.txt": b"hello", "set/deep/b.bin": bytes(range(256)) * 40, "empty.txt": b""}


def tar_of(path, entries, mode: str = "w:gz"):
    with tarfile.open(path, mode) as archive:
        for entry in entries:
            name, content = entry[:2]
            info = tarfile.TarInfo(name)
            for key, value in (entry[2] if len(entry) > 2 else {}).items():
                setattr(info, key, value)
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "zip"])
def test_good_archives_come_out_whole(tmp_path, kind):
    path = tmp_path / "archive"
    if kind == "zip":
        zip_of(path, [("set/", b""), *FILES.items()])
    else:
        tar_of(path, [("./", b"", {"type": tarfile.DIRTYPE}), *FILES.items()], kind)
    written = extract_archive(path, tmp_path / "out")
    assert {file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in written} == FILES
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["archive", "out"]
    with pytest.raises(PathError) as caught:
        extract_archive(path, tmp_path / "out")
    assert caught.value.code == "path_exists"


def refused(tmp_path, path, **limits) -> str:
    """Extraction is refused; the sentinel is unchanged and nothing is left."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (tmp_path / "sentinel").write_text("safe")
    before = sorted(entry.name for entry in tmp_path.iterdir())
    with pytest.raises(ArchiveError) as caught:
        extract_archive(path, home / "out", **limits)
    assert (tmp_path / "sentinel").read_text() == "safe" and list(home.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    return caught.value.code


NAMES = ["../sentinel", "a/../../sentinel", "/abs", "C:/x", "a\\..\\..\\sentinel", "a\nb", "a\x00b"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_are_unsafe(tmp_path, name):
    good = ("first.txt", b"x")
    assert refused(tmp_path, tar_of(tmp_path / "a.tar", [good, (name.replace("\x00", "\x01"), b"evil")])) == "archive_unsafe"
    if "\x00" not in name:
        assert refused(tmp_path, zip_of(tmp_path / "a.zip", [good, (name, b"evil")])) == "archive_unsafe"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_unsafe(tmp_path, kind):
    entries = [("link", b"", {"type": kind, "linkname": ".."}), ("link/sentinel", b"evil")]
    assert refused(tmp_path, tar_of(tmp_path / "a.tar", entries)) == "archive_unsafe"


def test_links_in_zips_are_unsafe(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "..")
    assert refused(tmp_path, tmp_path / "a.zip") == "archive_unsafe"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pair", [("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("caf\u00e9", "cafe\u0301"), ("a", "a/b"), ("a/b", "a")])
def test_names_that_collide_are_unsafe(tmp_path, pair):
    entries = [(pair[0], b"1"), (pair[1], b"2")]
    assert refused(tmp_path, tar_of(tmp_path / "a.tar", entries)) == "archive_unsafe"
    assert refused(tmp_path, zip_of(tmp_path / "a.zip", entries)) == "archive_unsafe"


def test_too_many_members_and_too_many_bytes_are_unsafe(tmp_path):
    many = [(f"{number}.txt", b"") for number in range(50)]
    assert refused(tmp_path, tar_of(tmp_path / "a.tar", many), max_members=49) == "archive_unsafe"
    assert refused(tmp_path, zip_of(tmp_path / "a.zip", many), max_members=49) == "archive_unsafe"
    assert refused(tmp_path, tar_of(tmp_path / "b.tar", [("a", bytes(4096))]), max_bytes=4095) == "archive_unsafe"
    bomb = [(f"{number}", bytes(1 << 20)) for number in range(200)]
    assert refused(tmp_path, zip_of(tmp_path / "b.zip", bomb)) == "archive_unsafe"
    assert refused(tmp_path, tar_of(tmp_path / "c.tar.gz", bomb)) == "archive_unsafe"


def test_a_million_members_are_refused_before_the_directory_is_read(tmp_path):
    good = zip_of(tmp_path / "a.zip", [("a", b"x")]).read_bytes()
    place = good.rfind(b"PK\x05\x06")
    forged = good[:place + 8] + b"\xff\xff\xff\xff" + (200 << 20).to_bytes(4, "little") + good[place + 16:]
    (tmp_path / "a.zip").write_bytes(forged)
    assert refused(tmp_path, tmp_path / "a.zip") == "archive_unsafe"


def test_a_pax_header_that_asks_for_gigabytes_is_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 7 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT).ljust(10240, b"\0"))
    assert refused(tmp_path, tmp_path / "a.tar") == "archive_unsafe"


def test_damaged_archives_are_corrupt_and_leave_nothing(tmp_path):
    import random

    noise = random.Random(1).randbytes(20000)
    whole = {"tar": tar_of(tmp_path / "w.tar", [("a", noise), ("b", noise[::-1])], "w").read_bytes(),
             "tar.gz": tar_of(tmp_path / "w.tgz", [("a", noise), ("b", noise[::-1])]).read_bytes(),
             "zip": zip_of(tmp_path / "w.zip", [("a", noise), ("b", noise[::-1])]).read_bytes()}
    for kind, content in whole.items():
        # 20992 is where the second member of the tar begins: cut there, it looks whole but for its end.
        for end in (0, 1000, 20992, len(content) // 2, 40000):
            path = tmp_path / f"cut.{kind}"
            path.write_bytes(content[:end])
            assert refused(tmp_path, path) == "archive_corrupt", (kind, end)
    changed = bytearray(whole["zip"])
    changed[5000] ^= 0xFF
    (tmp_path / "crc.zip").write_bytes(changed)
    assert refused(tmp_path, tmp_path / "crc.zip") == "archive_corrupt"
    with pytest.raises(PathError):
        extract_archive(tmp_path / "absent.zip", tmp_path / "out")
