"""Files appear whole or not at all, and errors survive a trip between processes."""

from __future__ import annotations

import os
import pickle

import pytest

from facerecon.checks import check_choice, check_exclusive, check_range, check_shape
from facerecon.errors import ArgumentError, FaceError, FaceReconError, PathError
from facerecon.files import TEMPORARY_SUFFIX, atomic_path, safe_stem, sweep_temporaries, write_atomic


def test_failure_keeps_the_old_content_and_leaves_nothing_behind(tmp_path):
    goal = write_atomic(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError, match="halfway"), atomic_path(goal) as temporary:
        temporary.write_text("new, but")
        raise RuntimeError("halfway")
    assert goal.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_success_replaces_and_makes_folders(tmp_path):
    goal = tmp_path / "deep" / "er" / "a.bin"
    write_atomic(goal, b"1")
    write_atomic(goal, b"22")
    assert goal.read_bytes() == b"22" and len(list(goal.parent.iterdir())) == 1


def test_a_folder_that_is_a_file_is_a_path_error(tmp_path):
    write_atomic(tmp_path / "a", b"")
    with pytest.raises(PathError) as caught:
        write_atomic(tmp_path / "a" / "b", b"")
    assert caught.value.code == "path_write"


def test_sweep_removes_only_leftovers(tmp_path):
    (tmp_path / f".x{TEMPORARY_SUFFIX}.png").write_bytes(b"")
    (tmp_path / "x.png").write_bytes(b"")
    assert sweep_temporaries(tmp_path) == 1 and os.listdir(tmp_path) == ["x.png"]


@pytest.mark.parametrize(("name", "stem"), [("a b", "a_b"), ("../../etc", "etc"), ("Łódź 1.2", "Łódź_1.2"), ("\n", "image"), ("..", "image")])
def test_safe_stem(name, stem):
    assert safe_stem(name) == stem


def test_safe_stem_is_bounded_in_bytes():
    assert len(safe_stem("ü" * 300).encode()) <= 120


def test_errors_keep_code_and_message_across_processes():
    error = pickle.loads(pickle.dumps(FaceError("too small", code="face_too_small")))
    assert (type(error), error.code, error.message) == (FaceError, "face_too_small", "too small")


def test_an_error_refuses_a_code_it_does_not_have():
    with pytest.raises(ValueError, match="no code"):
        FaceError("x", code="image_empty")


class Shaped:
    def __init__(self, *shape):
        self.shape = shape


@pytest.mark.parametrize(("shape", "expected", "fits"), [
    ((2, 3), (None, 3), True), ((2, 3), ("V", 3), True), ((3,), (None, 3), False), ((2, 4), (None, 3), False),
    ((5, 2, 3), ("...", 3), True), ((3,), ("...", 3), True), ((), ("...", 3), False), ((2, 3, 1), (None, 3), False),
])
def test_check_shape(shape, expected, fits):
    if fits:
        check_shape("x", Shaped(*shape), expected)
    else:
        with pytest.raises(ArgumentError, match="x: wanted shape") as caught:
            check_shape("x", Shaped(*shape), expected)
        assert caught.value.code == "shape_invalid"


def test_other_checks_reject():
    for call in (lambda: check_choice("m", "z", ("a", "b")), lambda: check_range("r", float("nan")),
                 lambda: check_range("r", 2, 0, 1), lambda: check_range("r", True), lambda: check_exclusive(a=1, b=2),
                 lambda: check_exclusive(a=None)):
        with pytest.raises(ArgumentError, match="wanted"):
            call()
    assert check_range("r", 1, 0, 1) == 1 and issubclass(ArgumentError, (FaceReconError, ValueError))
