"""Archives: what is written is read back, by every reader; blocks are whole or not there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facerecon.data.blocks import read_block, read_pictures
from facerecon.errors import ArgumentError, DatasetError, ModelError, PathError
from facerecon.geometry import ScaledOrthographicPose
from facerecon.morphable import load_model
from facerecon.pncc import PnccTask, load_pairs
from facerecon.synthesis import read_archive
from facerecon.synthesis.archive import block_header, write_block, write_index
from facerecon.training import load_crops
from facerecon.views import PhotoView


@pytest.fixture(scope="module")
def folder(tmp_path_factory, source, heads):
    """The eight heads, as two blocks."""
    place = tmp_path_factory.mktemp("above") / "archive"
    write_block(place, 0, heads[:5], about=source.about, items=(0, 5))
    write_block(place, 1, heads[5:], about=source.about, items=(5, 8))
    assert write_index(place) == (8, 0)
    return place


def test_parameters_come_back_exactly(folder, heads):
    read = read_archive(folder)
    assert read.names == tuple(face.name for face in heads) and read.subjects == tuple(face.subject for face in heads)
    assert len(read) == 8 and read.size == 96 and read.header["about"]["seed"] == 5
    for index, face in enumerate(heads):
        for name in ("identity", "expression", "albedo", "illumination"):
            np.testing.assert_array_equal(read.truth[name][index], getattr(face.parameters, name).numpy())
        for name in ("rotation", "translation", "scale"):
            np.testing.assert_array_equal(read.truth[name][index], getattr(face.parameters.pose, name).numpy())
        for name in ("points68", "visible68", "points478", "visible478"):
            np.testing.assert_array_equal(read.truth[name][index], getattr(face, name))
        np.testing.assert_array_equal(read.pncc[index], face.maps["pncc"])
        # JPEG keeps a picture up to what its quality says; another picture is far away.
        away = np.abs(read.images[index].astype(int) - face.image).mean()
        assert away < 9 < np.abs(read.images[index].astype(int) - heads[index - 1].image).mean()
    assert all(array.dtype == (np.uint8 if name.startswith("visible") else np.float32) for name, array in read.truth.items())


def test_stored_parameters_give_the_stored_points(folder):
    """The law that training rests on: points68 is the projection of the stored parameters through the model."""
    read, model = read_archive(folder, images=False), load_model()
    truth = {name: torch.from_numpy(array) for name, array in read.truth.items()}
    pose = ScaledOrthographicPose(truth["rotation"], truth["translation"], truth["scale"])
    for scheme, count in (("ibug68", 68), ("mediapipe478", 478)):
        placed = pose.project(model.landmarks(scheme, truth["identity"], truth["expression"]))[..., :2]
        np.testing.assert_allclose(truth[f"points{count}"], placed, atol=1e-3)
    assert read.images.shape == (8, 0, 0, 3) and read.pncc is None


def test_stored_codes_are_drawn_from_the_stored_parameters(folder):
    read, model = read_archive(folder, every=4), load_model()
    assert len(read) == 2 == len(read.images) == len(read.truth["scale"])
    for index in range(2):
        truth = {name: torch.as_tensor(array[index]) for name, array in read.truth.items()}
        pose = ScaledOrthographicPose(truth["rotation"], truth["translation"], truth["scale"]).scaled_image(128 / read.size)
        vertices = model.vertices(truth["identity"], truth["expression"])
        code = PhotoView(model, vertices, model.albedo_mean, truth["illumination"], pose, (128, 128)).pncc()
        np.testing.assert_array_equal(read.pncc[index], np.rint(code * 255))


def test_crops_and_pairs_read_an_archive(folder, heads):
    crops = load_crops(folder, size=96)
    read = read_archive(folder)
    assert crops.names == read.names and crops.subjects == read.subjects and crops.labelled.all()
    np.testing.assert_array_equal(crops.images, read.images)
    np.testing.assert_allclose(crops.points, read.truth["points68"], atol=6e-4)
    pairs = load_pairs(folder.parent)
    np.testing.assert_array_equal(pairs.images, read.images)
    np.testing.assert_array_equal(pairs.maps, read.pncc)
    assert pairs.names == read.names and pairs.subjects == read.subjects
    PnccTask.from_pairs(pairs).check_model(load_model())


def test_other_maps_are_read_by_name(folder, heads):
    path = folder / "synthetic-00001.safetensors"
    _, header = read_block(path)
    chosen = [heads[6].name]
    np.testing.assert_array_equal(read_pictures(path, header, chosen, kind="depth")[0], heads[6].maps["depth"])
    np.testing.assert_array_equal(read_pictures(path, header, chosen, kind="normals")[0], heads[6].maps["normals"])


def test_equal_faces_give_equal_bytes(folder, tmp_path, source, heads):
    write_block(tmp_path, 1, heads[5:], about=source.about, items=(5, 8))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_block_whose_files_changed_is_not_there(tmp_path, plain):
    faces = plain(3).make(0) + plain(3).make(1)
    write_block(tmp_path, 0, faces, about={})
    assert block_header(tmp_path, 0)["names"] == [face.name for face in faces]
    assert block_header(tmp_path, 1) is None
    tar = tmp_path / "synthetic-00000.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-512])
    assert block_header(tmp_path, 0) is None
    tar.write_bytes(whole)
    assert block_header(tmp_path, 0) is not None
    (tmp_path / "synthetic-00000.maps.tar").unlink()
    assert block_header(tmp_path, 0) is None
    with pytest.raises(DatasetError):
        read_archive(tmp_path)
    with pytest.raises(DatasetError):
        load_pairs(tmp_path)


@pytest.mark.parametrize("damage", ["short", "shuffled", "missing", "other", "kind"])
def test_damage_is_named(tmp_path, plain, damage):
    faces = plain(3).make(0) + plain(3).make(1)
    write_block(tmp_path, 0, faces, about={"seed": 1})
    parameters, tar = tmp_path / "synthetic-00000.safetensors", tmp_path / "synthetic-00000.tar"
    wanted: type[Exception] = DatasetError
    if damage == "short":
        tar.write_bytes(tar.read_bytes()[:700])
    elif damage == "shuffled":
        tar.write_bytes(b"\x00" * 3000)
    elif damage == "missing":
        tar.unlink()
    elif damage == "other":
        write_block(tmp_path, 1, plain(9).make(7), about={"seed": 2})
    else:
        parameters.write_bytes(parameters.read_bytes().replace(b"synthetic-faces", b"synthetic-paces"))
        wanted = ModelError
    with pytest.raises(wanted):
        read_archive(tmp_path)


def test_an_empty_folder_is_no_archive(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_archive(tmp_path)
    assert caught.value.code == "dataset_missing"


def test_pairs_want_maps(tmp_path, plain):
    write_block(tmp_path, 0, [dataclasses.replace(face, maps={}) for face in plain(3).make(0)], about={})
    assert read_archive(tmp_path).pncc is None
    with pytest.raises(DatasetError, match="--maps pncc"):
        load_pairs(tmp_path)


def test_faces_that_do_not_belong_together_are_refused(tmp_path, plain, heads):
    face = plain(3).make(0)[0]
    for faces in ([face, face], [face, heads[0]]):
        with pytest.raises(ArgumentError):
            write_block(tmp_path, 0, faces, about={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"image": np.zeros((16, 16, 3), np.float32)}, {"image": np.zeros((16, 12, 3), np.uint8)},
                                   {"points68": np.zeros((68, 3), np.float32)}, {"visible68": np.zeros(68, np.uint8)},
                                   {"maps": {"albedo": np.zeros((16, 16, 3), np.uint8)}}, {"quality": 0},
                                   {"maps": {"depth": np.zeros((16, 16), np.uint8)}}])
def test_a_face_of_wrong_arrays_is_refused(plain, wrong):
    face = plain(3).make(0)[0]
    with pytest.raises(ArgumentError):
        dataclasses.replace(face, **wrong)


def test_a_full_disk_leaves_no_torn_file(tmp_path, plain, monkeypatch):
    """The n-th write fails: what is there afterwards is whole, and the block does not count."""
    faces = plain(3).make(0)
    real = Path.write_bytes
    for failing in range(3):
        calls = iter(range(99))

        def write(path, data, failing=failing, calls=calls):
            if next(calls) == failing:
                real(path, data[:len(data) // 2])
                raise OSError(28, "No space left on device")
            return real(path, data)

        monkeypatch.setattr(Path, "write_bytes", write)
        place = tmp_path / str(failing)
        with pytest.raises(PathError) as caught:
            write_block(place, 0, faces, about={})
        monkeypatch.undo()
        assert caught.value.code == "path_write" and block_header(place, 0) is None
        assert len(list(place.iterdir())) == failing and not list(place.glob(".*"))
        write_block(place, 0, faces, about={})
        assert block_header(place, 0) is not None


def test_old_parameters_do_not_vouch_for_new_pictures(tmp_path, plain, monkeypatch):
    """A block is made again with one face more and stops after its pictures: it is then not there, even where sizes agree."""
    one, two = plain(3).make(0), plain(3).make(0) + plain(3).make(1)
    before = write_block(tmp_path, 0, one, about={})["files"]
    with monkeypatch.context() as patch:
        patch.setattr("facerecon.synthesis.archive.write_tensors", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_block(tmp_path, 0, two, about={})
    assert (tmp_path / "synthetic-00000.tar").stat().st_size == before["synthetic-00000.tar"], "tars are padded"
    assert block_header(tmp_path, 0) is None


def test_the_index_is_json_lines(folder):
    rows = [json.loads(line) for line in (folder / "faces.jsonl").read_text().splitlines()]
    assert [row["shard"] for row in rows] == ["synthetic-00000.tar"] * 5 + ["synthetic-00001.tar"] * 3
    assert all(set(row) == {"name", "shard", "subject", "points68"} and np.shape(row["points68"]) == (68, 2) for row in rows)
