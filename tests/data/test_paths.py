"""F12: paths of every kind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from facerecon.data import load_image
from facerecon.errors import PathError


def code_of(path) -> str:
    with pytest.raises(PathError) as caught:
        load_image(path)
    return caught.value.code


@pytest.mark.parametrize("name", ["ünï 写真 😀.png", "two\nlines.png", " .png", "-o.png", "a" * 251 + ".png", "%s.png"])
def test_strange_names_are_read(photo, encode, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encode(photo, "PNG"))
    for given in (path, str(path)):
        np.testing.assert_array_equal(load_image(given).pixels, np.asarray(photo))


def test_what_is_no_readable_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert code_of(tmp_path / "missing.jpg") == "path_missing"
    assert code_of("") == "path_missing"
    assert code_of(tmp_path / "file" / "below.jpg") == "path_missing"
    assert code_of(tmp_path) == "path_not_file"
    assert code_of(tmp_path / ("a" * 300)) == "path_invalid"
    assert code_of("zero\0byte.jpg") == "path_invalid"


def test_symlink_loop(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert code_of(tmp_path / "a") == "path_loop"


def test_symlink_to_a_photo_is_followed(photo, encode, tmp_path):
    (tmp_path / "real").write_bytes(encode(photo, "PNG"))
    (tmp_path / "link.png").symlink_to("real")
    assert load_image(tmp_path / "link.png").size == photo.size


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    found = []
    worker = threading.Thread(target=lambda: found.append(code_of(tmp_path / "pipe.jpg")), daemon=True)
    worker.start()
    worker.join(10)
    assert found == ["path_not_file"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_device_is_not_read():
    assert code_of("/dev/zero") == "path_not_file"


def test_no_permission(monkeypatch, tmp_path):
    # The tests may run as a user for whom no file is closed, so the system's answer is put in its mouth.
    path = tmp_path / "closed.jpg"
    path.write_bytes(b"x")

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", closed)
    assert code_of(path) == "path_permission"


def test_the_message_holds_no_raw_newline(tmp_path):
    with pytest.raises(PathError) as caught:
        load_image(tmp_path / "missing\nERROR: forged line.jpg")
    assert "\n" not in str(caught.value)
