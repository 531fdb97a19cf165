"""Annotation files: round trips, hand-computed conversions, and a typed answer to everything that can be wrong."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from facerecon.alignment.annotations import match_photos, read_annotations, write_annotations
from facerecon.alignment.coco import read_coco, write_coco
from facerecon.alignment.cvat import cvat_label_setup, read_cvat, write_cvat
from facerecon.alignment.labels import LabelledImage, checked_label, order_of_names
from facerecon.errors import ArgumentError, DatasetError, FaceReconError, LandmarkError, PathError
from facerecon.export import read_pts


def check_equal(found, wanted):
    assert [label.image for label in found] == [label.image for label in wanted]
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one.points, other.points, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert one.size == other.size


@pytest.mark.parametrize(("name", "format", "options"), [
    ("x.json", "coco", {}), ("x.json", "coco", {"origin": "edge"}), ("x.xml", "cvat", {}),
])
def test_round_trip(tmp_path, scheme, labels, name, format, options):
    write_annotations(tmp_path / name, labels, scheme, format=format, **options)
    check_equal(read_annotations(tmp_path / name, scheme, **options), labels)
    check_equal(read_annotations(tmp_path, scheme, **options), labels)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_pts_round_trip_and_what_it_cannot_say(tmp_path, scheme, labels):
    whole = [labels[0], labels[2]]
    write_annotations(tmp_path, whole, scheme, format="pts")
    found = read_annotations(tmp_path, scheme)
    assert [label.image for label in found] == ["a", 'folder/ü & "c"'] and all(label.size is None for label in found)
    for one, other in zip(found, whole):
        np.testing.assert_allclose(one.points, other.points, rtol=0, atol=1e-6)
    with pytest.raises(LandmarkError, match="absent") as caught:
        write_annotations(tmp_path / "more", labels, scheme, format="pts")
    assert caught.value.code == "landmarks_nonfinite" and not (tmp_path / "more").exists()
    twin = dataclasses.replace(labels[0], image="a.png")
    with pytest.raises(DatasetError, match="share"):
        write_annotations(tmp_path / "more", [labels[0], twin], scheme, format="pts")
    with pytest.raises(PathError):
        write_annotations(tmp_path / "more", [dataclasses.replace(labels[0], image="../a.png")], scheme, format="pts")


def test_the_centre_of_the_top_left_pixel(tmp_path, scheme):
    corner = LabelledImage("a.jpg", np.zeros((4, 2)), np.ones(4, bool), (8, 8))
    write_coco(tmp_path / "centre.json", [corner], scheme)
    write_coco(tmp_path / "edge.json", [corner], scheme, origin="edge")
    write_cvat(tmp_path / "a.xml", [corner], scheme)
    write_annotations(tmp_path / "pts", [corner], scheme, format="pts")
    assert json.loads((tmp_path / "centre.json").read_text())["annotations"][0]["keypoints"][:3] == [0, 0, 2]
    assert json.loads((tmp_path / "edge.json").read_text())["annotations"][0]["keypoints"][:3] == [0.5, 0.5, 2]
    assert 'points="0.50000000,0.50000000"' in (tmp_path / "a.xml").read_text()
    assert "1.000000 1.000000" in (tmp_path / "pts" / "a.pts").read_text() and (read_pts(tmp_path / "pts" / "a.pts") == 0).all()


def test_coco_says_what_coco_says(tmp_path, scheme):
    points = np.array([[1.0, 2.0], [5.0, 2.0], [np.nan, np.nan], [3.0, 10.0]])
    label = LabelledImage("a.jpg", points, np.array([True, False, True, True]), (20, 30))
    empty = LabelledImage("b.jpg", np.full((4, 2), np.nan), np.ones(4, bool), (20, 30))
    record = json.loads(write_coco(tmp_path / "a.json", [label, empty], scheme).read_text())
    (category,), (found,) = record["categories"], record["annotations"]
    assert category["keypoints"] == list(scheme.names) and category["skeleton"] == [[1, 2], [3, 4]]
    assert found["keypoints"] == [1, 2, 2, 5, 2, 1, 0, 0, 0, 3, 10, 2] and found["num_keypoints"] == 3
    # From the corner of the picture: x from 1.5 to 5.5, y from 2.5 to 10.5.
    assert found["bbox"] == [1.5, 2.5, 4.0, 8.0] and found["area"] == 32.0
    assert [image["file_name"] for image in record["images"]] == ["a.jpg", "b.jpg"]
    assert [label.image for label in read_coco(tmp_path / "a.json", scheme)] == ["a.jpg"]


def edited(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_coco_points_in_another_order_and_numbered(tmp_path, scheme, labels):
    file = write_coco(tmp_path / "a.json", labels[:1], scheme)

    def turn(record):
        record["categories"][0]["keypoints"].reverse()
        values = record["annotations"][0]["keypoints"]
        record["annotations"][0]["keypoints"] = [value for start in (9, 6, 3, 0) for value in values[start:start + 3]]

    edited(file, turn)
    check_equal(read_coco(file, scheme), labels[:1])
    edited(file, lambda record: record["categories"][0].update(keypoints=["4", "3", "2", "1"]))
    check_equal(read_coco(file, scheme), labels[:1])


@pytest.mark.parametrize(("change", "kind", "code"), [
    (lambda record: record["annotations"][0]["keypoints"].pop(), LandmarkError, "landmarks_count"),
    (lambda record: record["categories"][0]["keypoints"].pop(), LandmarkError, "landmarks_count"),
    (lambda record: record["categories"][0]["keypoints"].__setitem__(0, "ear"), DatasetError, "annotation_invalid"),
    (lambda record: record["categories"][0]["keypoints"].__setitem__(0, "left eye"), DatasetError, "annotation_invalid"),
    (lambda record: record["categories"][0].pop("keypoints"), DatasetError, "annotation_invalid"),
    (lambda record: record["annotations"][0]["keypoints"].__setitem__(0, float("nan")), LandmarkError, "landmarks_nonfinite"),
    (lambda record: record["annotations"][0]["keypoints"].__setitem__(1, float("inf")), LandmarkError, "landmarks_nonfinite"),
    (lambda record: record["annotations"][0]["keypoints"].__setitem__(2, 7), DatasetError, "annotation_corrupt"),
    (lambda record: record["annotations"][0]["keypoints"].__setitem__(2, "2"), DatasetError, "annotation_corrupt"),
    (lambda record: record["annotations"][0].update(image_id=99), DatasetError, "annotation_invalid"),
    (lambda record: record["annotations"][1].update(image_id=1), DatasetError, "annotation_invalid"),
    (lambda record: record["images"][1].update(file_name="a.jpg"), DatasetError, "annotation_invalid"),
    (lambda record: record["images"][1].update(id=1), DatasetError, "annotation_invalid"),
    (lambda record: record["images"][0].pop("file_name"), DatasetError, "annotation_invalid"),
    (lambda record: record["images"].append(3), DatasetError, "annotation_corrupt"),
    (lambda record: record.pop("images"), DatasetError, "annotation_corrupt"),
])
def test_wrong_coco(tmp_path, scheme, labels, change, kind, code):
    file = write_coco(tmp_path / "a.json", labels, scheme)
    edited(file, change)
    with pytest.raises(kind) as caught:
        read_coco(file, scheme)
    assert caught.value.code == code and str(file) in caught.value.message


CVAT = """<annotations><version>1.1</version><image id="0" name="a.jpg" width="8" height="9">{}</image></annotations>"""
POINT = '<points label="{0}" occluded="{1}" outside="{2}" points="{0}.5,1.50"><attribute name="x">y</attribute></points>'
SKELETON = '<skeleton label="face">' + "".join(POINT.format(number, int(number == 2), int(number == 3))
                                               for number in (4, 1, 2, 3)) + "</skeleton>"


def test_cvat_as_cvat_writes_it(tmp_path, scheme):
    (tmp_path / "a.xml").write_text(CVAT.format('<box label="face" xtl="0" ytl="0" xbr="1" ybr="1"/>' + SKELETON))
    (label,) = read_cvat(tmp_path / "a.xml", scheme)
    np.testing.assert_allclose(label.points, [[1, 1], [2, 1], [np.nan, np.nan], [4, 1]])
    assert label.visible.tolist() == [True, False, False, True] and label.size == (8, 9)


def test_cvat_loose_points(tmp_path, scheme):
    loose = '<points label="left eye" points="3.5,4.5" occluded="0"/><points label="right eye" points="1.5,4.5" occluded="1"/>'
    (tmp_path / "a.xml").write_text(CVAT.format(loose))
    (label,) = read_cvat(tmp_path / "a.xml", scheme)
    np.testing.assert_allclose(label.points, [[1, 4], [3, 4], [np.nan] * 2, [np.nan] * 2])
    assert label.visible.tolist() == [False, True, False, False]
    (tmp_path / "a.xml").write_text(CVAT.format('<points label="face" points="1,1;2,1;3,1;4,2" occluded="0"/>'))
    (label,) = read_cvat(tmp_path / "a.xml", scheme)
    np.testing.assert_allclose(label.points, [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [3.5, 1.5]])


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTWARD = '<!DOCTYPE annotations [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(("text", "kind", "code"), [
    ("", DatasetError, "annotation_corrupt"),
    ("{}", DatasetError, "annotation_corrupt"),
    ("<html/>", DatasetError, "annotation_corrupt"),
    (CVAT.format("<skeleton>"), DatasetError, "annotation_corrupt"),
    (LAUGHS + CVAT.format(""), DatasetError, "annotation_corrupt"),
    ('<!DOCTYPE annotations SYSTEM "file:///etc/hostname">' + CVAT.format(""), DatasetError, "annotation_corrupt"),
    (OUTWARD + CVAT.format("&a;"), DatasetError, "annotation_corrupt"),
    ('<?xml version="1.0" encoding="no-such"?>' + CVAT.format(""), DatasetError, "annotation_corrupt"),
    ("<annotations>" * 40, DatasetError, "annotation_corrupt"),
    ('<annotations><track id="0" label="face"/></annotations>', DatasetError, "annotation_invalid"),
    (CVAT.format(SKELETON + SKELETON), DatasetError, "annotation_invalid"),
    (CVAT.format(SKELETON + '<points label="chin" points="1,1"/>'), DatasetError, "annotation_invalid"),
    (CVAT.format(SKELETON.replace('"4"', '"5"')), DatasetError, "annotation_invalid"),
    (CVAT.format(SKELETON.replace('"4"', '"1"')), DatasetError, "annotation_invalid"),
    (CVAT.format('<points label="ear" points="1,1"/>'), DatasetError, "annotation_invalid"),
    (CVAT.format('<points label="left eye" points="1,1"/>' * 2), DatasetError, "annotation_invalid"),
    (CVAT.format("").replace("</annotations>", '<image name="a.jpg"/></annotations>'), DatasetError, "annotation_invalid"),
    (CVAT.format(SKELETON.replace("4.5,1.50", "4.5")), DatasetError, "annotation_corrupt"),
    (CVAT.format(SKELETON.replace("4.5,1.50", "4.5,one")), DatasetError, "annotation_corrupt"),
    (CVAT.format(SKELETON.replace("4.5,1.50", "4.5,nan")), LandmarkError, "landmarks_nonfinite"),
    (CVAT.format(SKELETON.replace("4.5,1.50", "4.5,1;2,2")), LandmarkError, "landmarks_count"),
    (CVAT.format('<points label="face" points="1,1;2,1;3,1"/>'), LandmarkError, "landmarks_count"),
])
def test_wrong_cvat(tmp_path, scheme, text, kind, code):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(kind) as caught:
        read_cvat(tmp_path / "a.xml", scheme)
    assert caught.value.code == code and "a.xml" in caught.value.message


def test_shapes_outside_images_are_no_labels(tmp_path, scheme):
    text = f"<annotations>{SKELETON}<image name='a'><tag><points label='x'/></tag></image></annotations>"
    (tmp_path / "a.xml").write_text(text)
    assert read_cvat(tmp_path / "a.xml", scheme) == []


def test_every_cut_of_a_file_is_refused_with_a_type(tmp_path, scheme, labels):
    for format, name in (("coco", "a.json"), ("cvat", "a.xml")):
        data = write_annotations(tmp_path / name, labels, scheme, format=format).read_bytes()
        for end in range(0, len(data) - 2, 41):
            (tmp_path / name).write_bytes(data[:end])
            with pytest.raises(FaceReconError):
                read_annotations(tmp_path / name, scheme)


@pytest.mark.parametrize("write", [write_coco, write_cvat])
def test_what_writers_refuse(tmp_path, scheme, labels, write):
    goal = tmp_path / "a.out"
    with pytest.raises(ArgumentError, match="size"):
        write(goal, [dataclasses.replace(labels[0], size=None)], scheme)
    with pytest.raises(ArgumentError, match="4 points"):
        write(goal, [LabelledImage("a", np.zeros((3, 2)), np.ones(3, bool), (9, 9))], scheme)
    with pytest.raises(DatasetError, match="twice"):
        write(goal, [labels[0], labels[0]], scheme)
    assert not goal.exists()


def test_names_that_xml_cannot_hold(tmp_path, scheme, labels):
    with pytest.raises(ArgumentError, match="XML"):
        write_cvat(tmp_path / "a.xml", [dataclasses.replace(labels[0], image="a\x01.jpg")], scheme)


def test_a_label_is_whole_or_absent_point_by_point():
    for wrong in ([[np.nan, 1.0]], [[np.inf, 1.0]]):
        with pytest.raises(LandmarkError) as caught:
            LabelledImage("a", np.array(wrong), np.ones(1, bool))
        assert caught.value.code == "landmarks_nonfinite"
    assert not LabelledImage("a", np.full((1, 2), np.nan), np.ones(1, bool)).visible.any()


def test_points_outside_the_photo(scheme):
    points = np.array([[0.0, 0.0], [7.505, 8.5], [8.0, 3.0], [np.nan, np.nan]])
    label = LabelledImage("a.jpg", points, np.ones(4, bool))
    with pytest.raises(LandmarkError, match="nose") as caught:
        checked_label(label, scheme, (8, 9))
    assert caught.value.code == "landmarks_outside"
    assert checked_label(label, scheme, (8, 9), outside="keep").present.tolist() == [True, True, True, False]
    absent = checked_label(label, scheme, (8, 9), outside="absent")
    assert absent.present.tolist() == [True, True, False, False] and absent.size == (8, 9)
    assert checked_label(label, scheme, (9, 9)).present.sum() == 3


def test_a_label_of_another_picture(scheme):
    label = LabelledImage("a.jpg", np.ones((4, 2)), np.ones(4, bool), (9, 8))
    with pytest.raises(DatasetError, match="9 x 8") as caught:
        checked_label(label, scheme, (8, 9))
    assert caught.value.code == "annotation_invalid"
    for wrong, code in ((np.ones((3, 2)), "landmarks_count"), (np.full((4, 2), np.nan), "landmarks_nonfinite")):
        with pytest.raises(LandmarkError) as caught:
            checked_label(LabelledImage("a.jpg", wrong, np.ones(len(wrong), bool)), scheme, (8, 9))
        assert caught.value.code == code


def test_match_photos(labels):
    photos = ["a.jpg", "x/b.png", "y/b.png", "x/c.jpg"]

    def named(*names):
        return [dataclasses.replace(labels[0], image=name) for name in names]

    assert set(match_photos(named("images/a.jpg", "/data/y/b.png", "c"), photos)) == {"a.jpg", "y/b.png", "x/c.jpg"}
    assert set(match_photos(named("x__b.png"), photos, aliases={"x__b.png": "x/b.png"})) == {"x/b.png"}
    for names, code in ((["gone.jpg"], "dataset_missing"), (["b.png"], "annotation_invalid"), (["a.jpeg"], "dataset_missing"),
                        (["a.jpg", "a"], "annotation_invalid")):
        with pytest.raises(DatasetError) as caught:
            match_photos(named(*names), photos)
        assert caught.value.code == code


def test_files_and_folders(tmp_path, scheme, labels):
    with pytest.raises(PathError) as caught:
        read_annotations(tmp_path / "gone.json", scheme)
    assert caught.value.code == "path_missing"
    with pytest.raises(DatasetError) as caught:
        read_annotations(tmp_path, scheme)
    assert caught.value.code == "dataset_missing"
    write_coco(tmp_path / "a.json", labels, scheme)
    write_cvat(tmp_path / "b.xml", labels, scheme)
    with pytest.raises(ArgumentError, match="several"):
        read_annotations(tmp_path, scheme)
    assert len(read_annotations(tmp_path, scheme, format="cvat")) == 3
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ArgumentError, match="suffix|ends in"):
        read_annotations(tmp_path / "x.txt", scheme)


def test_order_of_names(scheme):
    assert order_of_names(["4", "1", "2", "3"], scheme, "x") == [3, 0, 1, 2]
    assert order_of_names(list(reversed(scheme.names)), scheme, "x") == [3, 2, 1, 0]


def test_cvat_label_setup(scheme):
    (label,) = json.loads(cvat_label_setup(scheme, np.array([[0, 0], [10, 0], [5, 5], [5, 10.0]])))
    assert label["name"] == "face" and label["type"] == "skeleton"
    assert [part["name"] for part in label["sublabels"]] == list(scheme.names)
    import xml.etree.ElementTree as tree

    drawing = tree.fromstring(f"<svg>{label['svg']}</svg>")
    nodes = drawing.findall("circle")
    assert [node.get("data-label-name") for node in nodes] == list(scheme.names)
    assert [(float(node.get("cx")), float(node.get("cy"))) for node in nodes] == [(5, 5), (95, 5), (50, 50), (50, 95)]
    ends = [(line.get("data-node-from"), line.get("data-node-to")) for line in drawing.findall("line")]
    assert ends == [("1", "2"), ("3", "4")]
