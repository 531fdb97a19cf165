"""Runs: the same bytes whatever was stopped, killed or spread over processes; folders of others stay untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facerecon.errors import PathError
from facerecon.evaluation.workers import run_items
from facerecon.synthesis import read_archive
from facerecon.synthesis.archive import write_index
from facerecon.synthesis.production import block_maker, items_of, make_block, missing_blocks
from facerecon.synthesis.source import HeadOptions

HERE = Path(__file__).resolve().parent


def fill(folder, source, block=4):
    todo = missing_blocks(folder, source, block=block)
    for number in todo:
        make_block(folder, source, number, block=block)
    return todo, write_index(folder)


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def whole(tmp_path, plain):
    """What an undisturbed run of ten items gives."""
    todo, counts = fill(tmp_path / "whole", plain(10))
    assert todo == [0, 1, 2] and counts == (9, 1)
    return content(tmp_path / "whole")


def test_blocks_share_out_the_items():
    assert [items_of(number, 10, 4) for number in range(3)] == [(0, 4), (4, 8), (8, 10)]


def test_a_refused_item_is_noted_and_the_others_are_there(tmp_path, plain):
    fill(tmp_path, plain(10))
    read = read_archive(tmp_path)
    assert read.names == tuple(f"plain_{index:06d}.jpg" for index in range(10) if index != 3)
    assert read.header["dropped"] == [{"item": 3, "code": "no_face"}] and read.header["items"] == [0, 4]


def test_a_second_run_has_nothing_to_do(tmp_path, plain, whole):
    assert fill(tmp_path / "whole", plain(10))[0] == [] and content(tmp_path / "whole") == whole


@pytest.mark.parametrize("failing", range(0, 11, 2))
def test_a_run_that_stops_at_any_file_goes_on(tmp_path, plain, whole, monkeypatch, failing):
    """The n-th file does not reach its name; the run ends there, and the next one gives the same bytes."""
    real, calls = os.replace, iter(range(99))

    def replace(*arguments):
        if next(calls) == failing:
            raise KeyboardInterrupt
        return real(*arguments)

    place = tmp_path / "stopped"
    monkeypatch.setattr(os, "replace", replace)
    if failing < 10:
        with pytest.raises(KeyboardInterrupt):
            fill(place, plain(10))
    else:
        fill(place, plain(10))
    monkeypatch.undo()
    assert content(place).items() <= whole.items(), "whatever is there is whole"
    fill(place, plain(10))
    assert content(place) == whole


def test_a_killed_process_leaves_nothing_that_the_next_run_takes_for_whole(tmp_path, plain, whole):
    place = tmp_path / "killed"
    script = (f"import os, sys\nsys.path.insert(0, {str(HERE)!r})\nfrom conftest import PlainSource\n"
              "from test_production import fill\nimport facerecon.files as files\n"
              "real, calls = os.replace, iter(range(99))\n"
              f"os.replace = lambda *a: os.kill(os.getpid(), {int(signal.SIGKILL)}) if next(calls) == 4 else real(*a)\n"
              f"fill({str(place)!r}, PlainSource(10))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = content(place)
    assert any(name.startswith(".") for name in left), "a part that was being written"
    fill(place, plain(10))
    assert content(place) == whole


def test_more_items_keep_what_is_there(tmp_path, plain, whole):
    place = tmp_path / "grown"
    fill(place, plain(6))
    before = (place / "synthetic-00000.tar").stat().st_mtime_ns
    assert fill(place, plain(10))[0] == [1, 2]
    assert content(place) == whole and (place / "synthetic-00000.tar").stat().st_mtime_ns == before
    with pytest.raises(PathError) as caught:
        fill(place, plain(9))
    assert caught.value.code == "path_exists" and content(place) == whole


@pytest.mark.parametrize("stranger", ["holiday.jpg", "synthetic-1.tar", "pairs-0000.safetensors", ".hidden"])
def test_a_folder_of_others_is_left_alone(tmp_path, plain, stranger):
    (tmp_path / stranger).write_bytes(b"mine")
    with pytest.raises(PathError) as caught:
        missing_blocks(tmp_path, plain(10))
    assert caught.value.code == "path_exists" and content(tmp_path) == {stranger: b"mine"}


def test_other_settings_want_another_folder(tmp_path, plain, whole):
    with pytest.raises(PathError, match="another seed") as caught:
        missing_blocks(tmp_path / "whole", plain(10, seed=1), block=4)
    assert caught.value.code == "path_exists" and content(tmp_path / "whole") == whole
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(PathError):
        missing_blocks(file, plain(10))


def test_a_process_of_its_own_gives_the_same_bytes(tmp_path):
    """Blocks in another order, in another interpreter."""
    options = HeadOptions(3, seed=4, size=32)
    source = options.open()
    for number in (0, 1):
        make_block(tmp_path / "here", source, number, block=2)
    reports = dict(run_items(block_maker, (str(tmp_path / "there"), options, 2), [1, 0], workers=1))
    assert {number: report.faces for number, report in reports.items()} == {0: 2, 1: 1}
    assert content(tmp_path / "there") == content(tmp_path / "here")
