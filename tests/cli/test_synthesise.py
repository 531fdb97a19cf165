"""`facerecon synthesise`: an archive by one command, which goes on where it was, and refuses what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from facerecon.cli.main import app
from facerecon.synthesis import read_archive


def call(*words):
    return CliRunner().invoke(app, ["synthesise", *map(str, words)])


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_an_archive_is_written_and_grows(tmp_path):
    words = ["-o", tmp_path / "heads", "--seed", 3, "--size", 48]
    first = call("-n", 2, *words)
    assert first.exit_code == 0 and "2 faces" in first.output
    assert set(content(tmp_path / "heads")) == {"faces.jsonl", "synthetic-00000.tar", "synthetic-00000.maps.tar",
                                                "synthetic-00000.safetensors"}
    small = read_archive(tmp_path / "heads")
    assert call("-n", 3, *words, "--quiet").output == ""
    grown = read_archive(tmp_path / "heads")
    assert len(grown) == 3 and grown.size == 48 and (grown.images[:2] == small.images).all() and grown.names[:2] == small.names
    before = content(tmp_path / "heads")
    again = call("-n", 3, *words)
    assert again.exit_code == 0 and content(tmp_path / "heads") == before
    refused = call("-n", 3, *words[:2], "--seed", 4, "--size", 48)
    assert refused.exit_code == 2 and "another seed" in refused.output and content(tmp_path / "heads") == before


@pytest.mark.parametrize("words", [
    [], ["-n", 0], ["-n", 2, "--size", 8], ["-n", 2, "--maps", "albedo"], ["-n", 2, "--model", "nowhere.facemodel"],
    ["-n", 2, "--backgrounds", "nowhere"], ["--profile", "nowhere"], ["--profile", "nowhere", "--backgrounds", "nowhere"],
    ["--fitted", "nowhere"], ["-n", 2, "--people", "test"], ["-n", 2, "--stage", "full"], ["--fitted", "x", "--profile", "x"],
    ["--fitted", "x", "--views", 2], ["--fitted", "x", "--people", "friends"]])
def test_wrong_usage_writes_nothing(tmp_path, words):
    done = call(*words, "-o", tmp_path / "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists()


def test_a_folder_of_photos_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    done = call("-n", 2, "-o", tmp_path)
    assert done.exit_code == 2 and "holiday.jpg" in done.output and content(tmp_path) == {"holiday.jpg": b"mine"}


def test_photos_are_turned_and_the_others_named(tmp_path, portraits):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a_broken.jpg").write_bytes(b"no picture")
    portraits[0].save(photos / "b_somebody.png")
    done = call("--profile", photos, "-o", tmp_path / "out", "--size", 64, "--maps", "none")
    read = read_archive(tmp_path / "out")
    assert done.exit_code == 3 and "1 photos gave none" in done.output and f"{len(read)} faces" in done.output
    assert read.header["dropped"] == [{"item": 0, "code": "image_format"}]
    assert len(set(read.subjects)) == 1 and len(read) > 3 and abs(read.truth["euler_deg"][:, 1]).max() > 60


def test_photos_are_kept_with_their_fit(tmp_path, portraits):
    photos = tmp_path / "photos"
    photos.mkdir()
    portraits[0].save(photos / "somebody.png")
    done = call("--fitted", photos, "-o", tmp_path / "out", "--size", 64, "--maps", "none", "--stage", "landmarks")
    read = read_archive(tmp_path / "out")
    assert done.exit_code == 0 and len(read) == 1 and read.header["about"]["source"] == "fitted"
    assert abs(read.truth["euler_deg"][0]).max() < 30 and read.header["about"]["stage"] == "landmarks"
