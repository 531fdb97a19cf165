"""Face profiling of folders and crop archives: what is read, what is refused, and that the others go on."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facerecon.errors import ArgumentError, DatasetError, FaceError
from facerecon.morphable import load_model
from facerecon.synthesis.profile_jobs import ProfileOptions, ProfileSource, Refused, profile_folder
from facerecon.synthesis.profile_photos import list_photos
from facerecon.synthesis.sample import SyntheticFace

PORTRAIT = sorted((Path(__file__).resolve().parents[2] / "assets" / "portraits").glob("*.jpg"))[0]


@pytest.fixture(scope="module")
def model():
    return load_model("open")


@pytest.fixture(scope="module")
def portrait():
    """A JPEG of 220 px, as bytes."""
    stream = io.BytesIO()
    Image.open(PORTRAIT).convert("RGB").resize((220, 220), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=92)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path, portrait):
    """A broken file, a photo in a subfolder, and one that shows nobody."""
    (tmp_path / "a_cut.jpg").write_bytes(portrait[:900])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "some one.jpg").write_bytes(portrait)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)).save(tmp_path / "c_noise.png")
    return tmp_path


def write_archive(folder: Path, crops: dict[str, bytes], *, subject: str | None = "someone") -> None:
    with tarfile.open(folder / "faces-00.tar", "w") as archive:
        for name, content in crops.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    rows = [{"name": name, "shard": "faces-00.tar", "subject": subject} for name in crops]
    (folder / "faces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_refused_photos_do_not_stop_the_folder(folder, model):
    found = list(profile_folder(folder, model=model, yaws_deg=(30.0, 60.0), size=64, stage="landmarks", maps=("pncc",)))
    kinds = [type(one) for one in found]
    assert kinds == [Refused, SyntheticFace, SyntheticFace, Refused]
    assert (found[0].name, found[0].code) == ("000000_a_cut", "image_truncated")
    assert (found[3].name, found[3].code) == ("000002_c_noise", "no_face") and found[3].message
    assert [face.name for face in found[1:3]] == ["000001_some_one_yaw+030.jpg", "000001_some_one_yaw+060.jpg"]
    for face, yaw in zip(found[1:3], (30, 60)):
        assert face.subject == "000001_some_one" and face.image.shape == (64, 64, 3)
        assert face.parameters.pose.to_dict()["euler_deg"]["yaw"] == pytest.approx(yaw, abs=0.1)


def test_a_crop_archive_is_read_in_place(tmp_path, portrait):
    write_archive(tmp_path, {"z.jpg": portrait, "a.jpg": portrait})
    photos, listing = list_photos(tmp_path)
    assert [(photo.name, photo.subject, photo.size) for photo in photos] == [
        ("z", "someone", len(portrait)), ("a", "someone", len(portrait))]
    assert np.array_equal(photos[1].read(), np.asarray(Image.open(io.BytesIO(portrait))))
    assert listing["count"] == 2
    write_archive(tmp_path, {"z.jpg": portrait, "a.jpg": portrait + b"\0"})
    assert list_photos(tmp_path)[1]["sha256"] != listing["sha256"]


@pytest.mark.parametrize("line", ["{", "[]", '{"name": "a.jpg"}', '{"name": "a.jpg", "shard": "../faces-00.tar"}',
                                  '{"name": "b.jpg", "shard": "faces-00.tar"}', '{"name": "a.jpg", "shard": "none.tar"}'])
def test_a_damaged_archive_is_refused(tmp_path, portrait, line):
    write_archive(tmp_path, {"a.jpg": portrait})
    (tmp_path / "faces.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        list_photos(tmp_path)
    assert error.value.code == "dataset_invalid"


def test_a_folder_without_photos_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DatasetError) as error:
            list_photos(folder)
        assert error.value.code == "dataset_missing"


def test_a_source_makes_any_photo_alone(tmp_path, portrait, model):
    """The contract of a source: items in any order, and `about` says what they depend on but not how many."""
    write_archive(tmp_path, {"one.jpg": portrait, "two.jpg": portrait})
    options = ProfileOptions(folder=tmp_path, step_deg=60, limit_deg=60, size=64, stage="landmarks", maps=())
    with ProfileSource(options, model=model) as source:
        assert len(source) == 2
        second = source.make(1)
        assert {face.subject for face in second} == {"someone"}
        assert sorted(face.name for face in second) == ["two_yaw+060.jpg", "two_yaw-060.jpg"]
        assert all(not face.maps for face in second)
        about = source.about
    assert json.loads(json.dumps(about)) == about and about["step_deg"] == 60.0
    shutil.copytree(tmp_path, tmp_path / "copy")
    other_options = dataclasses.replace(options, folder=tmp_path / "copy", count=1)
    with ProfileSource(other_options, model=model) as other:
        assert len(other) == 1 and other.about == about
        with pytest.raises(IndexError):
            other.make(1)


def test_a_face_without_dense_landmarks_is_refused(model, portrait):
    from facerecon.detection import DetectedFace
    from facerecon.synthesis.photo_source import fit_photo

    class Finder:
        def find(self, _):
            return [DetectedFace(np.array([10, 10, 90, 90], np.float32), 0.9)]

    with pytest.raises(FaceError) as error:
        fit_photo(Finder(), model, np.zeros((100, 100, 3), np.uint8))
    assert error.value.code == "no_face"


def test_options_are_checked(tmp_path):
    for wrong in ({"size": 8}, {"seed": -1}, {"step_deg": 0.0}, {"limit_deg": 120.0}, {"maps": ("albedo",)}, {"every": 0},
                  {"count": 0}):
        with pytest.raises(ArgumentError):
            ProfileOptions(folder=tmp_path, **wrong)
    with pytest.raises(ArgumentError, match="yaws_deg"):
        profile_folder(tmp_path, yaws_deg=(100.0,))


def test_the_photo_is_the_users_and_stays_as_it_is(folder, model):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    threads = torch.get_num_threads()
    list(profile_folder(folder, model=model, yaws_deg=(), size=64, stage="landmarks"))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert torch.get_num_threads() == threads
