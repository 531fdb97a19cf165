"""AFLW, 300-W, WFLW, CelebA and plain folders: splits, subsets, pixel origins, what is missing, damaged lists."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.data.datasets import read_300w, read_aflw, read_celeba, read_folder, read_wflw
from facerecon.errors import ArgumentError, DatasetError


def write_aflw(folder, tools, monkeypatch, count: int = 12, train: int = 8, **changes):
    from facerecon.data.datasets import aflw

    monkeypatch.setattr(aflw, "_TRAIN", train)
    generator = np.random.default_rng(1)
    names = np.empty((count, 1), dtype=object)
    names[:, 0] = [f"{(0, 2, 3)[row % 3]}/image{row:05d}.jpg" for row in range(count)]
    visible = np.ones((count, 19))
    visible[::2, 3] = 0
    values = {"bbox": np.tile([10.0, 110, 20, 130], (count, 1)), "data": np.arange(38.0 * count).reshape(count, 38),
              "mask_new": visible, "nameList": names, "ra": (generator.permutation(count) + 1.0)[None], **changes}
    tools.mat(folder / "AFLWinfo_release.mat", **values)
    for name in names[:, 0]:
        if "00005" not in name:
            tools.empty(folder / "data" / "flickr" / name)
    return values


def test_aflw_splits_boxes_and_order_of_coordinates(tmp_path, tools, monkeypatch):
    values = write_aflw(tmp_path, tools, monkeypatch)
    order = values["ra"][0].astype(int) - 1
    train, test, frontal = (read_aflw(tmp_path, split=split) for split in ("train", "test", "test_frontal"))
    assert len(train) + len(test) == 11 and sum(len(part.inventory.missing) for part in (train, test)) == 1
    assert [name[:5] for name in test.names] == [f"{row:05d}" for row in order[8:] if row != 5]
    assert [name for name in test.names if int(name[:5]) % 2] == list(frontal.names)
    sample = test[0]
    row = int(sample.name[:5])
    np.testing.assert_array_equal(sample.landmarks[:, 0], values["data"][row, :19])
    np.testing.assert_array_equal(sample.landmarks[:, 1], values["data"][row, 19:])
    assert sample.box.tolist() == [10, 20, 110, 130] and sample.visible[3] == bool(row % 2) and sample.scheme == "aflw19"
    assert sample.image.is_file()
    shifted = read_aflw(tmp_path, pixel_origin="matlab1")[0]
    np.testing.assert_array_equal(shifted.landmarks, sample.landmarks + 1)
    assert read_aflw(tmp_path, split="all").inventory.parts[0][2] == 24386


def test_aflw_refuses_names_that_lead_out_and_wrong_permutations(tmp_path, tools, monkeypatch):
    write_aflw(tmp_path, tools, monkeypatch, ra=np.ones((1, 12)))
    with pytest.raises(DatasetError, match="permutation"):
        read_aflw(tmp_path)
    names = np.empty((12, 1), dtype=object)
    names[:, 0] = "../../etc/passwd"
    write_aflw(tmp_path / "b", tools, monkeypatch, nameList=names)
    with pytest.raises(DatasetError) as caught:
        read_aflw(tmp_path / "b")
    assert caught.value.code == "annotation_invalid"
    (tmp_path / "c").mkdir()
    with pytest.raises(DatasetError, match="CCL"):
        read_aflw(tmp_path / "c")


def write_points(path, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
    path.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n")


def test_300w_splits_count_from_one_in_the_files(tmp_path, tools):
    points = np.stack([np.arange(68.0) + 1, 2 * np.arange(68.0) + 1], axis=1)
    for part in ("Helen/testset", "LFPW/testset", "ibug", "afw", "Helen/trainset"):
        tools.empty(tmp_path / "300W" / part / "a 1.jpg")
        write_points(tmp_path / "300W" / part / "a 1.pts", points)
    tools.empty(tmp_path / "300W" / "ibug" / "b.png")
    full = read_300w(tmp_path / "300W")
    assert full.names == ("helen/testset/a 1", "lfpw/testset/a 1", "ibug/a 1") and full.inventory.missing == ("ibug/b.pts",)
    assert [expected for _, _, expected in full.inventory.parts] == [330, 224, 135]
    np.testing.assert_allclose(full[0].landmarks, points - 1)
    np.testing.assert_allclose(read_300w(tmp_path, split="common", pixel_origin="matlab1")[1].landmarks, points)
    train = read_300w(tmp_path / "300W", split="train")
    assert sum(expected for _, _, expected in train.inventory.parts) == 3148 and "lfpw/trainset/" in train.inventory.missing
    assert len(read_300w(tmp_path / "300W", split="challenging")) == 1
    with pytest.raises(ArgumentError):
        read_300w(tmp_path, split="private")


@pytest.mark.parametrize("content", ["", "version: 1\nn_points: 68\n{\n1 2\n}\n", "n_points: x\n{\n}\n", "{\n1 2\n}", "\0" * 99,
                                     "version: 1\nn_points: 1\n{\n1 nan\n}\n", "version: 1\nn_points: 1\n{\n1 2 3\n}\n"])
def test_damaged_pts_are_refused(tmp_path, tools, content):
    tools.empty(tmp_path / "ibug" / "a.jpg")
    (tmp_path / "ibug" / "a.pts").write_text(content)
    with pytest.raises(DatasetError) as caught:
        read_300w(tmp_path, split="challenging")[0]
    assert caught.value.code == "annotation_corrupt"


def wflw_line(flags: str, name: str, offset: float = 0.0) -> str:
    return " ".join([*(f"{value + offset:.2f}" for value in range(196)), "10 20 110 120", flags, name])


def test_wflw_splits_attributes_and_faces_that_share_a_photo(tmp_path, tools):
    lists = tmp_path / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    rows = [wflw_line("1 0 0 0 0 0", "37--Soccer/a.jpg"), wflw_line("0 0 1 0 0 1", "37--Soccer/a.jpg", 5), wflw_line("0 0 0 0 0 0", "b.jpg")]
    (lists / "list_98pt_rect_attr_test.txt").write_text("\n".join(rows) + "\n")
    tools.empty(tmp_path / "WFLW_images" / "37--Soccer" / "a.jpg")
    samples = read_wflw(tmp_path)
    assert samples.names == ("00001-a", "00002-a") and samples.inventory.missing == ("b.jpg",)
    assert samples.inventory.parts == (("test", 2, 2500),)
    np.testing.assert_allclose(samples[1].landmarks, np.arange(196.0).reshape(98, 2) + 5)
    assert samples[1].attributes == {"pose": False, "expression": False, "illumination": True, "make_up": False, "occlusion": False,
                                     "blur": True} and samples[0].box.tolist() == [10, 20, 110, 120]
    assert read_wflw(tmp_path, split="test_largepose").names == ("00001-a",)
    assert read_wflw(tmp_path, split="test_blur").inventory.parts == (("test_blur", 1, 773),)
    np.testing.assert_allclose(read_wflw(tmp_path, pixel_origin="matlab1")[0].box, [11, 21, 111, 121])
    with pytest.raises(DatasetError) as caught:
        read_wflw(tmp_path, split="train")
    assert caught.value.code == "dataset_missing"
    for broken in (rows[0][4:], rows[0].replace("1 0 0 0 0 0", "2 0 0 0 0 0"), rows[0].replace("7.00", "seven")):
        (lists / "list_98pt_rect_attr_test.txt").write_text(rows[1] + "\n" + broken)
        with pytest.raises(DatasetError, match="line 2"):
            read_wflw(tmp_path)
    (lists / "list_98pt_rect_attr_test.txt").write_text(wflw_line("1 0 0 0 0 0", "/etc/a.jpg"))
    with pytest.raises(DatasetError) as caught:
        read_wflw(tmp_path)
    assert caught.value.code == "annotation_invalid"


def test_celeba_with_all_lists_and_with_none(tmp_path, tools):
    names = [f"{number:06d}.jpg" for number in (1, 2, 3, 4)]
    for name in names[:3]:
        tools.empty(tmp_path / "Img" / "img_align_celeba" / name)
    bare = read_celeba(tmp_path)
    assert len(bare) == 3 and bare[0].landmarks is None and "list_attr_celeba.txt" in bare.inventory.missing
    with pytest.raises(DatasetError, match="list_eval_partition"):
        read_celeba(tmp_path, split="train")
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Anno").mkdir()
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("".join(f"{name} {row % 3}\n" for row, name in enumerate(names)))
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("".join(f"{name} {77}\n" for name in names))
    points = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    (tmp_path / "Anno" / "list_landmarks_align_celeba.txt").write_text(
        f"4\n{points}\n" + "".join(f"{name}  69  109 106 113 77 142 73 152 108 154\n" for name in names))
    flags = " ".join(f"Flag{number}" for number in range(40))
    (tmp_path / "Anno" / "list_attr_celeba.txt").write_text(f"4\n{flags}\n" + "".join(f"{name} {'1 -1 ' * 20}\n" for name in names))
    train = read_celeba(tmp_path, split="train")
    assert train.names == ("000001",) and train.inventory.missing == ("000004.jpg",)
    sample = train[0]
    assert sample.landmarks.tolist() == [[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]] and sample.scheme == "celeba5"
    assert sample.attributes["identity"] == 77 and sample.attributes["Flag0"] is True and sample.attributes["Flag1"] is False
    assert len(read_celeba(tmp_path)) == 3 and read_celeba(tmp_path, split="valid").names == ("000002",)
    with pytest.raises(DatasetError, match="img_celeba"):
        read_celeba(tmp_path, variant="in_the_wild")
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("000001.jpg\n")
    with pytest.raises(DatasetError, match="line 1"):
        read_celeba(tmp_path)


def test_folder_of_photos(tmp_path, tools):
    for name in ("b.PNG", "a/x.jpeg", ".hidden.jpg", "notes.txt"):
        tools.empty(tmp_path / name)
    samples = read_folder(tmp_path)
    assert samples.names == ("a/x", "b") and samples[0].landmarks is None and samples.inventory.complete
    with pytest.raises(DatasetError) as caught:
        read_folder(tmp_path / "a" / "x.jpeg")
    assert caught.value.code == "dataset_missing"
