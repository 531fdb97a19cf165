"""From words on the command line to photos, their boxes, and the names of their results."""

from __future__ import annotations

import os

import pytest

from facerecon.cli.boxes import read_boxes
from facerecon.cli.inputs import expand_inputs
from facerecon.errors import ArgumentError, PathError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def stems(inputs):
    return [item.stem for item in inputs]


def test_a_folder_gives_its_photos_sorted_with_subfolders_and_without_the_output(tmp_path):
    folder = tmp_path / "in"
    touch(folder / "B.JPG", folder / "a.png", folder / "c.txt", folder / ".d.png", folder / "sub" / "a.png", folder / ".git" / "e.png",
          folder / "out" / "a_overlay.jpg")
    found = expand_inputs([str(folder)], excluded=folder / "out")
    assert stems(found) == ["a", "B", "sub/a"]
    assert [item.path for item in found] == [str(folder / "a.png"), str(folder / "B.JPG"), str(folder / "sub" / "a.png")]


def test_named_files_are_tried_whatever_they_are_called(tmp_path):
    touch(tmp_path / "photo.dat")
    names = [str(tmp_path / "photo.dat"), str(tmp_path / "missing.jpg")]
    assert [item.path for item in expand_inputs(names, excluded="out")] == names


def test_patterns_cross_folders_and_a_name_with_brackets_is_a_name(tmp_path):
    touch(tmp_path / "x" / "1.png", tmp_path / "x" / "y" / "2.png", tmp_path / "x" / "[3].png")
    found = expand_inputs([str(tmp_path / "**" / "*.png")], excluded="out")
    assert sorted(item.path for item in found) == sorted(str(tmp_path / "x" / name) for name in ("1.png", "y/2.png", "[3].png"))
    assert stems(expand_inputs([str(tmp_path / "x" / "[3].png")], excluded="out")) == ["3"]


def test_the_same_photo_twice_is_one_photo(tmp_path):
    touch(tmp_path / "a.png")
    os.symlink(tmp_path / "a.png", tmp_path / "link.png")
    assert len(expand_inputs([str(tmp_path / "a.png"), str(tmp_path), str(tmp_path / "*.png")], excluded="out")) == 1


def test_equal_names_do_not_meet_even_without_regard_to_capitals(tmp_path):
    touch(tmp_path / "1" / "a.png", tmp_path / "2" / "A.jpg", tmp_path / "3" / "a.png", tmp_path / "3" / "a-2.png")
    found = expand_inputs([str(tmp_path / name) for name in ("1/a.png", "2/A.jpg", "3")], excluded="out")
    assert len({stem.casefold() for stem in stems(found)}) == 4 and stems(found)[0] == "a"


def test_results_never_replace_a_photo(tmp_path):
    # `x.jpg` would write the texture `x_0.png` over the other photo.
    touch(tmp_path / "x.jpg", tmp_path / "x_0.png")
    found = expand_inputs([str(tmp_path)], excluded=tmp_path)
    written = {os.path.realpath(tmp_path / f"{stem}_{face}.png") for stem in stems(found) for face in range(3)}
    assert not written & {os.path.realpath(item.path) for item in found}


def test_hostile_names_become_plain_ones(tmp_path):
    touch(tmp_path / "a\nb;rm -rf *.png")
    (stem,) = stems(expand_inputs([str(tmp_path)], excluded="out"))
    assert stem == "a_b_rm_-rf"


@pytest.mark.parametrize("name", ["empty", "*.png"])
def test_nothing_to_do_is_said(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PathError, match="no photo|no file matches") as caught:
        expand_inputs([str(tmp_path / name)], excluded="out")
    assert caught.value.code == "path_missing"


def test_boxes_match_by_the_end_of_the_path(tmp_path):
    touch(tmp_path / "s" / "a.png", tmp_path / "t" / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    file = tmp_path / "boxes.jsonl"
    file.write_text('{"image": "a.png", "box": [1, 2, 3, 4]}\n\n{"image": "t/a.png", "box": [5, 6, 7, 8]}\n'
                    f'{{"image": "{tmp_path}/b.png", "box": [0, 0, NaN, 9]}}\n{{"image": "./b.png", "box": [1, 1, 2, 2]}}\n')
    found = {item.stem: item.boxes for item in expand_inputs([str(tmp_path)], excluded="out", boxes=read_boxes(file))}
    assert found["s/a"] == ((1, 2, 3, 4),) and found["t/a"] == ((5, 6, 7, 8),) and found["c"] == ()
    assert len(found["b"]) == 1 and found["b"][0][3] == 9


def test_boxes_of_one_photo_keep_their_order(tmp_path):
    touch(tmp_path / "a.png")
    (tmp_path / "b.jsonl").write_text("".join(f'{{"image": "a.png", "box": [{k}, 0, 9, 9]}}\n' for k in (3, 1, 2)))
    (item,) = expand_inputs([str(tmp_path / "a.png")], excluded="out", boxes=read_boxes(tmp_path / "b.jsonl"))
    assert [box[0] for box in item.boxes] == [3, 1, 2]


@pytest.mark.parametrize("line", ['{"image": "a.png"}', "[1]", "{", '{"image": 3, "box": [1, 2, 3, 4]}',
                                  '{"image": "a", "box": [1, 2, 3]}', '{"image": "a", "box": [1, 2, 3, "4"]}'])
def test_a_line_that_is_no_box_is_refused_with_its_number(tmp_path, line):
    file = tmp_path / "boxes.jsonl"
    file.write_text('{"image": "a.png", "box": [1, 2, 3, 4]}\n' + line + "\n")
    with pytest.raises(ArgumentError, match="line 2"):
        read_boxes(file)


def test_a_missing_boxes_file_is_a_path_error(tmp_path):
    with pytest.raises(PathError) as caught:
        read_boxes(tmp_path / "none.jsonl")
    assert caught.value.code == "path_missing"
