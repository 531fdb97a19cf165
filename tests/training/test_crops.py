"""Face crops: archives and folders are read alike, labels follow the size, people stay in one split."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from facerecon.errors import ArgumentError, DatasetError
from facerecon.data.splits import SPLITS, split_of
from facerecon.training.crops import join_crops, load_crops, make_crops, subject_split


def encoded(value: int, size: int = 48) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def archive(tmp_path):
    """Three crops of 48 px in two shards, the second labelled."""
    rows = [{"name": "a.png", "shard": "faces-00.tar"},
            {"name": "b.png", "shard": "faces-01.tar", "subject": "Ada", "points68": [[float(i), 11.5] for i in range(68)]},
            {"name": "c.png", "shard": "faces-00.tar", "subject": "Bob"}]
    for shard in ("faces-00.tar", "faces-01.tar"):
        with tarfile.open(tmp_path / shard, "w") as content:
            for number, row in enumerate(rows):
                if row["shard"] == shard:
                    data = encoded(50 * (number + 1))
                    member = tarfile.TarInfo(row["name"])
                    member.size = len(data)
                    content.addfile(member, io.BytesIO(data))
    (tmp_path / "faces.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_an_archive_is_read_whole(archive):
    crops = load_crops(archive, size=24)
    assert set(crops.names) == {"a.png", "b.png", "c.png"} and crops.images.shape == (3, 24, 24, 3)
    by_name = dict(zip(crops.names, crops.images[:, 0, 0, 0]))
    assert by_name == {"a.png": 50, "b.png": 100, "c.png": 150}
    at = crops.names.index("b.png")
    assert crops.labelled.tolist() == [name == "b.png" for name in crops.names]
    # x -> (x + 0.5) / 2 - 0.5
    np.testing.assert_allclose(crops.points[at, :3], [[-0.25, 5.5], [0.25, 5.5], [0.75, 5.5]])
    assert crops.subjects[at] == "Ada"


def test_only_labelled_rows(archive):
    assert load_crops(archive, size=48, only_labelled=True).names == ("b.png",)


def test_a_folder_of_images_has_no_labels(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encoded(number))
    crops = load_crops(tmp_path, size=48)
    assert len(crops) == 3 and not crops.labelled.any() and set(crops.subjects) == {None}


@pytest.mark.parametrize(("row", "text"), [
    ({"name": "zz.png", "shard": "faces-00.tar"}, "members are missing"),
    ({"name": "a.png", "shard": "../faces-00.tar"}, "plain name"),
    ({"name": "a.png"}, "line 1"),
    ({"name": "a.png", "shard": "faces-00.tar", "points68": [[1, 2]]}, "line 1"),
])
def test_a_row_that_does_not_fit_is_refused(archive, row, text):
    (archive / "faces.jsonl").write_text(json.dumps(row))
    with pytest.raises(DatasetError, match=text):
        load_crops(archive)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetError) as missing:
        load_crops(tmp_path / "nowhere")
    assert missing.value.code == "dataset_missing"
    with pytest.raises(DatasetError):
        load_crops(tmp_path)


def test_oblong_photos_are_refused(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="square"):
        load_crops(tmp_path)


def test_everyone_is_in_exactly_one_split():
    people = [f"person {number}" for number in range(2000)]
    shares = {split: np.mean([split_of(person) == split for person in people]) for split in SPLITS}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["test"] == pytest.approx(0.20, abs=0.03) and shares["validation"] == pytest.approx(0.08, abs=0.02)
    crops = make_crops(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b", "c"], ["x", None, "x"])
    masks = [subject_split(crops, split) for split in SPLITS]
    assert np.sum(masks, axis=0).tolist() == [1, 1, 1] and subject_split(crops, "train")[1]
    assert len({int(np.argmax([mask[i] for mask in masks])) for i in (0, 2)}) == 1


def test_the_hash_sees_pixels_names_and_labels():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    base = make_crops(images, ["a", "b"])
    assert make_crops(images, ["a", "b"]).sha256 == base.sha256
    assert make_crops(images, ["a", "c"]).sha256 != base.sha256
    assert make_crops(images + 1, ["a", "b"]).sha256 != base.sha256
    assert make_crops(images, ["a", "b"], points=np.zeros((2, 68, 2))).sha256 != base.sha256
    with pytest.raises(ArgumentError):
        make_crops(images, ["a"])
    assert base.take(np.array([False, True])).names == ("b",)


def test_sources_are_joined_in_order_and_names_stay_unique(archive):
    one = load_crops(archive, size=24)
    two = one.take(np.array([2, 0]))
    assert join_crops([one]) is one
    both = join_crops([one, two])
    assert both.names == tuple(f"0/{name}" for name in one.names) + tuple(f"1/{name}" for name in two.names)
    assert np.array_equal(both.images[3:], two.images) and both.subjects[:3] == one.subjects
    assert np.array_equal(both.points[3:], two.points, equal_nan=True)
    other = make_crops(two.images, ["x", "y"], two.subjects, two.points, scheme=two.scheme)
    assert join_crops([one, other]).names == (*one.names, "x", "y")
    with pytest.raises(ArgumentError, match="size"):
        join_crops([one, load_crops(archive, size=32)])
